//! The one thing that the host does about a failure by itself: it has Kargo look at a Stage once more.
//!
//! In: a failure that a look may heal, its incident, the Stage. Out: what is next, [`Next`]. Kargo acts on some things
//! only when it looks at a Stage for another reason, five minutes later at most, and its queue waits meanwhile
//! (kargo-live.md 0.4). A refresh promotes nothing, spends no budget, and is asked for once per incident, and never
//! without Enforce. If it does not help, policies are asked as about any failure.

use crate::context::Mode;
use crate::incident::{AskedRefresh, IncidentState};
use crate::snapshot::StageSnapshot;
use crate::time::Timestamp;
use crate::write::Write;

/// How long Kargo may take to look, in seconds. Measured: 0.08 s.
pub const WAIT_SECONDS: u32 = 30;

/// What is next with a failure that a refresh may heal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask for it: keep [`AskedRefresh`] in the incident first, then carry the write out.
    Ask(AskedRefresh, Write),
    /// It is kept, and the Stage does not show it: carry the write out, perhaps again.
    AskAgain(Write),
    /// Kargo has time until then.
    Wait(Timestamp),
    /// It was no help, or is not allowed: ask the policies.
    Policies,
}

/// What is next. `token` must be the same for one incident and different for every other one; `may_write` says whether
/// anything may be written here: the Project's rights, and no kill switch.
pub fn next(
    incident: &IncidentState,
    stage: &StageSnapshot,
    token: &str,
    mode: Mode,
    may_write: bool,
    now: Timestamp,
) -> Next {
    if mode != Mode::Enforce || !may_write {
        return Next::Policies;
    }
    let write = Write::Refresh { stage: stage.name.clone() };
    let Some(asked) = &incident.refresh else {
        return Next::Ask(AskedRefresh { at: now, token: token.to_owned() }, write);
    };
    let has_looked = stage.handled_refresh.as_ref() == Some(&asked.token);
    let until = asked.at.plus(WAIT_SECONDS);
    if has_looked || now >= until {
        Next::Policies
    } else if stage.refresh.as_ref() == Some(&asked.token) {
        Next::Wait(until)
    } else {
        Next::AskAgain(write)
    }
}
