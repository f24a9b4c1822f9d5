//! How things end, as Kargo's controllers are told.
//!
//! In: a scenario and one of its scripts. Out: a script in Kargo's words: Freight by its name, and success for step kinds
//! that do not come with Kargo, unless a rule says otherwise. Nothing here decides how a step of Kargo's own ends.

use std::collections::BTreeMap;

use kargo_model::{Outcome, PromotionRule, Script};
use policy_core::classify::unwrap::is_built_in;

use crate::names::FreightNames;
use crate::scenario::{Scenario, StepSpec};

/// The script until the scenario begins: steps and verifications succeed, so that Stages come to hold what they are to hold.
pub(crate) fn before(scenario: &Scenario, names: &FreightNames) -> Script {
    let health = scenario.script.health.clone();
    // A step that fails on purpose, too.
    let promotions = works(scenario, |_| true).collect();
    named(scenario, &Script { health, promotions, ..Script::default() }, names)
}

/// A script with Freight's names in place of its aliases, and with the platform's own step kinds.
pub(crate) fn named(scenario: &Scenario, script: &Script, names: &FreightNames) -> Script {
    let mut script = script.clone();
    let promotions = script.promotions.iter_mut().map(|rule| &mut rule.freight);
    let runs = script.verifications.iter_mut().map(|rule| &mut rule.freight);
    let health = script.health.iter_mut().map(|rule| &mut rule.freight);
    for freight in promotions.chain(runs).chain(health) {
        *freight = names.name(freight).to_owned();
    }
    // After all others: the first rule that fits counts.
    // Kinds that the platform has added to Kargo work, as far as the scenario does not say how they end.
    script.promotions.extend(works(scenario, |step| !is_built_in(&step.uses)));
    script
}

/// Rules by which these steps work.
fn works(scenario: &Scenario, which: fn(&&StepSpec) -> bool) -> impl Iterator<Item = PromotionRule> {
    scenario.world.stages.iter().filter_map(move |stage| {
        let own = stage.steps.iter().filter(which);
        let works = |alias: &String| (alias.clone(), Outcome::Succeed(serde_json::Map::new()));
        let steps: BTreeMap<_, _> = own.map(|step| works(&step.alias)).collect();
        (!steps.is_empty()).then(|| PromotionRule {
            stage: stage.name.clone(),
            steps,
            ..PromotionRule::default()
        })
    })
}
