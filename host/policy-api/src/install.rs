//! What has to be applied to a cluster to run the controller, definitions aside.
//!
//! In: image, namespace, account name. Out: objects. The controller reads Kargo, writes its own kinds, and may
//! impersonate one ServiceAccount name; it has no write right on Kargo.
//! DecisionRecords are in none of the aggregated roles, and nobody but the controller writes what it keeps.

use serde_json::{Value, json};

/// What an installation chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The controller's namespace. Not Kargo's: a labelled account there is taken for a Kargo controller.
    pub namespace: String,
    /// The image.
    pub image: String,
    /// Name of the account in every Project.
    pub account: String,
    /// A ConfigMap of that namespace whose key [`RULES_KEY`] holds the platform's own rules.
    pub rules_config_map: Option<String>,
    /// Namespace of Argo CD, whose Applications the controller may read.
    pub argocd_namespace: Option<String>,
}

impl Default for Install {
    fn default() -> Self {
        Self {
            namespace: "refloat-system".to_owned(),
            image: concat!("registry.example.com/refloat/refloat:v", env!("CARGO_PKG_VERSION")).to_owned(),
            account: crate::rights::DEFAULT_ACCOUNT.to_owned(),
            rules_config_map: None,
            argocd_namespace: None,
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const OURS: &str = crate::crd::GROUP;
const NAME: &str = "refloat";
const PORT: u16 = 8080;
/// The key of the ConfigMap with rules, and the name of the file that it becomes.
pub const RULES_KEY: &str = "rules.yaml";
const RULES_FOLDER: &str = "/rules";

/// Everything, in the order in which it has to be applied.
pub fn objects(install: &Install) -> Vec<Value> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": install.namespace, "labels": labels()}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(install)}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": {"name": NAME, "labels": labels()}, "rules": cluster_rules(install)}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": labels()},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME}, "subjects": subjects(install)}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": named(install),
            "rules": own_namespace_rules()}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": named(install),
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME}, "subjects": subjects(install)}),
    ];
    objects.extend(install.argocd_namespace.iter().flat_map(|namespace| argocd(install, namespace)));
    objects.extend(aggregated());
    objects.push(deployment(install));
    objects
}

/// The same as YAML.
pub fn yaml(install: &Install) -> String {
    crate::yaml::documents(&objects(install))
}

fn labels() -> Value {
    // Never `app.kubernetes.io/component: controller`: Kargo's management controller binds accounts with it to the
    // Secrets of every Project (kargo-api.md 6.3).
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": NAME})
}

fn named(install: &Install) -> Value {
    json!({"name": NAME, "namespace": install.namespace, "labels": labels()})
}

fn subjects(install: &Install) -> Value {
    json!([{"kind": "ServiceAccount", "name": NAME, "namespace": install.namespace}])
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// What the controller's own account may do in the whole cluster.
fn cluster_rules(install: &Install) -> Vec<Value> {
    let read = ["get", "list", "watch"];
    let kargo = ["projects", "projectconfigs", "stages", "promotions", "freights", "warehouses"];
    let policies = ["failurepolicies", "clusterfailurepolicies", "policymodules", "clusterpolicymodules"];
    let policy_status = policies.map(|kind| format!("{kind}/status"));
    let kept = ["incidents", "decisionrecords", "stagerecords"];
    let kept_status = kept.map(|kind| format!("{kind}/status"));
    vec![
        rule("kargo.akuity.io", &kargo, &read),
        rule("argoproj.io", &["analysisruns"], &read),
        rule("", &["namespaces"], &read),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"]),
        rule(OURS, &policies, &read),
        json!({"apiGroups": [OURS], "resources": policy_status, "verbs": ["update"]}),
        // `delete` makes room: what is kept of the past is bounded.
        rule(OURS, &kept, &["get", "list", "watch", "create", "delete"]),
        json!({"apiGroups": [OURS], "resources": kept_status, "verbs": ["update"]}),
        // Modules in ConfigMaps of Projects. `get` only: nothing is listed, and Secrets are not read at all.
        rule("", &["configmaps"], &["get"]),
        rule("", &["events"], &["create"]),
        json!({"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [install.account],
            "verbs": ["impersonate"]}),
        rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ]
}

/// Reading Applications by name in Argo CD's namespace. They say themselves which Stages may know of them.
fn argocd(install: &Install, namespace: &str) -> [Value; 2] {
    let metadata = json!({"name": NAME, "namespace": namespace, "labels": labels()});
    [
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [rule("argoproj.io", &["applications"], &["get"])]}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME}, "subjects": subjects(install)}),
    ]
}

fn own_namespace_rules() -> Vec<Value> {
    vec![rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])]
}

/// What people get with the cluster's `view`, `edit` and `admin` roles. Policies can be edited; what Refloat keeps can
/// be read, DecisionRecords not even that: they hold what a failure said.
fn aggregated() -> Vec<Value> {
    let edit = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let read = ["get", "list", "watch"];
    let role = |name: &str, into: &[&str], rules: Value| {
        let mut labels = labels();
        if let Some(labels) = labels.as_object_mut() {
            labels
                .extend(into.iter().map(|role| (format!("{RBAC}/aggregate-to-{role}"), Value::from("true"))));
        }
        let metadata = json!({"name": name, "labels": labels});
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules})
    };
    let policies = ["failurepolicies", "policymodules"];
    let shown = ["failurepolicies", "policymodules", "incidents", "stagerecords"];
    vec![
        role("refloat-view", &["view", "edit", "admin"], json!([rule(OURS, &shown, &read)])),
        role("refloat-edit", &["edit", "admin"], json!([rule(OURS, &policies, &edit)])),
        // Bound to nobody: for whoever may read what failures said.
        role("refloat-records", &[], json!([rule(OURS, &["decisionrecords"], &read)])),
    ]
}

fn deployment(install: &Install) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": named(install),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container(install)],
                    "volumes": volumes(install),
                },
            },
        },
    })
}

fn volumes(install: &Install) -> Vec<Value> {
    let cache = json!({"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}});
    let rules = install.rules_config_map.iter().map(|name| {
        json!({"name": "rules", "configMap": {"name": name, "items": [{"key": RULES_KEY, "path": RULES_KEY}]}})
    });
    std::iter::once(cache).chain(rules).collect()
}

fn container(install: &Install) -> Value {
    let mut args = vec![
        "controller".to_owned(),
        format!("--project-account={}", install.account),
        format!("--listen=0.0.0.0:{PORT}"),
        "--cache=/cache".to_owned(),
    ];
    let mut mounts = vec![json!({"name": "cache", "mountPath": "/cache"})];
    args.extend(install.argocd_namespace.iter().map(|namespace| format!("--argocd-namespace={namespace}")));
    if install.rules_config_map.is_some() {
        args.push(format!("--rules={RULES_FOLDER}/{RULES_KEY}"));
        mounts.push(json!({"name": "rules", "mountPath": RULES_FOLDER, "readOnly": true}));
    }
    json!({
        "name": "controller",
        "image": install.image,
        "args": args,
        "env": [{"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            // Compiling a module takes its limit from here and is done in a child process.
            "limits": {"memory": "1Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    })
}
