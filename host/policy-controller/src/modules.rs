//! Modules: from a source named in an object to a component that can be asked.
//!
//! In: PolicyModules, ClusterPolicyModules, names of built-in policies. Out: loaded components by module, and the
//! status of each module object. A component that could be loaded stays in use while a newer one cannot be.
//! Compiling happens in a child process and on a blocking thread; a decision never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::guests::Guests;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use policy_api::accept;
use policy_api::crd::policy_body::{ChainEntry, ModuleKind};
use policy_api::crd::policy_module::{ClusterModuleSource, ConfigMapSource};
use policy_core::manifest::Manifest;
use policy_core::name::{Digest, ProjectName};
use policy_core::settings::Schema;
use policy_engine::{Engine, Policy};
use policy_source::{Component, SourceError};

/// A module by the place that it has in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleKey {
    /// A policy that ships with Refloat.
    Builtin(String),
    /// A PolicyModule of a Project.
    Project(ProjectName, String),
    /// A ClusterPolicyModule.
    Cluster(String),
}

impl ModuleKey {
    /// The module that a chain entry of a policy in `project` names.
    pub fn of(entry: &ChainEntry, project: &ProjectName) -> Option<Self> {
        if let Some(builtin) = &entry.builtin {
            return Some(Self::Builtin(builtin.clone()));
        }
        let module = entry.module.as_ref()?;
        Some(match module.kind {
            ModuleKind::PolicyModule => Self::Project(project.clone(), module.name.clone()),
            ModuleKind::ClusterPolicyModule => Self::Cluster(module.name.clone()),
        })
    }
}

/// A component that can be asked.
#[derive(Clone)]
pub struct Loaded {
    /// The component.
    pub policy: Arc<Policy>,
    /// What it says about itself.
    pub manifest: Arc<Manifest>,
    /// Its settings schema.
    pub schema: Arc<Schema>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The size of its bytes.
    pub size_bytes: u32,
    /// How long loading took, compiling included.
    pub load_millis: u32,
}

/// Why a module cannot be used. The text is for people and names the thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// One of the reasons of conditions.
    pub reason: &'static str,
    /// Why, without a final dot.
    pub message: String,
}

/// What is known about a module.
#[derive(Clone, Default)]
pub struct ModuleState {
    /// What is in use: the newest component that could be loaded.
    pub loaded: Option<Loaded>,
    /// Why the newest one cannot be used, if so.
    pub unusable: Option<Unusable>,
    /// What its source was when it was last loaded without a problem.
    version: Option<SourceVersion>,
}

/// What changes when the bytes of a source change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceVersion(String);

/// All modules of one process.
pub struct Modules {
    engine: Arc<Engine>,
    guests: Guests,
    known: Mutex<BTreeMap<ModuleKey, ModuleState>>,
    by_digest: Mutex<BTreeMap<Digest, Loaded>>,
    n_changes: AtomicU64,
}

impl Modules {
    /// No modules yet, on that engine.
    pub fn new(engine: Arc<Engine>, guests: Guests) -> Self {
        Self {
            engine,
            guests,
            known: Mutex::default(),
            by_digest: Mutex::default(),
            n_changes: AtomicU64::new(0),
        }
    }

    /// The engine's identity, for records.
    pub fn engine_id(&self) -> String {
        self.engine.engine_id().to_owned()
    }

    /// How often something was loaded or refused: equal counts mean that nothing has changed between them.
    pub fn n_changes(&self) -> u64 {
        self.n_changes.load(Ordering::Relaxed)
    }

    /// What is known about a module, if that came of this version of its source and this pin.
    pub fn current(
        &self,
        key: &ModuleKey,
        version: &SourceVersion,
        pinned: Option<&str>,
    ) -> Option<ModuleState> {
        let fits = |state: &ModuleState| {
            let digest = state.loaded.as_ref().map(|loaded| loaded.digest.as_str());
            state.version.as_ref() == Some(version) && (pinned.is_none() || pinned == digest)
        };
        self.state(key).filter(fits)
    }

