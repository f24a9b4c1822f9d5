//! Which Stages or Projects an object is about: names and patterns as Kargo writes them, and labels.
//!
//! In: what a person wrote. Out: the core's selector. Everything empty means all; everything given must match.
//! The matching itself is `policy_core::target::matches`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use policy_core::snapshot as core;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which Stages (or Projects) are meant. All given conditions must hold; an empty selector means all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// A name, or a pattern: `glob:prod-*` or `regex:^prod-[a-z]+$`, as in Kargo's promotion policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? size(self.values) > 0 : !has(self.values) || size(self.values) == 0").message("In and NotIn need values, Exists and DoesNotExist take none"))]
pub struct LabelExpression {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What must hold for it.
    pub operator: LabelOperator,
    /// The values that `In` and `NotIn` compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What must hold for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// Its value is one of `values`.
    In,
    /// Its value is none of `values`, or it is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelOperator {
    /// Kubernetes' spelling.
    pub fn text(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }
}

impl Selector {
    /// The same in the core's words.
    pub fn to_core(&self) -> core::StageSelector {
        let expression = |e: &LabelExpression| (e.key.clone(), e.operator.text().to_owned(), e.values.clone());
        core::StageSelector {
            name: self.name.clone(),
            match_labels: self.match_labels.clone(),
            match_expressions: self.match_expressions.iter().map(expression).collect(),
        }
    }

    /// What it says, for messages: `name glob:prod-*, label tier=prod`.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> = self.name.iter().map(|name| format!("name `{name}`")).collect();
        parts.extend(self.match_labels.iter().map(|(key, value)| format!("label `{key}={value}`")));
        parts.extend(self.match_expressions.iter().map(|expression| {
            let values = expression.values.join(", ");
            format!("label `{}` {} {values}", expression.key, expression.operator.text()).trim_end().to_owned()
        }));
        if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
    }
}
