//! The model of Kargo against what a running Kargo did: each story under `tests/cases/model/stories` plays a capture
//! through the model and compares what an outside observer sees, each refusal of `f/responses.json` is asked for.
//! Names, ids and times are replaced by their order of appearance on both sides, so that identity still counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use kargo_model::cluster::Refused;
use kargo_model::object::{at, name, put, remove, text};
use kargo_model::world::Templates;
use kargo_model::{Cluster, Kind, ObjectKey, Script};
use serde::Deserialize;
use serde_json::{Map, Value, json};

type Outcome = anyhow::Result<()>;

const KARGO: &str = "kargo.akuity.io/v1alpha1";

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/model")
}

fn capture(file: &str) -> anyhow::Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/kargo-1.11.2").join(file);
    read(&path)
}

fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&text);
    parsed.map_err(|error| anyhow::anyhow!("cannot understand `{}`: {error}", path.display()))
}

/// One story: where it starts, what happens, what shows afterwards.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Story {
    /// The captured Stage that it starts with.
    stage: String,
    /// Whether that Stage comes with its status.
    #[serde(default)]
    status: Status,
    #[serde(default)]
    auto_promotion: bool,
    /// How many pieces of Freight of `freight.yaml` exist, by the beginning of their names.
    freight: Vec<String>,
    /// Captured Promotions that exist already.
    #[serde(default)]
    promotions: Vec<String>,
    #[serde(default)]
    script: Script,
    play: Vec<Act>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    /// A new Stage.
    #[default]
    Dropped,
    /// A Stage that has seen things.
    Kept,
}

/// One thing that happens; the controllers run to their rest after each.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Act {
    Promote(Promote),
    /// Annotates the Promotion with that number, counted from 1 in the order of this story.
    AnnotatePromotion {
        number: usize,
        by: String,
        key: String,
        value: String,
    },
    AnnotateStage {
        by: String,
        key: String,
        value: String,
    },
    Script(Script),
    Expect(Expect),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Promote {
    by: String,
    #[serde(default)]
    freight: String,
    /// A Warehouse, to promote by origin.
    #[serde(default)]
    origin: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Further fields of the metadata or spec that the webhook has to overwrite.
    #[serde(default)]
    extra: Map<String, Value>,
}

/// What the captures show at this point.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    /// The answer to the newest POST.
    #[serde(default)]
    response: Option<String>,
    /// The newest Promotion, or with several documents the newest ones.
    #[serde(default)]
    promotions: Option<String>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    analysis_runs: Option<String>,
    /// One piece of Freight, as far as it speaks of this Stage.
    #[serde(default)]
    freight: Option<String>,
}

struct Player {
    cluster: Cluster,
    stage: ObjectKey,
    freight: Vec<Value>,
    created: Vec<Value>,
}

impl Player {
    fn start(story: &Story) -> anyhow::Result<Self> {
        let mut stage = capture(&story.stage)?.remove(0);
        if matches!(story.status, Status::Dropped) {
            remove(&mut stage, &["status"]);
            remove(&mut stage, &["metadata", "annotations"]);
        }
        let key = ObjectKey::of(&stage).context("the story starts with a Stage")?;
        let mut cluster = Cluster::new("2026-11-23T06:30:00Z".parse()?, 1);
        cluster.world.templates = Templates::Assumed;
        cluster.script = story.script.clone();
        let labels = json!({"kargo.akuity.io/project": "true"});
        cluster
            .world
            .put(json!({"kind": "Namespace", "metadata": {"name": key.namespace, "labels": labels}}));
        for warehouse in ["web", "config"] {
            let metadata = json!({"name": warehouse, "namespace": key.namespace});
            cluster.world.put(json!({"apiVersion": KARGO, "kind": "Warehouse", "metadata": metadata}));
        }
        let policy = json!({"stage": key.name, "autoPromotionEnabled": story.auto_promotion});
        cluster.world.put(json!({"apiVersion": KARGO, "kind": "ProjectConfig",
            "metadata": {"name": key.namespace, "namespace": key.namespace},
            "spec": {"promotionPolicies": [policy]}}));
        for file in &story.promotions {
            capture(file)?.into_iter().for_each(|promotion| cluster.world.put(promotion));
        }
        cluster.world.put(stage);
        let freight = read(&cases().join("freight.yaml"))?.remove(0);
        let freight = freight.as_array().context("`freight.yaml` is a list")?.clone();
        let mut player = Self { cluster, stage: key, freight, created: Vec::new() };
        for wanted in &story.freight {
            let mut freight = player.freight_named(wanted)?;
            put(&mut freight, &["metadata", "namespace"], json!(player.stage.namespace));
            player.cluster.world.put(freight);
        }
        player.cluster.settle()?;
        Ok(player)
    }

