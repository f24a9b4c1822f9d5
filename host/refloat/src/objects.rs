//! Kargo objects, and ours, from YAML documents or a cluster's answers, as snapshots.
//!
//! In: what `kubectl get -o yaml` prints, one document or many, lists included. Out: snapshots by kind. Kinds that no
//! decision needs are left out. An object of a kind that is needed and cannot be read is named with its path: as an
//! error, or in [`Objects::left_out`] where one odd object must not hide all others.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::ObjectMeta;
use policy_api::crd::{ClusterFailurePolicy, DecisionRecord, FailurePolicy, Incident, StageRecord};
use policy_api::kargo::convert::{self, ConvertError, Reading};
use policy_api::kargo::{self, Application, ProjectConfig};
use policy_core::incident::IncidentState;
use policy_core::name::ProjectName;
use policy_core::snapshot::{
    AnalysisRunSnapshot, ApplicationRef, ApplicationSnapshot, ProjectFreight, ProjectSnapshot,
    PromotionSnapshot, StageSnapshot,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::CannotRun;
use crate::input;

/// Objects by kind, in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Promotions.
    pub(crate) promotions: Vec<PromotionSnapshot>,
    /// Stages.
    pub(crate) stages: Vec<StageSnapshot>,
    /// AnalysisRuns.
    pub(crate) analysis_runs: Vec<AnalysisRunSnapshot>,
    /// Argo CD Applications.
    pub(crate) applications: Vec<Application>,
    /// Our Incidents.
    pub(crate) incidents: Vec<IncidentState>,
    /// Our StageRecords.
    pub(crate) stage_records: Vec<StageRecord>,
    /// Our DecisionRecords.
    pub(crate) decision_records: Vec<DecisionRecord>,
    /// Our ClusterFailurePolicies.
    pub(crate) platform: Vec<ClusterFailurePolicy>,
    /// What could not be read, a line each.
    pub(crate) left_out: Vec<String>,
    /// Whether the Freight that is here is all there is: a cluster gave it.
    pub(crate) has_all_freight: bool,
    /// Whether a ProjectConfig that is not here does not exist.
    pub(crate) has_all_configs: bool,
    policies: BTreeMap<ProjectName, Vec<FailurePolicy>>,
    freight: BTreeMap<ProjectName, ProjectFreight>,
    configs: Vec<ProjectConfig>,
    namespaces: BTreeMap<String, ObjectMeta>,
    capture: Vec<String>,
}

impl Objects {
    /// Reads every document of `text`, called `name` in messages. The first object that cannot be read is an error.
    pub(crate) fn read(text: &str, name: &str) -> Result<Self, CannotRun> {
        let mut objects = Self::default();
        for object in in_text(text, name)? {
            objects.add(&object).map_err(|error| unreadable(&error, name))?;
        }
        Ok(objects)
    }

    /// Adds every document of all `files` (name and text); objects that cannot be read are named in
    /// [`Objects::left_out`].
    pub(crate) fn add_files(&mut self, files: &[(String, String)]) -> Result<(), CannotRun> {
        let mut all = Vec::new();
        for (name, text) in files {
            let objects = in_text(text, name)?;
            // `---` at the end begins a document without anything in it.
            let is_alone = objects.len() == 1;
            let objects = objects.into_iter().filter(|object| is_alone || !object.is_null());
            all.extend(objects.map(|object| (name.as_str(), object)));
        }
        self.left_out.extend(all.iter().filter_map(|(name, value)| no_object(name, value)));
        all.retain(|(name, value)| no_object(name, value).is_none());
        let all = self.once(all);
        // Policies first: they say which outputs of steps may be read.
        let is_policy = |value: &&Value| value.get("kind").is_some_and(|kind| kind == "FailurePolicy");
        all.iter().filter(is_policy).for_each(|policy| self.add_value(policy));
        self.capture_as_policies_say();
        all.iter().filter(|value| !is_policy(value)).for_each(|value| self.add_value(value));
        Ok(())
    }

