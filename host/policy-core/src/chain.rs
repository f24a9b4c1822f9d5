//! Runs a chain of policies: who is asked, who is skipped, whose decision stands.
//!
//! In: the entries' roles and triggers, and a function that asks one of them. Out: the decision that stands, and what
//! each entry said. Entries are asked in order and see what was proposed before them; no entry names another, so
//! there are no loops. The first guest fault ends the chain: nothing is guessed, and no later entry fills in.

use serde::{Deserialize, Serialize};

use crate::decision::{Answer, Decision};
use crate::failure::Trigger;
use crate::guest_fault::GuestFault;
use crate::manifest::Role;

/// What the host has to know about an entry before it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its role, from its manifest.
    pub role: Role,
    /// The triggers that it wants; empty means all of them.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
}

/// How asking an entry ended. A policy's own error comes as a fault of that kind.
pub type Asked = Result<Answer, GuestFault>;

/// What one entry said. One per entry, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    /// Its position, from 0.
    pub entry: usize,
    /// Its word.
    pub word: Word,
}

impl Said {
    /// Whether it was asked at all.
    pub fn was_asked(&self) -> bool {
        match self.word {
            Word::Decided(_) | Word::Pass | Word::Fault(_) => true,
            Word::Skipped(_) => false,
        }
    }
}

/// The word of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It decided. A decider that lists no action has no opinion; a modifier that lists none withdraws the proposal.
    Decided(Decision),
    /// It had no opinion.
    Pass,
    /// It did not answer.
    Fault(GuestFault),
    /// It was not asked.
    Skipped(Skip),
}

/// Why an entry was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// Its manifest does not want this trigger.
    OtherTriggers,
    /// It is a decider, and something is proposed already.
    AlreadyDecided,
    /// An entry before it ended the chain with a fault.
    AfterFault,
    /// An entry of the chain is disabled, so nobody was asked.
    Disabled,
}

/// What came of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// What each entry said.
    pub said: Vec<Said>,
    /// How it ended.
    pub end: End,
}

/// How a chain ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// This decision stands.
    Decided(Decision),
    /// Nobody had an opinion.
    NoOpinion,
    /// A guest did not answer.
    Fault {
        /// Position of the entry whose fault it is.
        entry: usize,
        /// What happened.
        fault: GuestFault,
    },
}

/// Runs the chain. `ask` gets an entry's position and what is proposed so far.
///
/// `trigger` is that of the failure. Follow-ups (a timer, an action's result, an approval, a person's question)
/// interest every entry: who decided to wait must be asked again, whatever its manifest says.
pub fn run(
    entries: &[Entry],
    trigger: Trigger,
    mut ask: impl FnMut(usize, Option<&Decision>) -> Asked,
) -> Run {
    let mut said = Vec::with_capacity(entries.len());
    let mut proposed: Option<Decision> = None;
    let mut fault: Option<(usize, GuestFault)> = None;
    for (position, entry) in entries.iter().enumerate() {
        let word = match skip(entry, trigger, proposed.is_some(), fault.is_some()) {
            Some(skip) => Word::Skipped(skip),
            None => match ask(position, proposed.as_ref()) {
                Ok(Answer::Pass) => Word::Pass,
                Ok(Answer::Decide(decision)) => {
                    if entry.role == Role::Modifier || !decision.actions.is_empty() {
                        proposed = Some(decision.clone());
                    }
                    Word::Decided(decision)
                }
                Err(what) => {
                    fault = Some((position, what.clone()));
                    Word::Fault(what)
                }
            },
        };
        said.push(Said { entry: position, word });
    }
    let end = match (fault, proposed) {
        (Some((entry, fault)), _) => End::Fault { entry, fault },
        (None, Some(decision)) => End::Decided(decision),
        (None, None) => End::NoOpinion,
    };
    Run { said, end }
}

/// What comes of a chain with a disabled entry that would have been asked: nobody is, because what the others would say
/// without it is not what the Project chose. `disabled` says why each entry is disabled, by position.
pub fn disabled(entries: &[Entry], trigger: Trigger, disabled: &[Option<GuestFault>]) -> Option<Run> {
    let (entry, fault) = entries
        .iter()
        .zip(disabled)
        .enumerate()
        .filter(|(_, (entry, _))| wants(entry, trigger))
        .find_map(|(position, (_, fault))| Some((position, fault.clone()?)))?;
    let said = (0..entries.len()).map(|entry| Said { entry, word: Word::Skipped(Skip::Disabled) });
    Some(Run { said: said.collect(), end: End::Fault { entry, fault } })
}

fn skip(entry: &Entry, trigger: Trigger, is_decided: bool, is_faulted: bool) -> Option<Skip> {
    if is_faulted {
        Some(Skip::AfterFault)
    } else if !wants(entry, trigger) {
        Some(Skip::OtherTriggers)
    } else if is_decided && entry.role == Role::Decider {
        Some(Skip::AlreadyDecided)
    } else {
        None
    }
}

/// Whether an entry is asked about that trigger.
pub fn wants(entry: &Entry, trigger: Trigger) -> bool {
    let is_follow_up = matches!(
        trigger,
        Trigger::Timer
            | Trigger::ActionResult
            | Trigger::ApprovalResolved
            | Trigger::ApprovalExpired
            | Trigger::Manual
    );
    is_follow_up || entry.triggers.is_empty() || entry.triggers.contains(&trigger)
}
