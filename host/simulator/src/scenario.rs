//! What a scenario file may say, and which of it makes no sense.
//!
//! In: a YAML document, read by the caller. Out: a [`Scenario`] and its [`Problem`]s, each with the path of the field.
//! A scenario says what is there, how steps and verifications end, what people do and when, and what is expected.
//! Nothing here runs anything.

use std::collections::{BTreeMap, BTreeSet};

use kargo_model::{ControlPlane, Script};
use policy_api::crd::policy_body::PolicyBody;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::FreightNames;

/// A scenario.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in one line.
    pub title: String,
    /// What is there when it begins.
    pub world: WorldSpec,
    /// FailurePolicies of the Project, by name. Their mode is Enforce unless they say otherwise.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub policies: BTreeMap<String, Value>,
    /// Components that policies name as ClusterPolicyModules: `builtin:NAME`, `example:NAME`, or a path beside this file.
    #[serde(default)]
    pub modules: BTreeMap<String, String>,
    /// How steps, verifications and health end; Freight is named by its alias. What it does not name succeeds.
    #[serde(default)]
    #[schemars(with = "Value")]
    pub script: Script,
    /// What happens, and when.
    #[serde(default)]
    pub timeline: Vec<Moment>,
    /// What must have come of it.
    #[serde(default)]
    pub expect: Expectations,
    /// How long it goes on at least after its beginning, such as `2h`. Without it, it ends when everything rests.
    #[serde(default)]
    pub until: Option<String>,
}

/// What is there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldSpec {
    /// The Project.
    #[serde(default = "default_project")]
    pub project: String,
    /// Where Freight comes from.
    #[serde(default = "default_warehouses")]
    pub warehouses: Vec<String>,
    /// The Stages.
    pub stages: Vec<StageSpec>,
    /// Freight that exists from the beginning, oldest first.
    #[serde(default)]
    pub freight: Vec<FreightSpec>,
    /// Verbs that the Project's account lacks, such as `promote`.
    #[serde(default)]
    pub missing_verbs: Vec<String>,
    /// An expression for accounts that Kargo takes for its own control plane, in place of its chart's.
    #[serde(default)]
    pub control_plane: Option<String>,
    /// Whose fields Kargo's definitions have.
    #[serde(default)]
    pub definitions: Definitions,
}

/// Whose fields Kargo's definitions have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Definitions {
    /// Kargo 1.11's.
    #[default]
    #[serde(rename = "1.11")]
    V1_11,
    /// Those of a Kargo that lacks what Refloat relies on.
    #[serde(rename = "older")]
    Older,
}

fn default_project() -> String {
    "shop".to_owned()
}

fn default_warehouses() -> Vec<String> {
    vec!["web".to_owned()]
}

/// A Stage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSpec {
    /// Its name.
    pub name: String,
    /// Stages before it; none means that Freight comes straight from the Warehouses.
    #[serde(default)]
    pub after: Vec<String>,
    /// Warehouses whose Freight it wants; none means all.
    #[serde(default)]
    pub warehouses: Vec<String>,
    /// Its steps: alias and kind.
    #[serde(default = "default_steps")]
    pub steps: Vec<StepSpec>,
    /// Whether it verifies what it gets.
    #[serde(default)]
    pub verification: bool,
    /// Whether Kargo promotes new Freight by itself.
    #[serde(default)]
    pub auto_promotion: bool,
    /// Freight that it holds, verified, when the scenario begins: one alias per Warehouse.
    #[serde(default)]
    pub holds: Vec<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn default_steps() -> Vec<StepSpec> {
    let step = |alias: &str, uses: &str| StepSpec {
        alias: alias.to_owned(),
        uses: uses.to_owned(),
        more: BTreeMap::new(),
    };
    vec![step("render", "compose-output"), step("push", "git-push")]
}

