//! One failure and everything around it, out of objects that somebody exported or a cluster gave.
//!
//! In: objects, perhaps names of a Stage and a failure. Out: a [`Scene`], which makes the same context of it as the
//! controller would, by the same functions. Nothing is looked up here, and nothing is decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_api::crd::PolicyBody;
use policy_api::crd::policy_body::ChainEntry;
use policy_api::{names, select, stage_record};
use policy_controller::scene::delivery_of;
use policy_core::assemble::{self, World};
use policy_core::called;
use policy_core::classify::catalogue::Catalogue;
use policy_core::context::Context;
use policy_core::detect;
use policy_core::failure::{Failure, Trigger};
use policy_core::incident::{Delivery, IncidentState};
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_core::snapshot::{
    AnalysisRunSnapshot, ApplicationSnapshot, ProjectSnapshot, PromotionSnapshot, StageSnapshot,
};
use policy_core::stage_memory::{self, StageMemory};
use policy_core::time::Timestamp;

use crate::exit::CannotRun;
use crate::objects::Objects;

/// How long after the failure policies are asked: Kargo has recorded it by then (kargo-live.md 1: at most 213 ms).
const SECONDS_LATER: u32 = 5;

/// Where Argo CD is unless somebody moved it, as for Kargo (`ARGOCD_NAMESPACE`).
pub(crate) const ARGOCD: &str = "argocd";

/// Which failure is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The Project; `None` for the only one that there is.
    pub(crate) project: Option<String>,
    /// The Stage; `None` for that of the failure, or the only one that there is.
    pub(crate) stage: Option<String>,
    /// Name of an Incident or a Promotion, or id of a failure or a verification; `None` for the newest failure.
    pub(crate) failure: Option<String>,
}

/// One failure and everything around it.
pub(crate) struct Scene<'a> {
    /// All that is known.
    pub(crate) objects: &'a Objects,
    /// The Project.
    pub(crate) project: ProjectSnapshot,
    /// The Stage.
    pub(crate) stage: &'a StageSnapshot,
    /// The failure; its trigger is `manual` when nothing failed.
    pub(crate) failure: Failure,
    /// Its incident, or one that would be opened now.
    pub(crate) incident: IncidentState,
    /// Whether somebody opened that incident.
    pub(crate) is_opened: bool,
    /// What failures mean: the built-in rules unless somebody says otherwise.
    pub(crate) catalogue: &'a Catalogue,
    /// The rules in force.
    pub(crate) rules: Rules,
    /// What is remembered of the Stage.
    pub(crate) memory: StageMemory,
    /// When this is looked at.
    pub(crate) now: Timestamp,
}

impl<'a> Scene<'a> {
    /// Finds the failure that is meant. Without a time of its own the scene is as it was right after the newest thing
    /// that happened to that failure.
    ///
    /// # Errors
    /// When no Stage or no such failure is there, or several could be meant.
    pub(crate) fn find(
        objects: &'a Objects,
        wanted: &Wanted,
        now: Option<Timestamp>,
    ) -> Result<Self, CannotRun> {
        let found = Found { objects };
        let stages: Vec<&StageSnapshot> =
            objects.stages.iter().filter(|stage| found.may_be(stage, wanted)).collect();
        let stage = match stages.as_slice() {
            [stage] => *stage,
            [] => return Err(found.no_stage(wanted)),
            [_, _, ..] => {
                let names: Vec<String> =
                    stages.iter().take(8).map(|stage| format!("{}/{}", stage.project, stage.name)).collect();
                let line = format!("{} Stages could be meant: {}", stages.len(), names.join(", "));
                return Err(CannotRun::new(line, "choose one with `--project` and `--stage`"));
            }
        };
        let (failure, incident) = found.failure(stage, wanted)?;
        Ok(Self::of(objects, stage, failure, incident, now))
    }

