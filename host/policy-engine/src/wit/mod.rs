//! Tracks of the contract, and the one trait behind which each track's generated types stay.
//!
//! In: a component that exports a track. Out: a [`Binding`] that speaks core values. One module for each track; a
//! track's module is never changed after its first tagged release.

mod v0_1;

use policy_core::context::Context;
use policy_core::decision::{ActionKind, Answer, Decision};
use policy_core::manifest::Manifest;
use policy_core::settings::{Problem, Settings};
use wasmtime::component::InstancePre;

use crate::imports;
use crate::policy::{Call, Runtime};
use crate::sandbox::Sandbox;

/// A version of the contract as components see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// `refloat:failure-policy@0.1`.
    V0_1,
}

impl Track {
    /// Tracks of this host, for people.
    pub const SPOKEN: &'static str = "track 0.1";

    /// Its name, `0.1`.
    pub fn text(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
        }
    }

    /// What a component of this track exports.
    pub fn export(self) -> &'static str {
        match self {
            Self::V0_1 => "refloat:failure-policy/policy@0.1.0",
        }
    }

    /// The track of an export's name.
    pub(crate) fn of_export(name: &str) -> Option<Self> {
        let (interface, version) = imports::split(name);
        let is_policy = interface == "refloat:failure-policy/policy";
        (is_policy && version.is_some_and(|version| version.starts_with("0.1."))).then_some(Self::V0_1)
    }
}

/// One question to a policy.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) context: &'a Context,
    pub(crate) proposed: Option<&'a Decision>,
    /// Kinds of action that the manifest declares.
    pub(crate) declared: &'a [ActionKind],
}

/// A component of one track, ready to be called.
pub(crate) trait Binding: Send + Sync {
    fn describe(&self, runtime: &Runtime) -> Call<Manifest>;
    fn validate(&self, runtime: &Runtime, settings: &Settings) -> Call<Vec<Problem>>;
    fn decide(&self, runtime: &Runtime, request: Request<'_>) -> Call<Answer>;
}

/// Looks up the functions of that track.
pub(crate) fn bind(track: Track, pre: InstancePre<Sandbox>) -> wasmtime::Result<Box<dyn Binding>> {
    match track {
        Track::V0_1 => Ok(Box::new(v0_1::Policy::new(pre)?)),
    }
}
