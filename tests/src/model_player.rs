//! Tells a story to the model of Kargo. In: a story's file, which says where it starts, what happens and which captured
//! files show it then. Out: the files on which model and running Kargo agree, or their difference. It must not know any
//! rule of Kargo.

use std::path::Path;

use anyhow::{Context as _, ensure};
use kargo_model::cluster::{Refused, Webhooks};
use kargo_model::object::{at, name, put, remove, text};
use kargo_model::world::Templates;
use kargo_model::{Cluster, Kind, ObjectKey, WorkDirs};
use serde_json::{Value, json};

use crate::captured::{self, Pair, capture, compare};
use crate::model_story::{
    Act, Controllers, Expect, Fact, Promote, Status, Story, WantedTemplates, WebhookServer,
};
use crate::model_watch;

const KARGO: &str = "kargo.akuity.io/v1alpha1";

/// Tells the story in `file`, and returns the captured files on which both agree.
///
/// # Errors
/// The first difference, with the act that it shows after.
pub fn tell(file: &Path) -> anyhow::Result<Vec<String>> {
    let story: Story = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| anyhow::anyhow!("cannot understand it: {error}"))?;
    let mut player = Player::start(&story)?;
    for (number, act) in story.play.iter().enumerate() {
        player.act(act).with_context(|| format!("act {}", number + 1))?;
    }
    ensure!(player.refusal.is_none(), "a request was refused and nobody expected it: {:?}", player.refusal);
    ensure!(!player.agreed.is_empty(), "the story compares nothing");
    Ok(player.agreed)
}

struct Player {
    cluster: Cluster,
    stages: Vec<ObjectKey>,
    created: Vec<Value>,
    refusal: Option<Value>,
    agreed: Vec<String>,
    /// Changes before the story.
    before: usize,
}

impl Player {
    fn start(story: &Story) -> anyhow::Result<Self> {
        let mut stages: Vec<Value> =
            story.stages.iter().map(|file| stage_of(file, &story.status)).collect::<Result<_, _>>()?;
        for (stage, patch) in stages.iter_mut().zip([&story.patch_first, &story.patch_other]) {
            if !patch.is_null() {
                kargo_model::merge::apply(stage, patch);
            }
        }
        let keys: Vec<ObjectKey> = stages.iter().filter_map(ObjectKey::of).collect();
        let project = keys.first().context("a story has a Stage")?.namespace.clone();
        let mut cluster = Cluster::new("2026-11-23T06:30:00Z".parse()?, 1);
        cluster.world.templates = match story.templates {
            WantedTemplates::Assumed => Templates::Assumed,
            WantedTemplates::Required => Templates::Required,
        };
        cluster.world.flaws = story.flaws;
        cluster.script = story.script.clone();
        let mut player =
            Self { cluster, stages: keys, created: Vec::new(), refusal: None, agreed: Vec::new(), before: 0 };
        player.furnish(story, &project)?;
        for stage in stages {
            player.cluster.world.put(stage);
        }
        for wanted in &story.freight {
            player.put_freight(wanted)?;
        }
        player.cluster.settle()?;
        player.before = player.cluster.changes.len();
        Ok(player)
    }

    fn furnish(&mut self, story: &Story, project: &str) -> anyhow::Result<()> {
        let world = &mut self.cluster.world;
        let labels = json!({"kargo.akuity.io/project": "true"});
        world.put(json!({"kind": "Namespace", "metadata": {"name": project, "labels": labels}}));
        for warehouse in ["web", "config"] {
            let metadata = json!({"name": warehouse, "namespace": project});
            let repository = json!({"repoURL": format!("registry.example.com/shop/{warehouse}")});
            world.put(json!({"apiVersion": KARGO, "kind": "Warehouse", "metadata": metadata,
                "spec": {"subscriptions": [{"image": repository}]}}));
        }
        for object in &story.objects {
            let mut object = object.clone();
            put(&mut object, &["metadata", "namespace"], json!(project));
            world.put(object);
        }
        for file in &story.promotions {
            capture(file)?.into_iter().for_each(|promotion| world.put(promotion));
        }
        self.policy(story.auto_promotion);
        Ok(())
    }

    fn stage(&self) -> ObjectKey {
        self.stages[0].clone()
    }