    /// What is known about a module.
    pub fn state(&self, key: &ModuleKey) -> Option<ModuleState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The same as acceptance wants to know it.
    pub fn known_as(&self, entry: &ChainEntry, project: &ProjectName) -> accept::Module {
        let state = ModuleKey::of(entry, project).and_then(|key| self.state(&key));
        match state {
            Some(ModuleState { loaded: Some(loaded), .. }) => {
                let Loaded { digest, manifest, schema, .. } = loaded;
                accept::Module::Ready { digest, manifest, schema }
            }
            Some(ModuleState { unusable: Some(unusable), .. }) if entry.builtin.is_none() => {
                accept::Module::NotReady(unusable.message)
            }
            Some(_) | None => accept::Module::Missing(self.names_like(entry, project)),
        }
    }

    fn names_like(&self, entry: &ChainEntry, project: &ProjectName) -> Vec<String> {
        if entry.builtin.is_some() {
            return policy_source::builtins().iter().map(|name| (*name).to_owned()).collect();
        }
        let kind = entry.module.as_ref().map(|module| module.kind).unwrap_or_default();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let names = known.keys().filter_map(|key| match (key, kind) {
            (ModuleKey::Project(of, name), ModuleKind::PolicyModule) if of == project => Some(name.clone()),
            (ModuleKey::Cluster(name), ModuleKind::ClusterPolicyModule) => Some(name.clone()),
            (ModuleKey::Builtin(_) | ModuleKey::Project(..) | ModuleKey::Cluster(_), _) => None,
        });
        names.take(8).collect()
    }

    /// Forgets modules that are not in `present`; built-in ones stay. What is deleted is not asked any more.
    pub fn retain(&self, present: &BTreeSet<ModuleKey>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| matches!(key, ModuleKey::Builtin(_)) || present.contains(key));
        let in_use: BTreeSet<&Digest> =
            known.values().filter_map(|state| state.loaded.as_ref()).map(|loaded| &loaded.digest).collect();
        let mut by_digest = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        by_digest.retain(|digest, _| in_use.contains(digest));
    }

    /// Takes a module out of use.
    pub fn refuse(&self, key: &ModuleKey, unusable: Unusable) -> ModuleState {
        let state = ModuleState { loaded: None, unusable: Some(unusable), version: None };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.insert(key.clone(), state.clone());
        if old.is_none_or(|old| old.loaded.is_some() || old.unusable != state.unusable) {
            self.n_changes.fetch_add(1, Ordering::Relaxed);
        }
        state
    }

    /// Loads what a source gives now, and keeps what was good if that fails. `version` is that of the source before it
    /// was fetched, where it has one.
    pub async fn refresh(
        &self,
        key: &ModuleKey,
        fetched: Result<Vec<u8>, Unusable>,
        version: Option<SourceVersion>,
        pinned: Option<&str>,
    ) -> ModuleState {
        let result = match fetched {
            Ok(bytes) => self.load(bytes, pinned).await,
            Err(unusable) => Err(unusable),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = known.entry(key.clone()).or_default();
        let digest = |state: &ModuleState| state.loaded.as_ref().map(|loaded| loaded.digest.clone());
        let before = (digest(state), state.unusable.clone());
        match result {
            Ok(loaded) => *state = ModuleState { loaded: Some(loaded), unusable: None, version },
            Err(unusable) => (state.unusable, state.version) = (Some(unusable), None),
        }
        if before != (digest(state), state.unusable.clone()) {
            self.n_changes.fetch_add(1, Ordering::Relaxed);
        }
        state.clone()
    }

    async fn load(&self, bytes: Vec<u8>, pinned: Option<&str>) -> Result<Loaded, Unusable> {
        use policy_api::crd::condition::reasons;
        let digest = policy_source::digest(&bytes);
        if let Some(pinned) = pinned.filter(|pinned| *pinned != digest.as_str()) {
            let message = format!("the bytes have digest `{digest}`, and `{pinned}` is asked for");
            return Err(Unusable { reason: reasons::DIGEST_MISMATCH, message });
        }
        let known = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(loaded) = known {
            return Ok(loaded);
        }
        let engine = Arc::clone(&self.engine);
        let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let started = tokio::time::Instant::now();
        let loaded = self.guests.run(move || engine.load(&bytes)).await;
        let failed = |message: String| Unusable { reason: reasons::LOAD_FAILED, message };
        let policy =
            loaded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))?;
        let loaded = Loaded {
            manifest: Arc::new(policy.manifest().clone()),
            schema: Arc::new(Schema::read(&policy.manifest().settings_schema)),
            policy: Arc::new(policy),
            digest: digest.clone(),
            size_bytes,
            load_millis: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
        };
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, loaded.clone());
        Ok(loaded)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// What a source's bytes are now, without reading a megabyte every half minute; `None` for a file, which has to be