    /// Every object once: of one that several files hold, the last one.
    fn once(&mut self, all: Vec<(&str, Value)>) -> Vec<Value> {
        let mut last: BTreeMap<[String; 3], usize> = BTreeMap::new();
        for (at, (file, object)) in all.iter().enumerate() {
            let text =
                |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let [kind, namespace, name] = ["/kind", "/metadata/namespace", "/metadata/name"].map(text);
            let line = format!("an older `{kind}/{name}`: `{file}` holds it too");
            let before = last.insert([kind, namespace, name], at).and_then(|before| all.get(before));
            if before.is_some_and(|(_, before)| before != object) {
                self.left_out.push(line);
            }
        }
        let is_last: BTreeSet<usize> = last.into_values().collect();
        let numbered = all.into_iter().enumerate();
        numbered.filter(|(at, _)| is_last.contains(at)).map(|(_, (_, object))| object).collect()
    }

    /// Promotions that are added from now on keep the outputs that the FailurePolicies name.
    pub(crate) fn capture_as_policies_say(&mut self) {
        let named =
            self.policies.values().flatten().flat_map(|policy| policy.spec.body.capture_outputs.clone());
        self.capture = named.collect();
    }

    /// Adds one object, which says its kind.
    pub(crate) fn add_value(&mut self, value: &Value) {
        if let Err(error) = self.add(value) {
            self.left_out.push(CannotRun::from_error(&error, "").line);
        }
    }

    fn add(&mut self, document: &Value) -> Result<(), ConvertError> {
        let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "Promotion" => {
                let promotion = decode(document, kind)?;
                let reading = Reading { capture: &self.capture, ..Reading::default() };
                self.promotions.push(convert::promotion(&promotion, &reading)?);
            }
            "Stage" => self.stages.push(convert::stage(&decode(document, kind)?)?),
            "Freight" => self.add_freight(document)?,
            "AnalysisRun" => self.analysis_runs.push(convert::analysis_run(&decode(document, kind)?)?),
            "Application" => self.applications.push(decode(document, kind)?),
            "ProjectConfig" => self.configs.push(decode(document, kind)?),
            "Namespace" => {
                let metadata: ObjectMeta =
                    decode(document.get("metadata").unwrap_or(&Value::Null), "metadata of a Namespace")?;
                self.namespaces.insert(metadata.name.clone().unwrap_or_default(), metadata);
            }
            "Incident" => {
                let incident: Incident = decode(document, kind)?;
                let state = policy_api::convert::incident_state(&incident).map_err(|error| {
                    ConvertError::UnknownWord { object: error.object, path: error.path, word: error.value }
                })?;
                self.incidents.push(state);
            }
            "StageRecord" => self.stage_records.push(decode(document, kind)?),
            "DecisionRecord" => self.decision_records.push(decode(document, kind)?),
            "FailurePolicy" => {
                let policy: FailurePolicy = decode(document, kind)?;
                let project = policy.metadata.namespace.clone().unwrap_or_default();
                self.policies.entry(ProjectName::new(project)).or_default().push(policy);
            }
            "ClusterFailurePolicy" => self.platform.push(decode(document, kind)?),
            _ => {}
        }
        Ok(())
    }

    /// Freight that cannot be read is there all the same.
    fn add_freight(&mut self, document: &Value) -> Result<(), ConvertError> {
        let text = |key: &str| document.get("metadata")?.get(key)?.as_str();
        let project = ProjectName::from(text("namespace").unwrap_or_default());
        let known = self.freight.entry(project).or_insert_with(ProjectFreight::part);
        match decode(document, "Freight").and_then(|freight| convert::freight(&freight)) {
            Ok(piece) => known.insert(piece),
            Err(error) => {
                text("name").into_iter().for_each(|name| known.insert_unreadable(name.into()));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Freight of a Project. Who exports some exports all of it; who exports none tells nothing about it.
    pub(crate) fn freight(&self, project: &ProjectName) -> ProjectFreight {
        let known = self.freight.get(project).cloned().unwrap_or_else(ProjectFreight::part);
        let is_whole = self.has_all_freight || known.iter().next().is_some();
        if is_whole { known.completed() } else { known }
    }

    /// What the Argo CD Applications that are here say to a Stage.
    pub(crate) fn applications_of(
        &self,
        stage: &StageSnapshot,
        refs: Vec<ApplicationRef>,
    ) -> Vec<ApplicationSnapshot> {
        let given = |is: &ApplicationRef| {
            let is_it = |one: &&Application| {
                let (namespace, name) = (one.metadata.namespace.as_deref(), one.metadata.name.as_deref());
                namespace == Some(is.namespace.as_str()) && name == Some(is.name.as_str())
            };
            self.applications.iter().find(is_it)
        };
        let snapshot = |is: ApplicationRef| {
            let says = given(&is)?.says_to(stage);
            Some(ApplicationSnapshot { is, says })
        };
        refs.into_iter().filter_map(snapshot).collect()
    }

    /// FailurePolicies of a Project; those that nobody has applied yet, and that say no namespace, when it has none.
    pub(crate) fn policies_of(&self, project: &ProjectName) -> &[FailurePolicy] {
        let own = self.policies.get(project).or_else(|| self.policies.get(&ProjectName::default()));
        own.map(Vec::as_slice).unwrap_or_default()
    }

    /// Promotions of a Stage.
    pub(crate) fn promotions_of(&self, stage: &StageSnapshot) -> impl Iterator<Item = &PromotionSnapshot> {
        self.promotions.iter().filter(move |one| one.stage == stage.name && one.project == stage.project)
    }

    /// The Project of that name. What its ProjectConfig says is not known when an export has none.
    pub(crate) fn project(&self, name: &ProjectName) -> ProjectSnapshot {
        let usual = ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() };
        let namespace = self.namespaces.get(name.as_str()).unwrap_or(&usual);
        let is_own = |config: &&ProjectConfig| config.metadata.name.as_deref() == Some(name.as_str());
        let config = self.configs.iter().find(is_own);
        // Only a namespace without a name is refused, and this one has one.
        let mut project = convert::project(namespace, config).unwrap_or_default();
        if config.is_none() && !self.has_all_configs {
            project.promotion_policies = None;
        }
        project
    }
}

/// The objects of a document, in their order, each with its kind: `kubectl get` puts several objects into a `List`, and
/// the API server into a `StageList` and the like, whose items may lack theirs.
fn flat(mut document: Value) -> Vec<Value> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let items = document.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    let Some((item_kind, mut items)) = kind.strip_suffix("List").zip(items) else { return vec![document] };
    for fields in items.iter_mut().filter_map(Value::as_object_mut) {
        fields.entry("kind").or_insert_with(|| Value::from(item_kind));
    }
    items
}