    fn freight_named(&self, wanted: &str) -> anyhow::Result<Value> {
        let found = self.freight.iter().find(|freight| name(freight).starts_with(wanted)).cloned();
        found.with_context(|| format!("`freight.yaml` has no Freight `{wanted}`"))
    }

    fn act(&mut self, act: &Act) -> Outcome {
        match act {
            Act::Promote(promote) => {
                let promotion = self.promotion(promote)?;
                self.created.push(self.cluster.create(&promote.by, promotion)?);
            }
            Act::AnnotatePromotion { number, by, key, value } => {
                let promotion = self.created.get(number - 1).context("no Promotion of that number")?;
                let promotion = ObjectKey::of(promotion).context("a Promotion")?;
                self.cluster.patch(by, &promotion, &json!({"metadata": {"annotations": {key: value}}}))?;
            }
            Act::AnnotateStage { by, key, value } => {
                let patch = json!({"metadata": {"annotations": {key: value}}});
                self.cluster.patch(by, &self.stage.clone(), &patch)?;
            }
            Act::Script(script) => self.cluster.script = script.clone(),
            Act::Expect(expect) => return self.expect(expect),
        }
        self.cluster.settle()?;
        Ok(())
    }

    fn promotion(&self, promote: &Promote) -> anyhow::Result<Value> {
        let mut promotion = json!({"apiVersion": KARGO, "kind": "Promotion",
            "metadata": {"namespace": self.stage.namespace, "generateName": "promo-"},
            "spec": {"stage": self.stage.name}});
        match promote.origin.as_str() {
            "" => {
                let freight = self.freight_named(&promote.freight)?;
                put(&mut promotion, &["spec", "freight"], json!(name(&freight)));
            }
            origin => put(&mut promotion, &["spec", "origin"], json!({"kind": "Warehouse", "name": origin})),
        }
        for (field, values) in [("annotations", &promote.annotations), ("labels", &promote.labels)] {
            if !values.is_empty() {
                put(&mut promotion, &["metadata", field], json!(values));
            }
        }
        kargo_model::merge::apply(&mut promotion, &Value::Object(promote.extra.clone()));
        Ok(promotion)
    }

    fn expect(&self, expect: &Expect) -> Outcome {
        let mut pairs: Vec<(String, Value, Value)> = Vec::new();
        if let Some(file) = &expect.response {
            let answer = self.created.last().context("nothing was created")?;
            pairs.push((file.clone(), capture(file)?.remove(0), answer.clone()));
        }
        if let Some(file) = &expect.promotions {
            let wanted = capture(file)?;
            let all: Vec<&Value> =
                self.cluster.world.promotions_of(&self.stage.namespace, &self.stage.name).collect();
            let newest = all.iter().skip(all.len().saturating_sub(wanted.len()));
            ensure!(all.len() >= wanted.len(), "expected {} Promotions, have {}", wanted.len(), all.len());
            pairs
                .extend(wanted.into_iter().zip(newest).map(|(old, new)| (file.clone(), old, (*new).clone())));
        }
        if let Some(file) = &expect.stage {
            let mut stage = self.cluster.world.find(&self.stage).context("the Stage is gone")?.clone();
            let mut wanted = capture(file)?.remove(0);
            // Whether it is there depends on which of two controllers was faster: `a/queued` has it, `c/hold-aborted` has not.
            for one in [&mut stage, &mut wanted] {
                remove(one, &["status", "currentPromotion", "freight"]);
            }
            pairs.push((file.clone(), wanted, stage));
        }
        if let Some(file) = &expect.analysis_runs {
            let (wanted, have) = (capture(file)?, self.analysis_runs());
            ensure!(
                wanted.len() == have.len(),
                "expected {} AnalysisRuns, have {}",
                wanted.len(),
                have.len()
            );
            let compared = wanted.into_iter().zip(have);
            pairs.extend(compared.map(|(old, new)| (file.clone(), judged(&old), judged(&new))));
        }
        if let Some(file) = &expect.freight {
            let wanted = capture(file)?.remove(0);
            let have = self.cluster.world.get(Kind::Freight, &self.stage.namespace, name(&wanted));
            let have = have.context("the Freight is gone")?;
            let view = |freight: &Value| here(freight, &self.stage.name);
            pairs.push((file.clone(), view(&wanted), view(have)));
        }
        compare(&pairs)
    }

