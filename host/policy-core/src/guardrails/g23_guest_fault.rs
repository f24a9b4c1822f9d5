//! G23: a guest fault leads to no write to Kargo, is told and counted; three in a row disable the policy.
//!
//! Why: a policy that cannot answer must not be guessed for, and one that never answers only costs. Counted are calls
//! of one component with one set of settings in one Project, whichever Stage they were for: one answer begins the
//! count anew, and so does another component or a change of its settings. Each Stage's memory keeps what it saw; the
//! Project's count is taken over all of them. What a fault leads to instead of actions is in [`crate::plan::fault`].

use serde::{Deserialize, Serialize};

use crate::guest_fault::{GuestFault, GuestFaultKind};
use crate::time::Timestamp;

/// How a call of a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallEnd {
    /// With an answer, `pass` included.
    Answered,
    /// With a guest fault.
    Faulted,
}

/// Faults in a row that disable a policy.
pub const MAX_FAULTS_IN_A_ROW: u32 = 3;
/// Components whose calls one Stage remembers, the latest called ones.
pub const MAX_TALLIES: usize = 16;

/// What is called: a component by its digest, with settings by theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Called {
    /// The component's digest.
    pub digest: String,
    /// Digest of its settings.
    #[serde(default)]
    pub settings: String,
}

/// What one Stage remembers of calls of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultTally {
    /// What was called.
    pub called: Called,
    /// Faults since the last answer; 0 right after an answer.
    pub count: u32,
    /// When the newest call was.
    pub last: Timestamp,
    /// The newest fault, for people; empty after an answer.
    #[serde(default)]
    pub message: String,
}

/// Faults in a row over all Stages of a Project: those since the newest answer in any of them. Within one second a
/// fault counts as the later one.
pub fn faults_in_a_row<'a>(all: impl Iterator<Item = &'a FaultTally> + Clone, called: &Called) -> u32 {
    let own = all.filter(|tally| tally.called == *called);
    let answered = own.clone().filter(|tally| tally.count == 0).map(|tally| tally.last).max();
    let since = own.filter(|tally| answered.is_none_or(|answered| tally.last >= answered));
    since.fold(0, |sum, tally| sum.saturating_add(tally.count))
}

/// Why the policy may no longer be asked in this Project; `None` while it may.
pub fn disabled<'a>(
    all: impl Iterator<Item = &'a FaultTally> + Clone,
    called: &Called,
) -> Option<GuestFault> {
    let faults = faults_in_a_row(all.clone(), called);
    if faults < MAX_FAULTS_IN_A_ROW {
        return None;
    }
    let newest =
        all.filter(|tally| tally.called == *called && tally.count > 0).max_by_key(|tally| tally.last);
    let last = newest.map(|tally| tally.message.as_str()).unwrap_or_default();
    Some(GuestFault {
        kind: GuestFaultKind::Disabled,
        message: format!("{faults} guest faults in a row in this Project, the last one: {last}"),
        reproducible: false,
        log: Vec::new(),
    })
}

/// One Stage's tallies after a call; `others` are those of the Project's other Stages. An answer is only worth
/// remembering when there is a fault that it puts an end to.
#[must_use]
pub fn after(
    own: &[FaultTally],
    others: &[FaultTally],
    called: &Called,
    end: CallEnd,
    now: Timestamp,
    message: &str,
) -> Vec<FaultTally> {
    let before = own.iter().find(|tally| tally.called == *called);
    let in_project = own.iter().chain(others);
    let count = match end {
        CallEnd::Answered if faults_in_a_row(in_project, called) == 0 => return own.to_vec(),
        CallEnd::Answered => 0,
        CallEnd::Faulted => {
            let is_over = |tally: &FaultTally| {
                others
                    .iter()
                    .any(|other| other.called == *called && other.count == 0 && other.last > tally.last)
            };
            before.filter(|tally| !is_over(tally)).map_or(0, |tally| tally.count).saturating_add(1)
        }
    };
    let message = if count == 0 { String::new() } else { message.to_owned() };
    let newest = FaultTally { called: called.clone(), count, last: now, message };
    let mut all: Vec<_> = own.iter().filter(|tally| tally.called != *called).cloned().collect();
    all.push(newest);
    all.sort_by(|one, two| (one.last, &one.called).cmp(&(two.last, &two.called)));
    let excess = all.len().saturating_sub(MAX_TALLIES);
    all.drain(..excess);
    all
}
