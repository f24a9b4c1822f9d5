//! Accepts policies and modules, and says so in their status.
//!
//! In: objects as the stores hold them. Out: what is in force, and statuses that are written only when they differ.
//! A spec that is not acceptable changes nothing: the last acceptable one stays in force, kept in the status so that a
//! restart does not lose it. Every status update carries the resourceVersion that was read.

mod modules;
mod platform;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use policy_api::accept::{self, Author, Problem};
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::condition::{self, Statement, reasons, types};
use policy_api::crd::failure_policy::{Accepted, AcceptedModule, MatchedStage};
use policy_api::crd::policy_body::{ChainEntry, Mode, PolicyBody};
use policy_api::crd::{ClusterFailurePolicy, ClusterPolicyModule, FailurePolicy, PolicyModule};
use policy_api::select;
use policy_core::name::ProjectName;
use policy_core::snapshot::{ProjectSnapshot, StageSnapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{self, Access};
use crate::events::{self, About, Loudness, Note};
use crate::host::Host;
use crate::modules::ModuleKey;
use crate::queue::StageKey;
use crate::stage_records;

/// Stages that a status lists at most.
const MAX_MATCHED: usize = 256;

/// What is in force and what statuses say rests on this alone: while it stays equal, so do they.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    n_changes_of_stores: u64,
    n_changes_of_modules: u64,
    access: access::Found,
    space: BTreeMap<ProjectName, u64>,
}

impl Basis {
    fn now(host: &Host) -> Self {
        Self {
            n_changes_of_stores: host.stores.n_changes(),
            n_changes_of_modules: host.policies.modules.n_changes(),
            access: host.accesses.found(),
            space: host.fullness.warnings(),
        }
    }
}

/// Looks at Kargo and at every module once, and judges all policies unless nothing has changed since `last`. Returns
/// what it rests on; `None` when a status could not be written.
pub async fn refresh(host: &Host, namespace: &str, last: Option<&Basis>) -> Option<Basis> {
    if let Err(error) = access::look_at_kargo(host).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "which Kargo this is was not found out");
    }
    let (policies, platform, project_modules, cluster_modules) = host.stores.with(|known| {
        let policies: Vec<Arc<FailurePolicy>> =
            known.failure_policies.values().flat_map(|all| all.values().cloned()).collect();
        let platform: Vec<ClusterFailurePolicy> = known
            .cluster_failure_policies
            .values()
            .map(|policy| ClusterFailurePolicy::clone(policy))
            .collect();
        let project: Vec<Arc<PolicyModule>> =
            known.modules.values().flat_map(|all| all.values().cloned()).collect();
        let cluster: Vec<Arc<ClusterPolicyModule>> = known.cluster_modules.values().cloned().collect();
        (policies, platform, project, cluster)
    });
    let of_projects = project_modules.iter().map(|module| modules::project_key(module));
    let of_platform = cluster_modules.iter().map(|module| ModuleKey::Cluster(module.name_any()));
    host.policies.modules.retain(&of_projects.chain(of_platform).collect());
    for module in &project_modules {
        modules::project_module(host, module, &platform).await;
    }
    for module in &cluster_modules {
        modules::cluster_module(host, module, namespace).await;
    }
    modules::builtins(host, &policies, &platform).await;
    access::renew(host).await;
    let basis = Basis::now(host);
    let is_said = last == Some(&basis) || judge_all(host, &policies, &platform).await;
    is_said.then_some(basis)
}

/// Has every Stage visited: what rules it may be another policy now.
pub fn visit_all(host: &Host) {
    let stages = host.stores.stage_keys(None);
    host.accesses.retain(&stages);
    for key in stages {
        host.queue.push(key);
    }
}

