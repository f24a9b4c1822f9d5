//! The objects that a scenario begins with.
//!
//! In: a [`Scenario`]. Out: objects in the order in which they are created, those of Kubernetes, of Kargo and of Refloat:
//! the rights are the ones that `refloat install` and `refloat enable` print, so that a simulated controller may do no
//! more than a real one. Nothing here sends anything.

use std::sync::OnceLock;

use base64::Engine as _;
use kargo_model::Kind;
use kube_memory::Resource;
use policy_api::install::{self, Install};
use policy_api::rights::{self, Enable};
use policy_core::name::{ProjectName, StageName};
use serde_json::{Value, json};

use crate::kargo;
use crate::scenario::{Definitions, FreightSpec, Scenario, StageSpec};

const KARGO: &str = "kargo.akuity.io/v1alpha1";
const OURS: &str = "refloat.dev/v1alpha1";

/// The kinds that the API server has to know beside its own.
pub fn resources() -> &'static [Resource] {
    // Making the schemas of our own kinds costs a good part of a short play.
    static RESOURCES: OnceLock<Vec<Resource>> = OnceLock::new();
    RESOURCES.get_or_init(|| {
        let of_kargo =
            Kind::ALL.into_iter().filter(|kind| *kind != Kind::Namespace).map(kargo::memory_resource);
        let ours = policy_api::crd::crds().into_iter().map(|crd| {
            let spec = crd.spec;
            let version = spec.versions.first().map(|version| version.name.clone()).unwrap_or_default();
            let known =
                Resource::custom(&spec.group, &version, &spec.names.kind, &spec.names.plural).with_status();
            if spec.scope == "Cluster" { known.cluster_wide() } else { known }
        });
        let definitions = Resource::custom(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        );
        of_kargo.chain(ours).chain([definitions.cluster_wide()]).collect()
    })
}

/// Kargo's definitions, with the fields by which a minor is told.
pub fn definitions(whose: Definitions) -> Vec<Value> {
    let field = json!({"type": "object"});
    let (of_stages, of_promotions) = match whose {
        Definitions::V1_11 => (
            json!({"status": {"type": "object", "properties":
                {"autoPromotionHolds": field, "effectiveAutoPromotionHolds": field}}}),
            json!({"spec": {"type": "object", "properties": {"origin": field}}}),
        ),
        Definitions::Older => (json!({"status": field}), json!({"spec": field})),
    };
    [("Stage", "stages", of_stages), ("Promotion", "promotions", of_promotions)]
        .into_iter()
        .map(|(kind, plural, properties)| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.kargo.akuity.io")},
                "spec": {"group": "kargo.akuity.io", "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural},
                    "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}]}})
        })
        .collect()
}

/// What `refloat install` prints, but the Deployment.
pub fn installation() -> Vec<Value> {
    let mut objects = install::objects(&Install::default());
    objects.retain(|object| object.get("kind").and_then(Value::as_str) != Some("Deployment"));
    objects
}

