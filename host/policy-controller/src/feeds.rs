//! The watches, one task per kind: what they say goes into the stores, and the Stages concerned into the queue.
//!
//! In: a client, the stores, the queue. Out: tasks that run until they are aborted.
//! An object that cannot be read is logged and left out; its neighbours are not held up by it. A Project outside of
//! the scope is never stored, so that nothing later can act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use policy_api::crd::{
    ClusterFailurePolicy, ClusterPolicyModule, FailurePolicy, Incident, PolicyModule, StageRecord,
};
use policy_api::kargo::{self, convert};
use policy_core::name::{ProjectName, StageName};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::queue::{Queue, StageKey};
use crate::stores::{Kind, Known, Stores};
use crate::watch::{Change, follow};

/// Which Projects this process looks at.
#[derive(Clone, Debug, Default)]
pub struct Scope(pub BTreeSet<ProjectName>);

impl Scope {
    /// Whether a Project is in it. An empty scope means all of them.
    pub fn covers(&self, project: &ProjectName) -> bool {
        self.0.is_empty() || self.0.contains(project)
    }
}

/// What every feed needs.
#[derive(Clone)]
pub struct Feeds {
    /// The API server.
    pub client: Client,
    /// Where snapshots go.
    pub stores: Arc<Stores>,
    /// Where Stages that want attention go.
    pub queue: Arc<Queue>,
    /// Told when a policy or module changes.
    pub policies_changed: Arc<tokio::sync::Notify>,
    /// Which Projects count.
    pub scope: Scope,
    /// The account's name in each Project.
    pub account: Arc<str>,
}

impl Feeds {
    /// Starts every feed.
    pub fn start(&self, tasks: &mut JoinSet<()>) {
        self.start_kargo(tasks);
        self.start_ours(tasks);
    }

    fn start_kargo(&self, tasks: &mut JoinSet<()>) {
        let projects = watcher::Config::default().labels("kargo.akuity.io/project=true");
        self.spawn(tasks, Kind::Project, projects, |feeds, change| feeds.namespaces(change));
        self.spawn_kargo(tasks, Kind::ProjectConfig, Self::configs);
        self.spawn_kargo(tasks, Kind::Stage, Self::stages);
        self.spawn_kargo(tasks, Kind::Promotion, Self::promotions);
        self.spawn(tasks, Kind::Freight, watcher::Config::default(), |feeds, change| feeds.freight(change));
    }

    /// A kind of Kargo's, whose objects anybody in a Project may have written: one that cannot be decoded must not make
    /// a whole list fail.
    fn spawn_kargo<K>(&self, tasks: &mut JoinSet<()>, kind: Kind, on: fn(&Self, Change<K>))
    where
        K: kube::Resource<DynamicType = ()> + Clone + Default + DeserializeOwned + Debug + Send + 'static,
        K::Scope: Send,
    {
        let all = watcher::Config::default();
        self.spawn(tasks, kind, all, move |feeds, change: Change<kargo::Perhaps<K>>| {
            if let Some(change) = change.readable() {
                on(feeds, change);
            }
        });
    }

    fn start_ours(&self, tasks: &mut JoinSet<()>) {
        let all = watcher::Config::default;
        self.spawn(tasks, Kind::Incident, all(), |feeds, change| feeds.incidents(change));
        self.spawn(tasks, Kind::StageRecord, all(), |feeds, change| feeds.stage_records(change));
        self.spawn(tasks, Kind::FailurePolicy, all(), |feeds, change: Change<FailurePolicy>| {
            feeds.by_name(change, |known| &mut known.failure_policies);
            feeds.policies_changed.notify_one();
        });
        self.spawn(
            tasks,
            Kind::ClusterFailurePolicy,
            all(),
            |feeds, change: Change<ClusterFailurePolicy>| {
                feeds.cluster_wide(change, |known| &mut known.cluster_failure_policies);
            },
        );
        self.spawn(tasks, Kind::PolicyModule, all(), |feeds, change: Change<PolicyModule>| {
            feeds.by_name(change, |known| &mut known.modules);
            feeds.policies_changed.notify_one();
        });
        self.spawn(tasks, Kind::ClusterPolicyModule, all(), |feeds, change: Change<ClusterPolicyModule>| {
            feeds.cluster_wide(change, |known| &mut known.cluster_modules);
        });
    }

