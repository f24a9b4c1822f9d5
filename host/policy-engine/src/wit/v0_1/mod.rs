//! Track 0.1: the generated types, and calls of a guest's three functions.
//!
//! In: core values. Out: core values, checked. Parameters borrow from the core context, so that no text is copied on
//! the host; lists of records live in an arena that is dropped with the call.

mod cases;
mod lift;
mod lower;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "generated"
)]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "package refloat:engine; world policy-only { export refloat:failure-policy/policy@0.1.0; }",
        path: "../../wit/v0.1",
        world: "refloat:engine/policy-only",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bumpalo::Bump;
use policy_core::decision::Answer;
use policy_core::manifest::Manifest;
use policy_core::settings::{Problem, Settings};
use wasmtime::component::InstancePre;

use self::bindings::PolicyOnlyPre;
use self::lower::Lowering;
use super::{Binding, Request};
use crate::policy::{Call, Runtime};
use crate::sandbox::{Ambient, Sandbox};

/// A component of this track.
pub(super) struct Policy {
    pre: PolicyOnlyPre<Sandbox>,
}

impl Policy {
    pub(super) fn new(pre: InstancePre<Sandbox>) -> wasmtime::Result<Self> {
        Ok(Self { pre: PolicyOnlyPre::new(pre)? })
    }
}

impl Binding for Policy {
    fn describe(&self, runtime: &Runtime) -> Call<Manifest> {
        let call = runtime.run(0, Ambient::default(), |store| {
            let guest = self.pre.instantiate(&mut *store)?;
            guest.refloat_failure_policy_policy().call_describe(store)
        });
        call.checked(lift::manifest)
    }

    fn validate(&self, runtime: &Runtime, settings: &Settings) -> Call<Vec<Problem>> {
        let arena = Bump::new();
        let lowering = Lowering::new(&arena);
        let lowered = lowering.settings(settings);
        let call = runtime.run(lowering.bytes(), Ambient::default(), |store| {
            let guest = self.pre.instantiate(&mut *store)?;
            guest.refloat_failure_policy_policy().call_validate(store, lowered)
        });
        call.checked(lift::problems)
    }

    fn decide(&self, runtime: &Runtime, request: Request<'_>) -> Call<Answer> {
        let arena = Bump::with_capacity(8 << 10);
        let lowering = Lowering::new(&arena);
        let context = lowering.context(request.context);
        let proposed = request.proposed.map(|decision| lowering.decision(decision));
        let now_unix_seconds = request.context.now_unix_seconds.0;
        let ambient = Ambient { now_unix_seconds, seed: request.context.seed };
        let call = runtime.run(lowering.bytes(), ambient, |store| {
            let guest = self.pre.instantiate(&mut *store)?;
            guest.refloat_failure_policy_policy().call_decide(store, context, proposed)
        });
        call.checked(|answer| lift::answer(answer, request.declared))
    }
}
