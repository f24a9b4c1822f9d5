//! Guardrails: what the host allows, whatever a policy answers.
//!
//! In: a decision and the facts around it. Out: one verdict per action, the strictest of all guardrails. A guardrail
//! may refuse or put off, never add; what one says depends on no other. Each has a file named by its id, with why it
//! exists and where its figures come from; [`ALL`] is the list of them. `tests/cases/guardrails` has their cases.

pub mod budget;
pub mod g01_retry_budget;
pub mod g02_rollback_budget;
pub mod g03_total_deliveries;
pub mod g04_backoff;
pub mod g05_stage_cooldown;
pub mod g06_failure_age;
pub mod g07_settled_stage;
pub mod g08_freshness;
pub mod g09_idempotent_create;
pub mod g12_self_trigger;
pub mod g13_allow_list;
pub mod g15_human_hold;
pub mod g21_list_limits;
pub mod g23_guest_fault;
pub mod g24_mode;
pub mod g25_kill_switch;
pub mod g26_two_engines;
pub mod g36_abort_order;
pub mod list;
pub mod target;
pub mod unsupported;

pub use g08_freshness::Seen;

use crate::called;
use crate::context::Context;
use crate::decision::{Action, Decision};
use crate::incident::{Delivery, IncidentState};
use crate::rules::Rules;
use crate::snapshot::{ProjectFreight, ProjectSnapshot, PromotionSnapshot, StageSnapshot};
use crate::time::Timestamp;
use crate::write::{ActionVerdict, Verdict};

/// The facts that guardrails look at. `context` is the one that the policy got; everything else may be read anew, so
/// that the same check runs at the decision and again right before a write.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The time of the check, at or after `context.now_unix_seconds`.
    pub now: Timestamp,
    /// What the policy got.
    pub context: &'a Context,
    /// The incident.
    pub incident: &'a IncidentState,
    /// The rules in force.
    pub rules: &'a Rules,
    /// The Project.
    pub project: &'a ProjectSnapshot,
    /// The Stage, as fresh as possible.
    pub stage: &'a StageSnapshot,
    /// What the decision saw in the Stage; `Seen::of` the snapshot that the context was made of (G8).
    pub seen: &'a Seen,
    /// Promotions; those of other Stages are left out here.
    pub promotions: &'a [PromotionSnapshot],
    /// Freight of the Project.
    pub freight: &'a ProjectFreight,
    /// Deliveries to the Stage in the last 24 hours, those of this incident included.
    pub deliveries: &'a [Delivery],
    /// The kill switch of the whole cluster (G25). The other three are in the snapshots.
    pub stopped: bool,
    /// Whether Kargo Enterprise rolls this Stage back by itself, see [`g26_two_engines::rolls_back_by_itself`].
    pub enterprise_rollback: bool,
}

impl<'a> Input<'a> {
    /// Promotions of this Stage.
    pub fn promotions_of_stage(&self) -> impl Iterator<Item = &'a PromotionSnapshot> + use<'a> {
        let stage = &self.stage.name;
        self.promotions.iter().filter(move |promotion| promotion.stage == *stage)
    }

    /// A text of the host or of a guest for people, who know Freight by its alias.
    pub fn for_people(&self, text: &str) -> String {
        called::by_alias(text, |name| {
            self.freight.alias_of(name).or_else(|| self.context.freight.alias_of(name))
        })
    }

    fn verdict_for_people(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Allow => Verdict::Allow,
            Verdict::Postpone { until, because } => {
                Verdict::Postpone { until, because: self.for_people(&because) }
            }
            Verdict::Refuse { because } => Verdict::Refuse { because: self.for_people(&because) },
        }
    }
}

