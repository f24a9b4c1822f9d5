//! Properties of guardrails and plans over random situations: what must hold whatever a policy answers.
//!
//! In: random rules, histories, hints and decisions laid over the base of [`crate::guard_case`]. Out: nothing, or the
//! smallest situation that breaks a property.

use policy_core::context::Mode;
use policy_core::decision::{Action, Decision, Message, OnError, Operation, RollbackSelector, Severity};
use policy_core::failure::{Retryability, StepHint, UserAbort};
use policy_core::guardrails::{self, ALL, Input, budget};
use policy_core::incident::{Attempt, Delivery};
use policy_core::plan;
use policy_core::time::Timestamp;
use policy_core::write::{ActionVerdict, Verdict, Write};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use crate::guard_case::Situation;

fn operation() -> impl Strategy<Value = Operation> {
    let message = |n: u8| Message {
        channel: None,
        severity: Severity::Info,
        title: format!("m{n}"),
        text: "text".to_owned(),
        dedupe_key: None,
    };
    prop_oneof![
        4 => (0_u32..100_000).prop_map(|delay_seconds| Operation::Retry { delay_seconds }),
        2 => Just(Operation::Rollback { target: RollbackSelector::LastVerified, origin: None }),
        1 => Just(Operation::Rollback { target: RollbackSelector::Exact("f9".to_owned()), origin: None }),
        1 => any::<u32>().prop_map(|seconds| Operation::Wait { seconds, cause: "it".to_owned() }),
        2 => any::<u8>().prop_map(move |n| Operation::Notify(message(n))),
        1 => Just(Operation::Accept { text: "known".to_owned() }),
        1 => Just(Operation::HandOff { to: "team".to_owned(), note: "look".to_owned() }),
        1 => Just(Operation::Escalate { title: "page".to_owned(), text: "look".to_owned() }),
        1 => Just(Operation::Record(vec![("k".to_owned(), "v".to_owned())])),
        1 => Just(Operation::Hold { origin: None, until_unix_seconds: None }),
        1 => Just(Operation::AbortPromotion { name: None }),
    ]
}

fn decision() -> impl Strategy<Value = Decision> {
    vec((operation(), any::<bool>()), 0..20).prop_map(|operations| Decision {
        actions: operations
            .into_iter()
            .enumerate()
            .map(|(n, (operation, go_on))| Action {
                id: format!("a{n}"),
                reason: "because".to_owned(),
                on_error: if go_on { OnError::Continue } else { OnError::Stop },
                operation,
            })
            .collect(),
        explanation: "because".to_owned(),
        state: None,
        class: None,
    })
}

fn hint() -> impl Strategy<Value = StepHint> {
    let retry = option::of(prop_oneof![Just(Retryability::Now), Just(Retryability::Never)]);
    (option::of(any::<u8>()), option::of(any::<u32>()), retry).prop_map(
        |(max_attempts, retry_after_seconds, retry)| StepHint {
            step: "push".to_owned(),
            max_attempts,
            retry_after_seconds,
            retry,
            ..StepHint::default()
        },
    )
}

fn attempt(number: u32, kind: &str, claimed: u32, outcome: &str) -> Attempt {
    let value = json!({"number": number, "kind": kind, "claimed": claimed, "reason": "r", "outcome": outcome,
        "promotion": format!("x{number}")});
    serde_json::from_value(value).unwrap()
}

prop_compose! {
    fn history()(
        kinds in vec((any::<bool>(), 990_000_u32..1_000_000, 0..3_usize), 0..8),
        others in vec((any::<bool>(), 900_000_u32..1_000_000), 0..8),
    ) -> (Vec<Attempt>, Vec<Delivery>) {
        let name = |is_rollback: bool| if is_rollback { "rollback" } else { "retry" };
        let outcomes = ["failed", "pending", "aborted"];
        let attempts = kinds.iter().zip(1..).map(|((rollback, at, outcome), number)| {
            attempt(number, name(*rollback), *at, outcomes[*outcome])
        });
        let deliveries = others.iter().map(|(rollback, at)| {
            serde_json::from_value(json!({"at": at, "kind": name(*rollback), "incident": "other"})).unwrap()
        });
        (attempts.collect(), deliveries.collect())
    }
}

prop_compose! {
    fn situation()(
        decision in decision(),
        (attempts, deliveries) in history(),
        hints in vec(hint(), 0..3),
        mode in prop_oneof![1 => Just(Mode::Observe), 1 => Just(Mode::Suggest), 3 => Just(Mode::Enforce)],
        seed in any::<[u32; 4]>(),
        later in 0_u32..10_000,
        (ignored, rollback, aborted, queued) in (weighted(), weighted(), weighted(), weighted()),
        budgets in (0_u32..20, 0_u32..5, 0_u32..20),
    ) -> Situation {
        let mut situation = Situation::with(&json!({})).unwrap();
        situation.decision = decision;
        situation.incident.attempts = attempts;
        situation.deliveries = deliveries;
        situation.context.hints = hints;
        situation.context.seed = seed;
        situation.rules.mode = mode;
        (situation.rules.retries, situation.rules.rollbacks, situation.rules.deliveries) = budgets;
        situation.now = Timestamp(1_000_020).plus(later);
        situation.stage.ignored = ignored;
        situation.context.promotion.as_mut().unwrap().is_rollback = rollback;
        situation.incident.current.user_abort = aborted.then_some(UserAbort { actor: None });
        situation.promotions[0].phase = situation.promotions[0].phase.filter(|_| !queued);
        situation
    }
}

