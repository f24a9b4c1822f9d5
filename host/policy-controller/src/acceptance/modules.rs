//! Modules: fetched, loaded, and their status written.
//!
//! In: module objects and the names of built-in policies that chains use. Out: [`crate::modules`] knows what they came
//! to, and each object's status says so.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::Api;
use policy_api::crd::condition::{self, Statement, reasons, types};
use policy_api::crd::policy_body::PolicyBody;
use policy_api::crd::policy_module::{ClusterModuleSource, ManifestSummary, ModuleStatus};
use policy_api::crd::{ClusterFailurePolicy, ClusterPolicyModule, FailurePolicy, PolicyModule};
use policy_api::select;
use policy_core::name::ProjectName;

use super::publish;
use crate::host::Host;
use crate::modules::{self, ModuleKey, ModuleState, Unusable};

pub(super) fn project_key(module: &PolicyModule) -> ModuleKey {
    ModuleKey::Project(ProjectName::new(module.namespace().unwrap_or_default()), module.name_any())
}

/// Bytes of a Project are not even compiled unless the platform lets them in: compiling is outside of what a sandbox
/// promises, and whoever may edit a namespace may make a PolicyModule in it.
fn is_let_in(host: &Host, project: &ProjectName, platform: &[ClusterFailurePolicy]) -> bool {
    let project = host.stores.project(project);
    project.is_some_and(|project| select::may_bring_modules(&select::caps(&project, platform)))
}

pub(super) async fn project_module(host: &Host, module: &PolicyModule, platform: &[ClusterFailurePolicy]) {
    let project = ProjectName::new(module.namespace().unwrap_or_default());
    let key = project_key(module);
    let state = if is_let_in(host, &project, platform) {
        let source = ClusterModuleSource::from(module.spec.source.clone());
        up_to_date(host, &key, project.as_str(), &source, module.spec.digest.as_deref()).await
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
        let bad = state.unusable.as_ref().map(not_ready);
        publish(host, "policymodules", &api, &object, bad.as_slice()).await;
    }
}

pub(super) async fn cluster_module(host: &Host, module: &ClusterPolicyModule, namespace: &str) {
    let key = ModuleKey::Cluster(module.name_any());
    let pinned = module.spec.digest.as_deref();
    let state = up_to_date(host, &key, namespace, &module.spec.source, pinned).await;
    let status = module_status(host, module.status.as_ref(), module.metadata.generation, &state);
    if module.status.as_ref() != Some(&status) {
        let mut object = module.clone();
        object.status = Some(status);
        let api = Api::all(host.requests.client().clone());
        let bad = state.unusable.as_ref().map(not_ready);
        publish(host, "clusterpolicymodules", &api, &object, bad.as_slice()).await;
    }
}

/// What a module comes to now: its bytes are only fetched when they are others than before.
async fn up_to_date(
    host: &Host,
    key: &ModuleKey,
    namespace: &str,
    source: &ClusterModuleSource,
    pinned: Option<&str>,
) -> ModuleState {
    let (client, known) = (host.requests.client(), &host.policies.modules);
    let version = modules::version(client, namespace, source).await;
    if let Some(state) = version.as_ref().and_then(|version| known.current(key, version, pinned)) {
        return state;
    }
    let fetched = modules::fetch(client, namespace, source).await;
    known.refresh(key, fetched, version, pinned).await
}

/// Loads the built-in policies that some chain names, be it in the newest spec or in the one that is in force.
pub(super) async fn builtins(
    host: &Host,
    policies: &[Arc<FailurePolicy>],
    platform: &[ClusterFailurePolicy],
) {
    let mut bodies: Vec<PolicyBody> = Vec::new();
    for policy in policies {
        bodies.push(policy.spec.body.clone());
        bodies.extend(policy.status.as_ref().and_then(|status| status.accepted.as_ref()?.body()));
    }
    for policy in platform {
        bodies.extend(policy.spec.default.clone());
        bodies.extend(policy.status.as_ref().and_then(|status| status.accepted.as_ref()?.body()));
    }
    let chains = bodies.iter().flat_map(|body| &body.chain);
    let mut names: Vec<String> = chains.filter_map(|entry| entry.builtin.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let key = ModuleKey::Builtin(name.clone());
        if host.policies.modules.state(&key).is_none_or(|state| state.loaded.is_none()) {
            host.policies.modules.refresh(&key, modules::builtin_bytes(&name), None, None).await;
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
