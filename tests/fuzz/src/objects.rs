//! Kargo objects of any shape, through decoding, conversion, detection, settling, targeting and assembly.
//!
//! In: an even byte and then JSON or YAML, or an odd byte and then changes to a captured scene: which, and for each
//! change where, what to, and how much of the rest belongs to it. Holds: what cannot be read is named by object and path,
//! nothing panics, a look says the same twice, and every context fits into its size.

use std::sync::{Arc, LazyLock};

use policy_api::kargo::convert::{self, ConvertError, Reading};
use policy_api::kargo::{self, ProjectConfig};
use policy_core::assemble::{self, World, cut};
use policy_core::classify::catalogue::Catalogue;
use policy_core::deadlines::Deadlines;
use policy_core::detect::{self, Run, Sight};
use policy_core::failure::Failure;
use policy_core::incident::IncidentState;
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_core::snapshot::{
    AnalysisRunSnapshot, ProjectFreight, ProjectSnapshot, PromotionSnapshot, StageSnapshot,
};
use policy_core::stage_memory::StageMemory;
use policy_core::time::Timestamp;
use policy_core::{settle, target};
use serde_json::{Value, json};

/// When everything is looked at: a day after the captures were made.
const NOW: Timestamp = Timestamp(1_795_500_000);

/// What was captured, one scene per folder.
static SCENES: LazyLock<Vec<Vec<Value>>> =
    LazyLock::new(|| crate::seeds::scenes("tests/data/captures/kargo-1.11.2"));

/// Objects that could be read, and what else belongs to them.
#[derive(Default)]
struct Scene {
    config: Option<ProjectConfig>,
    stages: Vec<StageSnapshot>,
    promotions: Vec<PromotionSnapshot>,
    freight: ProjectFreight,
    runs: Vec<AnalysisRunSnapshot>,
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let (by, rest) = crate::choice(input);
    let objects = if by % 2 == 0 { given(rest) } else { changed(rest) };
    let mut scene = Scene::default();
    for object in &objects {
        if let Err(error) = scene.add(object) {
            named(&error);
        }
    }
    for stage in &scene.stages {
        scene.handle(stage);
    }
}

fn given(text: &[u8]) -> Vec<Value> {
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Array(all)) => all,
        Ok(one) => vec![one],
        Err(_) => std::str::from_utf8(text).map(crate::seeds::parsed).unwrap_or_default(),
    }
}

/// A captured scene with changes.
fn changed(program: &[u8]) -> Vec<Value> {
    let (scene, mut rest) = crate::choice(program);
    let mut objects = Value::Array(SCENES[scene % SCENES.len()].clone());
    while let [high, low, what, length, tail @ ..] = rest {
        let (text, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let mut places = Vec::new();
        pointers(&objects, String::new(), &mut places);
        let place = &places[(usize::from(*high) << 8 | usize::from(*low)) % places.len()];
        if let Some(old) = objects.pointer_mut(place) {
            *old = replacement(*what, &String::from_utf8_lossy(text), old);
        }
    }
    match objects {
        Value::Array(all) => all,
        other => vec![other],
    }
}

fn replacement(what: u8, text: &str, old: &Value) -> Value {
    match what % 16 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1.5e300),
        5 => json!(""),
        6 => json!([]),
        7 => json!({}),
        8 => json!("9999-12-31T23:59:59Z"),
        9 => json!("2106-02-07T06:28:15Z"),
        10 => json!("x".repeat(100_000)),
        11 => json!(format!("\u{1b}[31m\u{202e}\0{text}")),
        12 => json!([old, old]),
        13 => json!({ text: old }),
        14 => json!("[kargo-hint ".repeat(1_000)),
        _ => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.push(at);
}