    /// A text for people, who know Freight by its alias.
    pub(crate) fn for_people(&self, text: &str) -> String {
        let freight = self.objects.freight(&self.stage.project);
        called::by_alias(text, |name| freight.alias_of(name))
    }

    /// The scene of a failure that is known already.
    pub(crate) fn of(
        objects: &'a Objects,
        stage: &'a StageSnapshot,
        failure: Failure,
        incident: Option<IncidentState>,
        now: Option<Timestamp>,
    ) -> Self {
        let project = objects.project(&stage.project);
        let now = now.unwrap_or_else(|| after(&failure, incident.as_ref()));
        let is_opened = incident.is_some();
        let name = names::incident_name(&stage.name, &failure.id);
        Self {
            catalogue: Catalogue::built_in(),
            rules: rules(objects, &project, stage),
            memory: memory(objects, stage),
            incident: incident.unwrap_or_else(|| IncidentState::open(name, failure.clone(), now)),
            objects,
            project,
            stage,
            failure,
            is_opened,
            now,
        }
    }

    /// Whether anything failed; else a person asks.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.trigger != Trigger::Manual
    }

    /// The policies that would be asked.
    pub(crate) fn chain(&self) -> &'a [ChainEntry] {
        let body = ruling(self.objects, &self.project, self.stage);
        body.map(|body| body.chain.as_slice()).unwrap_or_default()
    }

    /// Deliveries to the Stage in the last 24 hours, as far as anything tells of them.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let seen: Vec<Delivery> = self.objects.promotions_of(self.stage).filter_map(delivery_of).collect();
        stage_memory::deliveries(&self.memory.deliveries, &seen, self.now)
    }

    /// The context that a policy with these settings would get.
    pub(crate) fn context(&self, settings: &Settings) -> Context {
        let around = self.objects.stages.iter().filter(|other| assemble::is_neighbour(self.stage, other));
        let neighbours: Vec<Arc<StageSnapshot>> = around.cloned().map(Arc::new).collect();
        let is_own = |one: &&PromotionSnapshot| one.project == self.stage.project;
        let promotions: Vec<_> = self.objects.promotions.iter().filter(is_own).cloned().collect();
        assemble::context(&World {
            now: self.now,
            seed: assemble::seed(&self.incident),
            failure: &self.failure,
            project: &self.project,
            stage: self.stage,
            promotions: &promotions,
            freight: &self.objects.freight(&self.stage.project),
            neighbours: &neighbours,
            // Incidents of other Stages and Projects are not here.
            fleet: None,
            remembered: self.memory.good.as_ref(),
            analysis_run: self.analysis_run(),
            applications: &self.applications(),
            incident: &self.incident,
            catalogue: self.catalogue,
            rules: &self.rules,
            settings,
            state: None,
            deliveries: &self.deliveries(),
        })
    }

    fn applications(&self) -> Vec<ApplicationSnapshot> {
        let is_it = |promotion: &&PromotionSnapshot| self.failure.promotion.as_ref() == Some(&promotion.name);
        let promotion = self.objects.promotions_of(self.stage).find(is_it);
        let refs = assemble::application_refs(self.stage, promotion, ARGOCD);
        self.objects.applications_of(self.stage, refs)
    }

    fn analysis_run(&self) -> Option<&'a AnalysisRunSnapshot> {
        let mut attempts = self.stage.history.iter().flat_map(|collection| &collection.verifications);
        let attempt = match &self.failure.verification {
            Some(id) => attempts.find(|attempt| attempt.id == *id)?,
            None => attempts.next()?,
        };
        let name = attempt.analysis_run.as_deref()?;
        self.objects.analysis_runs.iter().find(|run| run.name == name)
    }
}

