//! ClusterFailurePolicies: caps always count, a default only when it is acceptable.
//!
//! In: the objects. Out: what is in force, and statuses. Like a FailurePolicy, a default that stops being acceptable
//! stays in force as it last was.

use kube::ResourceExt;
use kube::api::Api;
use policy_api::accept::{self, Author, Problem};
use policy_api::crd::ClusterFailurePolicy;
use policy_api::crd::condition;
use policy_api::crd::failure_policy::Accepted;
use policy_api::crd::policy_body::ChainEntry;
use policy_api::select;
use policy_core::name::ProjectName;

use super::{accepted_modules, publish, settings_digest};
use crate::host::Host;

/// What was found about a ClusterFailurePolicy.
pub(super) struct Judged {
    policy: ClusterFailurePolicy,
    problems: Vec<Problem>,
    accepted: Option<Accepted>,
}

/// The policies as they are in force, and what is to be said about each.
pub(super) fn judge(host: &Host, all: &[ClusterFailurePolicy]) -> (Vec<ClusterFailurePolicy>, Vec<Judged>) {
    let judged: Vec<Judged> = all.iter().map(|policy| judge_one(host, policy)).collect();
    let in_force = judged.iter().map(|one| {
        let mut policy = one.policy.clone();
        policy.spec.default = one.accepted.as_ref().and_then(Accepted::body);
        policy.status.get_or_insert_default().accepted.clone_from(&one.accepted);
        policy
    });
    (in_force.collect(), judged)
}

fn judge_one(host: &Host, policy: &ClusterFailurePolicy) -> Judged {
    let nowhere = ProjectName::default();
    let modules = &host.policies.modules;
    let caps = policy.spec.caps.clone().unwrap_or_default();
    let known = |entry: &ChainEntry| modules.known_as(entry, &nowhere);
    let mut problems = accept::cap_problems(&caps);
    let Some(body) = &policy.spec.default else {
        return Judged { policy: policy.clone(), problems, accepted: None };
    };
    problems.extend(accept::problems(body, Author::Platform, &caps, known));
    let accepted = match problems.is_empty() {
        true => Some(Accepted {
            generation: policy.metadata.generation.unwrap_or_default(),
            spec: serde_json::to_value(body).unwrap_or_default(),
            settings_digest: settings_digest(body),
            modules: accepted_modules(host, body, &nowhere),
            rules: serde_json::to_value(select::rules(body, &caps)).ok(),
        }),
        false => policy.status.as_ref().and_then(|status| status.accepted.clone()),
    };
    Judged { policy: policy.clone(), problems, accepted }
}

/// Writes the status, if it differs. Returns false when that failed.
pub(super) async fn say(host: &Host, judged: &Judged, in_force: &[ClusterFailurePolicy]) -> bool {
    let policy = &judged.policy;
    let mut status = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    status.observed_generation = generation;
    status.accepted.clone_from(&judged.accepted);
    let (covered, tied) = reach(host, policy, in_force);
    status.projects_total = u32::try_from(covered).ok();
    let mut bad = Vec::new();
    for statement in [
        accept::statement(&judged.problems),
        select::projects_statement(covered),
        select::conflict_statement(&policy.name_any(), &tied),
    ] {
        bad.extend(statement.is_bad().then(|| statement.clone()));
        condition::set(&mut status.conditions, statement, generation, host.clock.now());
    }
    if policy.status.as_ref() == Some(&status) {
        return true;
    }
    let mut object = policy.clone();
    object.status = Some(status);
    let api = Api::all(host.requests.client().clone());
    publish(host, "clusterfailurepolicies", &api, &object, &bad).await
}

/// How many Projects a policy is about, and the names of those whose default claims one of them with the same priority.
fn reach(
    host: &Host,
    policy: &ClusterFailurePolicy,
    in_force: &[ClusterFailurePolicy],
) -> (usize, Vec<String>) {
    let name = policy.name_any();
    let projects: Vec<_> = host.stores.with(|known| known.projects.values().cloned().collect());
    let covered: Vec<_> = projects.iter().filter(|project| select::covers(policy, project)).collect();
    let mut tied = Vec::new();
    for project in &covered {
        if let select::Ruling::Conflict(names) = select::default_of(project, in_force)
            && names.contains(&name)
        {
            tied.extend(names);
        }
    }
    tied.sort();
    tied.dedup();
    (covered.len(), tied)
}
