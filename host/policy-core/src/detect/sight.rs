//! One look at a Stage: everything that is a failure now, and when to look again.
//!
//! In: a Stage with what belongs to it, what is remembered of it, deadlines and `now`. Out: [`Found`]. What has ended is
//! a failure by its end; what goes on is one once its deadline has passed, and stops being one when it goes on by
//! itself. Pure: the same look gives the same answer, and no look depends on how often somebody looked before.

use std::collections::BTreeSet;

use super::{auto_promotion, health, lost, unended, verifying};
use crate::deadlines::Deadlines;
use crate::failure::{Failure, Trigger};
use crate::name::{FailureId, PromotionName, VerificationId};
use crate::redact;
use crate::snapshot::{
    AnalysisRunSnapshot, ProjectFreight, ProjectSnapshot, PromotionPhase, PromotionSnapshot, StageSnapshot,
};
use crate::stage_memory::StageMemory;
use crate::time::Timestamp;

/// The AnalysisRun of the newest verification.
#[derive(Clone, Copy, Debug)]
pub enum Run<'a> {
    /// Nobody has looked.
    NotRead,
    /// It was looked for; `None` when it is not there.
    Read(Option<&'a AnalysisRunSnapshot>),
}

/// What one look sees.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The time of the look.
    pub now: Timestamp,
    /// How long things may go on.
    pub deadlines: &'a Deadlines,
    /// The Project.
    pub project: &'a ProjectSnapshot,
    /// The Stage.
    pub stage: &'a StageSnapshot,
    /// Promotions; those of other Stages are left out here.
    pub promotions: &'a [PromotionSnapshot],
    /// Freight of the Project.
    pub freight: &'a ProjectFreight,
    /// What is remembered of the Stage.
    pub memory: &'a StageMemory,
    /// The AnalysisRun of the newest verification.
    pub run: Run<'a>,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What is a failure now.
    pub failures: Vec<Failure>,
    /// The episode of sickness that is not over, whether it is a failure by now or not any more.
    pub lasting: Option<FailureId>,
    /// Those of them that may go away when Kargo looks at the Stage once more.
    pub refresh: BTreeSet<FailureId>,
    /// When something would become a failure if nothing else happens.
    pub look_again: Option<Timestamp>,
    /// Whether the AnalysisRun has to be read to know more.
    pub wants_run: bool,
}

impl Found {
    /// Whether `failure` is still there. What has ended stays a failure whatever happens.
    pub fn is_still_true(&self, failure: &Failure) -> bool {
        let mut known = self.failures.iter().map(|found| &found.id).chain(&self.lasting);
        !is_about_now(failure.trigger) || known.any(|id| *id == failure.id)
    }
}

/// Something that goes on: a failure from `failure.at`, which may lie ahead.
pub(super) struct Condition {
    pub(super) failure: Failure,
    /// Whether it may go away when Kargo looks at the Stage once more.
    pub(super) heals_by_refresh: bool,
}

/// Whether a trigger is about something that goes on, and ends when that does.
pub fn is_about_now(trigger: Trigger) -> bool {
    match trigger {
        Trigger::PromotionStalled
        | Trigger::PromotionPendingStuck
        | Trigger::PromotionNotRecorded
        | Trigger::PromotionDenied
        | Trigger::VerificationStuck
        | Trigger::VerificationMissing
        | Trigger::StageUnhealthy
        | Trigger::StageHealthUnknown
        | Trigger::AutoPromotionBlocked => true,
        Trigger::PromotionFailed
        | Trigger::PromotionErrored
        | Trigger::PromotionAborted
        | Trigger::StepFailedTolerated
        | Trigger::VerificationFailed
        | Trigger::VerificationError
        | Trigger::VerificationInconclusive
        | Trigger::VerificationAborted
        | Trigger::RollbackFailed
        | Trigger::ExternalAlert
        | Trigger::Timer
        | Trigger::ActionResult
        | Trigger::ApprovalResolved
        | Trigger::ApprovalExpired
        | Trigger::Manual => false,
    }
}

/// Whether a trigger has always opened an incident, whoever asks for it: the end of a Promotion or of a verification.
pub fn is_an_end(trigger: Trigger) -> bool {
    !is_about_now(trigger) && trigger != Trigger::StepFailedTolerated
}

