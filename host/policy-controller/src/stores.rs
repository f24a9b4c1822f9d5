//! What the watches have seen, as small snapshots.
//!
//! In: changes of each kind, from one watch each. Out: copies of snapshots for whoever gathers.
//! A store may lag behind the API server: it says where to look, and a live read settles what matters.
//! Ordered maps only, so that two runs over the same changes do the same things in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use policy_api::crd::{
    ClusterFailurePolicy, ClusterPolicyModule, FailurePolicy, Incident, PolicyModule, StageRecord,
};
use policy_core::name::{ProjectName, PromotionName, StageName};
use policy_core::snapshot::{
    ProjectFreight, ProjectSnapshot, PromotionPolicy, PromotionSnapshot, StageSnapshot,
};
use tokio::sync::watch;

use crate::queue::StageKey;

/// Kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Namespaces of Projects.
    Project,
    /// ProjectConfigs.
    ProjectConfig,
    /// Stages.
    Stage,
    /// Promotions.
    Promotion,
    /// Freight.
    Freight,
    /// Incidents.
    Incident,
    /// StageRecords.
    StageRecord,
    /// FailurePolicies.
    FailurePolicy,
    /// ClusterFailurePolicies.
    ClusterFailurePolicy,
    /// PolicyModules.
    PolicyModule,
    /// ClusterPolicyModules.
    ClusterPolicyModule,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Project,
        Self::ProjectConfig,
        Self::Stage,
        Self::Promotion,
        Self::Freight,
        Self::Incident,
        Self::StageRecord,
        Self::FailurePolicy,
        Self::ClusterFailurePolicy,
        Self::PolicyModule,
        Self::ClusterPolicyModule,
    ];
}

/// Everything that is known, by kind.
#[derive(Default)]
pub struct Known {
    /// Labels and switches of each Project's namespace.
    pub projects: BTreeMap<ProjectName, ProjectSnapshot>,
    /// Promotion policies of each ProjectConfig.
    pub promotion_policies: BTreeMap<ProjectName, Vec<PromotionPolicy>>,
    /// Stages.
    pub stages: BTreeMap<StageKey, Arc<StageSnapshot>>,
    /// Promotions of each Stage.
    pub promotions: BTreeMap<StageKey, BTreeMap<PromotionName, PromotionSnapshot>>,
    /// Freight of each Project.
    pub freight: BTreeMap<ProjectName, ProjectFreight>,
    /// Incidents of each Stage, by name.
    pub incidents: BTreeMap<StageKey, BTreeMap<String, Arc<Incident>>>,
    /// StageRecords of each Project, by name.
    pub stage_records: BTreeMap<ProjectName, BTreeMap<String, Arc<StageRecord>>>,
    /// FailurePolicies of each Project, by name.
    pub failure_policies: BTreeMap<ProjectName, BTreeMap<String, Arc<FailurePolicy>>>,
    /// ClusterFailurePolicies by name.
    pub cluster_failure_policies: BTreeMap<String, Arc<ClusterFailurePolicy>>,
    /// PolicyModules of each Project, by name.
    pub modules: BTreeMap<ProjectName, BTreeMap<String, Arc<PolicyModule>>>,
    /// ClusterPolicyModules by name.
    pub cluster_modules: BTreeMap<String, Arc<ClusterPolicyModule>>,
}

/// The shared stores.
pub struct Stores {
    known: Mutex<Known>,
    n_changes: AtomicU64,
    listed: watch::Sender<BTreeSet<Kind>>,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            known: Mutex::new(Known::default()),
            n_changes: AtomicU64::new(0),
            listed: watch::Sender::new(BTreeSet::new()),
        }
    }
}

impl Stores {
    /// Reads what is known. Must not wait.
    pub fn with<T>(&self, f: impl FnOnce(&Known) -> T) -> T {
        f(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known. Must not wait.
    pub fn change<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.n_changes.fetch_add(1, Ordering::Relaxed);
        f(&mut known)
    }

    /// How often something was changed: equal counts mean that nothing has changed between them.
    pub fn n_changes(&self) -> u64 {
        self.n_changes.load(Ordering::Relaxed)
    }

    /// The first list of a kind is complete.
    pub fn listed(&self, kind: Kind) {
        self.listed.send_if_modified(|listed| listed.insert(kind));
    }

    /// Waits until the first list of every kind is complete.
    pub async fn complete(&self) {
        let mut listed = self.listed.subscribe();
        let all = |listed: &BTreeSet<Kind>| Kind::ALL.iter().all(|kind| listed.contains(kind));
        // The sender lives in `self`, so this cannot end for want of one.
        let _ = listed.wait_for(all).await;
    }

    /// A Project with its promotion policies.
    pub fn project(&self, name: &ProjectName) -> Option<ProjectSnapshot> {
        self.with(|known| {
            let mut project = known.projects.get(name)?.clone();
            project.promotion_policies =
                Some(known.promotion_policies.get(name).cloned().unwrap_or_default());
            Some(project)
        })
    }

    /// All Freight of a Project.
    pub fn freight(&self, project: &ProjectName) -> ProjectFreight {
        self.with(|known| known.freight.get(project).cloned()).unwrap_or_default()
    }

    /// Stages of a Project.
    pub fn stages_of(&self, project: &ProjectName) -> Vec<Arc<StageSnapshot>> {
        let first = StageKey { project: project.clone(), stage: StageName::default() };
        self.with(|known| {
            let from = known.stages.range(first..).take_while(|(key, _)| key.project == *project);
            from.map(|(_, stage)| Arc::clone(stage)).collect()
        })
    }

    /// Every Stage's key, optionally of one Project only.
    pub fn stage_keys(&self, project: Option<&ProjectName>) -> Vec<StageKey> {
        self.with(|known| {
            let keys = known.stages.keys();
            keys.filter(|key| project.is_none_or(|project| key.project == *project)).cloned().collect()
        })
    }
}