/// What could not be read is named by object and path, on one line.
fn named(error: &ConvertError) {
    let (object, path) = match error {
        ConvertError::Decode { object, path, .. } | ConvertError::UnknownWord { object, path, .. } => {
            (object.as_str(), path.as_str())
        }
        ConvertError::Missing { object, path } => (object.as_str(), *path),
    };
    assert!(!object.is_empty() && !path.is_empty(), "{error:?} names nothing");
    let line = error.to_string();
    assert!(line.len() <= 2_000, "{} bytes about one object", line.len());
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

impl Scene {
    fn add(&mut self, object: &Value) -> Result<(), ConvertError> {
        let capture = vec!["render".to_owned()];
        let reading = Reading { capture: &capture, ..Reading::default() };
        match object.get("kind").and_then(Value::as_str).unwrap_or_default() {
            "Promotion" => self.promotions.push(convert::promotion(&kargo::from_value(object)?, &reading)?),
            "Stage" => self.stages.push(convert::stage(&kargo::from_value(object)?)?),
            "Freight" => self.freight.insert(convert::freight(&kargo::from_value(object)?)?),
            "AnalysisRun" => self.runs.push(convert::analysis_run(&kargo::from_value(object)?)?),
            "ProjectConfig" => self.config = Some(kargo::from_value(object)?),
            _ => {}
        }
        Ok(())
    }

    /// Everything that is done with a Stage before a policy is asked.
    fn handle(&self, stage: &StageSnapshot) {
        let namespace = serde_json::from_value(json!({ "name": stage.project })).expect("metadata");
        let project = convert::project(&namespace, self.config.as_ref()).expect("a namespace with a name");
        let memory = StageMemory::default().after_look(stage, &self.promotions, &[], NOW);
        let deadlines = Deadlines::default();
        let verification = stage.history.first().and_then(|current| current.verifications.first());
        let wanted = verification.and_then(|one| one.analysis_run.as_deref());
        let run = wanted.and_then(|name| self.runs.iter().find(|run| run.name == name));
        let sight = Sight {
            now: NOW,
            deadlines: &deadlines,
            project: &project,
            stage,
            promotions: &self.promotions,
            freight: &self.freight,
            memory: &memory,
            run: Run::Read(run),
        };
        let found = detect::look(&sight);
        assert_eq!(detect::look(&sight), found, "a second look finds something else");
        let _ = target::effective_holds(stage, &self.promotions);
        let _ = target::candidates(stage, &self.freight, NOW);
        for failure in found.failures.iter().take(6) {
            assert!(failure.summary.len() <= 300, "{} bytes of summary", failure.summary.len());
            crate::assert_clean(&failure.summary);
            let _ = settle::settle(failure, stage, &self.promotions);
            self.assemble(stage, &project, &memory, run, failure);
        }
    }

    fn assemble(
        &self,
        stage: &StageSnapshot,
        project: &ProjectSnapshot,
        memory: &StageMemory,
        run: Option<&AnalysisRunSnapshot>,
        failure: &Failure,
    ) {
        let incident = IncidentState::open("prod-1".into(), failure.clone(), NOW);
        let (rules, settings) = (Rules::default(), Settings::default());
        let context = assemble::context(&World {
            catalogue: Catalogue::built_in(),
            now: NOW,
            seed: assemble::seed(&incident),
            failure,
            project,
            stage,
            promotions: &self.promotions,
            freight: &self.freight,
            neighbours: &self.stages.iter().cloned().map(Arc::new).collect::<Vec<_>>(),
            fleet: None,
            analysis_run: run,
            applications: &[],
            remembered: memory.good.as_ref(),
            incident: &incident,
            rules: &rules,
            settings: &settings,
            state: None,
            deliveries: &[],
        });
        let (size, cap) = (cut::size(&context), rules.context_bytes as usize);
        assert!(size <= cap, "a context of {size} bytes, {cap} are allowed");
    }
}

/// Every captured scene: as JSON, some as YAML, and with nothing changed yet.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        (0..SCENES.len()).filter_map(|at| Some(vec![1, u8::try_from(at).ok()?])).collect();
    for (at, scene) in SCENES.iter().enumerate() {
        seeds.push(format!("0{}", Value::from(scene.clone())).into_bytes());
        // Changes of every sort, spread over the scene.
        let Ok(scene) = u8::try_from(at) else { continue };
        for what in 0..16_u8 {
            seeds.push(vec![1, scene, what, what.wrapping_mul(31).wrapping_add(scene), what, 0]);
        }
    }
    for text in crate::seeds::files("tests/data/captures/kargo-1.11.2/setup", "yaml") {
        seeds.push(format!("0{text}").into_bytes());
    }
    seeds
}
