//! Whose rights Refloat acts with: the Project's account, what it needs, what `refloat enable` prints, and what is
//! missing.
//!
//! In: a Project, its Stages, the account's name, answers of access reviews. Out: objects to apply, and sentences.
//! Refloat has no write rights of its own on Kargo; what this account may not do, no policy can.

use policy_core::name::{ProjectName, StageName};
use serde_json::{Value, json};

/// Name of the account in every Project where the installation says nothing else.
pub const DEFAULT_ACCOUNT: &str = "refloat";
const KARGO: &str = "kargo.akuity.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The user name of a Project's account.
pub fn user_name(project: &ProjectName, account: &str) -> String {
    format!("system:serviceaccount:{project}:{account}")
}

/// One right that Enforce needs on one Stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Needed {
    /// The verb.
    pub verb: &'static str,
    /// The resource of `kargo.akuity.io`.
    pub resource: &'static str,
    /// The object, where the right is about one.
    pub name: Option<String>,
}

impl Needed {
    /// As people read it: `promote stages/prod`, `create promotions`.
    pub fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {}/{name}", self.verb, self.resource),
            None => format!("{} {}", self.verb, self.resource),
        }
    }

    /// The access review that asks for it, as the body of a SubjectAccessReview.
    pub fn review(&self, project: &ProjectName, account: &str) -> Value {
        let mut attributes = json!({
            "group": KARGO, "resource": self.resource, "verb": self.verb, "namespace": project.as_str(),
        });
        if let (Some(name), Some(attributes)) = (&self.name, attributes.as_object_mut()) {
            attributes.insert("name".to_owned(), Value::from(name.as_str()));
        }
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user_name(project, account),
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{project}"),
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        })
    }
}

/// Everything that Enforce does on a Stage as the Project's account. Reading is the controller's own right.
pub fn needed(stage: &StageName) -> Vec<Needed> {
    let one = |verb| Needed { verb, resource: "stages", name: Some(stage.as_str().to_owned()) };
    vec![Needed { verb: "create", resource: "promotions", name: None }, one("patch"), one("promote")]
}

/// What of `needed` is not granted, as texts. An answer that could not be had counts as no.
pub fn missing_verbs(answers: &[(Needed, Option<bool>)]) -> Vec<String> {
    answers.iter().filter(|(_, allowed)| *allowed != Some(true)).map(|(needed, _)| needed.text()).collect()
}

/// What `refloat enable` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enable {
    /// The Project.
    pub project: ProjectName,
    /// The Stages that may be acted on; none means that the account may only look.
    pub stages: Vec<StageName>,
    /// The account's name.
    pub account: String,
}

/// The objects that let Refloat act in a Project: account, Role limited to the Stages, RoleBinding, and a FailurePolicy
/// that only observes.
pub fn enable(enable: &Enable) -> Vec<Value> {
    let metadata = |name: &str| {
        json!({
            "name": name,
            "namespace": enable.project.as_str(),
            "labels": {"app.kubernetes.io/part-of": "refloat"},
        })
    };
    let account = enable.account.as_str();
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(account),
            "automountServiceAccountToken": false}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata(account),
            "rules": role_rules(&enable.stages)}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": metadata(account),
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": enable.project.as_str()}]}),
        failure_policy(enable, &metadata("default")),
    ]
}

fn role_rules(stages: &[StageName]) -> Vec<Value> {
    let names: Vec<&str> = stages.iter().map(StageName::as_str).collect();
    let mut rules = vec![json!({"apiGroups": [KARGO], "resources": ["stages"], "verbs": ["get", "list"]})];
    if names.is_empty() {
        return rules;
    }
    // A create cannot be limited by name; Kargo's webhook checks `promote` on the Stage of every Promotion.
    rules.push(json!({"apiGroups": [KARGO], "resources": ["promotions"],
        "verbs": ["create", "get", "list", "patch"]}));
    rules.push(json!({"apiGroups": [KARGO], "resources": ["stages"], "resourceNames": names,
        "verbs": ["patch", "promote"]}));
    rules
}

fn failure_policy(enable: &Enable, metadata: &Value) -> Value {
    let mut spec = json!({
        "mode": "Observe",
        "chain": [{"name": "retry", "builtin": "retry-transient"}],
    });
    // The selector takes one name or one pattern; several names become a pattern of exactly these.
    let selector = match enable.stages.as_slice() {
        [] => None,
        [stage] => Some(stage.as_str().to_owned()),
        several => {
            let names: Vec<String> = several.iter().map(|stage| stage.as_str().replace('.', "\\.")).collect();
            Some(format!("regex:^({})$", names.join("|")))
        }
    };
    if let (Some(name), Some(spec)) = (selector, spec.as_object_mut()) {
        spec.insert("stageSelector".to_owned(), json!({"name": name}));
    }
    json!({"apiVersion": format!("{}/{}", crate::crd::GROUP, crate::crd::VERSION), "kind": "FailurePolicy",
        "metadata": metadata, "spec": spec})
}

/// The objects of [`enable`] as YAML, with a comment that says what they do.
pub fn enable_yaml(what: &Enable) -> String {
    let stages: Vec<&str> = what.stages.iter().map(StageName::as_str).collect();
    let stages = if stages.is_empty() { "no Stage yet".to_owned() } else { stages.join(", ") };
    format!(
        "# Lets Refloat act in Project {} as `{}`, on: {stages}.\n\
         # The policy only observes. Set `mode: Enforce` once its incidents look right.\n{}",
        what.project,
        user_name(&what.project, &what.account),
        crate::yaml::documents(&enable(what)),
    )
}
