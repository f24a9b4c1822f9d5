//! What a scenario file may say.
//!
//! In: a YAML document, read by the caller. Out: a [`Scenario`]. It says what is there, how steps and verifications end,
//! what people do and when, and what is expected. What of it makes no sense is the business of [`crate::problem`].
//! Nothing here runs anything.

use std::collections::BTreeMap;

use kargo_model::Script;
use policy_api::crd::FailurePolicySpec;
use policy_core::classify::catalogue::{BadRules, Catalogue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    #[schemars(with = "BTreeMap<String, FailurePolicySpec>")]
    pub policies: BTreeMap<String, Value>,
    /// Components that policies name as ClusterPolicyModules: `builtin:NAME`, `example:NAME`, or a path beside this file.
    #[serde(default)]
    pub modules: BTreeMap<String, String>,
    /// The platform's own rules for what failures mean, as the text of a file that `refloat classify --rules` takes.
    #[serde(default)]
    pub rules: Option<String>,
    /// Replicas of the controller. One leads, the others wait until it is gone.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u32,
    /// How steps, verifications and health end; Freight is named by its alias. What it does not name succeeds.
    #[serde(default)]
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

fn one() -> u32 {
    1
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
    /// Whether Kargo promotes only what the Stage before it holds right now, and not its newest.
    #[serde(default)]
    pub match_upstream: bool,
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
    pub script: Option<Script>,
    /// A FailurePolicy is put in place or changed, by name: what is given is merged into what there is.
    pub policies: Option<BTreeMap<String, Value>>,
    /// Kargo's webhooks go down or come up.
    pub webhooks: Option<Switch>,
    /// Kargo's controllers stop or start.
    pub kargo: Option<Switch>,
    /// From now on Kargo looks at none of these Stages, however often it is woken; their Promotions run all the same.
    pub hangs: Option<Vec<String>>,
    /// The controller dies without a word, all replicas of it, or starts again.
    pub refloat: Option<Switch>,
    /// Something happens to the replica that leads.
    pub leader: Option<LeaderFate>,
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

/// What happens to the replica that leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaderFate {
    /// It dies without a word.
    Dies,
    /// It dies as soon as it has claimed an attempt, right before it sends the Promotion.
    DiesWithClaim,
    /// It dies right after it has sent a Promotion, before it knows the answer.
    DiesAfterCreate,
    /// None of its requests arrives any more; watches that are open go on.
    CutOff,
    /// Whoever was cut off can be reached again.
    Back,
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
    /// Names of FailurePolicies that the controller must not accept. All others must be accepted, or nothing is played.
    pub not_accepted: Vec<String>,
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

impl Scenario {
    /// All Freight that ever exists, that of the beginning first.
    pub fn pieces(&self) -> impl Iterator<Item = &FreightSpec> {
        self.world.freight.iter().chain(self.timeline.iter().filter_map(|moment| moment.freight.as_ref()))
    }

    /// The Warehouse of a piece of Freight.
    pub fn warehouse_of<'a>(&'a self, piece: &'a FreightSpec) -> &'a str {
        let first = self.world.warehouses.first().map(String::as_str);
        piece.warehouse.as_deref().or(first).unwrap_or("web")
    }

    /// What failures mean in it.
    ///
    /// # Errors
    /// What is wrong with its rules, with its line of them.
    pub fn catalogue(&self) -> Result<Catalogue, BadRules> {
        let built_in = Catalogue::built_in();
        self.rules.as_ref().map_or_else(|| Ok(built_in.clone()), |rules| built_in.with(rules))
    }

    /// How long it goes on at least, seconds.
    pub fn until_seconds(&self) -> Option<u32> {
        policy_core::time::parse_duration(self.until.as_deref()?)
    }

    /// The JSON Schema of scenario files.
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl StageSpec {
    /// The Warehouses whose Freight it wants.
    pub fn wants<'a>(&'a self, world: &'a WorldSpec) -> &'a [String] {
        if self.warehouses.is_empty() { &world.warehouses } else { &self.warehouses }
    }
}

impl Moment {
    /// When, seconds after the beginning.
    pub fn seconds(&self) -> u32 {
        policy_core::time::parse_duration(&self.at).unwrap_or_default()
    }

    /// How many things happen in it.
    pub(crate) fn n_acts(&self) -> usize {
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
            self.leader.is_some(),
            self.next_create.is_some(),
        ]
        .into_iter()
        .filter(|is_there| *is_there)
        .count()
    }
}
