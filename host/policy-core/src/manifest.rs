//! What a policy says about itself.
//!
//! In: the answer of a guest's `describe`. Out: a value that is checked once per component digest.
//! Mirrors `manifest` of the contract; texts are capped by the engine before they get here.

use serde::{Deserialize, Serialize};

use crate::decision::ActionKind;
use crate::failure::Trigger;

/// What a policy says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Lower-case words joined by `-`, at most 63 characters.
    pub name: String,
    /// SemVer.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Its place in a chain.
    pub role: Role,
    /// A JSON Schema (draft 2020-12) as text.
    pub settings_schema: String,
    /// Triggers it wants; empty means all. Names this host does not know are dropped by the engine.
    pub triggers: Vec<Trigger>,
    /// Every kind of action that it may ever return.
    pub actions: Vec<ActionKind>,
}

/// How the host uses a policy in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Proposes.
    Decider,
    /// Always runs, and may replace what was proposed.
    Modifier,
}
