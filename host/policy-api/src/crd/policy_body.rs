//! What FailurePolicy and ClusterFailurePolicy share: the chain, the mode, the bounds, the channels.
//!
//! In: what a person wrote. Out: Rust values. Texts that name triggers and actions stay texts here: an object from a
//! newer version must not stop this one from listing its neighbours; `crate::accept` says what is wrong with them.

use kube::KubeSchema;
use policy_core::context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deadlines::Deadlines;

/// How far Refloat goes with what a policy answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decide and record; write nothing to Kargo, annotations included.
    #[default]
    Observe,
    /// As Observe, and tell people what would be done.
    Suggest,
    /// Carry the actions out.
    Enforce,
}

impl Mode {
    /// The same in the core's words.
    pub fn to_core(self) -> context::Mode {
        match self {
            Self::Observe => context::Mode::Observe,
            Self::Suggest => context::Mode::Suggest,
            Self::Enforce => context::Mode::Enforce,
        }
    }

    /// The inverse of [`Mode::to_core`].
    pub fn from_core(mode: context::Mode) -> Self {
        match mode {
            context::Mode::Observe => Self::Observe,
            context::Mode::Suggest => Self::Suggest,
            context::Mode::Enforce => Self::Enforce,
        }
    }

    /// The name as it stands in YAML.
    pub fn text(self) -> &'static str {
        match self {
            Self::Observe => "Observe",
            Self::Suggest => "Suggest",
            Self::Enforce => "Enforce",
        }
    }
}

/// What happens when something fails in the selected Stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyBody {
    /// Which kinds of failure are handled, such as `promotion-failed` or `verification-failed`. Empty means every
    /// kind that the modules of the chain ask for. What ends badly always has an Incident; what goes on for too long has
    /// one if a module asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), inner(length(max = 40), regex(pattern = "^[a-z]+(-[a-z]+)*$")))]
    pub triggers: Vec<String>,
    /// Modules that are asked, in this order. Each one gets what was proposed before it; after the first decider
    /// that answers with a decision no further decider is asked, while modifiers are always asked.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("names in a chain must differ"))]
    pub chain: Vec<ChainEntry>,
    /// How far Refloat goes: Observe decides and records only, Suggest also tells people, Enforce acts.
    #[serde(default)]
    pub mode: Mode,
    /// The actions that may be carried out, such as `retry` or `rollback`. Whatever is not listed is refused, and
    /// modules that declare other actions are not accepted. Absent means everything but `rollback`,
    /// `run-recovery`, `abort-promotion`, `hold` and custom actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        inner(length(max = 80), regex(pattern = "^[a-z]+(-[a-z]+)*(:[a-z0-9.-]+)?$"))
    )]
    pub allowed_actions: Option<Vec<String>>,
    /// Budgets, pauses and ages. Values beyond what the platform allows are cut to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long things may go on before they are failures, such as a step that runs or a Stage that is Unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<Deadlines>,
    /// Where messages may go. A policy can only name a channel that is listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("names of channels must differ"))]
    pub channels: Vec<Channel>,
    /// Aliases of steps whose outputs the policies may see. Outputs can hold secrets, so none are shown unless
    /// named here; `failure-hint` is always shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub capture_outputs: Vec<String>,
    /// Aliases of steps whose texts are trusted to hold hints even where they quote commits, pull requests or servers.
    /// A hint only ever makes Refloat more careful.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub trust_envelopes: Vec<String>,
    /// Who is told when a module gives no usable answer, in every mode. Nothing is ever written to Kargo then, no other
    /// module is asked in its place, and the incident is handed to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_guest_fault: Option<OnGuestFault>,
}

/// One module in a chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.module) != has(self.builtin)").message("give exactly one of module and builtin"))]
pub struct ChainEntry {
    /// A name for this place in the chain, used in records and messages.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The module to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleRef>,
    /// Short for a policy that ships with Refloat, such as `retry-transient`; needs no module object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub builtin: Option<String>,
    /// Settings for the module, checked against the schema that it declares (`refloat inspect` shows it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub settings: Option<Value>,
}

/// A module by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleRef {
    /// Whether it belongs to this Project or to the platform.
    #[serde(default)]
    pub kind: ModuleKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whose module it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModuleKind {
    /// A PolicyModule in the Project's namespace; the platform must allow these.
    PolicyModule,
    /// A ClusterPolicyModule, offered by the platform.
    #[default]
    ClusterPolicyModule,
}

impl ModuleKind {
    /// The kind's name.
    pub fn text(self) -> &'static str {
        match self {
            Self::PolicyModule => "PolicyModule",
            Self::ClusterPolicyModule => "ClusterPolicyModule",
        }
    }
}

/// Budgets, pauses and ages. Durations are written like `90s`, `5m`, `2h30m`, `1d`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Retries per incident; default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<u32>,
    /// Rollbacks per incident; default 1. A rollback is never rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub rollbacks: Option<u32>,
    /// Retries, rollbacks and recoveries of one Stage within 24 hours; default 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 60))]
    pub deliveries: Option<u32>,
    /// Pause before the first retry, doubled before every further one; default 30s, at least 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub backoff: Option<String>,
    /// Longest pause before a retry; default 30m, at most 14d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub backoff_cap: Option<String>,
    /// Pause of a Stage after an automatic rollback; default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub cooldown: Option<String>,
    /// Largest context that a policy gets, in KiB as JSON; default 64. What does not fit is cut, oldest first, and named
    /// in the context's `truncated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 256))]
    pub context_kib: Option<u32>,
    /// A failure older than this is recorded and not acted upon; default 20m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub max_failure_age: Option<String>,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// The name that policies use.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How messages travel.
    #[serde(default)]
    pub kind: ChannelKind,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChannelKind {
    /// A Kubernetes Event on the Stage. A message for this channel alone names it in the annotation `refloat.dev/channel`,
    /// so that whatever forwards Events can tell.
    #[default]
    Event,
}

/// Who is told when a module gives no usable answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnGuestFault {
    /// Channels that are told; empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub notify: Vec<String>,
}

impl PolicyBody {
    /// What this chain entry names, for messages.
    pub fn source_text(entry: &ChainEntry) -> String {
        match (&entry.builtin, &entry.module) {
            (Some(builtin), _) => format!("builtin:{builtin}"),
            (None, Some(module)) => format!("{} {}", module.kind.text(), module.name),
            (None, None) => "nothing".to_owned(),
        }
    }
}

/// An object whose shape is somebody else's.
pub(crate) fn free_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of objects whose shape is somebody else's.
pub(crate) fn free_objects(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "array", "maxItems": 64,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
}