    fn spawn<K>(
        &self,
        tasks: &mut JoinSet<()>,
        kind: Kind,
        config: watcher::Config,
        mut on: impl FnMut(&Self, Change<K>) + Send + 'static,
    ) where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let feeds = self.clone();
        tasks.spawn(async move {
            let api = Api::all(feeds.client.clone());
            follow(api, config, |change| {
                let is_list = matches!(change, Change::All(_));
                on(&feeds, change);
                if is_list {
                    feeds.stores.listed(kind);
                }
            })
            .await;
        });
    }

    fn namespaces(&self, change: Change<Namespace>) {
        let read = |namespace: &Namespace| {
            let project = read_or_log(convert::project(&namespace.metadata, None))?;
            self.scope.covers(&project.name).then_some(project)
        };
        let touched = self.stores.change(|known| match change {
            Change::All(list) => {
                known.projects =
                    list.iter().filter_map(read).map(|project| (project.name.clone(), project)).collect();
                None
            }
            Change::Applied(namespace) => read(&namespace).map(|project| {
                let name = project.name.clone();
                known.projects.insert(name.clone(), project);
                name
            }),
            Change::Deleted(namespace) => {
                known.projects.remove(&ProjectName::new(namespace.name_any()));
                None
            }
        });
        self.wake_project(touched.as_ref());
    }

    fn configs(&self, change: Change<kargo::ProjectConfig>) {
        let read = |config: &kargo::ProjectConfig| {
            let metadata =
                kube::core::ObjectMeta { name: config.metadata.namespace.clone(), ..Default::default() };
            let project = read_or_log(convert::project(&metadata, Some(config)))?;
            self.scope.covers(&project.name).then_some((project.name, project.promotion_policies?))
        };
        self.stores.change(|known| match change {
            Change::All(list) => known.promotion_policies = list.iter().filter_map(read).collect(),
            Change::Applied(config) => known.promotion_policies.extend(read(&config)),
            Change::Deleted(config) => {
                known.promotion_policies.remove(&ProjectName::new(config.namespace().unwrap_or_default()));
            }
        });
    }

    fn stages(&self, change: Change<kargo::Stage>) {
        let read = |stage: &kargo::Stage| {
            let snapshot = read_or_log(convert::stage(stage))?;
            let key = StageKey { project: snapshot.project.clone(), stage: snapshot.name.clone() };
            self.scope.covers(&key.project).then(|| (key, Arc::new(snapshot)))
        };
        let woken = self.stores.change(|known| match change {
            Change::All(list) => {
                let before = std::mem::take(&mut known.stages);
                known.stages = list.iter().filter_map(read).collect();
                then_or_now(&before, &known.stages)
            }
            Change::Applied(stage) => read(&stage).map_or_else(Vec::new, |(key, snapshot)| {
                known.stages.insert(key.clone(), snapshot);
                vec![key]
            }),
            Change::Deleted(stage) => {
                let key = key_of(&stage.metadata, stage.name_any().as_str().into());
                known.stages.remove(&key);
                vec![key]
            }
        });
        self.wake(woken);
    }

    fn promotions(&self, change: Change<kargo::Promotion>) {
        let reading = convert::Reading { account: &self.account, capture: &[] };
        let read = |promotion: &kargo::Promotion| {
            let mut snapshot = read_or_log(convert::promotion(promotion, &reading))?;
            let key = StageKey { project: snapshot.project.clone(), stage: snapshot.stage.clone() };
            // Texts and outputs are read live when they are needed; the store only says that something happened.
            snapshot.shrink();
            self.scope.covers(&key.project).then_some((key, snapshot))
        };
        let woken = self.stores.change(|known| match change {
            Change::All(list) => {
                let before = std::mem::take(&mut known.promotions);
                for (key, snapshot) in list.iter().filter_map(read) {
                    known.promotions.entry(key).or_default().insert(snapshot.name.clone(), snapshot);
                }
                then_or_now(&before, &known.promotions)
            }
            Change::Applied(promotion) => read(&promotion).map_or_else(Vec::new, |(key, snapshot)| {
                known.promotions.entry(key.clone()).or_default().insert(snapshot.name.clone(), snapshot);
                vec![key]
            }),
            Change::Deleted(promotion) => {
                let key = key_of(&promotion.metadata, promotion.spec.stage.as_str().into());
                let name = promotion.name_any();
                if let Some(promotions) = known.promotions.get_mut(&key) {
                    promotions.remove(&name.as_str().into());
                }
                vec![key]
            }
        });
        self.wake(woken);
    }

    /// Freight that cannot be read is there all the same.
    fn freight(&self, change: Change<kargo::Perhaps<kargo::Freight>>) {
        let add = |known: &mut Known, freight: kargo::Perhaps<kargo::Freight>| {
            let project = ProjectName::new(freight.namespace().unwrap_or_default());
            if self.scope.covers(&project) {
                let name = freight.name_any();
                let all = known.freight.entry(project).or_default();
                let read = freight.object().map_err(|error| *error);
                match read_or_log(read.and_then(|freight| convert::freight(&freight))) {
                    Some(snapshot) => all.insert(snapshot),
                    None => all.insert_unreadable(name.as_str().into()),
                }
            }
        };
        self.stores.change(|known| match change {
            Change::All(list) => {
                known.freight = BTreeMap::new();
                list.into_iter().for_each(|freight| add(known, freight));
            }
            Change::Applied(freight) => add(known, freight),
            Change::Deleted(freight) => {
                let project = ProjectName::new(freight.namespace().unwrap_or_default());
                if let Some(all) = known.freight.get_mut(&project) {
                    all.remove(&freight.name_any().as_str().into());
                }
            }
        });
    }

    fn incidents(&self, change: Change<Incident>) {
        let key = |incident: &Incident| {
            let key = key_of(&incident.metadata, incident.spec.failure.stage.as_str().into());
            self.scope.covers(&key.project).then_some(key)
        };
        let woken = self.stores.change(|known| match change {
            Change::All(list) => {
                let before = std::mem::take(&mut known.incidents);
                for incident in list {
                    if let Some(key) = key(&incident) {
                        let name = incident.name_any();
                        known.incidents.entry(key).or_default().insert(name, Arc::new(incident));
                    }
                }
                then_or_now(&before, &known.incidents)
            }
            Change::Applied(incident) => key(&incident).map_or_else(Vec::new, |key| {
                let name = incident.name_any();
                known.incidents.entry(key.clone()).or_default().insert(name, Arc::new(incident));
                vec![key]
            }),
            Change::Deleted(incident) => key(&incident).map_or_else(Vec::new, |key| {
                if let Some(incidents) = known.incidents.get_mut(&key) {
                    incidents.remove(&incident.name_any());
                }
                vec![key]
            }),
        });
        self.wake(woken);
    }

    /// Memories wake nobody: what they say is only asked for when something else has happened. But for faults: who
    /// is disabled stands in the status of policies.
    fn stage_records(&self, change: Change<StageRecord>) {
        let has_faults = match &change {
            Change::All(list) => list.iter().any(has_faults),
            Change::Applied(record) | Change::Deleted(record) => has_faults(record),
        };
        self.by_name(change, |known| &mut known.stage_records);
        if has_faults {
            self.policies_changed.notify_one();
        }
    }

    fn by_name<K: kube::Resource>(&self, change: Change<K>, place: impl Fn(&mut Known) -> &mut ByProject<K>) {
        self.stores.change(|known| put_by_name(place(known), change, &self.scope));
    }

    fn cluster_wide<K: kube::Resource>(
        &self,
        change: Change<K>,
        place: impl Fn(&mut Known) -> &mut BTreeMap<String, Arc<K>>,
    ) {
        self.stores.change(|known| {
            let place = place(known);
            match change {
                Change::All(list) => {
                    *place = list.into_iter().map(|object| (object.name_any(), Arc::new(object))).collect();
                }
                Change::Applied(object) => {
                    place.insert(object.name_any(), Arc::new(object));
                }
                Change::Deleted(object) => {
                    place.remove(&object.name_any());
                }
            }
        });
        self.policies_changed.notify_one();
    }

    fn wake(&self, keys: Vec<StageKey>) {
        for key in keys {
            self.queue.push(key);
        }
    }

    fn wake_project(&self, project: Option<&ProjectName>) {
        if project.is_some() {
            self.wake(self.stores.stage_keys(project));
        }
    }
}

