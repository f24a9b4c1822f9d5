//! Reads what belongs to one Stage from a cluster.
//!
//! In: credentials, a Project, a Stage. Out: objects. Only `get` and `list`; nothing is ever written. What the account may
//! not read, or what is not installed, is left out and named, but for Stage, Promotions and Freight: without them there
//! is nothing to say.

use std::collections::BTreeSet;
use std::path::Path;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use policy_core::assemble;
use policy_core::snapshot::ApplicationRef;
use serde_json::Value;

use crate::exit::CannotRun;
use crate::objects::Objects;
use crate::scene::ARGOCD;

const KARGO: &str = "kargo.akuity.io";
const OURS: &str = "refloat.dev";

/// A cluster, and the Project that is looked at.
pub(crate) struct Cluster {
    client: Client,
    project: String,
}

impl Cluster {
    /// The cluster of a kubeconfig and one of its contexts; what is not given is as for `kubectl`.
    pub(crate) async fn connect(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        project: &str,
    ) -> Result<Self, CannotRun> {
        let help = "set `--kubeconfig` or KUBECONFIG, or give exports with `--from`";
        let wrong = |error: &dyn std::error::Error| CannotRun::from_error(error, help);
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = match (kubeconfig, context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| wrong(&error))?
            }
            (None, Some(_)) => {
                kube::Config::from_kubeconfig(&options).await.map_err(|error| wrong(&error))?
            }
            (None, None) => kube::Config::infer().await.map_err(|error| wrong(&error))?,
        };
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Self { client, project: project.to_owned() })
    }

    /// The Stage that an Incident or a Promotion of that name is about.
    pub(crate) async fn stage_of(&self, name: &str) -> Option<String> {
        let stage_of = |object: Option<DynamicObject>, pointer: &str| {
            object?.data.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
        };
        let incident = self.api(OURS, "Incident", "incidents").get_opt(name).await.ok().flatten();
        if let Some(stage) = stage_of(incident, "/spec/failure/stage") {
            return Some(stage);
        }
        let promotion = self.api(KARGO, "Promotion", "promotions").get_opt(name).await.ok().flatten();
        stage_of(promotion, "/spec/stage")
    }

    /// Everything that a context of this Stage is made of.
    pub(crate) async fn read(&self, stage: &str, objects: &mut Objects) -> Result<(), CannotRun> {
        let of_stage = policy_controller::scene::stage_label_value(stage);
        let of_stage = format!("kargo.akuity.io/stage={of_stage}");
        let ours = format!("{}={}", policy_api::names::STAGE, policy_api::names::label_value(stage));
        // Policies first: they say which outputs may be read.
        self.optional(OURS, "FailurePolicy", "failurepolicies", "", objects).await;
        self.cluster_wide(objects).await;
        objects.capture_as_policies_say();
        for (kind, plural, selector) in [
            ("Stage", "stages", ""),
            ("Promotion", "promotions", of_stage.as_str()),
            ("Freight", "freights", ""),
        ] {
            let list = self.list(KARGO, kind, plural, selector).await;
            let help = format!("the account needs `get` and `list` on `{plural}` of `{KARGO}` there");
            let list = list.map_err(|error| {
                let what = format!("cannot list {plural} of Project `{}`", self.project);
                let error = CannotRun::from_error(&error, help);
                CannotRun::new(format!("{what}: {}", error.line), error.help)
            })?;
            list.iter().for_each(|object| objects.add_value(object));
        }
        objects.has_all_freight = true;
        objects.has_all_configs = self.optional(KARGO, "ProjectConfig", "projectconfigs", "", objects).await;
        self.optional("argoproj.io", "AnalysisRun", "analysisruns", &of_stage, objects).await;
        self.optional(OURS, "Incident", "incidents", &ours, objects).await;
        self.optional(OURS, "StageRecord", "stagerecords", &ours, objects).await;
        self.optional(OURS, "DecisionRecord", "decisionrecords", &ours, objects).await;
        self.applications(stage, objects).await;
        Ok(())
    }

    /// Argo CD Applications that the Stage or one of its Promotions names, as far as the account may read them.
    async fn applications(&self, stage: &str, objects: &mut Objects) {
        let stages = objects.stages.iter().filter(|one| one.name.as_str() == stage);
        let refs: BTreeSet<ApplicationRef> = stages
            .flat_map(|stage| {
                objects.promotions_of(stage).map(move |one| (stage, Some(one))).chain([(stage, None)])
            })
            .flat_map(|(stage, promotion)| assemble::application_refs(stage, promotion, ARGOCD))
            .collect();
        for is in refs {
            let resource = resource("argoproj.io", "v1alpha1", "Application", "applications");
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &is.namespace, &resource);
            let read = api.get(&is.name).await;
            let read = read.and_then(|application| values(&[application], "Application"));
            add(&format!("Application `{}/{}`", is.namespace, is.name), read, objects);
        }
    }

    /// Whether all of a kind is known now: it was given, or it is not installed.
    async fn optional(
        &self,
        group: &str,
        kind: &str,
        plural: &str,
        selector: &str,
        objects: &mut Objects,
    ) -> bool {
        let what = format!("{plural} of Project `{}`", self.project);
        add(&what, self.list(group, kind, plural, selector).await, objects)
    }

    /// What the platform says, and the labels of the Project, by which it says it.
    async fn cluster_wide(&self, objects: &mut Objects) {
        let policies = resource(OURS, "v1alpha1", "ClusterFailurePolicy", "clusterfailurepolicies");
        let policies: Api<DynamicObject> = Api::all_with(self.client.clone(), &policies);
        let listed = policies.list(&ListParams::default()).await;
        let listed = listed.and_then(|list| values(&list.items, "ClusterFailurePolicy"));
        add("clusterfailurepolicies", listed, objects);
        let namespaces = resource("", "v1", "Namespace", "namespaces");
        let namespaces: Api<DynamicObject> = Api::all_with(self.client.clone(), &namespaces);
        let namespace = namespaces.get(&self.project).await;
        let namespace = namespace.and_then(|namespace| values(&[namespace], "Namespace"));
        add(&format!("namespace `{}`", self.project), namespace, objects);
    }

    async fn list(
        &self,
        group: &str,
        kind: &str,
        plural: &str,
        selector: &str,
    ) -> Result<Vec<Value>, kube::Error> {
        let mut params = ListParams::default();
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let list = self.api(group, kind, plural).list(&params).await?;
        values(&list.items, kind)
    }

    fn api(&self, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = resource(group, "v1alpha1", kind, plural);
        Api::namespaced_with(self.client.clone(), &self.project, &resource)
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Items of a list do not say their kind.
fn values(items: &[DynamicObject], kind: &str) -> Result<Vec<Value>, kube::Error> {
    let to_value = |object: &DynamicObject| {
        let mut value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        Ok(value)
    };
    items.iter().map(to_value).collect()
}

/// Adds what was given, or names what was not; whether all of it is known now.
fn add(what: &str, given: Result<Vec<Value>, kube::Error>, objects: &mut Objects) -> bool {
    match given {
        Ok(list) => {
            list.iter().for_each(|object| objects.add_value(object));
            true
        }
        // Not installed.
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(error) => {
            objects.left_out.push(format!("{what}: {}", CannotRun::from_error(&error, "").line));
            false
        }
    }
}
