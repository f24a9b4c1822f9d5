//! A ValidatingAdmissionPolicy with which people freeze Stages. In goes a request after Kargo's mutating webhook, out
//! comes the API server's refusal. It must not look at who may promote: its denial comes before Kargo's own check.
//! Observed: captures `k/policy`, `k/responses.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AdmissionRequest, Operation};
use crate::names::{CREATE_ACTOR, GROUP, HOLD, ROLLBACK};
use crate::object::{annotation, list, name, text};

/// A policy that denies the creation of Promotions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// The policy's and its binding's name.
    pub policy: String,
    /// The Stages that it freezes.
    pub stages: Vec<String>,
    /// Whether Promotions marked as rollbacks pass.
    #[serde(default)]
    pub rollbacks: Rollbacks,
    /// The reason that it gives.
    #[serde(default)]
    pub reason: Reason,
    /// What it says, where `{stage}`, `{name}`, `{actor}` (or `none`), `{steps}` and `{hold}` (`yes` or `no`) stand for
    /// what Kargo's webhook made of the Promotion.
    pub message: String,
}

/// What a freeze does with rollbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rollbacks {
    /// They are denied too.
    #[default]
    Denied,
    /// They pass.
    Pass,
}

/// The `reason` of a policy's validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// 422, what a policy gives that does not say.
    #[default]
    Invalid,
    /// 403.
    Forbidden,
}

impl Freeze {
    /// The `Status` that the client gets, if this policy refuses. Both reasons say "forbidden" in their text.
    pub fn refusal(&self, request: &AdmissionRequest) -> Option<Value> {
        let promotion = &request.object;
        let stage = text(promotion, &["spec", "stage"]);
        let passes = self.rollbacks == Rollbacks::Pass && annotation(promotion, ROLLBACK) == Some("true");
        let frozen = self.stages.iter().any(|frozen| frozen == stage);
        if request.operation != Operation::Create || passes || !frozen {
            return None;
        }
        let (policy, name) = (&self.policy, name(promotion));
        let cause = format!(
            "ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {}",
            self.says(promotion)
        );
        let (reason, code) = match self.reason {
            Reason::Invalid => ("Invalid", 422),
            Reason::Forbidden => ("Forbidden", 403),
        };
        Some(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("promotions.{GROUP} {name:?} is forbidden: {cause}"), "reason": reason, "code": code,
            "details": { "name": name, "group": GROUP, "kind": "promotions", "causes": [{ "message": cause }] },
        }))
    }

    fn says(&self, promotion: &Value) -> String {
        let hold = annotation(promotion, HOLD).map_or("no", |_| "yes");
        self.message
            .replace("{stage}", text(promotion, &["spec", "stage"]))
            .replace("{name}", name(promotion))
            .replace("{actor}", annotation(promotion, CREATE_ACTOR).unwrap_or("none"))
            .replace("{steps}", &list(promotion, &["spec", "steps"]).len().to_string())
            .replace("{hold}", hold)
    }
}
