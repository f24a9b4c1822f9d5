//! What fails elsewhere at the same time: one cause behind many failures looks like many failures.
//!
//! In: sightings of failures in all Stages. Out: how many other Stages met the same rule lately. Only counts leave this
//! module: a policy of one Project learns no name of another.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::{ProjectName, StageName};
use crate::time::Timestamp;

/// What counts as "just now", seconds: the window of a shared outage (failure-strategies.md 4.5).
pub const SHORT_WINDOW_SECONDS: u32 = 600;
/// What counts as "lately", seconds. Nothing older need be collected.
pub const LONG_WINDOW_SECONDS: u32 = 3_600;

/// One failure somewhere, as an incident keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sighting {
    /// The Project.
    pub project: ProjectName,
    /// The Stage.
    pub stage: StageName,
    /// The rule that read it, see [`crate::failure::Classification::rule`].
    pub rule: String,
    /// When it happened.
    pub at: Timestamp,
}

/// Failures everywhere in the last [`LONG_WINDOW_SECONDS`], of incidents open and closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSignals {
    /// In any order; several of one Stage count as one.
    pub sightings: Vec<Sighting>,
}

/// How many other Stages met a rule within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// In the same Project.
    pub in_project: usize,
    /// In all Projects, this one included.
    pub in_cluster: usize,
}

impl FleetSignals {
    /// Other Stages that met `rule` in the `seconds` before `now`. Texts that no rule knows have nothing in common, so
    /// that for `unknown` there is no answer.
    pub fn same_rule(
        &self,
        rule: &str,
        own: (&ProjectName, &StageName),
        now: Timestamp,
        seconds: u32,
    ) -> Option<Seen> {
        if rule.is_empty() || rule == "unknown" {
            return None;
        }
        let since = now.minus(seconds);
        let matching = self.sightings.iter().filter(|one| one.rule == rule && one.at >= since);
        let stages: BTreeSet<_> =
            matching.map(|one| (&one.project, &one.stage)).filter(|stage| *stage != own).collect();
        let in_project = stages.iter().filter(|(project, _)| *project == own.0).count();
        Some(Seen { in_project, in_cluster: stages.len() })
    }
}