fn weighted() -> impl Strategy<Value = bool> {
    prop_oneof![4 => Just(false), 1 => Just(true)]
}

/// Strictness as a number: allowed, put off until then, refused.
fn strictness(verdict: &ActionVerdict) -> u64 {
    match &verdict.verdict {
        Verdict::Allow => 0,
        Verdict::Postpone { until, .. } => 1 + u64::from(until.0),
        Verdict::Refuse { .. } => u64::MAX,
    }
}

fn verdicts(situation: &Situation) -> Vec<ActionVerdict> {
    situation.look(|input| guardrails::check(&situation.decision, input))
}

fn plan(situation: &Situation) -> Vec<Write> {
    let verdicts = verdicts(situation);
    situation.look(|input| plan::plan(&situation.decision, &verdicts, input))
}

fn left(input: &Input<'_>) -> [u32; 3] {
    let left = budget::left(input.context, input.rules, input.incident, input.deliveries);
    [left.retries_left, left.rollbacks_left, left.deliveries_left]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_guardrails_is_irrelevant(situation in situation()) {
        let backwards = situation.look(|input| guardrails::check_with(ALL.iter().rev(), &situation.decision, input));
        let forwards: Vec<u64> = verdicts(&situation).iter().map(strictness).collect();
        prop_assert_eq!(forwards, backwards.iter().map(strictness).collect::<Vec<_>>());
    }

    #[test]
    fn one_guardrail_more_is_never_less_strict(situation in situation(), left_out in 0..ALL.len()) {
        let others = ALL.iter().enumerate().filter(|(position, _)| *position != left_out).map(|(_, one)| one);
        let fewer = situation.look(|input| guardrails::check_with(others, &situation.decision, input));
        for (action, (all, fewer)) in situation.decision.actions.iter().zip(verdicts(&situation).iter().zip(&fewer)) {
            // What follows a refusal may be freed by it (`on-error: continue`): only refusals by `list` may differ.
            let only_list = fewer.by.iter().any(|(id, _)| id == guardrails::list::ID);
            prop_assert!(only_list || strictness(all) >= strictness(fewer), "{}", action.id);
        }
    }

    #[test]
    fn a_plan_does_nothing_that_was_not_asked_for(situation in situation()) {
        let verdicts = verdicts(&situation);
        prop_assert_eq!(verdicts.len(), situation.decision.actions.len());
        let mut created = 0;
        for write in plan(&situation) {
            if let Write::CreatePromotion { kind, not_before, .. } = write {
                created += 1;
                prop_assert!(not_before >= situation.now);
                let is_asked_for = verdicts.iter().any(|one| {
                    one.kind == kind && !matches!(one.verdict, Verdict::Refuse { .. })
                });
                prop_assert!(is_asked_for, "{kind:?}");
            }
        }
        prop_assert!(created <= 1);
    }

    #[test]
    fn a_plan_always_says_how_the_incident_goes_on(situation in situation()) {
        let ends = |write: &&Write| {
            matches!(write, Write::CreatePromotion { .. } | Write::Timer { .. } | Write::Close { .. })
        };
        prop_assert_eq!(plan(&situation).iter().filter(ends).count(), 1);
    }

    #[test]
    fn without_enforce_nothing_touches_kargo(mut situation in situation(), suggest in any::<bool>()) {
        situation.rules.mode = if suggest { Mode::Suggest } else { Mode::Observe };
        prop_assert!(!plan(&situation).iter().any(Write::touches_kargo));
    }

    #[test]
    fn a_kill_switch_an_abort_and_a_queue_each_stop_every_delivery(mut situation in situation(), which in 0..3) {
        match which {
            0 => situation.stopped = true,
            1 => situation.incident.current.user_abort = Some(UserAbort { actor: None }),
            _ => situation.promotions[0].phase = None,
        }
        prop_assert!(!plan(&situation).iter().any(Write::touches_kargo));
    }

    #[test]
    fn a_hint_never_widens(situation in situation(), hints in vec(hint(), 1..3)) {
        let mut hinted = situation.clone();
        hinted.context.hints.extend(hints);
        for (without, with) in verdicts(&situation).iter().zip(&verdicts(&hinted)) {
            let freed = with.by.iter().chain(&without.by).any(|(id, _)| id == guardrails::list::ID);
            prop_assert!(freed || strictness(with) >= strictness(without), "{}", with.action);
        }
        let (before, after) = (situation.look(left), hinted.look(left));
        prop_assert!(before.iter().zip(&after).all(|(before, after)| after <= before));
    }

    #[test]
    fn budgets_never_grow(situation in situation(), is_rollback in any::<bool>(), forget in any::<bool>()) {
        let before = situation.look(left);
        let mut after = situation.clone();
        let kind = if is_rollback { "rollback" } else { "retry" };
        if forget {
            // The Incident was deleted: its attempts are gone, the Stage remembers its deliveries.
            let name = after.incident.name.clone();
            for attempt in std::mem::take(&mut after.incident.attempts) {
                let value = json!({"at": attempt.claimed, "kind": attempt.kind, "incident": name});
                after.deliveries.push(serde_json::from_value(value).unwrap());
            }
        } else {
            after.incident.attempts.push(attempt(99, kind, 1_000_020, "failed"));
        }
        let left = after.look(left);
        prop_assert!(before.iter().zip(&left).all(|(before, after)| after <= before), "{before:?} {left:?}");
    }
}
