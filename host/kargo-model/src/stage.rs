//! Reading a Stage: what it requests, its template, and the parts of its status that rules branch on.
//! In go Stage objects, out come borrowed views; [`summarize`] writes the conditions that follow from the others.
//! It must not decide about promotions. Sources: `api/v1alpha1/stage_types.go`, `pkg/controller/stages/regular_stages.go`.

use serde_json::{Value, json};

use crate::conditions::{self, Condition, FALSE, TRUE};
use crate::object::{at, list, map, put, text};
use crate::promotion::Phase;
use crate::world::World;

/// Where Freight comes from: `Warehouse/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Always `Warehouse` in v1.11.
    pub kind: String,
    /// The Warehouse's name.
    pub name: String,
}

impl Origin {
    /// Reads `{kind, name}`.
    pub fn of(value: Option<&Value>) -> Self {
        let field = |key| value.map_or("", |value| text(value, &[key])).to_owned();
        Self { kind: field("kind"), name: field("name") }
    }

    /// Reads `Warehouse/<name>`; `None` for any other form (`ParseFreightOrigin`).
    pub fn parse(key: &str) -> Option<Self> {
        let (kind, name) = key.split_once('/')?;
        let known = kind == "Warehouse" && !name.is_empty() && !name.contains('/');
        known.then(|| Self { kind: kind.to_owned(), name: name.to_owned() })
    }

    /// `Warehouse/<name>`, the key of collections and holds.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// `{kind, name}`.
    pub fn value(&self) -> Value {
        json!({ "kind": self.kind, "name": self.name })
    }
}

/// How a Stage picks the Freight to promote by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The newest available Freight.
    NewestFreight,
    /// What the single upstream Stage has now.
    MatchUpstream,
}

/// One entry of `spec.requestedFreight`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(&'a Value);

impl<'a> Request<'a> {
    /// The origin asked for.
    pub fn origin(self) -> Origin {
        Origin::of(self.0.get("origin"))
    }

    /// Whether Freight may come straight from the Warehouse.
    pub fn is_direct(self) -> bool {
        crate::object::flag(self.0, &["sources", "direct"])
    }

    /// The upstream Stages.
    pub fn upstream(self) -> impl Iterator<Item = &'a str> {
        list(self.0, &["sources", "stages"]).iter().filter_map(Value::as_str)
    }

    /// Whether every upstream Stage must have verified the Freight, not just one.
    pub fn needs_all_upstream(self) -> bool {
        text(self.0, &["sources", "availabilityStrategy"]) == "All"
    }

    /// `requiredSoakTime` as written, empty when not set.
    pub fn soak_time(self) -> &'a str {
        text(self.0, &["sources", "requiredSoakTime"])
    }

    /// How the candidate for auto-promotion is chosen.
    pub fn selection(self) -> Selection {
        match text(self.0, &["sources", "autoPromotionOptions", "selectionPolicy"]) {
            "MatchUpstream" => Selection::MatchUpstream,
            _ => Selection::NewestFreight,
        }
    }
}

/// A Stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a>(pub &'a Value);