/// Stages of which a new list has something or the last one had: what vanished while a watch was broken has no event.
fn then_or_now<T>(then: &BTreeMap<StageKey, T>, now: &BTreeMap<StageKey, T>) -> Vec<StageKey> {
    then.keys().chain(now.keys()).cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn has_faults(record: &StageRecord) -> bool {
    record.status.as_ref().is_some_and(|status| !status.faults.is_empty())
}

/// Objects of one kind, by Project and name.
type ByProject<K> = BTreeMap<ProjectName, BTreeMap<String, Arc<K>>>;

fn put_by_name<K: kube::Resource>(place: &mut ByProject<K>, change: Change<K>, scope: &Scope) {
    let project = |object: &K| ProjectName::new(object.meta().namespace.clone().unwrap_or_default());
    let objects = match change {
        Change::All(list) => {
            // What was deleted while the watch was interrupted is only ever seen by its absence here.
            place.clear();
            list
        }
        Change::Applied(object) => vec![object],
        Change::Deleted(object) => {
            if let Some(all) = place.get_mut(&project(&object)) {
                all.remove(&object.name_any());
            }
            return;
        }
    };
    for object in objects {
        let project = project(&object);
        if scope.covers(&project) {
            place.entry(project).or_default().insert(object.name_any(), Arc::new(object));
        }
    }
}

fn key_of(metadata: &kube::core::ObjectMeta, stage: StageName) -> StageKey {
    StageKey { project: ProjectName::new(metadata.namespace.clone().unwrap_or_default()), stage }
}

fn read_or_log<T>(read: Result<T, convert::ConvertError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(error = error as &dyn std::error::Error, "object left out")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(project: &str, name: &str) -> FailurePolicy {
        let mut policy =
            FailurePolicy::new(name, policy_api::crd::failure_policy::FailurePolicySpec::default());
        policy.metadata.namespace = Some(project.to_owned());
        policy
    }

    fn names(place: &ByProject<FailurePolicy>) -> Vec<String> {
        place.values().flat_map(BTreeMap::keys).cloned().collect()
    }

    #[test]
    fn a_list_forgets_what_was_deleted_while_nobody_watched() {
        let (mut place, all) = (ByProject::new(), Scope::default());
        put_by_name(&mut place, Change::All(vec![policy("shop", "a"), policy("bank", "b")]), &all);
        put_by_name(&mut place, Change::Applied(policy("shop", "c")), &all);
        assert_eq!(names(&place), ["b", "a", "c"]);
        put_by_name(&mut place, Change::All(vec![policy("shop", "c")]), &all);
        assert_eq!(names(&place), ["c"]);
        put_by_name(&mut place, Change::Deleted(policy("shop", "c")), &all);
        assert!(names(&place).is_empty());
    }

    #[test]
    fn what_is_out_of_scope_is_never_stored() {
        let scope = Scope(BTreeSet::from([ProjectName::new("shop")]));
        let mut place = ByProject::new();
        put_by_name(&mut place, Change::All(vec![policy("shop", "a"), policy("bank", "b")]), &scope);
        assert_eq!(names(&place), ["a"]);
    }
}
