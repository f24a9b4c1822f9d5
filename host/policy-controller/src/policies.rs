//! Which policy rules which Stage, from objects that were accepted.
//!
//! In: what the stores hold and which modules are loaded. Out: a [`Ruling`] per Stage, computed when it is asked for.
//! What is in force is the last spec that was acceptable: a mistake in a newer one changes nothing but its status.
//! Statuses are written in [`crate::acceptance`]; nothing here talks to the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use policy_api::crd::incident::{AcceptedPolicy, PolicyRef};
use policy_api::crd::policy_body::{ChainEntry, PolicyBody};
use policy_api::crd::{ClusterFailurePolicy, FailurePolicy};
use policy_api::select;
use policy_core::chain::{self, Entry};
use policy_core::failure::Trigger;
use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use policy_core::manifest::Role;
use policy_core::name::{Digest, ProjectName};
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_engine::Policy;

use crate::modules::{ModuleKey, Modules};
use crate::queue::StageKey;
use crate::stores::Stores;

/// One chain entry, ready to be asked.
pub struct ChainPolicy {
    /// Its name in the chain.
    pub name: String,
    /// What the FailurePolicy names there.
    pub module: String,
    /// The component's own name and version.
    pub title: String,
    /// The component's digest.
    pub digest: Digest,
    /// The component; a fault when it cannot be asked. It stays in its place all the same: what is left of a chain
    /// without its guard is not what the Project has asked for.
    pub policy: Result<Arc<Policy>, GuestFault>,
    /// Its settings.
    pub settings: Settings,
    /// Its role and triggers.
    pub entry: Entry,
}

/// What rules a Stage.
#[derive(Clone)]
pub struct Ruling {
    /// The object.
    pub policy: PolicyRef,
    /// The rules that come of it and the platform's caps.
    pub rules: Rules,
    /// The chain.
    pub chain: Chain,
}

impl Ruling {
    /// Whether every entry of the chain can be asked.
    pub fn is_complete(&self) -> bool {
        self.chain.iter().all(|entry| entry.policy.is_ok())
    }

    /// Whether a policy of the chain asks for that trigger. One that cannot be used asks for nothing.
    pub fn asks(&self, trigger: Trigger) -> bool {
        self.chain.iter().any(|entry| entry.policy.is_ok() && chain::wants(&entry.entry, trigger))
    }
}

/// A chain that is ready to be asked.
pub type Chain = Arc<Vec<ChainPolicy>>;

/// Policies that are in force: their specs are the last acceptable ones. Their chains are made once, because checking
/// settings against a schema for every look at every Stage is what a large cluster would spend its time on.
#[derive(Default)]
struct InForce {
    project: BTreeMap<ProjectName, Vec<FailurePolicy>>,
    platform: Vec<ClusterFailurePolicy>,
    chains_of_projects: BTreeMap<(ProjectName, String), Chain>,
    chains_of_platform: BTreeMap<String, Chain>,
}

/// All policies of one process.
pub struct Policies {
    stores: Arc<Stores>,
    /// The modules that they name.
    pub modules: Arc<Modules>,
    in_force: Mutex<InForce>,
}

impl Policies {
    /// Nothing in force yet.
    pub fn new(stores: Arc<Stores>, modules: Arc<Modules>) -> Self {
        Self { stores, modules, in_force: Mutex::default() }
    }