    fn policy(&mut self, enabled: bool) {
        let policies: Vec<Value> = self
            .stages
            .iter()
            .map(|stage| json!({"stage": stage.name, "autoPromotionEnabled": enabled}))
            .collect();
        let project = self.stage().namespace;
        self.cluster.world.put(json!({"apiVersion": KARGO, "kind": "ProjectConfig",
            "metadata": {"name": project, "namespace": project},
            "spec": {"promotionPolicies": policies}}));
    }

    fn put_freight(&mut self, wanted: &str) -> anyhow::Result<()> {
        let mut freight = captured::freight(wanted)?;
        put(&mut freight, &["metadata", "namespace"], json!(self.stage().namespace));
        self.cluster.create("alice@example.com", freight)?;
        Ok(())
    }

    fn act(&mut self, act: &Act) -> anyhow::Result<()> {
        match act {
            Act::Expect(expect) => return self.expect(expect),
            Act::Shows(facts) => return facts.iter().try_for_each(|fact| self.shows(fact)),
            Act::Rests(long) => return self.rests(long),
            _ => {}
        }
        ensure!(self.refusal.is_none(), "a request was refused before: {:?}", self.refusal);
        match act {
            Act::Promote(promote) => self.promote(promote)?,
            Act::AnnotatePromotion { number, by, key, value } => {
                let promotion = self.created.get(number - 1).context("no Promotion of that number")?;
                let promotion = ObjectKey::of(promotion).context("a Promotion")?;
                self.annotate(by, &promotion, key, value)?;
            }
            Act::AnnotateStage { by, key, value } => {
                let value = value.replace("VERIFICATION", &self.verification());
                self.annotate(by, &self.stage(), key, &value)?;
            }
            Act::PatchStage(patch) => {
                self.cluster.patch("alice@example.com", &self.stage(), patch)?;
            }
            Act::PatchStageStatus(patch) => {
                self.cluster.patch_status(&self.stage(), patch)?;
            }
            Act::PatchFreightStatus(wanted, patch) => {
                let freight = captured::freight(wanted)?;
                let key = ObjectKey::new(Kind::Freight, &self.stage().namespace, name(&freight));
                let patched = self.cluster.patch_status(&key, patch);
                self.answered(patched)?;
            }
            Act::DeleteFreight(wanted) => {
                let freight = captured::freight(wanted)?;
                let key = ObjectKey::new(Kind::Freight, &self.stage().namespace, name(&freight));
                let deleted = self.cluster.delete("alice@example.com", &key);
                self.answered(deleted.map(|()| Value::Null))?;
            }
            Act::DeletePromotion(number) => {
                let promotion = self.created.get(number - 1).context("no Promotion of that number")?;
                let key = ObjectKey::of(promotion).context("a Promotion")?;
                self.cluster.delete("alice@example.com", &key)?;
            }
            around => self.around(around)?,
        }
        Ok(self.cluster.settle()?)
    }

    /// What happens around the Stage, rather than to it.
    fn around(&mut self, act: &Act) -> anyhow::Result<()> {
        match act {
            Act::Freight(wanted) => self.put_freight(wanted)?,
            Act::Advance(by) => {
                let by = kargo_model::time::parse_duration(by).context("a duration")?;
                self.cluster.advance(by)?;
            }
            Act::CollectGarbage(expected) => {
                let gone = self.cluster.collect_garbage(&self.stage().namespace)?;
                ensure!(gone.len() == *expected, "{} objects went: {gone:?}", gone.len());
            }
            Act::AutoPromotion(enabled) => self.policy(*enabled),
            Act::Controllers(Controllers::Stop) => self.cluster.stop_controllers(),
            Act::Controllers(Controllers::Start) => self.cluster.start_controllers(WorkDirs::Kept),
            Act::Controllers(Controllers::StartWithoutWorkDirectories) => {
                self.cluster.start_controllers(WorkDirs::Lost);
            }
            Act::Webhooks(WebhookServer::Up) => self.cluster.webhooks = Webhooks::Up,
            Act::Webhooks(WebhookServer::Down) => self.cluster.webhooks = Webhooks::Down,
            Act::Freeze(freezes) => self.cluster.freezes = freezes.clone(),
            Act::WithoutPromote(user) => {
                self.cluster.without_promote.insert(user.clone());
            }
            Act::Script(script) => self.cluster.script = script.clone(),
            _ => {}
        }
        Ok(())
    }

