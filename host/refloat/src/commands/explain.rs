//! `refloat explain [FAILURE]`: the story of one failure, for whoever has to act on it.
//!
//! In: where objects are, and which failure is meant. Out: what failed, in which step, how it is read and why, what the
//! Stage held, what is different, where a rollback would go, and what was done. Exit 1 when nothing has failed.
//! Every fact is one of the context that a policy gets: people and policies read the same.

use policy_core::context::{Context, FreightPiece, Health, StepFacts};
use policy_core::settings::Settings;
use policy_core::snapshot::PromotionPhase;
use policy_core::time::{Timestamp, format_duration};
use policy_core::{detect, explain};

use crate::args::ExplainArgs;
use crate::exit::{Ended, Exit};
use crate::layout::Layout;
use crate::output::{self, Explained, Told};
use crate::printer::Printer;
use crate::rules;
use crate::scene::Scene;
use crate::source;

use super::explain_incident;

pub(crate) fn run(args: &ExplainArgs, printer: &mut Printer) -> Ended {
    let catalogue = rules::catalogue(&args.rules.rules)?;
    let gathered = source::gather(&args.source, args.failure.as_ref(), printer)?;
    let found = Scene::find(&gathered.objects, &gathered.wanted, gathered.now)?;
    let scene = Scene { catalogue: &catalogue, ..found };
    let context = scene.context(&Settings::default());
    let explained = Explained {
        has_failed: scene.has_failed(),
        failure: scene.has_failed().then(|| scene.failure.clone()),
        classification: scene.has_failed().then(|| context.classification.clone()),
        incident: scene.is_opened.then(|| scene.incident.name.to_string()),
        story: story(&scene, &context, gathered.now),
        truncated: context.truncated.clone(),
        left_out: gathered.objects.left_out.clone(),
    };
    output::show(args.output, &explained, printer, human)?;
    Ok(if explained.has_failed { Exit::AsExpected } else { Exit::Differs })
}

fn human(explained: &Explained) -> String {
    let mut layout = Layout::default();
    let mut before = "";
    for told in &explained.story {
        match told.about {
            "" => layout.paragraph(&told.text),
            about if about == before => layout.labelled("", &told.text),
            about => layout.labelled(about, &told.text),
        }
        before = told.about;
    }
    layout.into_text()
}

/// `looked` is when a cluster was looked at; exports are as old as what they tell.
fn story(scene: &Scene<'_>, context: &Context, looked: Option<Timestamp>) -> Vec<Told> {
    let mut told = Vec::new();
    let mut tell = |about: &'static str, text: String| {
        // Evidence stays as it is.
        let text = if about == "text" { text } else { scene.for_people(&text) };
        told.push(Told { about, text });
    };
    if scene.has_failed() {
        tell("", explain::failure(&scene.failure));
        tell("when", when(scene, looked));
        step(context).into_iter().for_each(|text| tell("step", text));
        tell("read as", explain::classification(&context.classification));
        if !context.classification.text.is_empty() {
            tell("text", explain::line(&context.classification.text));
        }
        context.hints.iter().for_each(|hint| tell("hint", super::hint(hint)));
    } else {
        tell("", nothing(scene));
    }
    if scene.has_failed() {
        freight(context).into_iter().for_each(|text| tell("freight", text));
    }
    held(context).into_iter().for_each(|text| tell("held", text));
    changed(context).into_iter().for_each(|text| tell("changed", text));
    stage(context).into_iter().for_each(|text| tell("stage", text));
    if scene.has_failed() {
        way_back(context).into_iter().for_each(|text| tell("way back", text));
    }
    explain_incident::lines(scene).into_iter().for_each(|(about, text)| tell(about, text));
    told
}

/// The last Promotion of the Stage when it ended badly and is not among what was given, by its name and how it ended.
pub(super) fn missing(scene: &Scene<'_>) -> Option<(String, &'static str)> {
    let last = scene.stage.last_promotion.as_ref()?;
    let phase = last.phase.filter(|phase| phase.is_terminal() && *phase != PromotionPhase::Succeeded)?;
    Some((last.name.to_string(), phase.text()))
}

