//! Which policy rules which Stage, from objects that were accepted.
//!
//! In: what the stores hold and which modules are loaded. Out: a [`Ruling`] per Stage, computed when it is asked for.
//! What is in force is the last spec that was acceptable: a mistake in a newer one changes nothing but its status.
//! Statuses are written in [`crate::acceptance`]; nothing here talks to the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use policy_api::crd::incident::PolicyRef;
use policy_api::crd::policy_body::PolicyBody;
use policy_api::crd::{ClusterFailurePolicy, FailurePolicy};
use policy_api::select;
use policy_core::chain::Entry;
use policy_core::name::{Digest, ProjectName};
use policy_core::rules::Rules;
use policy_core::settings::{self, Settings};
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
    /// The component.
    pub policy: Arc<Policy>,
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
    pub chain: Arc<Vec<ChainPolicy>>,
}

/// Policies that are in force: their specs are the last acceptable ones.
#[derive(Default)]
struct InForce {
    project: BTreeMap<ProjectName, Vec<FailurePolicy>>,
    platform: Vec<ClusterFailurePolicy>,
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

    /// Puts these policies in force, and no others.
    pub fn put(
        &self,
        project: BTreeMap<ProjectName, Vec<FailurePolicy>>,
        platform: Vec<ClusterFailurePolicy>,
    ) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = InForce { project, platform };
    }

    /// What rules a Stage; `None` when nothing does.
    pub fn ruling(&self, key: &StageKey) -> Option<Ruling> {
        let stage = self.stores.with(|known| known.stages.get(key).cloned())?;
        let project = self.stores.project(&key.project)?;
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let own = in_force.project.get(&key.project).map(Vec::as_slice).unwrap_or_default();
        let caps = select::caps(&project, &in_force.platform);
        match select::ruling(&stage, &project, own, &in_force.platform) {
            select::Ruling::Project(policy) => {
                let by = reference("FailurePolicy", policy);
                Some(self.of(by, &policy.spec.body, select::rules(&policy.spec.body, &caps), &key.project))
            }
            select::Ruling::Platform(policy, body) => {
                let by = reference("ClusterFailurePolicy", policy);
                Some(self.of(by, body, select::rules(body, &caps), &key.project))
            }
            select::Ruling::Conflict(names) => {
                let policy = PolicyRef { kind: "Conflict".to_owned(), name: names.join(","), uid: None };
                Some(Ruling { policy, rules: select::observing(), chain: Arc::default() })
            }
            select::Ruling::Nothing => None,
        }
    }

    fn of(&self, policy: PolicyRef, body: &PolicyBody, rules: Rules, project: &ProjectName) -> Ruling {
        Ruling { policy, rules, chain: Arc::new(self.chain(body, project)) }
    }

    /// A chain that is ready to be asked. Entries whose module cannot be used any more are left out: the acceptance
    /// says so in the status.
    pub fn chain(&self, body: &PolicyBody, project: &ProjectName) -> Vec<ChainPolicy> {
        let chain = body.chain.iter().filter_map(|entry| {
            let loaded = self.modules.state(&ModuleKey::of(entry, project)?)?.loaded?;
            let empty = serde_json::Value::Object(serde_json::Map::new());
            let document = entry.settings.as_ref().unwrap_or(&empty);
            let settings = settings::accept(document, &loaded.manifest.settings_schema).ok()?;
            Some(ChainPolicy {
                name: entry.name.clone(),
                module: PolicyBody::source_text(entry),
                title: format!("{} {}", loaded.manifest.name, loaded.manifest.version),
                digest: loaded.digest,
                policy: loaded.policy,
                settings,
                entry: Entry { role: loaded.manifest.role, triggers: loaded.manifest.triggers.clone() },
            })
        });
        chain.collect()
    }
}

fn reference<K: kube::Resource>(kind: &str, object: &K) -> PolicyRef {
    PolicyRef { kind: kind.to_owned(), name: object.name_any(), uid: object.meta().uid.clone() }
}
