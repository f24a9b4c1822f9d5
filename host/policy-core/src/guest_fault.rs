//! A guest fault: the guest gave no usable answer, and whose fault that is.
//!
//! In: what the engine observed. Out: a value that is recorded, counted and shown. A fault never leads to a write.
//! Variant names are metric labels and record fields: renaming one is a breaking change.

use serde::{Deserialize, Serialize};

/// How a call of a guest ended without a usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuestFault {
    /// What happened.
    pub kind: GuestFaultKind,
    /// First line for people: the guest's own last words if it left any, else what the host saw.
    pub message: String,
    /// Whether the same call would end the same way on another machine. False only for the wall-clock backstop.
    pub reproducible: bool,
    /// The guest's last log lines, oldest first, capped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Kinds of guest fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFaultKind {
    /// Used up its fuel: an endless loop, most of the time.
    OutOfFuel,
    /// Ran into the wall-clock backstop. Should never decide anything; not reproducible.
    Deadline,
    /// Wanted more memory than it may have.
    Memory,
    /// Wanted larger tables than it may have.
    Table,
    /// Recursed too deeply.
    StackOverflow,
    /// Ended itself: a panic, an unreachable, an exit.
    Trap,
    /// Answered or logged more than it may.
    TooLarge,
    /// Answered something that is not of the contract: bad text, bad discriminant, bad pointer.
    Malformed,
    /// Answered an action that its manifest does not declare, or broke another rule of the contract.
    ContractViolation,
    /// Answered with a policy error of its own.
    PolicyError,
    /// Could not be instantiated within the limits.
    Instantiation,
    /// Was not even asked: it gave no answer too often in a row (G23).
    Disabled,
    /// Could not be asked: its module is gone, broken or not let in any more.
    NotLoaded,
}

impl GuestFaultKind {
    /// The name as it stands in records and metrics.
    pub fn text(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out-of-fuel",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::StackOverflow => "stack-overflow",
            Self::Trap => "trap",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::ContractViolation => "contract-violation",
            Self::PolicyError => "policy-error",
            Self::Instantiation => "instantiation",
            Self::Disabled => "disabled",
            Self::NotLoaded => "not-loaded",
        }
    }
}