/// Puts in force what is acceptable, and says so. Returns whether every status could be written.
async fn judge_all(host: &Host, policies: &[Arc<FailurePolicy>], platform: &[ClusterFailurePolicy]) -> bool {
    let (platform, judged_platform) = platform::judge(host, platform);
    let mut in_force: BTreeMap<ProjectName, Vec<FailurePolicy>> = BTreeMap::new();
    let mut judged = Vec::new();
    for policy in policies {
        let one = judge(host, policy, &platform);
        if let Some(policy) = &one.in_force {
            in_force.entry(one.project.clone()).or_default().push(policy.clone());
        }
        judged.push((Arc::clone(policy), one));
    }
    host.policies.put(in_force.clone(), platform.clone());
    let mut is_said = true;
    for (policy, one) in &judged {
        is_said &= say(host, policy, one, &in_force, &platform).await;
    }
    for one in &judged_platform {
        is_said &= platform::say(host, one, &platform).await;
    }
    is_said
}

/// What was found about a FailurePolicy.
struct Judged {
    project: ProjectName,
    problems: Vec<Problem>,
    /// The policy with the spec that is in force, if there is one.
    in_force: Option<FailurePolicy>,
    accepted: Option<Accepted>,
}

fn judge(host: &Host, policy: &FailurePolicy, platform: &[ClusterFailurePolicy]) -> Judged {
    let project = ProjectName::new(policy.namespace().unwrap_or_default());
    let snapshot = host.stores.project(&project);
    let snapshot =
        snapshot.unwrap_or_else(|| ProjectSnapshot { name: project.clone(), ..ProjectSnapshot::default() });
    let caps = select::caps(&snapshot, platform);
    let modules = &host.policies.modules;
    let known = |entry: &ChainEntry| modules.known_as(entry, &project);
    let mut problems = accept::problems(&policy.spec.body, Author::Project, &caps, known);
    problems.extend(accept::selector_problem(policy.spec.stage_selector.as_ref()));
    let accepted = match problems.is_empty() {
        true => Some(accepted(host, policy, &project, &caps)),
        false => policy.status.as_ref().and_then(|status| status.accepted.clone()),
    };
    let in_force = accepted.as_ref().and_then(Accepted::spec).map(|spec| {
        let mut policy = policy.clone();
        policy.spec = spec;
        policy.status.get_or_insert_default().accepted.clone_from(&accepted);
        policy
    });
    Judged { project, problems, in_force, accepted }
}

fn accepted(host: &Host, policy: &FailurePolicy, project: &ProjectName, caps: &Caps) -> Accepted {
    let body = &policy.spec.body;
    Accepted {
        generation: policy.metadata.generation.unwrap_or_default(),
        spec: serde_json::to_value(&policy.spec).unwrap_or_default(),
        settings_digest: settings_digest(body),
        modules: accepted_modules(host, body, project),
        rules: serde_json::to_value(select::rules(body, caps)).ok(),
    }
}

fn settings_digest(body: &PolicyBody) -> String {
    let settings: Vec<_> = body.chain.iter().map(|entry| (&entry.name, &entry.settings)).collect();
    policy_source::digest(&serde_json::to_vec(&settings).unwrap_or_default()).to_string()
}

fn accepted_modules(host: &Host, body: &PolicyBody, project: &ProjectName) -> Vec<AcceptedModule> {
    let loaded = |entry: &ChainEntry| {
        let state = host.policies.modules.state(&ModuleKey::of(entry, project)?)?;
        Some(AcceptedModule { entry: entry.name.clone(), digest: state.loaded?.digest.to_string() })
    };
    body.chain.iter().filter_map(loaded).collect()
}