    fn analysis_runs(&self) -> Vec<Value> {
        self.cluster.world.list(Kind::AnalysisRun, &self.stage.namespace).cloned().collect()
    }
}

/// What of an AnalysisRun follows from Kargo and the script; measurements are Argo Rollouts' own.
fn judged(run: &Value) -> Value {
    let of = |path: &[&str]| at(run, path).cloned().unwrap_or_default();
    json!({"metadata": of(&["metadata"]), "args": of(&["spec", "args"]), "terminate": of(&["spec", "terminate"]),
        "phase": of(&["status", "phase"]), "message": of(&["status", "message"])})
}

/// What Freight says about one Stage.
fn here(freight: &Value, stage: &str) -> Value {
    let of = |map: &str| at(freight, &["status", map, stage]).cloned().unwrap_or_default();
    json!({"currentlyIn": of("currentlyIn"), "verifiedIn": of("verifiedIn")})
}

/// Compares all pairs with one numbering of names and ids per side.
fn compare(pairs: &[(String, Value, Value)]) -> Outcome {
    let (mut theirs, mut ours) = (Numbering::default(), Numbering::default());
    for (file, expected, actual) in pairs {
        let expected = serde_json::to_string_pretty(&theirs.value(expected))?;
        let actual = serde_json::to_string_pretty(&ours.value(actual))?;
        let diff = similar::TextDiff::from_lines(&expected, &actual);
        let diff = diff.unified_diff().context_radius(4).header("a running Kargo", "the model").to_string();
        ensure!(expected == actual, "the model differs from `{file}`:\n{diff}");
    }
    Ok(())
}

/// Replaces what differs from run to run by its order of appearance.
#[derive(Default)]
struct Numbering {
    seen: Vec<String>,
}

impl Numbering {
    fn value(&mut self, value: &Value) -> Value {
        /// Set by the API server or by nobody that the model plays.
        const DROPPED: [&str; 7] = [
            "uid",
            "resourceVersion",
            "finalizers",
            "generation",
            "creationTimestamp",
            "managedFields",
            "namespace",
        ];
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                let mut keys: Vec<&String> =
                    map.keys().filter(|key| !DROPPED.contains(&key.as_str())).collect();
                keys.sort();
                let fields = keys.into_iter().map(|key| (key.clone(), self.value(&map[key])));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text.parse::<jiff::Timestamp>().is_ok() {
            return "TIME".to_owned();
        }
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let mut numbered = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(1);
            // A character that is no part may take several bytes.
            let end = (end..=rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
            let (part, tail) = rest.split_at(end);
            numbered.push_str(&self.part(part));
            rest = tail;
        }
        numbered
    }

    fn part(&mut self, part: &str) -> String {
        let ulid = part.len() == 26 && part.starts_with("01") && !part.contains('-');
        let uuid = part.len() == 36 && part.matches('-').count() == 4;
        let generated = part.len() == 7 && part.starts_with("p-");
        if !(ulid || uuid || generated) {
            return part.to_owned();
        }
        let number = self.seen.iter().position(|seen| seen == part).unwrap_or_else(|| {
            self.seen.push(part.to_owned());
            self.seen.len() - 1
        });
        format!("ID{number}")
    }
}