/// What goes on in the Stage although a step of it has failed.
pub(super) fn stalling(scene: &Scene<'_>) -> Option<String> {
    let mut promotions = scene.objects.promotions_of(scene.stage);
    promotions.find_map(|one| explain::unended(one).filter(|_| detect::first_failed_step(one).is_some()))
}

/// What can be said when nothing that was given has failed; silence would be taken for health.
fn nothing(scene: &Scene<'_>) -> String {
    let stage = &scene.stage.name;
    if let Some((name, phase)) = missing(scene) {
        return format!(
            "the last Promotion of Stage `{stage}`, `{name}`, ended {phase}, and it is not among what was given"
        );
    }
    if let Some(stalling) = stalling(scene) {
        return format!("nothing has ended badly in Stage `{stage}`, but {stalling}");
    }
    match scene.stage.health {
        Some(health @ (Health::Unhealthy | Health::Unknown)) => {
            let word = explain::word(&health);
            format!(
                "nothing has ended badly in Stage `{stage}`; its health is {word}, and since when is not known here"
            )
        }
        Some(Health::Healthy | Health::Progressing | Health::NotApplicable) | None => {
            format!("nothing has failed in Stage `{stage}`")
        }
    }
}

fn when(scene: &Scene<'_>, looked: Option<Timestamp>) -> String {
    let at = scene.failure.at;
    match looked {
        None => moment(at),
        Some(now) if at > now => {
            let ahead = format_duration(at.since(now));
            format!("{}, {ahead} in the future: one of the clocks is wrong", moment(at))
        }
        Some(now) => format!("{}, {} ago", moment(at), format_duration(now.since(at))),
    }
}

/// A point in time as Kubernetes writes it.
pub(super) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_second(i64::from(at.0)).map_or_else(|_| at.0.to_string(), |time| time.to_string())
}

/// The step that failed first, and how far the Promotion had got.
fn step(context: &Context) -> Option<String> {
    let promotion = context.promotion.as_ref()?;
    let alias = context.classification.step.as_deref()?;
    let step = promotion.steps.iter().find(|step| step.alias == alias)?;
    let number = step.index.saturating_add(1);
    let status = step.status.as_deref().unwrap_or("was not reached");
    let took = fact(&step.extra, "duration-seconds").and_then(|text| text.parse().ok());
    let took = took.map(|seconds| format!(" after {}", format_duration(seconds))).unwrap_or_default();
    let errors = match (step.error_count, fact(&step.extra, "error-threshold")) {
        (0, _) => String::new(),
        (count, Some(threshold)) => format!(", {count} of {threshold} errors allowed in a row"),
        (1, None) => ", 1 error".to_owned(),
        (count, None) => format!(", {count} errors"),
    };
    let changed = |when: &str, is_then: &dyn Fn(u32) -> bool| {
        let steps = promotion.steps.iter().filter(|one| has_changed(one) && is_then(one.index));
        let aliases: Vec<&str> = steps.map(|one| one.alias.as_str()).collect();
        let list = aliases.join(", ");
        if list.is_empty() { list } else { format!("; {when} that these changed something outside: {list}") }
    };
    let before = changed("before", &|index| index < step.index);
    let after = changed("after", &|index| index > step.index);
    let kind = if step.kind.is_empty() { "unknown kind" } else { &step.kind };
    Some(format!("`{alias}` ({kind}), number {number}: {status}{took}{errors}{before}{after}"))
}

fn has_changed(step: &StepFacts) -> bool {
    step.mutates == Some(true) && step.status.as_deref() == Some("Succeeded")
}

fn freight(context: &Context) -> Vec<String> {
    let Some(piece) = &context.freight.failing else { return Vec::new() };
    let mut lines = vec![called(piece)];
    if let Some(newer) = fact(&piece.extra, "newer").filter(|newer| *newer != "0") {
        let available = fact(&piece.extra, "newer-available").unwrap_or("0");
        lines.push(format!("newer Freight of that origin: {newer}, available here: {available}"));
    }
    if let Some(stages) = fact(&piece.extra, "held-by") {
        lines.push(format!("now in: {}", in_line(stages)));
    }
    lines
}

