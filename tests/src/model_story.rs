//! The form of a story: a captured scenario as a YAML file under `tests/cases/model`. In go its fields, out come typed acts
//! and expectations for `model_player`. It must not play anything.

use std::collections::BTreeMap;

use kargo_model::admission::Freeze;
use kargo_model::{Flaws, Script};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One story: where it starts, what happens, what shows afterwards.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Story {
    /// The captured Stages that it starts with; acts are about the first one. A captured Promotion stands for a Stage
    /// with its steps, a watch log for the first Stage in it.
    pub(crate) stages: Vec<String>,
    /// What is different about the first Stage, and about the second.
    #[serde(default)]
    pub(crate) patch_first: Value,
    #[serde(default)]
    pub(crate) patch_other: Value,
    /// Whether they come with their status.
    #[serde(default)]
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) auto_promotion: bool,
    /// How many pieces of Freight of `freight.yaml` exist, by the beginning of their names.
    pub(crate) freight: Vec<String>,
    /// Captured Promotions that exist already.
    #[serde(default)]
    pub(crate) promotions: Vec<String>,
    /// Further objects in the Project.
    #[serde(default)]
    pub(crate) objects: Vec<Value>,
    #[serde(default)]
    pub(crate) templates: WantedTemplates,
    #[serde(default)]
    pub(crate) flaws: Flaws,
    #[serde(default)]
    pub(crate) script: Script,
    pub(crate) play: Vec<Act>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Status {
    /// A new Stage.
    #[default]
    Dropped,
    /// A Stage that has seen things.
    Kept,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WantedTemplates {
    #[default]
    Assumed,
    Required,
}

/// One thing that happens; the controllers run to their rest after each.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Act {
    /// Posts a Promotion; a refusal ends the story unless it is expected next.
    Promote(Promote),
    /// Annotates the Promotion with that number, counted from 1 in the order of this story.
    AnnotatePromotion {
        number: usize,
        by: String,
        key: String,
        value: String,
    },
    /// Annotates the Stage; `VERIFICATION` stands for the id of its newest verification.
    AnnotateStage {
        by: String,
        key: String,
        value: String,
    },
    PatchStage(Value),
    PatchStageStatus(Value),
    /// Patches the status of Freight, by the beginning of its name.
    PatchFreightStatus(String, Value),
    /// Deletes Freight, by the beginning of its name; a refusal has to be expected next.
    DeleteFreight(String),
    /// Deletes the Promotion with that number, counted from 1 in the order of this story.
    DeletePromotion(usize),
    /// New Freight appears.
    Freight(String),
    /// Time goes by, as Go writes durations.
    Advance(String),
    /// Kargo's garbage collector runs; so many objects go.
    CollectGarbage(usize),
    AutoPromotion(bool),
    Controllers(Controllers),
    Webhooks(WebhookServer),
    Freeze(Vec<Freeze>),
    WithoutPromote(String),
    Script(Script),
    Expect(Expect),
    /// What shows at this point, where no capture does.
    Shows(Vec<Fact>),
    /// How long the controllers rest now if nothing else happens, as Go writes durations; `forever`.
    Rests(String),
}

/// One field of one object; the first Stage unless it says otherwise.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fact {
    /// The Promotion with that number, counted from 1 by name over all that there are of the first Stage.
    pub(crate) promotion: Option<usize>,
    /// Freight, by the beginning of its name.
    pub(crate) freight: Option<String>,
    /// A JSON pointer.
    pub(crate) at: String,
    /// What is there; null for nothing.
    pub(crate) is: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Controllers {
    Stop,
    Start,
    /// As after the loss of the controller's disk.
    StartWithoutWorkDirectories,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WebhookServer {
    Up,
    Down,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Promote {
    pub(crate) by: String,
    #[serde(default)]
    pub(crate) freight: String,
    /// A Warehouse, to promote by origin.
    #[serde(default)]
    pub(crate) origin: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Further fields of the metadata or spec that the webhook has to overwrite.
    #[serde(default)]
    pub(crate) extra: Map<String, Value>,
    /// The name, when it is created by server-side apply.
    #[serde(default)]
    pub(crate) applied: Option<String>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What the captures show at this point.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expect {
    /// The answer to the newest POST.
    #[serde(default)]
    pub(crate) response: Option<String>,
    /// The refusal of the newest request: a file of refusals and its entry.
    #[serde(default)]
    pub(crate) refusal: Option<(String, String)>,
    /// The end of the message of a refusal that no capture has.
    #[serde(default)]
    pub(crate) refused_with: Option<String>,
    /// The newest Promotion, or with several documents the newest ones.
    #[serde(default)]
    pub(crate) promotions: Option<String>,
    #[serde(default)]
    pub(crate) stage: Option<String>,
    /// The second Stage.
    #[serde(default)]
    pub(crate) other_stage: Option<String>,
    #[serde(default)]
    pub(crate) analysis_runs: Option<String>,
    /// One piece of Freight, as far as it speaks of this Stage.
    #[serde(default)]
    pub(crate) freight: Option<String>,
    /// Everything that a watch showed since the story began.
    #[serde(default)]
    pub(crate) watch: Option<String>,
}