/// A step of a Stage's template.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// Its alias.
    #[serde(rename = "as")]
    pub alias: String,
    /// Its kind.
    pub uses: String,
    /// Everything else that a step may have: `if`, `retry`, `continueOnError`, `config`.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// A piece of Freight.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreightSpec {
    /// Its alias.
    pub name: String,
    /// Its Warehouse; the first one unless it says otherwise.
    #[serde(default)]
    pub warehouse: Option<String>,
}

/// One thing that happens: a time and exactly one more field.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Moment {
    /// When, counted from the beginning: `0s`, `90s`, `1h30m`.
    pub at: String,
    /// New Freight appears.
    pub freight: Option<FreightSpec>,
    /// Somebody promotes.
    pub promote: Option<Promote>,
    /// Somebody aborts a Promotion of the Stage.
    pub abort: Option<Abort>,
    /// Somebody aborts the Stage's running verification.
    pub abort_verification: Option<OnStage>,
    /// Somebody asks for the Stage's verification once more.
    pub reverify: Option<OnStage>,
    /// Somebody changes annotations of a Stage; an empty text takes one away.
    pub annotate: Option<Annotate>,
    /// From now on steps, verifications and health end like this.
    #[schemars(with = "Option<Value>")]
    pub script: Option<Script>,
    /// A FailurePolicy is put in place or changed, by name.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub policies: Option<BTreeMap<String, Value>>,
    /// Kargo's webhooks go down or come up.
    pub webhooks: Option<Switch>,
    /// Kargo's controllers stop or start.
    pub kargo: Option<Switch>,
    /// From now on Kargo looks at none of these Stages, however often it is woken; their Promotions run all the same.
    pub hangs: Option<Vec<String>>,
    /// The controller dies without a word, or starts again.
    pub refloat: Option<Switch>,
    /// What becomes of the next Promotion that the controller asks for.
    pub next_create: Option<Accident>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Accident {
    /// It never arrives.
    Lost,
    /// It is carried out, and its answer never arrives.
    AnswerLost,
    /// Its connection breaks at once, and it is carried out four seconds later all the same.
    StoredLate,
    /// It is carried out, answered, and carried out once more by something between client and server.
    Twice,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It works.
    Up,
    /// It does not.
    Down,
}

/// Somebody promotes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promote {
    /// To which Stage.
    pub stage: String,
    /// Which Freight.
    pub freight: String,
    /// Who.
    #[serde(default = "alice")]
    pub by: String,
}

/// Somebody aborts a Promotion that is not over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// Of which Stage.
    pub stage: String,
    /// The newest of them; otherwise the oldest, which is the one that runs.
    #[serde(default)]
    pub newest: bool,
    /// Who.
    #[serde(default = "alice")]
    pub by: String,
}

/// Somebody does something to a Stage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnStage {
    /// Which one.
    pub stage: String,
    /// Who.
    #[serde(default = "alice")]
    pub by: String,
}

/// Somebody changes annotations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotate {
    /// Of which Stage.
    pub stage: String,
    /// Which.
    pub annotations: BTreeMap<String, String>,
    /// Who.
    #[serde(default = "alice")]
    pub by: String,
}

fn alice() -> String {
    "alice".to_owned()
}

/// What must have come of it. What is not named is not compared.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expectations {
    /// The incidents, all of them, in the order in which they were opened.
    pub incidents: Option<Vec<ExpectedIncident>>,
    /// What Stages hold at the end.
    pub stages: BTreeMap<String, ExpectedStage>,
    /// Promotions that Refloat created.
    pub promotions_by_refloat: Option<usize>,
    /// Writes of Refloat on objects of Kargo, dry runs left out.
    pub writes_to_kargo: Option<usize>,
    /// Attempts that have several Promotions, by an accident of the scenario's own.
    pub doubles: usize,
    /// Texts that some message or Event of Refloat must contain.
    pub said: Vec<String>,
    /// Texts that none may contain.
    pub not_said: Vec<String>,
}

