//! What a running Kargo v1.11.2 does and should not, each as a switch. In goes nothing, out come booleans that rules ask.
//! All are on unless somebody turns one off to see what difference it makes. It must not hold behaviour that Kargo means
//! to have, such as one Promotion at a time.

use serde::{Deserialize, Serialize};

/// The flaws of Kargo that the model has. `true` is as Kargo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Flaws {
    /// A Stage records finished Promotions by name, so that one that ends after another with a higher name was recorded
    /// is never recorded itself: neither history, nor verification (`regular_stages.go:715-740`; captures
    /// `a/queued-abort-higher-name`, `a/abort-queued`). Off: in the order in which they ended.
    pub recording_goes_by_name: bool,
    /// An abort that arrives during a long request is not seen before the request and all quick steps after it are done,
    /// and then the Promotion may be over (`promotions.go:312-322`; capture `a/abort-during-step`). Off: at once.
    pub abort_waits_for_requests: bool,
    /// On Stages with several origins a Promotion takes the other origins from the last finished Promotion even if that
    /// one failed (`promotions.go:672-701`; capture `i/inheritance-from-failed`). Off: from what the Stage has.
    pub failed_freight_leaks: bool,
    /// A Promotion that ends before it has a collection, as when its Freight is gone, makes the next one lose the other
    /// origins (`regular_stages.go:774-783`; capture `i/errored-before-collection`). Off: it keeps the one before.
    pub early_error_forgets_origins: bool,
    /// A new verification of a collection that was verified before takes over the old AnalysisRun, whatever it was for and
    /// however it ended, even cut off by an abort (`regular_stages.go:1462-1498`; issue 6372; captures
    /// `e/reuse-on-rollback`, `e/reuse-failed-on-repromotion`, `e/reuse-of-aborted-run`). Off: always a new run.
    pub analysis_runs_are_reused: bool,
    /// Any reverify annotation on the Stage, left over or meant for something else, makes every first verification a new
    /// AnalysisRun (`regular_stages.go:1462`; captures `e/stale-reverify-annotation-forces-fresh-run`,
    /// `e/forced-fresh-run-on-rollback`). Off: only one that names the verification.
    pub any_reverify_forces_fresh_run: bool,
    /// An AnalysisRun that ends before Kargo has stored its name in the Stage wakes nobody: the verification stays Pending,
    /// and the queue blocked, until the next reconcile for another reason, five minutes at most
    /// (`event_handlers.go`, `stageEnqueuerForAnalysisRuns`; capture `e/race-stuck-pending`). Needs [`crate::Controllers`].
    pub fast_verification_is_missed: bool,
    /// One success in a collection's history keeps the condition `Verified` True, whatever came later
    /// (`regular_stages.go:1116-1135`; capture `e/verified-condition-sticky`). Off: the newest verification counts.
    pub verified_condition_sticks: bool,
    /// `lastTransitionTime` of a condition never changes while the condition exists (every captured `stage.yaml`). Off: it
    /// follows the status.
    pub transition_times_stand_still: bool,
    /// While a hold is recorded, `effectiveAutoPromotionHolds` is empty for a moment
    /// (`story/verification-failed-rollback-resume` at 2.927 s). Off: it stays.
    pub effective_holds_flicker: bool,
    /// What a `set-metadata` step writes to the *Stage* during a quick Promotion is overwritten: 3 of 10 survived under
    /// 0.3 s, 8 of 8 after 1.5 s (capture `a/set-metadata-hint-lost`). Off: it always survives, as it does on Freight.
    pub stage_metadata_gets_lost: bool,
    /// A changed ProjectConfig wakes no Stage: old and new policy hold side by side until the next reconcile
    /// (`regular_stages.go:110-290` has no such watch). Off: it wakes them. Needs [`crate::Controllers`].
    pub policy_changes_go_unnoticed: bool,
    /// An auto-promotion that is denied, with 403 as with 422, ends the reconcile in `ReconcileError`
    /// (captures `k/auto-promotion-denied-forbidden`, `k/auto-promotion-denied-invalid`). Off: Kargo goes on.
    pub denied_auto_promotion_stops_reconcile: bool,
    /// A Promotion created by server-side apply is stored under the requested name with another one inside: it is elected
    /// and can never be written, and the Stage waits for it for good (capture `g/ssa-phantom`). Off: apply is a create.
    pub apply_leaves_a_phantom: bool,
}

impl Default for Flaws {
    fn default() -> Self {
        Self {
            recording_goes_by_name: true,
            abort_waits_for_requests: true,
            failed_freight_leaks: true,
            early_error_forgets_origins: true,
            analysis_runs_are_reused: true,
            any_reverify_forces_fresh_run: true,
            fast_verification_is_missed: true,
            verified_condition_sticks: true,
            transition_times_stand_still: true,
            effective_holds_flicker: true,
            stage_metadata_gets_lost: true,
            policy_changes_go_unnoticed: true,
            denied_auto_promotion_stops_reconcile: true,
            apply_leaves_a_phantom: true,
        }
    }
}