/// Writes the status of a FailurePolicy, if it differs. Returns false when that failed.
async fn say(
    host: &Host,
    policy: &FailurePolicy,
    judged: &Judged,
    in_force: &BTreeMap<ProjectName, Vec<FailurePolicy>>,
    platform: &[ClusterFailurePolicy],
) -> bool {
    let own = in_force.get(&judged.project).map(Vec::as_slice).unwrap_or_default();
    let ruled = ruled_stages(host, policy, judged, own, platform);
    let mode = judged.in_force.as_ref().map(|policy| policy.spec.body.mode).unwrap_or_default();
    let standings = standings(host, &judged.project, &ruled, mode).await;
    let mut status = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    status.observed_generation = generation;
    status.accepted.clone_from(&judged.accepted);
    status.stages_total = u32::try_from(ruled.stages.len()).ok();
    let now = host.clock.now();
    let selector = policy.spec.stage_selector.as_ref();
    let mut bad = Vec::new();
    for statement in [
        accept::statement(&judged.problems),
        select::conflict_statement(&policy.name_any(), &ruled.tied),
        select::stages_statement(selector, ruled.stages.len(), judged.project.as_str()),
        write_access(mode, &standings),
        host.accesses.kargo_statement(),
        answering(host, judged),
        space(host, &judged.project),
    ] {
        bad.extend(statement.is_bad().then(|| statement.clone()));
        condition::set(&mut status.conditions, statement, generation, now);
    }
    status.matched_stages = standings.into_iter().map(|one| one.stage).collect();
    if policy.status.as_ref() == Some(&status) {
        return true;
    }
    let mut object = policy.clone();
    object.status = Some(status);
    let api = Api::namespaced(host.requests.client().clone(), judged.project.as_str());
    publish(host, "failurepolicies", &api, &object, &bad).await
}

/// Says what is bad, then writes the status that shows it: what a status shows already is said by nobody any more. Returns
/// false when the API server did not answer, and all of it is to be done again.
async fn publish<K>(host: &Host, resource: &'static str, api: &Api<K>, object: &K, bad: &[Statement]) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    for statement in bad {
        if !tell(host, object, statement).await {
            return false;
        }
    }
    save(host, resource, api, object).await
}

/// Says a bad condition in an Event, once per generation and text: people watch Events sooner than conditions. Returns
/// false when it can be said later.
async fn tell<K: Resource<DynamicType = ()>>(host: &Host, object: &K, statement: &Statement) -> bool {
    let metadata = object.meta();
    let generation = metadata.generation.unwrap_or_default();
    let project = metadata.namespace.as_deref().map(ProjectName::new);
    let kind = K::kind(&());
    let note = Note {
        channel: None,
        about: About {
            api_version: &K::api_version(&()),
            kind: &kind,
            project: project.as_ref(),
            name: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
        },
        key: &format!("{generation}:{}", statement.message),
        reason: statement.reason,
        loudness: Loudness::Warning,
        text: &statement.message,
        now: host.clock.now(),
    };
    host.metrics.request("create", "events");
    let Err(error) = events::write(host.requests.client(), &note).await else { return true };
    tracing::warn!(kind = %kind, error = &error as &dyn std::error::Error, "nobody told about a bad condition");
    error.is_refused()
}

/// Stages that a policy rules, and the names that tie with it.
struct Ruled {
    stages: Vec<Arc<StageSnapshot>>,
    tied: Vec<String>,
}

fn ruled_stages(
    host: &Host,
    policy: &FailurePolicy,
    judged: &Judged,
    own: &[FailurePolicy],
    platform: &[ClusterFailurePolicy],
) -> Ruled {
    let name = policy.name_any();
    let mut ruled = Ruled { stages: Vec::new(), tied: Vec::new() };
    let Some(project) = host.stores.project(&judged.project) else { return ruled };
    for stage in host.stores.stages_of(&judged.project) {
        match select::ruling(&stage, &project, own, platform) {
            select::Ruling::Project(by) if by.name_any() == name => ruled.stages.push(stage),
            select::Ruling::Conflict(names) if names.contains(&name) => ruled.tied.extend(names),
            select::Ruling::Project(_)
            | select::Ruling::Platform(..)
            | select::Ruling::Conflict(_)
            | select::Ruling::Nothing => {}
        }
    }
    ruled.tied.sort();
    ruled.tied.dedup();
    ruled
}