/// The Project: everything but Freight that appears later, policies and modules.
pub fn world(scenario: &Scenario) -> Vec<Value> {
    let world = &scenario.world;
    let project = world.project.as_str();
    let mut objects = vec![json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": project, "labels": {"kargo.akuity.io/project": "true"}}})];
    objects.push(json!({"apiVersion": KARGO, "kind": "Project", "metadata": {"name": project}}));
    objects.extend(account(scenario));
    for warehouse in &world.warehouses {
        objects.push(object(project, "Warehouse", warehouse, &json!({"spec": {
            "freightCreationPolicy": "Manual", "interval": "24h0m0s",
            "subscriptions": [{"image": {"repoURL": format!("registry.example.com/{project}/{warehouse}")}}]}})));
    }
    let policies: Vec<Value> = world
        .stages
        .iter()
        .map(|stage| {
            json!({"stageSelector": {"name": stage.name}, "autoPromotionEnabled": stage.auto_promotion})
        })
        .collect();
    objects.push(object(
        project,
        "ProjectConfig",
        project,
        &json!({"spec": {"promotionPolicies": policies}}),
    ));
    objects.extend(world.freight.iter().enumerate().map(|(n, piece)| {
        // A minute apart and long ago: older than anything that happens in the scenario.
        let minute = n.min(59);
        freight(scenario, piece, &format!("2026-01-05T08:{minute:02}:00Z"))
    }));
    objects.extend(world.stages.iter().map(|stage| stage_object(scenario, stage)));
    objects
}

/// The Project's account with its rights, as `refloat enable` prints them, but for the verbs that it lacks.
fn account(scenario: &Scenario) -> Vec<Value> {
    let enable = Enable {
        project: ProjectName::new(scenario.world.project.as_str()),
        stages: scenario.world.stages.iter().map(|stage| StageName::new(stage.name.as_str())).collect(),
        account: rights::DEFAULT_ACCOUNT.to_owned(),
    };
    let mut objects = rights::enable(&enable);
    objects.retain(|object| object.get("kind").and_then(Value::as_str) != Some("FailurePolicy"));
    for object in &mut objects {
        let rules = object.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
        for verbs in rules.filter_map(|rule| rule.get_mut("verbs")?.as_array_mut()) {
            verbs.retain(|verb| !scenario.world.missing_verbs.iter().any(|missing| verb == missing));
        }
    }
    objects
}

/// All Freight that ever exists and is not there from the beginning.
pub fn later_freight(scenario: &Scenario) -> Vec<Value> {
    let later = scenario.timeline.iter().filter_map(|moment| Some((moment, moment.freight.as_ref()?)));
    later.map(|(moment, piece)| freight(scenario, piece, &moment.at)).collect()
}

/// A piece of Freight that was discovered at that time. Kargo names it.
pub fn freight(scenario: &Scenario, piece: &FreightSpec, discovered: &str) -> Value {
    let first = scenario.world.warehouses.first().map(String::as_str).unwrap_or("web");
    let warehouse = piece.warehouse.as_deref().unwrap_or(first);
    let project = scenario.world.project.as_str();
    let rest = json!({"alias": piece.name, "discoveredAt": discovered,
        "origin": {"kind": "Warehouse", "name": warehouse},
        "images": [{"repoURL": format!("registry.example.com/{project}/{warehouse}"), "tag": piece.name}]});
    object(project, "Freight", &piece.name, &rest)
}

fn stage_object(scenario: &Scenario, stage: &StageSpec) -> Value {
    let all = &scenario.world.warehouses;
    let warehouses = if stage.warehouses.is_empty() { all } else { &stage.warehouses };
    let mut sources = match stage.after.as_slice() {
        [] => json!({"direct": true}),
        after => json!({"stages": after}),
    };
    if let (true, Some(sources)) = (stage.match_upstream, sources.as_object_mut()) {
        sources.insert("autoPromotionOptions".to_owned(), json!({"selectionPolicy": "MatchUpstream"}));
    }
    let requested: Vec<Value> = warehouses
        .iter()
        .map(|name| json!({"origin": {"kind": "Warehouse", "name": name}, "sources": sources}))
        .collect();
    let steps: Vec<Value> = stage
        .steps
        .iter()
        .map(|step| {
            let mut value = json!({"as": step.alias, "uses": step.uses});
            if let Some(fields) = value.as_object_mut() {
                fields.extend(step.more.clone());
            }
            value
        })
        .collect();
    let mut spec = json!({"requestedFreight": requested, "promotionTemplate": {"spec": {"steps": steps}}});
    if let (true, Some(fields)) = (stage.verification, spec.as_object_mut()) {
        fields.insert("verification".to_owned(), json!({"analysisTemplates": [{"name": "smoke"}]}));
    }
    let rest = json!({"metadata": {"labels": stage.labels}, "spec": spec});
    object(&scenario.world.project, "Stage", &stage.name, &rest)
}

/// A FailurePolicy that enforces unless its spec says otherwise.
pub fn policy(project: &str, name: &str, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": OURS, "kind": "FailurePolicy",
        "metadata": {"name": name, "namespace": project}, "spec": {"mode": "Enforce"}});
    kargo_model::merge::apply(&mut object, &json!({"spec": spec}));
    object
}

/// A component that policies may name, and the ConfigMap that holds its bytes.
pub fn module(name: &str, bytes: &[u8]) -> [Value; 2] {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "refloat-system"}, "binaryData": {"policy.wasm": encoded}}),
        json!({"apiVersion": OURS, "kind": "ClusterPolicyModule", "metadata": {"name": name},
            "spec": {"source": {"configMap": {"name": name, "key": "policy.wasm"}}}}),
    ]
}

fn object(project: &str, kind: &str, name: &str, rest: &Value) -> Value {
    let mut object =
        json!({"apiVersion": KARGO, "kind": kind, "metadata": {"name": name, "namespace": project}});
    kargo_model::merge::apply(&mut object, rest);
    object
}
