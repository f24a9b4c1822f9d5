//! PolicyModule and ClusterPolicyModule: where a component comes from, and what was found there.
//!
//! In: YAML of a policy author. Out: Rust values. A Project's module cannot name files of the controller's machine;
//! a platform's module can. Getting the bytes is `policy-source`'s work.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// A policy of this Project.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "PolicyModule",
    plural = "policymodules",
    namespaced,
    shortname = "pmod",
    category = "refloat",
    status = "ModuleStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A PolicyModule is a WebAssembly component that the FailurePolicies of its Project can ask. The platform must allow Projects to bring their own.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.manifest.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.manifest.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PolicyModuleSpec {
    /// Where the component comes from.
    pub source: ModuleSource,
    /// The digest that the bytes must have; without it, whatever the source gives is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// A policy that the platform offers to every Project.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "ClusterPolicyModule",
    plural = "clusterpolicymodules",
    shortname = "cpmod",
    category = "refloat",
    status = "ModuleStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A ClusterPolicyModule is a WebAssembly component that the platform offers to every Project.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.manifest.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.manifest.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPolicyModuleSpec {
    /// Where the component comes from.
    pub source: ClusterModuleSource,
    /// The digest that the bytes must have; without it, whatever the source gives is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// Where a Project's component comes from. Exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.builtin) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.oci) ? 1 : 0) == 1").message("give exactly one of builtin, configMap and oci"))]
pub struct ModuleSource {
    /// A policy that ships with Refloat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinSource>,
    /// Bytes in a ConfigMap of the Project's namespace; at most 1 MiB, which is what a ConfigMap holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// An artifact in a registry. Not supported by this version: the module says so in its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
}

/// Where the platform's component comes from. Exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.builtin) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.oci) ? 1 : 0) == 1").message("give exactly one of builtin, configMap, file and oci"))]
pub struct ClusterModuleSource {
    /// A policy that ships with Refloat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinSource>,
    /// Bytes in a ConfigMap of the controller's namespace; at most 1 MiB, which is what a ConfigMap holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A file that is mounted into the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// An artifact in a registry. Not supported by this version: the module says so in its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
}

/// A policy that ships with Refloat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltinSource {
    /// Its name, such as `retry-transient`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key under its `binaryData`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// An absolute path in the controller's container.
    #[schemars(length(min = 2, max = 1024), regex(pattern = "^/"))]
    pub path: String,
}

/// An artifact in a registry. Reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// The artifact, as `registry/repository:tag` or `registry/repository@sha256:...`.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the bytes that are used now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub digest: Option<String>,
    /// Digest of the last bytes that could be loaded; they stay in use while newer ones cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub last_good_digest: Option<String>,
    /// The contract's track that the component speaks, such as `0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub track: Option<String>,
    /// What the component says about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestSummary>,
    /// Size of the component in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u32>,
    /// How long compiling took, in milliseconds; 0 when it came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile_millis: Option<u32>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// What a component says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestSummary {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Whether it proposes (`decider`) or changes proposals (`modifier`).
    #[schemars(length(max = 16))]
    pub role: String,
    /// The kinds of action that it may return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 80)))]
    pub actions: Vec<String>,
    /// The triggers that it wants; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), inner(length(max = 40)))]
    pub triggers: Vec<String>,
}

impl ManifestSummary {
    /// The summary of a manifest.
    pub fn of(manifest: &policy_core::manifest::Manifest) -> Self {
        Self {
            name: crate::convert::cut(&manifest.name, 63),
            version: crate::convert::cut(&manifest.version, 64),
            role: crate::convert::text_of(&manifest.role),
            actions: manifest.actions.iter().map(policy_core::decision::ActionKind::text).collect(),
            triggers: manifest.triggers.iter().map(crate::convert::text_of).collect(),
        }
    }
}

impl From<ModuleSource> for ClusterModuleSource {
    fn from(source: ModuleSource) -> Self {
        Self { builtin: source.builtin, config_map: source.config_map, file: None, oci: source.oci }
    }
}