/// How a guardrail looks.
#[derive(Clone, Copy)]
pub enum Check {
    /// At one action.
    Action(fn(&Action, &Input<'_>) -> Verdict),
    /// At one action by its position in the list, from 0.
    InList(fn(usize, &Action, &Decision, &Input<'_>) -> Verdict),
    /// At the verdicts of all others: what follows an action that ends the list.
    AfterOthers,
    /// Not at actions: the text says where it is enforced.
    Elsewhere(&'static str),
}

/// One guardrail.
#[derive(Clone, Copy)]
pub struct Guardrail {
    /// Its id as it stands in records, messages and metrics.
    pub id: &'static str,
    /// What it keeps from happening, a few words.
    pub meaning: &'static str,
    /// How it looks.
    pub check: Check,
}

const fn rail(id: &'static str, meaning: &'static str, check: Check) -> Guardrail {
    Guardrail { id, meaning, check }
}

/// All guardrails, in the order in which verdicts list them.
pub const ALL: &[Guardrail] = &[
    rail("G1", "retry budget of an incident", Check::Action(g01_retry_budget::check)),
    rail("G2", "rollback budget, nothing after a failed rollback", Check::Action(g02_rollback_budget::check)),
    rail("G3", "deliveries to a Stage in 24 hours", Check::Action(g03_total_deliveries::check)),
    rail("G4", "pause before a retry", Check::Action(g04_backoff::check)),
    rail("G5", "rest of a Stage after a rollback", Check::Action(g05_stage_cooldown::check)),
    rail("G6", "age of a failure", Check::Action(g06_failure_age::check)),
    rail("G7", "settled Stage", Check::Action(g07_settled_stage::check)),
    rail("G8", "facts of the decision still hold", Check::Action(g08_freshness::check)),
    rail("G9", "one attempt at a time", Check::Action(g09_idempotent_create::check)),
    rail("G12", "nothing automatic on an abort", Check::Action(g12_self_trigger::check)),
    rail("G13", "allowed actions and channels", Check::Action(g13_allow_list::check)),
    rail("G15", "a person's hold wins", Check::Action(g15_human_hold::check)),
    rail("G21", "limits of a list", Check::InList(g21_list_limits::check)),
    rail("G22", "limits of a guest", Check::Elsewhere("policy-engine: fuel, memory, answer, log, deadline")),
    rail("G23", "no write after a guest fault", Check::Elsewhere("plan::fault, chain::disabled")),
    rail("G24", "mode", Check::Action(g24_mode::check)),
    rail("G25", "kill switches", Check::Action(g25_kill_switch::check)),
    rail("G26", "two engines on one Stage", Check::Action(g26_two_engines::check)),
    rail("G36", "order of aborts", Check::Action(g36_abort_order::check)),
    rail("target", "usable Freight", Check::Action(target::check)),
    rail("unsupported-here", "what this host cannot do", Check::Action(unsupported::check)),
    rail("list", "what follows the end of a list", Check::AfterOthers),
];

/// Every guardrail for every action, in the order of the actions.
pub fn check(decision: &Decision, input: &Input<'_>) -> Vec<ActionVerdict> {
    check_with(ALL.iter(), decision, input)
}

/// The same with guardrails in any order: only the order of `by`, and whose words an action gets, depend on it.
pub fn check_with<'g>(
    guardrails: impl Iterator<Item = &'g Guardrail> + Clone,
    decision: &Decision,
    input: &Input<'_>,
) -> Vec<ActionVerdict> {
    let mut verdicts = Vec::with_capacity(decision.actions.len());
    for (position, action) in decision.actions.iter().enumerate() {
        let mut by = Vec::new();
        for guardrail in guardrails.clone() {
            let verdict = match guardrail.check {
                Check::Action(check) => check(action, input),
                Check::InList(check) => check(position, action, decision, input),
                Check::AfterOthers | Check::Elsewhere(_) => Verdict::Allow,
            };
            if verdict != Verdict::Allow {
                by.push((guardrail.id.to_owned(), input.verdict_for_people(verdict)));
            }
        }
        verdicts.push(ActionVerdict {
            action: action.id.clone(),
            kind: action.operation.kind(),
            verdict: strictest(&by),
            by,
        });
    }
    list::apply(decision, &mut verdicts);
    verdicts
}

/// A refusal before a postponement, a later time before an earlier one, the first of equals.
pub fn strictest(by: &[(String, Verdict)]) -> Verdict {
    let mut strictest = Verdict::Allow;
    for (_, verdict) in by {
        let is_stricter = match (&strictest, verdict) {
            (Verdict::Allow, Verdict::Postpone { .. } | Verdict::Refuse { .. })
            | (Verdict::Postpone { .. }, Verdict::Refuse { .. }) => true,
            (Verdict::Postpone { until: old, .. }, Verdict::Postpone { until: new, .. }) => new > old,
            (Verdict::Allow | Verdict::Postpone { .. }, Verdict::Allow) | (Verdict::Refuse { .. }, _) => {
                false
            }
        };
        if is_stricter {
            strictest = verdict.clone();
        }
    }
    strictest
}
