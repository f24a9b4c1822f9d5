//! A policy that decides by what the failing step says of itself.
//!
//! In: step hints. Out: a retry after the pause that the step asks for, a page when the step says that a retry never
//! helps, nothing without a hint. The most trusted hint comes first, so it is the one that counts.
//!
//! Build: `cargo build -p refloat-policy --example by-step-hint --target wasm32-wasip2 --profile guest`

use refloat_policy::{
    ActionKind, Answer, Context, Decision, Error, Manifest, Policy, Retryability, StepHint, Trigger,
};

struct ByStepHint;

refloat_policy::export!(ByStepHint);

impl Policy for ByStepHint {
    fn manifest() -> Manifest {
        Manifest::new("by-step-hint", "1.0.0", "Does what the failing step says about its own failure.")
            .triggers([Trigger::PromotionFailed, Trigger::PromotionErrored])
            .actions([ActionKind::Retry, ActionKind::Escalate])
    }

    fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
        let Some(hint) = context.hints.first().filter(|_| !context.is_user_abort()) else {
            return Ok(Answer::Pass);
        };
        refloat_policy::log::info(format!("step {} speaks through its {}", hint.step, hint.channel));
        match hint.retry {
            Some(Retryability::Now | Retryability::AfterDelay | Retryability::WholeOnly) => Ok(repeat(context, hint)),
            Some(Retryability::NeedsChange | Retryability::Never) => Ok(page(context, hint)),
            Some(Retryability::Unknown | Retryability::Other(_)) | None => Ok(Answer::Pass),
        }
    }
}

fn repeat(context: &Context, hint: &StepHint) -> Answer {
    if context.budgets.retries_left == 0 {
        return Answer::Pass;
    }
    let pause = hint.retry_after_seconds.unwrap_or(10);
    let reason = format!("step {} asks for another try in {}", hint.step, refloat_policy::duration(pause));
    Decision::new().retry(pause).because(reason).into()
}

fn page(context: &Context, hint: &StepHint) -> Answer {
    let why = hint.reason.as_deref().unwrap_or("no reason given");
    let reason = format!("step {} says that a retry does not help: {why}", hint.step);
    let title = format!("{} needs a person", context.stage.name);
    Decision::new().escalate(title, &context.failure.summary).because(reason).into()
}

#[cfg(test)]
mod tests {
    use refloat_policy::testing;

    use super::*;

    fn reason(context: &Context) -> Option<String> {
        match ByStepHint::decide(context, None).expect("it always answers") {
            Answer::Pass => None,
            Answer::Decide(decision) => Some(decision.explanation),
        }
    }

    #[test]
    fn the_step_has_the_word() {
        let mut context = testing::context();
        assert_eq!(reason(&context), None);
        context.hints = vec![testing::hint("push")];
        context.hints[0].retry = Some(Retryability::AfterDelay);
        context.hints[0].retry_after_seconds = Some(120);
        assert_eq!(reason(&context).as_deref(), Some("step push asks for another try in 2m"));
        context.hints[0].retry = Some(Retryability::Never);
        context.hints[0].reason = Some("LICENCE_EXPIRED".to_owned());
        let expected = "step push says that a retry does not help: LICENCE_EXPIRED";
        assert_eq!(reason(&context).as_deref(), Some(expected));
    }
}
