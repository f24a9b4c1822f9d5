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
use wasmtime::Error;
use wasmtime::component::{ComponentExportIndex, InstancePre, TypedFunc};

use self::bindings::exports::refloat::failure_policy::policy as wit;
use self::lower::Lowering;
use super::{Binding, Request, Track};
use crate::policy::{Call, Runtime};
use crate::sandbox::{Ambient, Sandbox};

type Describe = TypedFunc<(), (wit::Manifest,)>;
type Validate<'a> = TypedFunc<(&'a wit::Settings<'a>,), (Result<(), Vec<wit::Problem>>,)>;
/// Parameters are references: what a context consists of is as large as a page.
type Decide<'a> = TypedFunc<
    (&'a wit::Context<'a>, Option<&'a wit::DecisionParam<'a>>),
    (Result<wit::Answer, wit::PolicyError>,),
>;

/// A component of this track, and where its functions are.
///
/// The generated struct for that compares the types of all three functions in each instance, name by name, which is a
/// fifth of a small decision. Here a call looks at the function that it calls; `describe`, which loading calls, at all.
pub(super) struct Policy {
    pre: InstancePre<Sandbox>,
    describe: ComponentExportIndex,
    validate: ComponentExportIndex,
    decide: ComponentExportIndex,
}

impl Policy {
    pub(super) fn new(pre: InstancePre<Sandbox>) -> wasmtime::Result<Self> {
        let export = Track::V0_1.export();
        let component = pre.component();
        let interface = component.get_export_index(None, export);
        let interface = interface.ok_or_else(|| Error::msg(format!("no export `{export}`")))?;
        let function = |name: &str| {
            let function = component.get_export_index(Some(&interface), name);
            function.ok_or_else(|| Error::msg(format!("no function `{name}` in the export `{export}`")))
        };
        let (describe, validate, decide) =
            (function("describe")?, function("validate")?, function("decide")?);
        Ok(Self { pre, describe, validate, decide })
    }
}

impl Binding for Policy {
    fn describe(&self, runtime: &Runtime) -> Call<Manifest> {
        let call = runtime.run(0, Ambient::default(), |store| {
            let guest = self.pre.instantiate(&mut *store)?;
            let describe: Describe = guest.get_typed_func(&mut *store, self.describe)?;
            let _: Validate<'_> = guest.get_typed_func(&mut *store, self.validate)?;
            let _: Decide<'_> = guest.get_typed_func(&mut *store, self.decide)?;
            answer_of(describe.call(store, ()))
        });
        call.checked(lift::manifest)
    }

    fn validate(&self, runtime: &Runtime, settings: &Settings) -> Call<Vec<Problem>> {
        let arena = Bump::new();
        let lowering = Lowering::new(&arena);
        let settings = lowering.settings(settings);
        let call = runtime.run(lowering.bytes(), Ambient::default(), |store| {
            let guest = self.pre.instantiate(&mut *store)?;
            let validate: Validate<'_> = guest.get_typed_func(&mut *store, self.validate)?;
            answer_of(validate.call(store, (&settings,)))
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
            let decide: Decide<'_> = guest.get_typed_func(&mut *store, self.decide)?;
            answer_of(decide.call(store, (&context, proposed.as_ref())))
        });
        call.checked(|answer| lift::answer(answer, request.declared))
    }
}

/// Results are tuples, and functions of this contract have one each.
fn answer_of<T>(called: wasmtime::Result<(T,)>) -> wasmtime::Result<T> {
    called.map(|(answer,)| answer)
}