impl<'a> Stage<'a> {
    /// `metadata.name`.
    pub fn name(self) -> &'a str {
        crate::object::name(self.0)
    }

    /// `metadata.namespace`, the Project.
    pub fn namespace(self) -> &'a str {
        crate::object::namespace(self.0)
    }

    /// `metadata.generation`.
    pub fn generation(self) -> i64 {
        at(self.0, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default()
    }

    /// `spec.requestedFreight`.
    pub fn requests(self) -> impl Iterator<Item = Request<'a>> {
        list(self.0, &["spec", "requestedFreight"]).iter().map(Request)
    }

    /// The keys of all requested origins.
    pub fn requested_keys(self) -> Vec<String> {
        self.requests().map(|request| request.origin().key()).collect()
    }

    /// The steps of the promotion template.
    pub fn template_steps(self) -> &'a [Value] {
        list(self.0, &["spec", "promotionTemplate", "spec", "steps"])
    }

    /// A Stage without promotion steps is a control flow Stage: Kargo neither promotes to it nor verifies it.
    pub fn is_control_flow(self) -> bool {
        self.template_steps().is_empty()
    }

    /// `status`; null before Kargo wrote one.
    pub fn status(self) -> &'a Value {
        self.0.get("status").unwrap_or(&Value::Null)
    }

    /// `status.currentPromotion.name`.
    pub fn current_promotion(self) -> Option<&'a str> {
        at(self.0, &["status", "currentPromotion", "name"]).and_then(Value::as_str)
    }

    /// `status.lastPromotion.name`.
    pub fn last_promotion(self) -> Option<&'a str> {
        at(self.0, &["status", "lastPromotion", "name"]).and_then(Value::as_str)
    }

    /// The newest entry of `status.freightHistory`: what Kargo believes is deployed.
    pub fn current_collection(self) -> Option<&'a Value> {
        list(self.0, &["status", "freightHistory"]).first()
    }

    /// `status.health.status`; empty before it was assessed.
    pub fn health(self) -> &'a str {
        text(self.0, &["status", "health", "status"])
    }
}

/// The newest verification of a collection.
pub fn current_verification(collection: &Value) -> Option<&Value> {
    list(collection, &["verificationHistory"]).first()
}

/// Whether a verification phase is final; the empty phase is not (`e/race-stuck-pending`).
pub fn is_terminal_verification(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Aborted" | "Inconclusive")
}

/// Whether any verification of the collection is still going on.
pub fn has_open_verification(collection: &Value) -> bool {
    list(collection, &["verificationHistory"])
        .iter()
        .any(|info| !is_terminal_verification(text(info, &["phase"])))
}

/// Sets `freightSummary`, the `Ready` condition and `observedGeneration` from the rest of the status, as Kargo does
/// after each part of a reconcile (`regular_stages.go`, `summarizeConditions`).
pub(crate) fn summarize(stage: &mut Value, world: &World) {
    let view = Stage(stage);
    let generation = view.generation();
    let summary = freight_summary(view);
    let ready = ready_condition(view);
    put(stage, &["status", "freightSummary"], Value::String(summary));
    if ready.status == TRUE {
        put(stage, &["status", "observedGeneration"], json!(generation));
    }
    conditions::set(stage, &ready, world);
}

fn freight_summary(stage: Stage<'_>) -> String {
    let requested = stage.requests().count();
    let items = stage.current_collection().and_then(|collection| map(collection, &["items"]));
    let Some(items) = items else { return format!("0/{requested} Fulfilled") };
    match (requested, items.len(), items.values().next()) {
        (1, 1, Some(only)) => text(only, &["name"]).to_owned(),
        (_, have, _) => format!("{have}/{requested} Fulfilled"),
    }
}

fn ready_condition(stage: Stage<'_>) -> Condition {
    let not_ready = |reason: &str, message: &str| Condition::new("Ready", FALSE, reason, message);
    if let Some(promoting) = conditions::find(stage.0, "Promoting") {
        return not_ready(text(promoting, &["reason"]), text(promoting, &["message"]));
    }
    let last = Phase::from_text(text(stage.0, &["status", "lastPromotion", "status", "phase"]));
    if last.is_terminal() && last != Phase::Succeeded {
        let message = text(stage.0, &["status", "lastPromotion", "status", "message"]);
        return not_ready(&format!("LastPromotion{}", last.text()), message);
    }
    for kind in ["Healthy", "Verified"] {
        match conditions::find(stage.0, kind) {
            Some(condition) if text(condition, &["status"]) == TRUE => {}
            Some(condition) => return not_ready(text(condition, &["reason"]), text(condition, &["message"])),
            None if kind == "Healthy" => return not_ready("Unhealthy", "Stage is not healthy"),
            None => return not_ready("PendingVerification", "Stage is not verified"),
        }
    }
    let verified = conditions::find(stage.0, "Verified").unwrap_or(&Value::Null);
    Condition::new("Ready", TRUE, text(verified, &["reason"]), text(verified, &["message"]))
}
