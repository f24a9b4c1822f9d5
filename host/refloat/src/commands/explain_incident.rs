//! What was done about a failure, line by line: decisions, attempts, what comes next, how it ended.
//!
//! In: a scene. Out: labelled lines. Without an Incident it says so: that nothing was done is not known then.

use policy_api::record::Record;
use policy_core::context::Outcome;
use policy_core::explain;
use policy_core::incident::Attempt;

use super::explain::{missing, moment, stalling};
use crate::scene::Scene;

/// Lines with their labels, in the order of time.
pub(super) fn lines(scene: &Scene<'_>) -> Vec<(&'static str, String)> {
    if !scene.is_opened {
        return vec![("done", without_incident(scene))];
    }
    let incident = &scene.incident;
    let mut lines = vec![("incident", format!("`{}`, opened {}", incident.name, moment(incident.opened)))];
    let records = records(scene);
    for decision in &incident.decisions {
        let actions: Vec<String> = decision
            .actions
            .iter()
            .map(|(kind, outcome)| format!("{} {}", kind.text(), what_became(outcome)))
            .collect();
        let actions = if actions.is_empty() { "no action".to_owned() } else { actions.join(", ") };
        let asked = explain::word(&decision.trigger);
        let class = explain::word(&decision.class);
        lines.push((
            "decided",
            format!("{} about {asked} ({class}): {actions}", moment(decision.at_unix_seconds)),
        ));
    }
    for record in &records {
        let why = record.decision.as_ref().map(|decision| explain::line(&decision.explanation));
        let fault = record.fault.as_ref().map(|(entry, fault)| explain::fault(entry, fault));
        if let Some(why) = fault.or(why).filter(|why| !why.is_empty()) {
            lines.push(("because", format!("decision {}: {why}", record.number)));
        }
    }
    lines.extend(incident.attempts.iter().map(|one| ("done", attempt(one))));
    if incident.attempts.is_empty() {
        lines.push(("done", "no delivery was tried".to_owned()));
    }
    if let Some(pending) = &incident.pending {
        lines.push((
            "next",
            format!("{} at {}", explain::operation(&pending.action.operation), moment(pending.at)),
        ));
    }
    if let Some(timer) = &incident.timer {
        lines.push((
            "next",
            format!("policies are asked again at {}: {}", moment(timer.at), explain::line(&timer.cause)),
        ));
    }
    if let Some(closed) = &incident.closed {
        lines.push(("ended", format!("{}, {}", moment(closed.at), explain::closed(closed))));
    }
    lines
}

fn without_incident(scene: &Scene<'_>) -> String {
    if scene.has_failed() {
        "no Incident of it is known here".to_owned()
    } else if let Some((name, _)) = missing(scene) {
        let project = &scene.project.name;
        format!(
            "not known without that Promotion: `kubectl get promotion {name} -n {project} -o yaml` exports it"
        )
    } else if stalling(scene).is_some() {
        "nothing yet: policies are asked once it counts as stalled".to_owned()
    } else {
        "nothing to be done".to_owned()
    }
}

/// The incident's DecisionRecords, as far as they are given and can be read.
fn records(scene: &Scene<'_>) -> Vec<Record> {
    let own = scene.objects.decision_records.iter().filter(|record| {
        record.spec.incident == scene.incident.name.as_str()
            && record.metadata.namespace.as_deref().is_none_or(|name| name == scene.project.name.as_str())
    });
    let mut records: Vec<Record> = own.filter_map(|record| Record::from_object(record).ok()).collect();
    records.sort_by_key(|record| record.number);
    records
}

fn attempt(attempt: &Attempt) -> String {
    let promotion = match &attempt.promotion {
        Some(promotion) => format!(" with Promotion `{promotion}`"),
        None => String::new(),
    };
    let freight =
        attempt.freight.as_ref().map(|freight| format!(" of Freight `{freight}`")).unwrap_or_default();
    format!(
        "{} {}{freight}{promotion}: {}",
        moment(attempt.claimed),
        attempt.kind.text(),
        what_became(&attempt.outcome)
    )
}

fn what_became(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pending => "under way".to_owned(),
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Aborted => "aborted".to_owned(),
        Outcome::Refused(by) => format!("refused by {by}"),
        Outcome::Postponed(by) => format!("put off by {by}"),
        Outcome::Superseded => "no longer followed".to_owned(),
        Outcome::Observed => "observed only".to_owned(),
    }
}