#[test]
fn stories_show_what_a_running_kargo_showed() -> Outcome {
    let mut failures = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(cases().join("stories"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in &files {
        if let Err(error) = play(file) {
            failures.push(format!("{}: {error:#}", file.display()));
        }
    }
    ensure!(files.len() >= 10, "only {} stories were found", files.len());
    ensure!(
        failures.is_empty(),
        "{} of {} stories differ\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
    Ok(())
}

fn play(file: &Path) -> Outcome {
    let story: Story = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| anyhow::anyhow!("cannot understand it: {error}"))?;
    ensure!(story.play.iter().any(|act| matches!(act, Act::Expect(_))), "the story expects nothing");
    let mut player = Player::start(&story)?;
    for (number, act) in story.play.iter().enumerate() {
        player.act(act).with_context(|| format!("act {}", number + 1))?;
    }
    Ok(())
}

/// The requests of `f/responses.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Requests {
    objects: Vec<Value>,
    requests: BTreeMap<String, Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    by: String,
    action: Action,
    #[serde(default)]
    without_promote: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    stage_deleted: bool,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Action {
    Create,
    /// Patches the spec, or a label when there is none, of a Promotion that exists.
    Patch,
    Delete,
}

#[test]
fn refusals_read_as_a_running_kargo_wrote_them() -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/kargo-1.11.2/f/responses.json");
    let captured: BTreeMap<String, Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let requests: Requests =
        serde_saphyr::from_str(&std::fs::read_to_string(cases().join("responses.yaml"))?)
            .map_err(|error| anyhow::anyhow!("cannot understand `responses.yaml`: {error}"))?;
    for (case, request) in &requests.requests {
        let expected = captured.get(case).with_context(|| format!("no response `{case}` was captured"))?;
        let (code, body) = ask(&requests.objects, request).with_context(|| case.clone())?;
        ensure!(
            json!(code) == expected["httpStatus"],
            "{case}: {code} instead of {}",
            expected["httpStatus"]
        );
        compare(&[(format!("f/responses.json {case}"), expected["body"].clone(), body)])?;
    }
    Ok(())
}

fn ask(objects: &[Value], request: &Request) -> anyhow::Result<(u16, Value)> {
    let mut cluster = Cluster::new("2026-11-23T06:31:45Z".parse()?, 2);
    objects.iter().cloned().for_each(|object| cluster.world.put(object));
    let namespace = request.namespace.as_deref().unwrap_or("shop-access");
    let promotion = json!({"apiVersion": KARGO, "kind": "Promotion",
        "metadata": {"namespace": namespace, "generateName": "p-"}, "spec": request.spec});
    let mut existing = promotion.clone();
    put(
        &mut existing,
        &["spec"],
        json!({"stage": "open", "freight": "bf95772b8c1b188c8e4b98a22366778f5be78404"}),
    );
    let key = match request.action {
        Action::Create => None,
        Action::Patch | Action::Delete => {
            ObjectKey::of(&cluster.create("system:serviceaccount:refloat-system:refloat", existing)?)
        }
    };
    if request.without_promote {
        cluster.without_promote.insert(request.by.clone());
    }
    if request.stage_deleted {
        cluster.world.remove(&ObjectKey::new(Kind::Stage, namespace, "open"));
    }
    let result = match (&request.action, key) {
        (Action::Create, _) if request.dry_run => cluster.dry_run(&request.by, promotion),
        (Action::Create, _) => cluster.create(&request.by, promotion),
        (Action::Patch, Some(key)) => {
            let patch = match request.spec.is_null() {
                true => json!({"metadata": {"labels": {"changed": "yes"}}}),
                false => json!({"spec": request.spec}),
            };
            cluster.patch(&request.by, &key, &patch)
        }
        (Action::Delete, Some(key)) => cluster.delete(&request.by, &key).map(|()| Value::Null),
        (Action::Patch | Action::Delete, None) => anyhow::bail!("the Promotion was not created"),
    };
    Ok(match result {
        Ok(created) => {
            let annotations = at(&created, &["metadata", "annotations"]);
            (201, json!({"created": text(&created, &["metadata", "name"]), "annotations": annotations}))
        }
        Err(Refused::Status(status)) => (code_of(&status)?, status),
        Err(other) => return Err(other.into()),
    })
}

fn code_of(status: &Value) -> anyhow::Result<u16> {
    Ok(u16::try_from(at(status, &["code"]).and_then(Value::as_u64).unwrap_or_default())?)
}