/// `NAME of ORIGIN`, and whether it is gone.
fn called(piece: &FreightPiece) -> String {
    let gone = match fact(&piece.extra, "gone") {
        Some("true") => ", which is gone",
        Some("false") => ", which could not be read",
        Some(_) => ", of which nothing was given",
        None => "",
    };
    format!("`{}` of {}{gone}", piece.name, piece.origin)
}

/// What the Stage holds, how that was verified, and what it held before.
fn held(context: &Context) -> Vec<String> {
    let mut lines = Vec::new();
    let verification = context.freight.history.first().and_then(|newest| newest.verification.as_deref());
    let verified = verification.map(|phase| format!(", verification {phase}")).unwrap_or_default();
    for piece in &context.freight.current {
        lines.push(format!("{}{verified}", called(piece)));
    }
    if context.freight.current.is_empty() {
        lines.push("nothing".to_owned());
    }
    let prior = context.promotion.as_ref().and_then(|promotion| fact(&promotion.extra, "prior-freight"));
    if let Some(prior) = prior {
        lines.push(format!("before the Promotion: {}", in_line(prior)));
    }
    for (key, what) in
        [("freight-gone", "no longer there"), ("freight-unavailable", "not available here any more")]
    {
        if let Some(names) = fact(&context.stage.extra, key) {
            lines.push(format!("{what}: {}", in_line(names)));
        }
    }
    lines
}

/// What is different from what last worked: artifacts and template.
fn changed(context: &Context) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(piece) = &context.freight.failing
        && let Some(good) = fact(&piece.extra, "compared-with")
    {
        match (fact(&piece.extra, "bump"), fact(&piece.extra, "changes")) {
            (Some(bump), Some(changes)) => {
                lines.push(format!("since the last good Freight `{good}`, step {bump}:"));
                lines.extend(changes.lines().map(str::to_owned));
            }
            (Some(_), None) => lines.push(format!("no artifact since the last good Freight `{good}`")),
            (None, _) => lines.push(format!("the artifacts of the last good Freight `{good}` are not known")),
        }
    }
    let promotion =
        context.promotion.as_ref().map(|promotion| promotion.extra.as_slice()).unwrap_or_default();
    for (key, since) in [
        ("template-drift", "in the template since this Promotion"),
        ("template-drift-since-good", "in the template since the good Freight ran"),
    ] {
        if let Some(changes) = fact(promotion, key) {
            lines.push(format!("{since}: {}", in_line(changes)));
        }
    }
    lines
}

fn stage(context: &Context) -> Vec<String> {
    let extra = &context.stage.extra;
    let untrusted = match fact(extra, "health-untrusted") {
        Some("last-promotion-did-not-succeed") => {
            ", which says nothing: Kargo assesses none after a Promotion that did not succeed"
        }
        Some("promotion-running") => ", which says nothing while a Promotion runs",
        Some(_) => ", which Kargo has not assessed",
        None => "",
    };
    let mut lines = vec![format!("health {}{untrusted}", explain::word(&context.stage.health))];
    for hold in &context.stage.holds {
        let by = if hold.ours { "Refloat" } else { hold.actor.as_deref().unwrap_or("somebody") };
        lines.push(format!("`{by}` holds Freight `{}` of {}", hold.freight, hold.origin));
    }
    for queued in &context.queue {
        let phase = queued.phase.as_deref().unwrap_or("not seen by Kargo yet");
        lines.push(format!("Promotion `{}` of Freight `{}`: {phase}", queued.name, queued.freight));
    }
    for (key, what) in [
        ("argocd-applications", "Argo CD"),
        ("upstream-stages", "before it"),
        ("downstream-stages", "after it"),
    ] {
        lines.extend(fact(extra, key).into_iter().flat_map(str::lines).map(|line| format!("{what}: {line}")));
    }
    lines
}

fn way_back(context: &Context) -> Vec<String> {
    let target = |target: &policy_core::context::RollbackTarget| match &target.freight {
        Some(freight) => format!("`{freight}` of {}: {}", target.origin, target.because),
        None => format!("none of {}: {}", target.origin, target.because),
    };
    context.freight.targets.iter().map(target).collect()
}

/// The value of a key.
fn fact<'a>(extra: &'a [(String, String)], key: &str) -> Option<&'a str> {
    extra.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

fn in_line(lines: &str) -> String {
    lines.lines().collect::<Vec<_>>().join("; ")
}
