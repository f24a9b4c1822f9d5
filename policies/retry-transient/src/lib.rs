//! Repeats a Promotion that failed for a reason that passes by itself: a network error, a quota, a lost race.
//!
//! In: a failed Promotion, or one whose record Kargo has lost. Out: a retry with a growing pause; a message or a page once retries are used up; nothing
//! for failures of any other class, so that the next entry of the chain decides. Never rolls back.

use refloat_policy::{
    ActionKind, Answer, Backoff, Context, Decision, Error, Jitter, Manifest, Policy, Problem, Settings,
    Severity, Trigger, duration,
};

/// The policy.
#[derive(Debug)]
pub struct RetryTransient;

refloat_policy::export!(RetryTransient);

impl Policy for RetryTransient {
    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .settings_schema(include_str!("../settings.schema.json"))
            .triggers([
                Trigger::PromotionFailed,
                Trigger::PromotionErrored,
                Trigger::PromotionNotRecorded,
                Trigger::VerificationMissing,
            ])
            .actions([ActionKind::Retry, ActionKind::Accept, ActionKind::Notify, ActionKind::Escalate])
    }

    fn validate(settings: &Settings) -> Result<(), Vec<Problem>> {
        let (base, cap) =
            (settings.seconds("/base").unwrap_or(30), settings.seconds("/cap").unwrap_or(1_800));
        let mut problems = Vec::new();
        if !(10..=3_600).contains(&base) {
            problems.push(Problem::new("/base", format!("must be from 10s to 1h, not {}", duration(base))));
        }
        if cap < base {
            let base = duration(base);
            problems.push(Problem::new("/cap", format!("must not be shorter than `base`, which is {base}")));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
        let can_be_repeated = matches!(
            context.failure.trigger,
            Trigger::PromotionFailed
                | Trigger::PromotionErrored
                | Trigger::PromotionNotRecorded
                | Trigger::VerificationMissing
        );
        if !can_be_repeated || context.is_user_abort() || context.is_failed_rollback() {
            return Ok(Answer::Pass);
        }
        if !context.settings.texts("/classes").contains(&context.classification.class.name()) {
            return Ok(Answer::Pass);
        }
        if let Some(newer) = context.superseded_by() {
            let reason = format!("newer Freight `{newer}` is already in Stage `{}`", context.stage.name);
            return Ok(Decision::new().accept("superseded").because(reason).into());
        }
        if context.forbids_retry() {
            return give_up(context, &objection(context));
        }
        retry(context)
    }
}

/// The next attempt, or giving up when there is none left.
fn retry(context: &Context) -> Result<Answer, Error> {
    let settings = &context.settings;
    let max = settings.integer("/max")?.unsigned_abs();
    let max = context.hinted_max_attempts().map_or(max, |hinted| hinted.min(max));
    let attempt = context.incident.retries + 1;
    if attempt > max {
        return give_up(context, &format!("all {max} retries are used up"));
    }
    if context.budgets.retries_left == 0 || context.budgets.deliveries_left == 0 {
        return give_up(context, "no delivery is left in this incident's budget");
    }
    let jitter = Jitter::from_name(settings.text("/jitter")?).unwrap_or(Jitter::Equal);
    let backoff = Backoff {
        base_seconds: settings.seconds("/base")?,
        factor: settings.number("/factor")?,
        cap_seconds: settings.seconds("/cap")?,
        jitter,
    };
    let pause = backoff.delay_seconds(context.incident.retries, context.seed);
    let asked = context.retry_after_seconds().unwrap_or(0);
    let whose = if asked > pause { " as the step asked" } else { "" };
    let delay = pause.max(asked);
    // Put together, not formatted: that is a tenth of what this policy costs.
    let (attempt, max) = (attempt.to_string(), max.to_string());
    let why =
        [&what(context), " and may pass: attempt ", &attempt, " of ", &max, " in ", &duration(delay), whose];
    let why = why.concat();
    Ok(Decision::new().retry(delay).because(why).into())
}

/// What the settings say for the end of the road.
fn give_up(context: &Context, why: &str) -> Result<Answer, Error> {
    let reason = format!("no retry: {}, but {why}", what(context));
    let title = format!("{}/{}: no further retry", context.project.name, context.stage.name);
    let text = format!("{reason}. {}", context.failure.summary);
    match context.settings.text("/give-up")? {
        "pass" => Ok(Answer::Pass),
        "escalate" if !context.has_tried(&ActionKind::Escalate) => {
            Ok(Decision::new().escalate(title, text).because(reason).into())
        }
        _ => Ok(Decision::new().notify(Severity::Warning, title, text).because(reason).into()),
    }
}

/// Who says that a retry does not help.
fn objection(context: &Context) -> String {
    let said = context.hints.iter().find_map(|hint| Some((&hint.step, hint.retry.as_ref()?)));
    match said {
        Some((step, retry)) => format!("step `{step}` says of a retry: {retry}"),
        None => format!(
            "rule {} says of a retry: {}",
            context.classification.rule, context.classification.retryability
        ),
    }
}

/// `class transient (rule G2) in step push`.
fn what(context: &Context) -> String {
    let classification = &context.classification;
    let (class, rule) = (classification.class.name(), classification.rule.as_str());
    match &classification.step {
        Some(step) => ["class ", class, " (rule ", rule, ") in step `", step, "`"].concat(),
        None => ["class ", class, " (rule ", rule, ")"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use refloat_policy::{Operation, Scalar, testing};

    use super::*;

    fn context() -> Context {
        let mut context = testing::context();
        let give_up = "notify";
        context.settings = testing::settings([
            ("/max", Scalar::from(3)),
            ("/base", 30.into()),
            ("/factor", 2.into()),
            ("/cap", 1_800.into()),
            ("/jitter", "none".into()),
            ("/classes/0", "transient".into()),
            ("/give-up", give_up.into()),
        ]);
        context
    }

    #[track_caller]
    fn check(context: &Context, expected: &str) {
        let answer = RetryTransient::decide(context, None).expect("settings are complete");
        let said = match answer {
            Answer::Pass => "pass".to_owned(),
            Answer::Decide(decision) => {
                let [action] = decision.actions.as_slice() else { unreachable!("{decision:?}") };
                match &action.operation {
                    Operation::Retry(retry) => format!("retry {}: {}", retry.delay_seconds, action.reason),
                    operation => format!("{}: {}", operation.kind(), action.reason),
                }
            }
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_pause_grows_and_the_sentence_counts() {
        let mut context = context();
        let because = "class transient (rule G2) in step `push` and may pass";
        check(&context, &format!("retry 30: {because}: attempt 1 of 3 in 30s"));
        context.incident.retries = 2;
        check(&context, &format!("retry 120: {because}: attempt 3 of 3 in 2m"));
        context.incident.retries = 3;
        check(
            &context,
            "notify: no retry: class transient (rule G2) in step `push`, but all 3 retries are used up",
        );
    }

    #[test]
    fn hints_only_narrow() {
        let mut context = context();
        context.hints = vec![testing::hint("push")];
        context.hints[0].max_attempts = Some(9);
        context.hints[0].retry_after_seconds = Some(600);
        let because = "class transient (rule G2) in step `push` and may pass";
        check(&context, &format!("retry 600: {because}: attempt 1 of 3 in 10m as the step asked"));
        context.hints[0].max_attempts = Some(0);
        check(
            &context,
            "notify: no retry: class transient (rule G2) in step `push`, but all 0 retries are used up",
        );
    }
}