/// An incident as it must be at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExpectedIncident {
    /// Its Stage.
    pub stage: Option<String>,
    /// What set it off, such as `promotion-errored`.
    pub trigger: Option<String>,
    /// How it closed, such as `Recovered`, or `open`.
    pub resolution: Option<String>,
    /// The word more that its end has.
    pub reason: Option<String>,
    /// How many attempts it had.
    pub attempts: Option<usize>,
}

/// A Stage as it must be at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExpectedStage {
    /// Aliases of the Freight that it holds.
    pub holds: Option<Vec<String>>,
    /// How the newest verification of that ended.
    pub verification: Option<String>,
    /// Whether auto-promotion is on hold.
    pub on_hold: Option<bool>,
    /// How many Promotions it had since the beginning, whoever made them.
    pub promotions: Option<usize>,
}

/// Something in a scenario that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `timeline[2].promote.freight`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: help.into() }
    }
}

/// An error of several lines, of which the last says what is wrong.
fn one_line(error: &impl ToString) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim().to_owned()
}

impl Scenario {
    /// Aliases of all Freight that ever exists.
    pub fn freight(&self) -> FreightNames {
        let new = self.timeline.iter().filter_map(|moment| moment.freight.as_ref());
        FreightNames::of(self.world.freight.iter().chain(new).map(|piece| piece.name.as_str()))
    }

    /// How long it goes on at least, seconds.
    pub fn until_seconds(&self) -> Option<u32> {
        policy_core::time::parse_duration(self.until.as_deref()?)
    }

