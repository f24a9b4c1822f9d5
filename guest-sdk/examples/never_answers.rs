//! A policy with a bug that everybody has written once: it waits for something that never comes.
//!
//! In: anything. Out: nothing, ever. The host ends it when its fuel is used up, does nothing about the failure, and says
//! whose fault that is. For demonstrations only.
//!
//! Build: `cargo build -p refloat-policy --example never-answers --target wasm32-wasip2 --profile guest`

use refloat_policy::{ActionKind, Answer, Context, Decision, Error, Manifest, Policy};

struct NeverAnswers;

refloat_policy::export!(NeverAnswers);

impl Policy for NeverAnswers {
    fn manifest() -> Manifest {
        Manifest::new("never-answers", "1.0.0", "Waits for ever.").actions([ActionKind::Accept])
    }

    fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
        refloat_policy::log::info("waiting for the failure to go away");
        while std::hint::black_box(context).failure.summary.len() < usize::MAX {}
        Ok(Answer::Pass)
    }
}
