//! Tells people about every failure: what failed, how sure the host is, what happens next.
//!
//! In: any failure and what the chain proposes. Out: the proposal with one message added, before whatever ends the
//! list. Messages that the proposal already has for the same channel are taken into it, so that people get one.
//! Adds nothing but messages, and stays quiet about what a person ended.

use refloat_policy::{
    Action, ActionKind, Answer, Class, Context, Decision, Error, Manifest, Notify, Operation, Policy,
    Severity, Trigger, duration,
};

/// The policy.
#[derive(Debug)]
pub struct NotifyPeople;

refloat_policy::export!(NotifyPeople);

/// The contract's limit for one decision.
const MAX_ACTIONS: usize = 16;

impl Policy for NotifyPeople {
    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .modifier()
            .settings_schema(include_str!("../settings.schema.json"))
            .actions([ActionKind::Notify, ActionKind::Record])
    }

    fn decide(context: &Context, proposed: Option<&Decision>) -> Result<Answer, Error> {
        let channel = Some(context.settings.text("/channel")?).filter(|channel| !channel.is_empty());
        let proposed = proposed.cloned();
        if context.is_user_abort() {
            return Ok(keep_quiet(proposed, "a person ended it, which is no news to people"));
        }
        let mut decision = proposed.clone().unwrap_or_default();
        let same_channel = |message: &Notify| message.channel.as_deref() == channel;
        let taken = take_messages(&mut decision.actions, same_channel);
        let severity = severity(context, &decision, &taken);
        if rank(&severity) < rank_named(context.settings.text("/min-severity")?) {
            return Ok(keep_quiet(proposed, "the failure is below the severity that the settings ask for"));
        }
        if decision.actions.len() >= MAX_ACTIONS {
            return Ok(Answer::Pass);
        }
        let message = Notify {
            channel: channel.map(str::to_owned),
            severity,
            title: format!("{}/{}: {}", context.project.name, context.stage.name, context.failure.trigger),
            text: text(context, &decision, &taken),
            dedupe_key: Some(dedupe_key(context, &decision)),
        };
        Ok(add_message(decision, message).into())
    }
}

/// Nothing is sent: what was proposed stands; where nothing was, the record says why.
fn keep_quiet(proposed: Option<Decision>, why: &str) -> Answer {
    match proposed {
        Some(_) => Answer::Pass,
        None => Decision::new().record([("quiet", why)]).because(why).into(),
    }
}

/// Removes messages for the same channel, and returns them.
fn take_messages(actions: &mut Vec<Action>, is_same: impl Fn(&Notify) -> bool) -> Vec<Notify> {
    let mut taken = Vec::new();
    actions.retain(|action| match &action.operation {
        Operation::Notify(message) if is_same(message) => {
            taken.push(message.clone());
            false
        }
        _ => true,
    });
    taken
}

/// Puts the message before what ends the list, for nothing after that is carried out.
fn add_message(decision: Decision, message: Notify) -> Decision {
    let ends =
        |action: &Action| matches!(action.operation, Operation::Wait(_) | Operation::RequestApproval(_));
    let end = decision.actions.iter().position(ends).unwrap_or(decision.actions.len());
    let reason = "every failure is told to people";
    let mut decision = decision.operate(Operation::Notify(message)).or_go_on().because(reason);
    if let Some(tail) = decision.actions.get_mut(end..) {
        tail.rotate_right(1);
    }
    decision
}

/// The message: what failed, how it was read, what happens next, what is left.
fn text(context: &Context, decision: &Decision, taken: &[Notify]) -> String {
    let classification = &context.classification;
    let step = match (&classification.step, context.failed_step()) {
        (Some(alias), Some(step)) => format!(" in step `{alias}` ({})", step.kind),
        (Some(alias), None) => format!(" in step `{alias}`"),
        (None, _) => String::new(),
    };
    let mut lines = vec![
        context.failure.summary.clone(),
        format!(
            "Read as {}{step}, {} % sure (rule {}).",
            classification.class, classification.confidence_percent, classification.rule
        ),
    ];
    if let Some(freight) = &context.freight.failing {
        lines.push(format!("Freight: {}.", freight.alias.as_deref().unwrap_or(&freight.name)));
    }
    let next: Vec<String> = decision.actions.iter().map(next_line).collect();
    lines.extend(next);
    if decision.actions.is_empty() && taken.is_empty() {
        lines.push("Next: nothing by itself.".to_owned());
    }
    lines.extend(taken.iter().map(|message| message.text.clone()));
    let budgets = &context.budgets;
    lines.push(format!(
        "Left in this incident: retries {}, rollbacks {}.",
        budgets.retries_left, budgets.rollbacks_left
    ));
    lines.join("\n")
}