    /// What makes no sense in it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems_of_world();
        problems.extend(self.problems_of_policies());
        problems.extend(self.timeline.iter().enumerate().flat_map(|(n, moment)| self.problems_at(n, moment)));
        if let (Some(text), None) = (&self.until, self.until_seconds()) {
            problems.push(no_duration("until", text));
        }
        problems.extend(self.problems_of_script());
        for stage in self.expect.stages.keys() {
            problems.extend(self.unknown_stage(&format!("expect.stages.{stage}"), stage));
        }
        problems
    }

    fn problems_of_world(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for (n, stage) in self.world.stages.iter().enumerate() {
            let path = format!("world.stages[{n}]");
            for upstream in &stage.after {
                problems.extend(self.unknown_stage(&format!("{path}.after"), upstream));
            }
            for freight in &stage.holds {
                problems.extend(self.unknown_freight(&format!("{path}.holds"), freight));
            }
            if !seen.insert(&stage.name) {
                let message = format!("there are two Stages `{}`", stage.name);
                problems.push(Problem::new(format!("{path}.name"), message, "give one another name"));
            }
        }
        let pattern = self.world.control_plane.as_deref().map(ControlPlane::matching);
        if let Some(Err(error)) = pattern {
            let help = "write a regular expression, such as `^system:serviceaccount:kargo:`";
            problems.push(Problem::new("world.controlPlane", one_line(&error), help));
        }
        if self.world.stages.is_empty() {
            problems.push(Problem::new(
                "world.stages",
                "there is no Stage",
                "add one, such as `- name: prod`",
            ));
        }
        problems
    }

    fn problems_of_policies(&self) -> Vec<Problem> {
        let in_time =
            self.timeline.iter().enumerate().filter_map(|(n, moment)| {
                Some((format!("timeline[{n}].policies"), moment.policies.as_ref()?))
            });
        let all = std::iter::once(("policies".to_owned(), &self.policies)).chain(in_time);
        all.flat_map(|(path, policies)| {
            policies.iter().filter_map(move |(name, spec)| {
                // What changes in time is merged into what was there.
                let mut whole = self.policies.get(name).cloned().unwrap_or_default();
                kargo_model::merge::apply(&mut whole, spec);
                let error = serde_json::from_value::<PolicyBody>(body_of(&whole)).err()?;
                let help = "it is the `spec` of a FailurePolicy; `kubectl explain failurepolicy.spec` has its fields";
                Some(Problem::new(format!("{path}.{name}"), error.to_string(), help))
            })
        })
        .collect()
    }

    fn problems_at(&self, n: usize, moment: &Moment) -> Vec<Problem> {
        let path = format!("timeline[{n}]");
        let mut problems = Vec::new();
        if policy_core::time::parse_duration(&moment.at).is_none() {
            problems.push(no_duration(&format!("{path}.at"), &moment.at));
        }
        let n_acts = moment.n_acts();
        if n_acts != 1 {
            let message = format!("{n_acts} things happen at once here");
            let help = "give each moment exactly one of `freight`, `promote`, `abort` and so on";
            problems.push(Problem::new(path.clone(), message, help));
        }
        if let Some(promote) = &moment.promote {
            problems.extend(self.unknown_stage(&format!("{path}.promote.stage"), &promote.stage));
            problems.extend(self.unknown_freight(&format!("{path}.promote.freight"), &promote.freight));
        }
        let on_stage = [moment.abort_verification.as_ref(), moment.reverify.as_ref()];
        let annotated = moment.annotate.as_ref().map(|annotate| &annotate.stage);
        let aborted = moment.abort.as_ref().map(|abort| &abort.stage);
        let hanging = moment.hangs.iter().flatten();
        let named = on_stage.into_iter().flatten().map(|on| &on.stage);
        for stage in named.chain(annotated).chain(aborted).chain(hanging) {
            problems.extend(self.unknown_stage(&path, stage));
        }
        problems
    }

    fn problems_of_script(&self) -> Vec<Problem> {
        let promotions = self.script.promotions.iter().map(|rule| ("promotions", &rule.stage, &rule.freight));
        let runs = self.script.verifications.iter().map(|rule| ("verifications", &rule.stage, &rule.freight));
        let health = self.script.health.iter().map(|rule| ("health", &rule.stage, &rule.freight));
        let rules = promotions.chain(runs).chain(health);
        rules
            .flat_map(|(list, stage, freight)| {
                let path = format!("script.{list}");
                let stage = (!stage.is_empty()).then(|| self.unknown_stage(&path, stage)).flatten();
                let freight = (!freight.is_empty()).then(|| self.unknown_freight(&path, freight)).flatten();
                stage.into_iter().chain(freight)
            })
            .collect()
    }

    fn unknown_stage(&self, path: &str, stage: &str) -> Option<Problem> {
        let names: Vec<&str> = self.world.stages.iter().map(|stage| stage.name.as_str()).collect();
        let message = format!("there is no Stage `{stage}`");
        (!names.contains(&stage))
            .then(|| Problem::new(path, message, format!("there are: {}", names.join(", "))))
    }

    fn unknown_freight(&self, path: &str, freight: &str) -> Option<Problem> {
        let message = format!("there is no Freight `{freight}`");
        let help = "name it under `world.freight`, or let it appear in the timeline";
        (!self.freight().knows(freight)).then(|| Problem::new(path, message, help))
    }
}

impl Moment {
    fn n_acts(&self) -> usize {
        [
            self.freight.is_some(),
            self.promote.is_some(),
            self.abort.is_some(),
            self.abort_verification.is_some(),
            self.reverify.is_some(),
            self.annotate.is_some(),
            self.script.is_some(),
            self.policies.is_some(),
            self.webhooks.is_some(),
            self.kargo.is_some(),
            self.hangs.is_some(),
            self.refloat.is_some(),
            self.next_create.is_some(),
        ]
        .into_iter()
        .filter(|is_there| *is_there)
        .count()
    }
}

/// The part of a FailurePolicy's spec that a ClusterFailurePolicy's default has, too.
fn body_of(spec: &Value) -> Value {
    let mut body = spec.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("priority");
        fields.remove("stageSelector");
    }
    body
}

fn no_duration(path: &str, text: &str) -> Problem {
    Problem::new(path, format!("`{text}` is no duration"), "write it like `0s`, `90s` or `1h30m`")
}