    fn shows(&mut self, fact: &Fact) -> anyhow::Result<()> {
        let (world, stage) = (&self.cluster.world, self.stage());
        let object = match (&fact.freight, fact.promotion) {
            (Some(freight), _) => {
                world.list(Kind::Freight, &stage.namespace).find(|one| name(one).starts_with(freight))
            }
            (None, Some(number)) => {
                let mut all: Vec<&Value> = world.promotions_of(&stage.namespace, &stage.name).collect();
                all.sort_by_key(|one| name(one));
                all.get(number - 1).copied()
            }
            (None, None) => world.find(&stage),
        };
        let have = object.and_then(|object| object.pointer(&fact.at)).unwrap_or(&Value::Null);
        ensure!(*have == fact.is, "`{}` is {have}, not {}", fact.at, fact.is);
        self.agreed.push(format!("{} = {}", fact.at, fact.is));
        Ok(())
    }

    fn rests(&mut self, long: &str) -> anyhow::Result<()> {
        let rest = self.cluster.next_wake().map(|wake| wake.duration_since(self.cluster.world.now));
        let rest = rest.map_or("forever".to_owned(), kargo_model::time::format_duration);
        ensure!(rest == long, "the controllers rest for {rest}, not {long}");
        self.agreed.push(format!("rests {long}"));
        Ok(())
    }

    fn annotate(&mut self, by: &str, key: &ObjectKey, annotation: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        let patched = self.cluster.patch(by, key, &patch);
        self.answered(patched).map(drop)
    }