/// What is said of a document that is no object of a cluster.
fn no_object(name: &str, value: &Value) -> Option<String> {
    match (input::found(value), value.get("kind")) {
        (Some(found), _) => Some(format!("`{name}` holds {found}, and no object of a cluster")),
        (None, None) => Some(format!("`{name}` holds an object without a `kind`")),
        (None, Some(_)) => None,
    }
}

/// One object; items of a list do not say their kind, and messages should.
fn decode<K: DeserializeOwned>(document: &Value, kind: &str) -> Result<K, ConvertError> {
    kargo::from_value(document).map_err(|error| error.of_kind(kind))
}

/// Every object of a text of several documents, lists taken apart.
pub(crate) fn in_text(text: &str, name: &str) -> Result<Vec<Value>, CannotRun> {
    Ok(documents(text, name)?.into_iter().flat_map(flat).collect())
}

fn documents(text: &str, name: &str) -> Result<Vec<Value>, CannotRun> {
    let options = serde_saphyr::options! {
        leading_zero_numbers_as_strings: true,
        strict_booleans: true,
        with_snippet: false,
        // Files are bounded by their size. A Project's export has a value in ten bytes; aliases stay bounded.
        budget: serde_saphyr::budget! { max_nodes: MAX_VALUES, max_events: 2 * MAX_VALUES, max_documents: 65_536 },
    };
    let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(text, options);
    documents.map_err(|error| {
        let (what, help) = input::not_yaml(&error);
        let help = match error.without_snippet() {
            serde_saphyr::Error::Budget { .. } => {
                "export one Stage (`kubectl get promotions -l kargo.akuity.io/stage=NAME`), or name the Project with \
                 `--project` instead of a file"
            }
            _ => help,
        };
        CannotRun::new(format!("`{name}` {what}"), help)
    })
}

/// Values in one file: what fits into the bytes that are read of it at most.
const MAX_VALUES: usize = 8_000_000;

fn unreadable(error: &ConvertError, name: &str) -> CannotRun {
    CannotRun::from_error(error, "give the object as `kubectl get -o yaml` prints it").in_file(name)
}
