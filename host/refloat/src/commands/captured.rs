//! `refloat demo --captured`: five failures that were captured from a running Kargo, through everything but the writing.
//!
//! In: the captures in `demo/`, built into the program. Out: for each what was known, what the policies said and why,
//! what the guardrails made of it and what would be written. Nothing is sent anywhere.

use policy_core::chain::{End, Run, Said, Word};
use policy_core::context::{Context, Mode};
use policy_core::decision::{Action, ActionKind, Decision};
use policy_core::guardrails::{self, Input, Seen};
use policy_core::plan::Planned;
use policy_core::rules::Rules;
use policy_core::settle::{self, Settled};
use policy_core::{detect, explain, plan, settings};
use policy_source::Module;
use serde_json::Value;

use crate::args::DemoArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::layout::Layout;
use crate::modules::{Loaded, Modules};
use crate::objects::Objects;
use crate::output::Answered;
use crate::printer::Printer;
use crate::scene::Scene;

/// The chain that every capture is put to.
const CHAIN: &[&str] = &["retry-transient", "rollback-last-verified", "notify"];

struct Capture {
    title: &'static str,
    objects: &'static str,
}

const CAPTURES: &[Capture] = &[
    Capture {
        title: "A step met a rate limit, and says how long it lasts",
        objects: include_str!("../../demo/1-quota-with-hint.yaml"),
    },
    Capture {
        title: "A step called a server, and nobody listened",
        objects: include_str!("../../demo/2-connection-refused.yaml"),
    },
    Capture {
        title: "A gate inside the Promotion said no",
        objects: include_str!("../../demo/3-gate-said-no.yaml"),
    },
    Capture {
        title: "The verification of new Freight failed",
        objects: include_str!("../../demo/4-verification-failed.yaml"),
    },
    Capture {
        title: "A person aborted the Promotion",
        objects: include_str!("../../demo/5-person-aborted.yaml"),
    },
];

pub(crate) fn run(args: &DemoArgs, printer: &mut Printer) -> Ended {
    let modules = Modules::open(&args.cache)?;
    let chain: Vec<Loaded> = CHAIN
        .iter()
        .map(|name| modules.load(&Module::Builtin((*name).to_owned())))
        .collect::<Result<_, _>>()?;
    printer.answer(&introduction());
    for (position, capture) in CAPTURES.iter().enumerate() {
        let objects = Objects::read(capture.objects, capture.title)?;
        let mut layout = Layout::default();
        layout.gap();
        layout.paragraph(&format!("{}. {}", position + 1, capture.title));
        play(&objects, &chain, &mut layout)?;
        printer.answer(&layout.into_text());
    }
    Ok(Exit::AsExpected)
}

fn introduction() -> String {
    let mut layout = Layout::default();
    layout.paragraph(
        "Five failures captured from a running Kargo v1.11.2, each put to the same three policies:",
    );
    layout.paragraph(&format!("{}. Mode Enforce, default budgets.", CHAIN.join(", then ")));
    layout.paragraph("Nothing is written: this shows what would be.");
    layout.into_text()
}

/// Enforce with rollback allowed, and for the rest what a FailurePolicy means that sets nothing.
fn rules() -> Rules {
    let mut rules = Rules { mode: Mode::Enforce, ..Rules::default() };
    rules.actions.push(ActionKind::Rollback);
    rules
}

fn scene(objects: &Objects) -> Result<Scene<'_>, CannotRun> {
    let broken =
        |what: &str| CannotRun::new(format!("a built-in capture has no {what}"), "please report this");
    let stage = objects.stages.first().ok_or_else(|| broken("Stage"))?;
    let of_promotions = objects.promotions.iter().filter_map(detect::promotion);
    let failures = of_promotions.chain(detect::verification(stage, &objects.promotions));
    let failure = failures.max_by_key(|failure| failure.at).ok_or_else(|| broken("failure"))?;
    Ok(Scene { rules: rules(), ..Scene::of(objects, stage, failure, None, None) })
}