/// `Next: retry in 30s - why`.
fn next_line(action: &Action) -> String {
    let kind = action.operation.kind();
    let when = match &action.operation {
        Operation::Retry(retry) => format!(" in {}", duration(retry.delay_seconds)),
        Operation::Wait(wait) => format!(" {}", duration(wait.seconds)),
        _ => String::new(),
    };
    format!("Next: {kind}{when} - {}.", action.reason)
}

/// Once per incident, trigger and turn that the incident takes: the message that gives up is not the first one again.
fn dedupe_key(context: &Context, decision: &Decision) -> String {
    let mut kinds: Vec<String> =
        decision.actions.iter().map(|action| action.operation.kind().to_string()).collect();
    kinds.sort();
    kinds.dedup();
    let next = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join("+") };
    format!("{}/{}/{next}", context.incident.id, context.failure.trigger)
}

/// How loud: a failed rollback is critical, what heals by itself is good to know, the rest is a warning. Beside an
/// escalation, which pages somebody, this message is not a second page.
fn severity(context: &Context, decision: &Decision, taken: &[Notify]) -> Severity {
    let has = |kind: ActionKind| decision.actions.iter().any(|action| action.operation.kind() == kind);
    let is_critical =
        context.is_failed_rollback() || context.classification.class == Class::UnhealthyAfterSuccess;
    let heals = has(ActionKind::Retry) || has(ActionKind::Accept);
    let own = match context.failure.trigger {
        _ if has(ActionKind::Escalate) => Severity::Warning,
        _ if is_critical => Severity::Critical,
        Trigger::StepFailedTolerated => Severity::Info,
        _ if heals => Severity::Info,
        _ => Severity::Warning,
    };
    let loudest = taken.iter().map(|message| message.severity.clone()).max_by_key(rank);
    loudest.filter(|taken| rank(taken) > rank(&own)).unwrap_or(own)
}

fn rank(severity: &Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning | Severity::Other(_) => 1,
        Severity::Critical => 2,
    }
}

fn rank_named(name: &str) -> u8 {
    match name {
        "critical" => 2,
        "warning" => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use refloat_policy::testing;

    use super::*;

    fn context() -> Context {
        let mut context = testing::context();
        context.settings = testing::settings([("/channel", ""), ("/min-severity", "info")]);
        context
    }

    #[track_caller]
    fn decide(context: &Context, proposed: Option<Decision>) -> Decision {
        match NotifyPeople::decide(context, proposed.as_ref()).expect("settings are complete") {
            Answer::Decide(decision) => decision,
            Answer::Pass => unreachable!("it has something to say"),
        }
    }

    fn kinds(decision: &Decision) -> Vec<String> {
        decision.actions.iter().map(|action| action.operation.kind().to_string()).collect()
    }

    #[test]
    fn a_message_goes_before_what_ends_the_list() {
        let wait = Decision::new().wait(60, "a second look").because("it may pass");
        assert_eq!(kinds(&decide(&context(), Some(wait))), ["notify", "wait"]);
    }

    #[test]
    fn people_get_one_message_and_it_says_what_the_other_said() {
        let proposed =
            Decision::new().notify(Severity::Critical, "t", "All retries are used up.").because("r");
        let decision = decide(&context(), Some(proposed));
        let [Action { operation: Operation::Notify(message), .. }] = decision.actions.as_slice() else {
            unreachable!("{decision:?}")
        };
        assert_eq!(message.severity, Severity::Critical);
        assert_eq!(
            message.text,
            "step `push` errored: RPC failed; HTTP 502\n\
             Read as transient in step `push` (git-push), 90 % sure (rule G2).\n\
             Freight: f9.\n\
             All retries are used up.\n\
             Left in this incident: retries 3, rollbacks 1."
        );
    }

    #[test]
    fn a_retry_and_its_end_are_told_apart() {
        let retry = decide(&context(), Some(Decision::new().retry(30).because("it may pass")));
        let end = decide(&context(), None);
        let key = |decision: &Decision| match decision.actions.last().map(|action| action.operation.clone()) {
            Some(Operation::Notify(message)) => message.dedupe_key,
            _ => None,
        };
        assert_eq!(key(&retry).as_deref(), Some("prod-0123456789/promotion-errored/retry"));
        assert_eq!(key(&end).as_deref(), Some("prod-0123456789/promotion-errored/nothing"));
    }
}