/// Everything that one look finds.
pub fn look(sight: &Sight<'_>) -> Found {
    let mut found = Found {
        failures: sight.promotions.iter().filter_map(super::promotion).collect(),
        ..Found::default()
    };
    found.failures.extend(super::verification(sight.stage, sight.promotions));
    if !sight.stage.has_steps || sight.stage.deleting {
        return found;
    }
    let run = verifying::run_is_due(sight.stage).filter(|_| matches!(sight.run, Run::NotRead));
    found.wants_run = run.is_some_and(|due| due <= sight.now);
    let mut times: Vec<Timestamp> = run.into_iter().filter(|due| *due > sight.now).collect();
    for condition in conditions(sight) {
        if condition.failure.at > sight.now {
            times.push(condition.failure.at);
            continue;
        }
        if condition.heals_by_refresh {
            found.refresh.insert(condition.failure.id.clone());
        }
        found.failures.push(condition.failure);
    }
    found.lasting = health::lasting(sight);
    found.look_again = times.into_iter().min();
    found
}

fn conditions(sight: &Sight<'_>) -> impl Iterator<Item = Condition> {
    let of_promotions = unended::stalled(sight).into_iter().chain(unended::pending(sight));
    let of_records = lost::not_recorded(sight).into_iter().chain(lost::verification_missing(sight));
    let of_stage = verifying::stuck(sight).into_iter().chain(health::sick(sight));
    of_promotions.chain(of_records).chain(of_stage).chain(auto_promotion::blocked(sight))
}

impl<'a> Sight<'a> {
    /// Promotions of this Stage.
    pub(super) fn of_stage(&self) -> impl Iterator<Item = &'a PromotionSnapshot> + use<'a> {
        let stage = &self.stage.name;
        self.promotions.iter().filter(move |promotion| promotion.stage == *stage)
    }

    /// Promotions of this Stage that have not ended, by name: the order in which Kargo runs them.
    pub(super) fn queue(&self) -> Vec<&'a PromotionSnapshot> {
        let mut queue: Vec<_> = self.of_stage().filter(|promotion| !promotion.is_terminal()).collect();
        queue.sort_by(|one, two| one.name.cmp(&two.name));
        queue
    }

    /// The Promotion that succeeded last: what is really deployed. Kargo runs one at a time, so ends do not overlap.
    pub(super) fn deployed(&self) -> Option<&'a PromotionSnapshot> {
        let succeeded = self.of_stage().filter(|one| one.phase == Some(PromotionPhase::Succeeded));
        succeeded.max_by(|one, two| (one.finished, &one.name).cmp(&(two.finished, &two.name)))
    }

    /// A failure about something that goes on. `parts` are its identity beside the trigger's own word.
    pub(super) fn condition(
        &self,
        trigger: Trigger,
        parts: &[&str],
        at: Timestamp,
        about: About<'_>,
        summary: &str,
    ) -> Condition {
        let delivered = about.promotion.and_then(|name| self.of_stage().find(|one| one.name == *name));
        let failure = Failure {
            id: condition_id(trigger, parts),
            trigger,
            project: self.stage.project.clone(),
            stage: self.stage.name.clone(),
            stage_uid: Some(self.stage.uid.clone()),
            promotion: about.promotion.cloned(),
            promotion_uid: delivered.map(|promotion| promotion.uid.clone()),
            verification: about.verification.cloned(),
            at,
            user_abort: None,
            summary: redact::shown(&self.for_people(summary), super::MAX_SUMMARY_BYTES),
        };
        Condition { failure, heals_by_refresh: false }
    }

    /// A summary is read: it calls Freight by its alias.
    fn for_people(&self, summary: &str) -> String {
        crate::called::by_alias(summary, |name| self.freight.alias_of(name))
    }
}

/// The identity of something that goes on.
pub(super) fn condition_id<T: AsRef<str>>(trigger: Trigger, parts: &[T]) -> FailureId {
    let word = crate::explain::word(&trigger);
    let whole: Vec<&str> = std::iter::once(word.as_str()).chain(parts.iter().map(AsRef::as_ref)).collect();
    super::failure_id(&whole)
}

/// What a failure is about, beside its Stage.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub(super) promotion: Option<&'a PromotionName>,
    pub(super) verification: Option<&'a VerificationId>,
}

impl<'a> About<'a> {
    pub(super) fn promotion(name: &'a PromotionName) -> Self {
        Self { promotion: Some(name), verification: None }
    }
}
