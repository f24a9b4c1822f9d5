//! What makes no sense in a scenario, before anything is played: references to nothing, contradictions, expectations
//! that can never hold.
//!
//! In: a [`Scenario`] that could be read. Out: [`Problem`]s in the order of the file, each with the path of its field and
//! what to do. Nothing here loads a component or runs anything.

mod expected;
mod names;
pub(crate) mod policies;
mod script;
mod server;
mod timeline;
mod world;

use crate::scenario::{FreightSpec, Scenario, StageSpec};

/// Something in a scenario that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `timeline[2].promote.freight`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: help.into() }
    }
}

impl Scenario {
    /// What makes no sense in it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = names::problems(self);
        problems.extend(world::problems(self));
        problems.extend(policies::problems(self));
        problems.extend(self.catalogue().err().map(|bad| {
            Problem::new("rules", bad.to_string(), "docs/classification.md says what a rule looks like")
        }));
        problems.extend(script::problems(self, &self.script, "script"));
        problems.extend(timeline::problems(self));
        problems.extend(expected::problems(self));
        problems
    }

    fn stage(&self, name: &str) -> Option<&StageSpec> {
        self.world.stages.iter().find(|stage| stage.name == name)
    }

    fn piece(&self, alias: &str) -> Option<&FreightSpec> {
        self.pieces().find(|piece| piece.name == alias)
    }

    fn unknown_stage(&self, path: &str, stage: &str) -> Option<Problem> {
        let names: Vec<&str> = self.world.stages.iter().map(|stage| stage.name.as_str()).collect();
        let message = format!("there is no Stage `{stage}`");
        self.stage(stage)
            .is_none()
            .then(|| Problem::new(path, message, format!("there are: {}", names.join(", "))))
    }

    fn unknown_freight(&self, path: &str, freight: &str) -> Option<Problem> {
        let message = format!("there is no Freight `{freight}`");
        let help = "name it under `world.freight`, or let it appear in the timeline";
        self.piece(freight).is_none().then(|| Problem::new(path, message, help))
    }

    /// Freight of a Warehouse whose Freight the Stage does not want.
    fn unwanted(&self, path: &str, stage: &StageSpec, freight: &str) -> Option<Problem> {
        let warehouse = self.warehouse_of(self.piece(freight)?);
        let wanted = stage.wants(&self.world);
        let message = format!(
            "Freight `{freight}` is of Warehouse `{warehouse}`, and Stage `{}` wants none of that",
            stage.name
        );
        let help = format!("it wants Freight of: {}", wanted.join(", "));
        (!wanted.iter().any(|known| known == warehouse)).then(|| Problem::new(path, message, help))
    }
}

/// Nothing goes on for longer than this: what takes a month to happen takes minutes to play.
const LONGEST_SECONDS: u32 = 30 * 86_400;

/// A text that is no duration, or a longer one than can be played.
fn of_duration(path: &str, text: &str) -> Option<Problem> {
    match policy_core::time::parse_duration(text) {
        Some(seconds) => (seconds > LONGEST_SECONDS).then(|| too_long(path, text)),
        None if is_huge(text) => Some(too_long(path, text)),
        None => Some(no_duration(path, text)),
    }
}

fn too_long(path: &str, text: &str) -> Problem {
    Problem::new(
        path,
        format!("`{text}` is too long"),
        "a scenario goes on for `30d` of virtual time at most",
    )
}

/// Whether it has a duration's form, and numbers that are too large for one.
fn is_huge(text: &str) -> bool {
    let mut form = String::new();
    for character in text.chars() {
        match character {
            digit if digit.is_ascii_digit() && form.ends_with('1') => {}
            digit if digit.is_ascii_digit() => form.push('1'),
            other => form.push(other),
        }
    }
    policy_core::time::parse_duration(&form).is_some()
}

/// The same for a text as Go writes durations.
fn of_go_duration(path: &str, text: &str) -> Option<Problem> {
    match kargo_model::time::parse_duration(text) {
        None => Some(no_duration(path, text)),
        Some(takes) => (takes.as_secs() > i64::from(LONGEST_SECONDS)).then(|| too_long(path, text)),
    }
}

fn no_duration(path: &str, text: &str) -> Problem {
    Problem::new(path, format!("`{text}` is no duration"), "write it like `0s`, `90s` or `1h30m`")
}

/// A word that is none of a list.
fn no_word(path: &str, what: &str, word: &str, known: &[&str]) -> Option<Problem> {
    let help = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    (!known.contains(&word)).then(|| Problem::new(path, format!("`{word}` is no {what}"), help))
}