fn planned(scene: &Scene<'_>, context: &Context, run: &Run) -> Planned {
    let seen = Seen::of(scene.stage);
    plan::of_chain(
        run,
        CHAIN,
        &Input {
            now: scene.now,
            context,
            incident: &scene.incident,
            rules: &scene.rules,
            project: &scene.project,
            stage: scene.stage,
            seen: &seen,
            promotions: &scene.objects.promotions,
            freight: &scene.objects.freight(&scene.stage.project),
            deliveries: &[],
            stopped: false,
            enterprise_rollback: guardrails::g26_two_engines::rolls_back_by_itself(
                &scene.project,
                scene.stage,
            ),
        },
    )
}

fn play(objects: &Objects, chain: &[Loaded], layout: &mut Layout) -> Result<(), CannotRun> {
    let scene = scene(objects)?;
    let mut contexts = Vec::with_capacity(chain.len());
    for module in chain {
        let none = Value::Object(serde_json::Map::new());
        let settings = settings::accept(&none, &module.manifest().settings_schema)
            .map_err(|problems| super::wrong_settings("default settings", &module.name, &problems))?;
        contexts.push(scene.context(&settings));
    }
    let context = contexts.first().cloned().ok_or_else(|| CannotRun::new("the chain is empty", ""))?;
    known(&scene, &context, layout);
    let decided = super::decide::ask(chain, &contexts);
    let said =
        decided.modules.iter().enumerate().map(|(entry, one)| (one, Said { entry, word: one.word.clone() }));
    let said: Vec<_> = said.collect();
    layout.list("policies", words(&said).iter().map(|text| scene.for_people(text)));
    let run = Run { said: said.into_iter().map(|(_, said)| said).collect(), end: decided.end };
    let planned = planned(&scene, &context, &run);
    if let End::Decided(decision) = &run.end {
        let pairs = decision.actions.iter().zip(&planned.verdicts);
        let texts = pairs.map(|(action, verdict)| explain::action(action, verdict, scene.now));
        layout.list("guardrails", texts.map(|text| scene.for_people(&text)));
    }
    let writes = planned.writes.iter().map(|write| explain::write(write, scene.now));
    layout.list("writes", writes.map(|text| scene.for_people(&text)));
    if !planned.writes.iter().any(policy_core::write::Write::touches_kargo) {
        layout.labelled("", "nothing in Kargo");
    }
    Ok(())
}

/// What each entry said; a modifier that takes the proposal over says so instead of repeating it.
fn words(said: &[(&Answered, Said)]) -> Vec<String> {
    let mut proposed: Option<&Decision> = None;
    let mut words = Vec::with_capacity(said.len());
    for (one, said) in said {
        words.push(match (&said.word, proposed) {
            (Word::Decided(decision), Some(before)) if decision.explanation == before.explanation => {
                let is_new =
                    |action: &&Action| !before.actions.iter().any(|old| old.operation == action.operation);
                let added: Vec<String> = decision
                    .actions
                    .iter()
                    .filter(is_new)
                    .map(|action| action.operation.kind().text())
                    .collect();
                format!("`{}` agrees, and adds: {}", one.policy, added.join(", "))
            }
            (Word::Decided(_) | Word::Pass | Word::Fault(_) | Word::Skipped(_), _) => {
                explain::said(&one.policy, said)
            }
        });
        if let Word::Decided(decision) = &said.word {
            proposed = Some(decision);
        }
    }
    words
}

fn known(scene: &Scene<'_>, context: &Context, layout: &mut Layout) {
    layout.labelled("failed", &explain::failure(&scene.failure));
    layout.labelled("known", &explain::classification(&context.classification));
    layout.list("", context.hints.iter().map(super::hint));
    layout.list(
        "",
        context.freight.targets.iter().map(|target| {
            let freight = target.freight.as_deref().unwrap_or("none");
            scene.for_people(&format!(
                "last good Freight of {}: {freight} ({})",
                target.origin, target.because
            ))
        }),
    );
    match settle::settle(&scene.failure, scene.stage, &scene.objects.promotions) {
        Settled::Yes => {}
        Settled::NotYet { because } => layout.labelled("", &format!("not settled: {because}")),
        Settled::Overtaken { by } => layout.labelled("", &format!("overtaken by {by}")),
    }
}