    /// Puts these policies in force, and no others. To be called again when a module changes.
    pub fn put(
        &self,
        project: BTreeMap<ProjectName, Vec<FailurePolicy>>,
        platform: Vec<ClusterFailurePolicy>,
    ) {
        let own = project.iter().flat_map(|(name, all)| all.iter().map(move |policy| (name, policy)));
        let chains_of_projects = own
            .map(|(name, policy)| {
                let chain = self.chain(&policy.spec.body, name);
                ((name.clone(), policy.name_any()), Arc::new(chain))
            })
            .collect();
        let nowhere = ProjectName::default();
        let chains_of_platform = platform
            .iter()
            .filter_map(|policy| Some((policy, policy.spec.default.as_ref()?)))
            .map(|(policy, body)| (policy.name_any(), Arc::new(self.chain(body, &nowhere))))
            .collect();
        let in_force = InForce { project, platform, chains_of_projects, chains_of_platform };
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    /// What rules a Stage; `None` when nothing does.
    pub fn ruling(&self, key: &StageKey) -> Option<Ruling> {
        let stage = self.stores.with(|known| known.stages.get(key).cloned())?;
        let project = self.stores.project(&key.project)?;
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let own = in_force.project.get(&key.project).map(Vec::as_slice).unwrap_or_default();
        let caps = select::caps(&project, &in_force.platform);
        match select::ruling(&stage, &project, own, &in_force.platform) {
            select::Ruling::Project(policy) => Some(Ruling {
                policy: reference("FailurePolicy", policy),
                rules: select::rules(&policy.spec.body, &caps),
                chain: in_force
                    .chains_of_projects
                    .get(&(key.project.clone(), policy.name_any()))
                    .cloned()
                    .unwrap_or_default(),
            }),
            select::Ruling::Platform(policy, body) => Some(Ruling {
                policy: reference("ClusterFailurePolicy", policy),
                rules: select::rules(body, &caps),
                chain: in_force.chains_of_platform.get(&policy.name_any()).cloned().unwrap_or_default(),
            }),
            select::Ruling::Conflict(names) => {
                let policy = PolicyRef { kind: "Conflict".to_owned(), name: names.join(","), uid: None };
                Some(Ruling { policy, rules: select::observing(&names), chain: Arc::default() })
            }
            select::Ruling::Nothing => None,
        }
    }

    /// The policy that rules a Stage as it was accepted, for the Incidents that it begins.
    pub fn accepted(&self, key: &StageKey) -> Option<AcceptedPolicy> {
        let stage = self.stores.with(|known| known.stages.get(key).cloned())?;
        let project = self.stores.project(&key.project)?;
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let own = in_force.project.get(&key.project).map(Vec::as_slice).unwrap_or_default();
        let accepted = match select::ruling(&stage, &project, own, &in_force.platform) {
            select::Ruling::Project(policy) => policy.status.as_ref()?.accepted.clone()?,
            select::Ruling::Platform(policy, _) => policy.status.as_ref()?.accepted.clone()?,
            select::Ruling::Conflict(_) | select::Ruling::Nothing => return None,
        };
        Some(AcceptedPolicy {
            generation: accepted.generation,
            settings_digest: accepted.settings_digest,
            modules: accepted.modules,
            spec: Some(accepted.spec),
            rules: accepted.rules,
        })
    }

    /// A chain that is ready to be asked. An entry whose module cannot be used any more answers with a fault.
    pub fn chain(&self, body: &PolicyBody, project: &ProjectName) -> Vec<ChainPolicy> {
        let chain = body.chain.iter().map(|entry| {
            let mut policy = self.usable(entry, project).unwrap_or_else(|why| unusable(entry, why));
            policy.entry.triggers = select::triggers(body, &policy.entry.triggers);
            policy
        });
        chain.collect()
    }

    /// An entry that can be asked, or why it cannot: its module is gone or not let in any more, or was replaced by one
    /// that does not take these settings.
    fn usable(&self, entry: &ChainEntry, project: &ProjectName) -> Result<ChainPolicy, String> {
        let state =
            ModuleKey::of(entry, project).and_then(|key| self.modules.state(&key)).unwrap_or_default();
        let loaded = state.loaded.ok_or_else(|| match state.unusable {
            Some(unusable) => unusable.message,
            None => "its module is not there".to_owned(),
        })?;
        let settings = loaded
            .schema
            .accept(entry.settings.as_ref().unwrap_or(&serde_json::Value::Null))
            .map_err(|_| "its module was replaced by one that does not take its settings".to_owned())?;
        Ok(ChainPolicy {
            name: entry.name.clone(),
            module: PolicyBody::source_text(entry),
            title: format!("{} {}", loaded.manifest.name, loaded.manifest.version),
            digest: loaded.digest,
            policy: Ok(loaded.policy),
            settings,
            entry: Entry { role: loaded.manifest.role, triggers: loaded.manifest.triggers.clone() },
        })
    }
}

/// An entry whose turn always comes, as a modifier's does, and which then answers with a fault: nothing is done, and
/// people learn why.
fn unusable(entry: &ChainEntry, message: String) -> ChainPolicy {
    let fault = GuestFault { kind: GuestFaultKind::NotLoaded, message, reproducible: false, log: Vec::new() };
    ChainPolicy {
        name: entry.name.clone(),
        module: PolicyBody::source_text(entry),
        title: String::new(),
        digest: Digest::default(),
        policy: Err(fault),
        settings: Settings::default(),
        entry: Entry { role: Role::Modifier, triggers: Vec::new() },
    }
}

fn reference<K: kube::Resource>(kind: &str, object: &K) -> PolicyRef {
    PolicyRef { kind: kind.to_owned(), name: object.name_any(), uid: object.meta().uid.clone() }
}

#[cfg(test)]
mod tests {
    use policy_engine::{Compiler, Engine, Limits};
    use serde_json::json;

    use super::*;
    use crate::guests::Guests;

    /// What is left of a chain without its guard must not decide alone.
    #[test]
    fn an_entry_that_cannot_be_asked_keeps_its_place_and_answers_with_a_fault() {
        let compiler = Compiler::new("no-compiler-is-needed", Vec::new());
        let engine = Engine::new(&Limits::default(), &compiler, &std::env::temp_dir()).expect("an engine");
        let stores = Arc::new(Stores::default());
        let stage = json!({"project": "shop", "name": "prod", "uid": "u"});
        let key = StageKey { project: "shop".into(), stage: "prod".into() };
        stores.change(|known| {
            known.projects.insert("shop".into(), policy_core::snapshot::ProjectSnapshot::default());
            known.stages.insert(key.clone(), Arc::new(serde_json::from_value(stage).expect("a Stage")));
        });
        let policies = Policies::new(stores, Arc::new(Modules::new(Arc::new(engine), Guests::InPlace)));
        let policy = json!({"apiVersion": "refloat.dev/v1alpha1", "kind": "FailurePolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"mode": "Enforce", "triggers": ["promotion-failed"],
                "chain": [{"name": "guard", "module": {"name": "off-hours"}}]}});
        let policy = serde_json::from_value(policy).expect("a FailurePolicy");
        policies.put(BTreeMap::from([("shop".into(), vec![policy])]), Vec::new());
        let ruling = policies.ruling(&key).expect("a ruling");
        assert!(!ruling.is_complete());
        let guard = &ruling.chain[0];
        assert_eq!(guard.policy.as_ref().expect_err("a fault").kind, GuestFaultKind::NotLoaded);
        assert_eq!(guard.entry.role, Role::Modifier);
        assert_eq!(guard.entry.triggers, [policy_core::failure::Trigger::PromotionFailed]);
    }
}