/// The newest point in time that the failure and its incident tell of, and a moment later.
fn after(failure: &Failure, incident: Option<&IncidentState>) -> Timestamp {
    let mut newest = failure.at.plus(SECONDS_LATER);
    if let Some(incident) = incident {
        let decided = incident.decisions.iter().map(|decision| decision.at_unix_seconds);
        let claimed = incident.attempts.iter().map(|attempt| attempt.claimed);
        let closed = incident.closed.iter().map(|closed| closed.at);
        newest = decided.chain(claimed).chain(closed).chain([incident.opened]).fold(newest, Timestamp::max);
    }
    newest
}

/// Which FailurePolicy rules the Stage.
fn ruling<'a>(
    objects: &'a Objects,
    project: &ProjectSnapshot,
    stage: &StageSnapshot,
) -> Option<&'a PolicyBody> {
    select::ruling(stage, project, objects.policies_of(&project.name), &objects.platform).body()
}

fn rules(objects: &Objects, project: &ProjectSnapshot, stage: &StageSnapshot) -> Rules {
    let caps = select::caps(project, &objects.platform);
    ruling(objects, project, stage).map_or_else(Rules::default, |body| select::rules(body, &caps))
}

fn memory(objects: &Objects, stage: &StageSnapshot) -> StageMemory {
    let name = names::stage_record_name(&stage.name, &stage.uid);
    let record = objects.stage_records.iter().find(|record| record.metadata.name.as_deref() == Some(&name));
    record.map(stage_record::memory).unwrap_or_default()
}

/// The first few names, for advice; `None` when there are none.
fn listed(names: &[String]) -> Option<String> {
    const MOST: usize = 8;
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    let first: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    (!first.is_empty()).then(|| format!("there are: {}{more}", first.join(", ")))
}

/// What failures there are.
struct Found<'a> {
    objects: &'a Objects,
}

