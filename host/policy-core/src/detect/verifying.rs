//! A verification that does not end.
//!
//! In: one look. Out: at most one condition. Two things keep a verification open for ever: its AnalysisRun goes on, or it
//! has ended and Kargo has missed it. The second happens to runs that end before Kargo has stored their name, blocks the
//! queue for up to five minutes, and goes away with a refresh (kargo-live.md 0.4; capture `e/race-stuck-pending`).

use super::sight::{About, Condition, Run, Sight};
use crate::failure::Trigger;
use crate::snapshot::{StageSnapshot, VerificationPhase, VerificationSnapshot};
use crate::time::{Timestamp, format_duration};

/// How long Kargo may take to notice the end of an AnalysisRun, in seconds. Measured: 46 ms at most when it notices.
const NOTICED_SECONDS: u32 = 10;

/// The newest verification of what the Stage holds, while it has not ended.
fn open(stage: &StageSnapshot) -> Option<&VerificationSnapshot> {
    let newest = stage.history.first()?.verifications.first()?;
    (!newest.phase.is_some_and(VerificationPhase::is_terminal)).then_some(newest)
}

/// A verification whose run has ended, or that takes too long.
pub(super) fn stuck(sight: &Sight<'_>) -> Option<Condition> {
    let open = open(sight.stage)?;
    let promotion = sight.stage.last_promotion.as_ref().map(|last| &last.name);
    let about = About { promotion, verification: Some(&open.id) };
    let parts = [sight.stage.uid.as_str(), open.id.as_str()];
    let condition =
        |at, summary: &str| sight.condition(Trigger::VerificationStuck, &parts, at, about, summary);
    if let Some((phase, ended)) = ended(sight.run, open) {
        let run = open.analysis_run.as_deref().unwrap_or_default();
        let summary = format!("AnalysisRun `{run}` is {phase}, and Kargo has not noticed");
        let at = ended.plus(NOTICED_SECONDS);
        return Some(Condition { heals_by_refresh: true, ..condition(at, &summary) });
    }
    let limit = sight.deadlines.verification_stuck;
    let phase = open.phase.map_or("Pending", VerificationPhase::text);
    let summary = format!(
        "it has been {phase} for more than {}, and no Promotion starts meanwhile",
        format_duration(limit)
    );
    Some(condition(open.started?.plus(limit), &summary))
}

/// Phase and end of the run, once it is over.
fn ended<'a>(run: Run<'a>, open: &VerificationSnapshot) -> Option<(&'a str, Timestamp)> {
    let Run::Read(Some(run)) = run else { return None };
    let phase = run.phase.as_deref()?;
    let is_over = matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive");
    let is_its_own = open.analysis_run.as_deref() == Some(run.name.as_str());
    (is_over && is_its_own).then_some((phase, run.finished.or(run.started).or(open.started)?))
}

/// When the AnalysisRun has to be read: once, when a verification that Kargo calls Pending could have missed its end.
/// Later on Kargo is told of every change of the run.
pub fn run_is_due(stage: &StageSnapshot) -> Option<Timestamp> {
    let open = open(stage).filter(|open| is_pending(open) && open.analysis_run.is_some())?;
    open.started.map(|started| started.plus(NOTICED_SECONDS))
}

fn is_pending(open: &VerificationSnapshot) -> bool {
    matches!(open.phase, None | Some(VerificationPhase::Pending))
}
