//! Accepts policies and modules, and says so in their status.
//!
//! In: objects as the stores hold them. Out: what is in force, and statuses that are written only when they differ.
//! A spec that is not acceptable changes nothing: the last acceptable one stays in force, kept in the status so that a
//! restart does not lose it. Every status update carries the resourceVersion that was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use policy_api::accept::{self, Author, Problem};
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::condition::{self, Statement, reasons, types};
use policy_api::crd::failure_policy::{Accepted, AcceptedModule, MatchedStage};
use policy_api::crd::policy_body::{ChainEntry, Mode, PolicyBody};
use policy_api::crd::policy_module::{ClusterModuleSource, ManifestSummary, ModuleStatus};
use policy_api::crd::{ClusterFailurePolicy, ClusterPolicyModule, FailurePolicy, PolicyModule};
use policy_api::select;
use policy_core::name::ProjectName;
use policy_core::snapshot::{ProjectSnapshot, StageSnapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::events::{self, About, Loudness, Note};
use crate::host::Host;
use crate::modules::{self, ModuleKey, ModuleState, Unusable};
use crate::queue::StageKey;
use crate::rights;
use crate::stage_records;

/// Stages that a status lists at most.
const MAX_MATCHED: usize = 256;

/// Looks at every policy and module once.
pub async fn refresh(host: &Host, namespace: &str) {
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
    let of_projects = project_modules.iter().map(|module| project_key(module));
    let of_platform = cluster_modules.iter().map(|module| ModuleKey::Cluster(module.name_any()));
    host.policies.modules.retain(&of_projects.chain(of_platform).collect());
    for module in &project_modules {
        project_module(host, module, &platform).await;
    }
    for module in &cluster_modules {
        cluster_module(host, module, namespace).await;
    }
    builtins(host, &policies, &platform).await;
    let (platform, platform_problems) = accept_platform(host, &platform);
    let mut in_force: BTreeMap<ProjectName, Vec<FailurePolicy>> = BTreeMap::new();
    let mut judged = Vec::new();
    for policy in &policies {
        let one = judge(host, policy, &platform);
        if let Some(policy) = &one.in_force {
            in_force.entry(one.project.clone()).or_default().push(policy.clone());
        }
        judged.push((Arc::clone(policy), one));
    }
    host.policies.put(in_force.clone(), platform.clone());
    for (policy, one) in &judged {
        say(host, policy, one, &in_force, &platform).await;
    }
    for (policy, problems) in &platform_problems {
        say_platform(host, policy, problems).await;
    }
    for key in host.stores.stage_keys(None) {
        host.queue.push(key);
    }
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
    let problems = accept::problems(&policy.spec.body, Author::Project, &caps, known);
    let accepted = match problems.is_empty() {
        true => Some(accepted(host, policy, &project, &caps)),
        false => policy.status.as_ref().and_then(|status| status.accepted.clone()),
    };
    let in_force = accepted.as_ref().and_then(Accepted::spec).map(|spec| {
        let mut policy = policy.clone();
        policy.spec = spec;
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

/// Writes the status of a FailurePolicy, if it differs.
async fn say(
    host: &Host,
    policy: &FailurePolicy,
    judged: &Judged,
    in_force: &BTreeMap<ProjectName, Vec<FailurePolicy>>,
    platform: &[ClusterFailurePolicy],
) {
    let own = in_force.get(&judged.project).map(Vec::as_slice).unwrap_or_default();
    let ruled = ruled_stages(host, policy, judged, own, platform);
    let mode = judged.in_force.as_ref().map(|policy| policy.spec.body.mode).unwrap_or_default();
    let matched = matched(host, &judged.project, &ruled, mode).await;
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
        write_access(mode, &matched),
        answering(host, judged),
        space(host, &judged.project),
    ] {
        bad.extend(statement.is_bad().then(|| statement.clone()));
        condition::set(&mut status.conditions, statement, generation, now);
    }
    status.matched_stages = matched;
    if policy.status.as_ref() == Some(&status) {
        return;
    }
    let mut object = policy.clone();
    object.status = Some(status);
    let api = Api::namespaced(host.requests.client().clone(), judged.project.as_str());
    save(host, "failurepolicies", &api, &object).await;
    for statement in &bad {
        tell(host, policy, statement).await;
    }
}

/// Says a bad condition in an Event, once per generation and text: people watch Events sooner than conditions.
async fn tell<K: Resource<DynamicType = ()>>(host: &Host, object: &K, statement: &Statement) {
    let metadata = object.meta();
    let generation = metadata.generation.unwrap_or_default();
    let project = metadata.namespace.as_deref().map(ProjectName::new);
    let kind = K::kind(&());
    let note = Note {
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
    if let Err(error) = events::write(host.requests.client(), &note).await {
        tracing::warn!(kind = %kind, error = &error as &dyn std::error::Error, "nobody told about a bad condition");
    }
}

/// Stages that a policy rules, and the names that tie with it.
struct Ruled {
    stages: Vec<StageSnapshot>,
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

async fn matched(host: &Host, project: &ProjectName, ruled: &Ruled, mode: Mode) -> Vec<MatchedStage> {
    let mut matched = Vec::new();
    for stage in ruled.stages.iter().take(MAX_MATCHED) {
        let key = StageKey { project: project.clone(), stage: stage.name.clone() };
        let missing = match mode {
            Mode::Enforce => rights::missing(host, &key).await.unwrap_or_default(),
            Mode::Observe | Mode::Suggest => Vec::new(),
        };
        let really = if missing.is_empty() { mode } else { Mode::Observe };
        matched.push(MatchedStage { name: stage.name.to_string(), mode: really, missing_verbs: missing });
    }
    matched
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

fn write_access(mode: Mode, matched: &[MatchedStage]) -> Statement {
    let lacking = matched.iter().find(|stage| !stage.missing_verbs.is_empty());
    match (mode, lacking) {
        (Mode::Observe | Mode::Suggest, _) => Statement::unknown(
            types::WRITE_ACCESS,
            reasons::GRANTED,
            format!("not needed for {}", mode.text()),
        ),
        (Mode::Enforce, None) => {
            Statement::yes(types::WRITE_ACCESS, reasons::GRANTED, "the account has every right")
        }
        (Mode::Enforce, Some(stage)) => Statement::no(
            types::WRITE_ACCESS,
            reasons::VERB_MISSING,
            format!(
                "Stage `{}` is only observed: the Project's account may not {}; `refloat enable` prints what it needs",
                stage.name,
                stage.missing_verbs.join(", ")
            ),
        ),
    }
}

type Platform = (ClusterFailurePolicy, Vec<Problem>);

/// ClusterFailurePolicies as they are in force: caps always count, a default only when it is acceptable.
fn accept_platform(host: &Host, all: &[ClusterFailurePolicy]) -> (Vec<ClusterFailurePolicy>, Vec<Platform>) {
    let nowhere = ProjectName::default();
    let modules = &host.policies.modules;
    let mut in_force = Vec::new();
    let mut judged = Vec::new();
    for policy in all {
        let caps = policy.spec.caps.clone().unwrap_or_default();
        let known = |entry: &ChainEntry| modules.known_as(entry, &nowhere);
        let problems = policy
            .spec
            .default
            .as_ref()
            .map(|body| accept::problems(body, Author::Platform, &caps, known))
            .unwrap_or_default();
        let mut effective = policy.clone();
        if !problems.is_empty() {
            effective.spec.default = None;
        }
        in_force.push(effective);
        judged.push((policy.clone(), problems));
    }
    (in_force, judged)
}

async fn say_platform(host: &Host, policy: &ClusterFailurePolicy, problems: &[Problem]) {
    let mut status = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    status.observed_generation = generation;
    let covered = host
        .stores
        .with(|known| known.projects.values().filter(|project| select::covers(policy, project)).count());
    status.projects_total = u32::try_from(covered).ok();
    let statement = accept::statement(problems);
    condition::set(&mut status.conditions, statement.clone(), generation, host.clock.now());
    if policy.status.as_ref() == Some(&status) {
        return;
    }
    let mut object = policy.clone();
    object.status = Some(status);
    save(host, "clusterfailurepolicies", &Api::all(host.requests.client().clone()), &object).await;
    if statement.is_bad() {
        tell(host, policy, &statement).await;
    }
}

fn project_key(module: &PolicyModule) -> ModuleKey {
    ModuleKey::Project(ProjectName::new(module.namespace().unwrap_or_default()), module.name_any())
}

/// Bytes of a Project are not even compiled unless the platform lets them in: compiling is outside of what a sandbox
/// promises, and whoever may edit a namespace may make a PolicyModule in it.
fn is_let_in(host: &Host, project: &ProjectName, platform: &[ClusterFailurePolicy]) -> bool {
    let project = host.stores.project(project);
    project.is_some_and(|project| select::may_bring_modules(&select::caps(&project, platform)))
}

async fn project_module(host: &Host, module: &PolicyModule, platform: &[ClusterFailurePolicy]) {
    let project = ProjectName::new(module.namespace().unwrap_or_default());
    let key = project_key(module);
    let state = if is_let_in(host, &project, platform) {
        let source = ClusterModuleSource::from(module.spec.source.clone());
        let fetched = modules::fetch(host.requests.client(), project.as_str(), &source).await;
        host.policies.modules.refresh(&key, fetched, module.spec.digest.as_deref()).await
    } else {
        let message = format!("the platform does not let Project `{project}` bring modules");
        let reason = reasons::PROJECT_MODULES_FORBIDDEN;
        host.policies.modules.refuse(&key, Unusable { reason, message })
    };
    let status = module_status(host, module.status.as_ref(), module.metadata.generation, &state);
    if module.status.as_ref() != Some(&status) {
        let mut object = module.clone();
        object.status = Some(status);
        let api = Api::namespaced(host.requests.client().clone(), project.as_str());
        save(host, "policymodules", &api, &object).await;
        if let Some(unusable) = &state.unusable {
            tell(host, module, &not_ready(unusable)).await;
        }
    }
}

async fn cluster_module(host: &Host, module: &ClusterPolicyModule, namespace: &str) {
    let key = ModuleKey::Cluster(module.name_any());
    let fetched = modules::fetch(host.requests.client(), namespace, &module.spec.source).await;
    let state = host.policies.modules.refresh(&key, fetched, module.spec.digest.as_deref()).await;
    let status = module_status(host, module.status.as_ref(), module.metadata.generation, &state);
    if module.status.as_ref() != Some(&status) {
        let mut object = module.clone();
        object.status = Some(status);
        save(host, "clusterpolicymodules", &Api::all(host.requests.client().clone()), &object).await;
        if let Some(unusable) = &state.unusable {
            tell(host, module, &not_ready(unusable)).await;
        }
    }
}

/// Loads the built-in policies that some chain names.
async fn builtins(host: &Host, policies: &[Arc<FailurePolicy>], platform: &[ClusterFailurePolicy]) {
    let own = policies.iter().flat_map(|policy| &policy.spec.body.chain);
    let default =
        platform.iter().filter_map(|policy| policy.spec.default.as_ref()).flat_map(|body| &body.chain);
    let mut names: Vec<String> = own.chain(default).filter_map(|entry| entry.builtin.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let key = ModuleKey::Builtin(name.clone());
        if host.policies.modules.state(&key).is_none_or(|state| state.loaded.is_none()) {
            host.policies.modules.refresh(&key, modules::builtin_bytes(&name), None).await;
        }
    }
}

fn module_status(
    host: &Host,
    old: Option<&ModuleStatus>,
    generation: Option<i64>,
    state: &ModuleState,
) -> ModuleStatus {
    let mut status = old.cloned().unwrap_or_default();
    status.observed_generation = generation;
    if let Some(loaded) = &state.loaded {
        status.digest = Some(loaded.digest.to_string());
        status.last_good_digest = Some(loaded.digest.to_string());
        status.track = Some(loaded.policy.track().text().to_owned());
        status.manifest = Some(ManifestSummary::of(&loaded.manifest));
        status.size_bytes = Some(loaded.size_bytes);
        status.compile_millis = status.compile_millis.or(Some(loaded.load_millis));
    }
    let statement = match &state.unusable {
        None => Statement::yes(types::READY, reasons::READY, "loaded"),
        Some(unusable) => not_ready(unusable),
    };
    condition::set(&mut status.conditions, statement, generation, host.clock.now());
    status
}

fn not_ready(unusable: &Unusable) -> Statement {
    Statement::no(types::READY, unusable.reason, unusable.message.clone())
}

/// Writes a status. A lost race is nothing: the winner's write wakes this again.
async fn save<K>(host: &Host, resource: &'static str, api: &Api<K>, object: &K)
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    host.metrics.request("update", resource);
    let name = object.name_any();
    match api.replace_status(&name, &PostParams::default(), object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(resource, name, error, "status not written");
        }
    }
}
