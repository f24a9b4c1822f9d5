//! G23: a guest fault leads to no write to Kargo, is told and counted; three in a row disable the policy.
//!
//! Why: a policy that cannot answer must not be guessed for, and one that never answers only costs. The count goes
//! over calls of one module in one Project, newest last; one answer begins it anew, and so does a new digest, because
//! the caller keeps the history per digest. What a fault leads to instead of actions is in [`crate::plan::fault`].

use serde::{Deserialize, Serialize};

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
pub const MAX_FAULTS_IN_A_ROW: usize = 3;

/// Faults at the end of the history, without an answer between them.
pub fn faults_in_a_row(history: &[CallEnd]) -> usize {
    history.iter().rev().take_while(|end| **end == CallEnd::Faulted).count()
}

/// Whether the policy may no longer be asked in this Project.
pub fn is_disabled(history: &[CallEnd]) -> bool {
    faults_in_a_row(history) >= MAX_FAULTS_IN_A_ROW
}
