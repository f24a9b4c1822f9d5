//! Freight, and what is known of all Freight of a Project.
//!
//! In: objects, converted by `policy-api`. Out: values that can be copied for nothing, because every look at a Stage
//! takes all Freight of its Project along. What was never read is not gone: a piece that could not be read exists, and
//! of one that is missing among a part nobody can say anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::Artifact;
use crate::name::{FreightName, Origin, StageName};
use crate::time::Timestamp;

/// A piece of Freight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreightSnapshot {
    /// Its name.
    pub name: FreightName,
    /// Its alias.
    pub alias: Option<String>,
    /// Its origin.
    pub origin: Origin,
    /// `discoveredAt`, else creation.
    pub discovered: Option<Timestamp>,
    /// Its artifacts.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// `status.verifiedIn`: Stage to longest soak in seconds. Marks failed Freight too in Stages with several origins.
    #[serde(default)]
    pub verified_in: BTreeMap<StageName, u32>,
    /// `status.currentlyIn`: Stage to since when.
    #[serde(default)]
    pub currently_in: BTreeMap<StageName, Option<Timestamp>>,
    /// `status.approvedFor`.
    #[serde(default)]
    pub approved_for: Vec<StageName>,
    /// `status.metadata["failure-hint"]` as JSON, see [`crate::hints`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_hint: Option<String>,
}

/// Freight of a Project, as far as it is known, in the order of its names. Copies share it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Vec<FreightSnapshot>")]
pub struct ProjectFreight {
    /// `None` is a piece that exists and could not be read.
    pieces: Arc<BTreeMap<FreightName, Option<Arc<FreightSnapshot>>>>,
    is_whole: bool,
}

/// No Freight at all.
impl Default for ProjectFreight {
    fn default() -> Self {
        Self::whole(Vec::new())
    }
}

impl From<Vec<FreightSnapshot>> for ProjectFreight {
    fn from(all: Vec<FreightSnapshot>) -> Self {
        Self::whole(all)
    }
}

impl ProjectFreight {
    /// All Freight of a Project: what is not in here does not exist.
    pub fn whole(all: impl IntoIterator<Item = FreightSnapshot>) -> Self {
        let pieces = all.into_iter().map(|piece| (piece.name.clone(), Some(Arc::new(piece))));
        Self { pieces: Arc::new(pieces.collect()), is_whole: true }
    }

    /// Freight that somebody comes across, none so far: what is not in here may exist.
    pub fn part() -> Self {
        Self { is_whole: false, ..Self::default() }
    }

    /// The same, and it turned out to be all there is.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// A piece appears or changes.
    pub fn insert(&mut self, piece: FreightSnapshot) {
        Arc::make_mut(&mut self.pieces).insert(piece.name.clone(), Some(Arc::new(piece)));
    }

    /// A piece exists, and what it is could not be read.
    pub fn insert_unreadable(&mut self, name: FreightName) {
        Arc::make_mut(&mut self.pieces).insert(name, None);
    }

    /// A piece is deleted.
    pub fn remove(&mut self, name: &FreightName) {
        Arc::make_mut(&mut self.pieces).remove(name);
    }

    /// The piece of that name, when it could be read.
    pub fn get(&self, name: &FreightName) -> Option<&FreightSnapshot> {
        self.pieces.get(name)?.as_deref()
    }

    /// The alias of the piece of that name.
    pub fn alias_of(&self, name: &str) -> Option<String> {
        self.get(&name.into())?.alias.clone()
    }

    /// Whether there is such a piece; `None` when nobody can say.
    pub fn exists(&self, name: &FreightName) -> Option<bool> {
        let is_here = self.pieces.contains_key(name);
        (is_here || self.is_whole).then_some(is_here)
    }

    /// All pieces that could be read, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &FreightSnapshot> {
        self.pieces.values().flatten().map(AsRef::as_ref)
    }
}
