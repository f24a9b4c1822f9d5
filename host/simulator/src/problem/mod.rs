//! What makes no sense in a scenario, before anything is played: references to nothing, contradictions, expectations
//! that can never hold.
//!
//! In: a [`Scenario`] that could be read. Out: [`Problem`]s in the order of the file, each with the path of its field and
//! what to do. Nothing here loads a component or runs anything.

mod expected;
mod policies;
mod script;
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
    fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: help.into() }
    }
}

impl Scenario {
    /// What makes no sense in it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = world::problems(self);
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

fn no_duration(path: &str, text: &str) -> Problem {
    Problem::new(path, format!("`{text}` is no duration"), "write it like `0s`, `90s` or `1h30m`")
}

/// A word that is none of a list.
fn no_word(path: &str, what: &str, word: &str, known: &[&str]) -> Option<Problem> {
    let help = format!("there are: {}", known.join(", "));
    (!known.contains(&word)).then(|| Problem::new(path, format!("`{word}` is no {what}"), help))
}