/// A Stage that a policy rules, and what stands between it and Enforce there.
struct Standing {
    stage: MatchedStage,
    access: Access,
}

async fn standings(host: &Host, project: &ProjectName, ruled: &Ruled, mode: Mode) -> Vec<Standing> {
    let mut standings = Vec::new();
    for stage in ruled.stages.iter().take(MAX_MATCHED) {
        let key = StageKey { project: project.clone(), stage: stage.name.clone() };
        let access = match mode {
            Mode::Enforce => access::lately(host, &key).await.unwrap_or(Access::Full),
            Mode::Observe | Mode::Suggest => Access::Full,
        };
        let really = if access == Access::Full { mode } else { Mode::Observe };
        let missing_verbs = access.missing().to_vec();
        let stage = MatchedStage { name: stage.name.to_string(), mode: really, missing_verbs };
        standings.push(Standing { stage, access });
    }
    standings
}

/// Whether there is room for further records.
fn space(host: &Host, project: &ProjectName) -> Statement {
    match host.fullness.warning(project) {
        None => Statement::yes(types::SPACE, reasons::ENOUGH, "DecisionRecords are within their bounds"),
        Some(percent) => Statement::no(
            types::SPACE,
            reasons::NEARLY_FULL,
            // In steps, so that the status is not written for every byte.
            format!("DecisionRecords take over {} % of their room; the oldest go first", percent / 10 * 10),
        ),
    }
}

/// Whether every policy of the chain may be asked (G23).
fn answering(host: &Host, judged: &Judged) -> Statement {
    let chain =
        judged.in_force.as_ref().map(|policy| host.policies.chain(&policy.spec.body, &judged.project));
    let chain = chain.unwrap_or_default();
    let disabled = stage_records::disabled(host, &judged.project, &chain);
    let first = chain.iter().zip(disabled).find_map(|(entry, fault)| Some((&entry.name, fault?)));
    match first {
        None => Statement::yes(types::ANSWERING, reasons::ANSWERS, "every policy of the chain is asked"),
        Some((name, fault)) => Statement::no(
            types::ANSWERING,
            reasons::POLICY_DISABLED,
            format!(
                "{}; nobody of this chain is asked until its settings or its component change",
                policy_core::explain::fault(name, &fault)
            ),
        ),
    }
}

fn write_access(mode: Mode, standings: &[Standing]) -> Statement {
    let in_the_way = standings.iter().find_map(|one| Some((one, one.access.obstacle()?)));
    match (mode, in_the_way) {
        (Mode::Observe | Mode::Suggest, _) => Statement::unknown(
            types::WRITE_ACCESS,
            reasons::GRANTED,
            format!("not needed for {}", mode.text()),
        ),
        (Mode::Enforce, None) => {
            Statement::yes(types::WRITE_ACCESS, reasons::GRANTED, "the account has every right")
        }
        (Mode::Enforce, Some((one, why))) => {
            let advice = match one.access {
                Access::Lacking(_) => "; `refloat enable` prints what it needs",
                Access::ControlPlane => {
                    "; give `refloat install` and `refloat enable` another `--project-account`, or change Kargo's pattern \
                     for its own accounts"
                }
                Access::Full | Access::UnknownKargo(_) => "",
            };
            let message = format!("Stage `{}` is only observed: {why}{advice}", one.stage.name);
            Statement::no(types::WRITE_ACCESS, one.access.reason(), message)
        }
    }
}

/// Writes a status, and returns false when that failed. A lost race is nothing: the winner's write wakes this again.
async fn save<K>(host: &Host, resource: &'static str, api: &Api<K>, object: &K) -> bool
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    host.metrics.request("update", resource);
    let name = object.name_any();
    match api.replace_status(&name, &PostParams::default(), object).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => true,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(resource, name, error, "status not written");
            false
        }
    }
}