/// read, and for what is not there, of which [`fetch`] says so.
pub async fn version(
    client: &kube::Client,
    namespace: &str,
    source: &ClusterModuleSource,
) -> Option<SourceVersion> {
    if let Some(builtin) = &source.builtin {
        return Some(SourceVersion(format!("builtin {}", builtin.name)));
    }
    let ConfigMapSource { name, key } = source.config_map.as_ref()?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_metadata_opt(name).await.ok()??;
    let (uid, version) = (found.metadata.uid?, found.metadata.resource_version?);
    Some(SourceVersion(format!("ConfigMap {namespace}/{name} {key} {uid} {version}")))
}

/// The bytes that a source gives now. `namespace` is where its ConfigMaps are.
pub async fn fetch(
    client: &kube::Client,
    namespace: &str,
    source: &ClusterModuleSource,
) -> Result<Vec<u8>, Unusable> {
    use policy_api::crd::condition::reasons;
    if let Some(builtin) = &source.builtin {
        return builtin_bytes(&builtin.name);
    }
    if let Some(config_map) = &source.config_map {
        return from_config_map(client, namespace, config_map).await;
    }
    if let Some(file) = &source.file {
        return component(policy_source::Module::parse(&file.path).load());
    }
    let message = "modules from registries are not supported by this version; use configMap, file or builtin";
    Err(Unusable { reason: reasons::SOURCE_NOT_SUPPORTED, message: message.to_owned() })
}

/// The bytes of a built-in policy.
pub fn builtin_bytes(name: &str) -> Result<Vec<u8>, Unusable> {
    component(policy_source::builtin(name))
}

fn component(loaded: Result<Component, SourceError>) -> Result<Vec<u8>, Unusable> {
    let reason = policy_api::crd::condition::reasons::SOURCE_NOT_FOUND;
    loaded.map(|component| component.bytes).map_err(|error| Unusable { reason, message: chain(&error) })
}

async fn from_config_map(
    client: &kube::Client,
    namespace: &str,
    source: &ConfigMapSource,
) -> Result<Vec<u8>, Unusable> {
    let reason = policy_api::crd::condition::reasons::SOURCE_NOT_FOUND;
    let missing = |message: String| Unusable { reason, message };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = &source.name;
    let found = api.get_opt(name).await;
    let found =
        found.map_err(|error| missing(format!("ConfigMap {namespace}/{name} cannot be read: {error}")))?;
    let object = found.ok_or_else(|| missing(format!("ConfigMap {namespace}/{name} does not exist")))?;
    let mut data = object.binary_data.unwrap_or_default();
    let key = &source.key;
    let bytes = data.remove(key);
    bytes
        .map(|bytes| bytes.0)
        .ok_or_else(|| missing(format!("ConfigMap {namespace}/{name} has no `{key}` under `binaryData`")))
}