impl Found<'_> {
    /// Whether a Stage may be meant: by its name, else by what failed there.
    fn may_be(&self, stage: &StageSnapshot, wanted: &Wanted) -> bool {
        if wanted.project.as_ref().is_some_and(|project| stage.project.as_str() != project) {
            return false;
        }
        match (&wanted.stage, &wanted.failure) {
            (Some(name), _) => stage.name.as_str() == name,
            (None, Some(name)) => self.named(stage, name).is_some() || self.has_promotion(stage, name),
            (None, None) => true,
        }
    }

    fn has_promotion(&self, stage: &StageSnapshot, name: &str) -> bool {
        self.objects.promotions_of(stage).any(|one| one.name.as_str() == name)
    }

    fn no_stage(&self, wanted: &Wanted) -> CannotRun {
        let projects: BTreeSet<&str> =
            self.objects.stages.iter().map(|stage| stage.project.as_str()).collect();
        if let Some(project) = wanted.project.as_deref().filter(|project| !projects.contains(project))
            && !projects.is_empty()
        {
            let names: Vec<String> = projects.iter().take(8).map(|name| format!("`{name}`")).collect();
            let line = format!("there is no Stage of Project `{project}` in what is given");
            return CannotRun::new(line, format!("it has Stages of {}", names.join(", ")));
        }
        let stages = self.objects.stages.iter();
        let (what, known): (String, Vec<String>) = match (&wanted.stage, &wanted.failure) {
            (Some(stage), _) => {
                let names = stages.map(|stage| stage.name.to_string()).collect();
                (format!("there is no Stage `{stage}` that can be read"), names)
            }
            (None, Some(name)) => {
                let names = stages.flat_map(|stage| self.names(stage)).collect();
                (format!("nothing called `{name}` has failed in any Stage that is given"), names)
            }
            (None, None) => ("there is no Stage in what is given".to_owned(), Vec::new()),
        };
        let help = match (self.objects.left_out.first(), listed(&known)) {
            (_, Some(known)) => known,
            (Some(left_out), None) => format!("this was left out: {left_out}"),
            (None, None) => {
                "`kubectl get stages,promotions,freights -n PROJECT -o yaml` exports what is needed"
                    .to_owned()
            }
        };
        CannotRun::new(what, help)
    }

    /// What failed in a Stage, by the names that can be typed: Promotions and verifications, and Incidents.
    fn names(&self, stage: &StageSnapshot) -> Vec<String> {
        let detected = self.detected(stage).into_iter().filter_map(|failure| {
            let promotion = failure.promotion.map(|name| name.to_string());
            failure.verification.map(|id| id.to_string()).or(promotion)
        });
        detected.chain(self.own(stage).map(|incident| incident.name.to_string())).collect()
    }

    /// The failure that is meant, and its incident.
    fn failure(
        &self,
        stage: &StageSnapshot,
        wanted: &Wanted,
    ) -> Result<(Failure, Option<IncidentState>), CannotRun> {
        let found = match &wanted.failure {
            Some(name) => {
                let unknown = || {
                    let line = format!("nothing called `{name}` has failed in Stage `{}`", stage.name);
                    let nothing = || "nothing else there has failed; leave the name out".to_owned();
                    CannotRun::new(line, listed(&self.names(stage)).unwrap_or_else(nothing))
                };
                self.named(stage, name).ok_or_else(unknown)?
            }
            None => self.newest(stage).unwrap_or_else(|| self.nothing(stage)),
        };
        let incident = self.incident_of(stage, &found);
        Ok((found, incident))
    }

    fn detected(&self, stage: &StageSnapshot) -> Vec<Failure> {
        let promotions: Vec<_> = self.objects.promotions_of(stage).cloned().collect();
        let verification = detect::verification(stage, &promotions);
        promotions.iter().filter_map(detect::promotion).chain(verification).collect()
    }

    fn own(&self, stage: &StageSnapshot) -> impl Iterator<Item = &IncidentState> {
        self.objects.incidents.iter().filter(move |incident| {
            incident.root.stage == stage.name && incident.root.project == stage.project
        })
    }

    fn named(&self, stage: &StageSnapshot, name: &str) -> Option<Failure> {
        let is_it = |failure: &Failure| {
            failure.id.as_str() == name
                || failure.promotion.as_ref().is_some_and(|promotion| promotion.as_str() == name)
                || failure.verification.as_ref().is_some_and(|verification| verification.as_str() == name)
        };
        let by_name = self.own(stage).find(|incident| incident.name.as_str() == name);
        if let Some(incident) = by_name {
            return Some(incident.current.clone());
        }
        let of_incidents = self.own(stage).flat_map(|incident| [&incident.current, &incident.root]).cloned();
        self.detected(stage).into_iter().chain(of_incidents).find(is_it)
    }

    /// The newest thing that went wrong: an Incident knows of failures that no terminal object shows.
    fn newest(&self, stage: &StageSnapshot) -> Option<Failure> {
        let open = self.own(stage).map(|incident| incident.current.clone());
        open.chain(self.detected(stage)).max_by_key(|failure| failure.at)
    }

    /// A person asks, although nothing has failed.
    fn nothing(&self, stage: &StageSnapshot) -> Failure {
        let last = stage.last_promotion.as_ref();
        Failure {
            id: format!("manual-{}", stage.uid).into(),
            trigger: Trigger::Manual,
            project: stage.project.clone(),
            stage: stage.name.clone(),
            stage_uid: Some(stage.uid.clone()),
            promotion: last.map(|last| last.name.clone()),
            promotion_uid: None,
            verification: None,
            at: last.and_then(|last| last.finished).unwrap_or_default(),
            user_abort: None,
            summary: String::new(),
        }
    }

    fn incident_of(&self, stage: &StageSnapshot, failure: &Failure) -> Option<IncidentState> {
        let has_it = |incident: &&IncidentState| {
            let of_attempt =
                |promotion| incident.attempts.iter().any(|one| one.promotion.as_ref() == Some(promotion));
            incident.current.id == failure.id
                || incident.root.id == failure.id
                || failure.promotion.as_ref().is_some_and(of_attempt)
        };
        self.own(stage).find(has_it).cloned()
    }
}
