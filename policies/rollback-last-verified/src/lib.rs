//! Returns a Stage to its last good Freight when a verification judges the new one bad.
//!
//! In: an ended verification, or a failed Promotion if the settings say so. Out: a rollback of the failing Freight's
//! origin; a page when there is nowhere to go back to. Never rolls back a rollback, nor what a person ended.

use refloat_policy::{
    ActionKind, Answer, Context, Decision, Effect, Error, Manifest, Policy, RollbackTarget, Severity, Trigger,
};

/// The policy.
#[derive(Debug)]
pub struct RollbackLastVerified;

refloat_policy::export!(RollbackLastVerified);

impl Policy for RollbackLastVerified {
    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .settings_schema(include_str!("../settings.schema.json"))
            .triggers([
                Trigger::VerificationFailed,
                Trigger::VerificationError,
                Trigger::VerificationInconclusive,
                Trigger::PromotionFailed,
                Trigger::PromotionErrored,
                Trigger::RollbackFailed,
            ])
            .actions([ActionKind::Rollback, ActionKind::Notify, ActionKind::Escalate])
    }

    fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
        if context.is_user_abort() {
            return Ok(Answer::Pass);
        }
        if context.is_failed_rollback() || context.incident.rollbacks > 0 {
            return Ok(page(context, "a rollback did not help, and a rollback is never rolled back").into());
        }
        let Some(verdict) = verdict(context) else { return Ok(Answer::Pass) };
        if is_first_flaky_failure(context) {
            return Ok(flaky(context).into());
        }
        Ok(roll_back(context, &verdict)?.into())
    }
}

/// What calls for a rollback, in words; `None` when nothing does.
fn verdict(context: &Context) -> Option<String> {
    let (setting, end) = match context.failure.trigger {
        Trigger::VerificationFailed => ("/phases", "failed"),
        Trigger::VerificationError => ("/phases", "error"),
        Trigger::VerificationInconclusive => ("/phases", "inconclusive"),
        Trigger::PromotionFailed => ("/on-promotion", "failed"),
        Trigger::PromotionErrored => ("/on-promotion", "errored"),
        _ => return None,
    };
    if !context.settings.texts(setting).contains(&end) {
        return None;
    }
    if setting == "/on-promotion" {
        let has_changed_nothing = context.classification.effect == Effect::None;
        return (!has_changed_nothing)
            .then(|| format!("the Promotion of Freight `{}` ended {end}", failing(context)));
    }
    let is_reused = context.verification.as_ref().is_some_and(|verification| verification.reused);
    let reused = if is_reused { ", by the copied result of an older verification" } else { "" };
    Some(format!("the verification of Freight `{}` ended {end}{reused}", failing(context)))
}

/// Back to the target of the failing origin, if there is one and Kargo would take it.
fn roll_back(context: &Context, verdict: &str) -> Result<Decision, Error> {
    let target = match context.rollback_target() {
        None => return Ok(page(context, "no known good Freight")),
        Some(target) => target,
    };
    let Some(freight) = &target.freight else {
        return Ok(page(context, &format!("no known good Freight: {}", target.because)));
    };
    if target.exists == Some(false) {
        return Ok(page(context, &format!("the last good Freight `{freight}` no longer exists")));
    }
    if target.available == Some(false) {
        return Ok(page(
            context,
            &format!("the last good Freight `{freight}` is not available to this Stage"),
        ));
    }
    if context.budgets.rollbacks_left == 0 || context.budgets.deliveries_left == 0 {
        return Ok(page(context, "no rollback is left in this incident's budget"));
    }
    let reason = format!("{verdict}; Freight `{freight}` is the last good one: {}", target.because);
    let decision = Decision::new().rollback_to_last_verified(origin(context, target)).because(&reason);
    if context.settings.boolean("/quiet")? {
        return Ok(decision);
    }
    let title = format!("{}: going back to Freight `{freight}`", place(context));
    Ok(decision.notify(Severity::Warning, title, reason).because("people should know that a Stage goes back"))
}

/// The origin, where the Stage has several.
fn origin<'a>(context: &Context, target: &'a RollbackTarget) -> Option<&'a str> {
    (context.stage.origins.len() > 1).then_some(target.origin.as_str())
}

fn page(context: &Context, why: &str) -> Decision {
    let text = format!("{}. Nothing automatic follows: {why}.", context.failure.summary);
    Decision::new().escalate(format!("{}: {why}", place(context)), text).because(why)
}

/// Whether only metrics that are known to be flaky failed, for the first time in this incident.
fn is_first_flaky_failure(context: &Context) -> bool {
    let flaky = context.settings.texts("/flaky-metrics");
    let metrics = context.verification.iter().flat_map(|verification| &verification.metrics);
    let mut bad = metrics.filter(|metric| !metric.dry_run && metric.phase != "Successful").peekable();
    context.failure.trigger == Trigger::VerificationFailed
        && context.incident.decisions.iter().all(|decision| decision.trigger != Trigger::VerificationFailed)
        && bad.peek().is_some()
        && bad.all(|metric| flaky.contains(&metric.name.as_str()))
}

fn flaky(context: &Context) -> Decision {
    let reason = "only metrics that the settings call flaky failed, and for the first time in this incident";
    let text =
        format!("{}. Verify again in Kargo; a second failure calls for a rollback.", context.failure.summary);
    let title = format!("{}: a flaky verification failed", place(context));
    Decision::new().notify(Severity::Warning, title, text).because(reason)
}

fn failing(context: &Context) -> &str {
    context
        .freight
        .failing
        .as_ref()
        .map_or("unknown", |freight| freight.alias.as_deref().unwrap_or(&freight.name))
}

fn place(context: &Context) -> String {
    format!("{}/{}", context.project.name, context.stage.name)
}

#[cfg(test)]
mod tests {
    use refloat_policy::{Scalar, testing};

    use super::*;

    fn context() -> Context {
        let mut context = testing::context();
        context.failure.trigger = Trigger::VerificationFailed;
        context.verification = Some(testing::verification("Failed", &[("error-rate", "Failed")]));
        context.settings =
            testing::settings([("/phases/0", Scalar::from("failed")), ("/quiet", true.into())]);
        context
    }

    #[track_caller]
    fn check(context: &Context, expected: &str) {
        let said = match RollbackLastVerified::decide(context, None).expect("settings are complete") {
            Answer::Pass => "pass".to_owned(),
            Answer::Decide(decision) => {
                let actions = decision.actions.iter();
                actions.map(|action| format!("{}: {}", action.operation.kind(), action.reason)).collect()
            }
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_bad_verdict_goes_back_and_a_copied_one_says_so() {
        let mut context = context();
        let good = "Freight `f8` is the last good one: its newest verification was Successful";
        check(&context, &format!("rollback: the verification of Freight `f9` ended failed; {good}"));
        context.verification.as_mut().expect("set above").reused = true;
        let copied = ", by the copied result of an older verification";
        check(&context, &format!("rollback: the verification of Freight `f9` ended failed{copied}; {good}"));
    }

    #[test]
    fn a_rollback_is_never_rolled_back() {
        let mut context = context();
        context.promotion.as_mut().expect("a promotion").is_rollback = true;
        check(&context, "escalate: a rollback did not help, and a rollback is never rolled back");
    }
}