    /// Keeps a refusal for the expectation that has to follow.
    fn answered(&mut self, answer: Result<Value, Refused>) -> anyhow::Result<Option<Value>> {
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(Refused::Status(status)) => {
                self.refusal = Some(status);
                Ok(None)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The id of the Stage's newest verification.
    fn verification(&self) -> String {
        let stage = self.cluster.world.find(&self.stage());
        let id = stage.and_then(|stage| stage.pointer("/status/freightHistory/0/verificationHistory/0/id"));
        id.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn promote(&mut self, promote: &Promote) -> anyhow::Result<()> {
        let promotion = self.promotion(promote)?;
        let answer = match &promote.applied {
            Some(requested) => self.cluster.apply(&promote.by, requested, promotion),
            None if promote.dry_run => self.cluster.dry_run(&promote.by, promotion),
            None => self.cluster.create(&promote.by, promotion),
        };
        if let Some(created) = self.answered(answer)? {
            self.created.push(created);
        }
        Ok(())
    }

    fn promotion(&self, promote: &Promote) -> anyhow::Result<Value> {
        let stage = self.stage();
        let mut promotion = json!({"apiVersion": KARGO, "kind": "Promotion",
            "metadata": {"namespace": stage.namespace, "generateName": "promo-"},
            "spec": {"stage": stage.name}});
        match promote.origin.as_str() {
            "" => {
                let freight = captured::freight(&promote.freight)?;
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

    fn expect(&mut self, expect: &Expect) -> anyhow::Result<()> {
        let mut pairs: Vec<Pair> = Vec::new();
        let pair = |file: &str, captured, model| Pair { file: file.to_owned(), captured, model };
        if let Some(file) = &expect.response {
            let answer = self.created.last().context("nothing was created")?;
            pairs.push(pair(file, capture(file)?.remove(0), answer.clone()));
        }
        if let Some((file, entry)) = &expect.refusal {
            let refusal = self.refusal.take().context("nothing was refused")?;
            let wanted = capture(file)?.remove(0)[entry]["body"].clone();
            pairs.push(pair(file, wanted, refusal));
        }
        if let Some(end) = &expect.refused_with {
            let refusal = self.refusal.take().context("nothing was refused")?;
            ensure!(text(&refusal, &["message"]).ends_with(end), "refused with {refusal}");
            self.agreed.push(end.clone());
        }
        if let Some(file) = &expect.promotions {
            pairs.extend(self.promotions(file)?);
        }
        for (file, key) in [(&expect.stage, self.stages.first()), (&expect.other_stage, self.stages.get(1))] {
            if let (Some(file), Some(key)) = (file, key) {
                let mut stage = self.cluster.world.find(key).context("the Stage is gone")?.clone();
                let mut wanted = capture(file)?.remove(0);
                // Whether it is there depends on which of two controllers was faster: `a/queued` has it, `c/hold-aborted` has not.
                for one in [&mut stage, &mut wanted] {
                    remove(one, &["status", "currentPromotion", "freight"]);
                }
                pairs.push(pair(file, wanted, stage));
            }
        }
        if let Some(file) = &expect.analysis_runs {
            pairs.extend(self.analysis_runs(file)?);
        }
        if let Some(file) = &expect.freight {
            let wanted = capture(file)?.remove(0);
            let have = self.cluster.world.get(Kind::Freight, &self.stage().namespace, name(&wanted));
            let have = have.context("the Freight is gone")?;
            let view = |freight: &Value| here(freight, &self.stage().name);
            pairs.push(pair(file, view(&wanted), view(have)));
        }
        if let Some(file) = &expect.watch {
            let changes = self.cluster.changes.get(self.before..).unwrap_or_default();
            pairs.extend(model_watch::pairs(file, changes)?);
        }
        compare(&pairs)?;
        self.agreed.extend(pairs.into_iter().map(|pair| pair.file));
        Ok(())
    }

    fn promotions(&self, file: &str) -> anyhow::Result<Vec<Pair>> {
        let wanted = capture(file)?;
        let stage = text(wanted.first().context("no Promotions")?, &["spec", "stage"]).to_owned();
        let project = &self.stages[0].namespace;
        let mut all: Vec<&Value> = self.cluster.world.promotions_of(project, &stage).collect();
        all.sort_by_key(|one| name(one));
        ensure!(all.len() >= wanted.len(), "expected {} Promotions, have {}", wanted.len(), all.len());
        let newest = all.iter().skip(all.len().saturating_sub(wanted.len()));
        let pairs = wanted.into_iter().zip(newest);
        Ok(pairs
            .map(|(old, new)| Pair { file: file.to_owned(), captured: old, model: (*new).clone() })
            .collect())
    }

    fn analysis_runs(&self, file: &str) -> anyhow::Result<Vec<Pair>> {
        let wanted = capture(file)?;
        let project = &self.stages[0].namespace;
        let have: Vec<&Value> = self.cluster.world.list(Kind::AnalysisRun, project).collect();
        ensure!(wanted.len() == have.len(), "expected {} AnalysisRuns, have {}", wanted.len(), have.len());
        let pairs = wanted.into_iter().zip(have);
        Ok(pairs
            .map(|(old, new)| Pair { file: file.to_owned(), captured: judged(&old), model: judged(new) })
            .collect())
    }
}

/// A Stage as a capture shows it, or as a captured Promotion lets one guess it.
fn stage_of(file: &str, status: &Status) -> anyhow::Result<Value> {
    let first = capture(file)?;
    let is_stage = |object: &&Value| text(object, &["kind"]) == "Stage";
    let events: Vec<Value> = first.iter().filter_map(|event| event.get("object").cloned()).collect();
    let objects = if events.is_empty() { first } else { events };
    let mut stage = match (objects.iter().find(is_stage), objects.first()) {
        (Some(stage), _) => stage.clone(),
        (None, Some(promotion)) => stage_with_steps_of(promotion),
        (None, None) => anyhow::bail!("`{file}` is empty"),
    };
    if matches!(status, Status::Dropped) {
        remove(&mut stage, &["status"]);
        remove(&mut stage, &["metadata", "annotations"]);
        put(&mut stage, &["metadata", "generation"], json!(1));
    }
    Ok(stage)
}

fn stage_with_steps_of(promotion: &Value) -> Value {
    let of = |path: &[&str]| at(promotion, path).cloned().unwrap_or_default();
    json!({"apiVersion": KARGO, "kind": "Stage",
    "metadata": {"name": of(&["spec", "stage"]), "namespace": of(&["metadata", "namespace"]), "generation": 1},
    "spec": {
        "requestedFreight": [{"origin": {"kind": "Warehouse", "name": "web"}, "sources": {"direct": true}}],
        "promotionTemplate": {"spec": {"steps": of(&["spec", "steps"])}},
    }})
}

/// What of an AnalysisRun follows from Kargo and the script.
fn judged(run: &Value) -> Value {
    let of = |path: &[&str]| at(run, path).cloned().unwrap_or_default();
    json!({"metadata": of(&["metadata"]), "args": of(&["spec", "args"]), "terminate": of(&["spec", "terminate"]),
        "status": of(&["status"])})
}

/// What Freight says about one Stage.
fn here(freight: &Value, stage: &str) -> Value {
    let of = |map: &str| at(freight, &["status", map, stage]).cloned().unwrap_or_default();
    json!({"currentlyIn": of("currentlyIn"), "verifiedIn": of("verifiedIn")})
}
