//! Kargo objects that are not as they should be: never a panic, never a decision on what could not be read, and its place
//! is named.
//!
//! In: captured scenes with one or more random changes. Out: nothing, or the smallest change that breaks a promise. Named
//! mistakes have cases under `tests/cases/read/`; `make fuzz` goes on where this ends.

use std::sync::{Arc, LazyLock};

use policy_api::kargo;
use policy_api::kargo::convert::{self, Reading};
use policy_core::assemble::{self, World, cut};
use policy_core::deadlines::Deadlines;
use policy_core::detect::{self, Run, Sight};
use policy_core::incident::IncidentState;
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_core::snapshot::{AnalysisRunSnapshot, ProjectFreight, PromotionSnapshot, StageSnapshot};
use policy_core::stage_memory::StageMemory;
use policy_core::time::Timestamp;
use policy_tests::captured;
use policy_tests::core_case::read_object;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

/// A day after the captures.
const NOW: Timestamp = Timestamp(1_795_500_000);

/// Scenes of a running Kargo: everything that a Stage's failure is read from.
static SCENES: LazyLock<Vec<Vec<Value>>> = LazyLock::new(|| {
    let folders = [
        "a/retry-threshold-3",
        "a/abort-running",
        "a/hint-compose-output",
        "a/task-steps",
        "c/hold-after-failed",
        "e/failed",
        "e/error",
        "e/inconclusive",
        "e/abort",
        "i/inheritance-from-failed",
    ];
    let scene = |folder: &&str| {
        let mut files: Vec<_> = std::fs::read_dir(captured::scenarios().join(folder))
            .expect("as the captures have it")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        files.iter().flat_map(|file| captured::documents(file).expect("as the captures have it")).collect()
    };
    folders.iter().map(scene).collect()
});

/// Maps of Kargo's, whose keys are data and no fields.
const MAPS: [&str; 10] = [
    "labels",
    "annotations",
    "items",
    "verifiedIn",
    "currentlyIn",
    "approvedFor",
    "autoPromotionHolds",
    "effectiveAutoPromotionHolds",
    "matchLabels",
    "state",
];

/// What a field may be instead.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[\\x00-\\x1f\\u{202e}a-z]{1,20}".prop_map(Value::from),
        Just(json!("x".repeat(1 << 20))),
        Just(json!("step \"a\": ".repeat(100_000))),
        Just(json!("9999-12-31T23:59:59Z")),
        Just(json!("2106-01-01T00:00:00Z")),
        Just(json!([])),
        Just(json!({ "a": [1, { "b": null }] })),
    ]
}

/// One change of a scene.
#[derive(Clone, Debug)]
enum Change {
    Replace(prop::sample::Index, Value),
    Remove(prop::sample::Index),
    Add(prop::sample::Index, Value),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), anything()).prop_map(|(at, value)| Change::Replace(at, value)),
        any::<prop::sample::Index>().prop_map(Change::Remove),
        (any::<prop::sample::Index>(), anything()).prop_map(|(at, value)| Change::Add(at, value)),
    ]
}

fn scene() -> impl Strategy<Value = Vec<Value>> {
    (0..SCENES.len()).prop_map(|at| SCENES[at].clone())
}

/// JSON Pointers to everything, the objects themselves left out.
fn pointers(objects: &Value) -> Vec<String> {
    let mut pointers = policy_tests::captured::pointers(objects);
    pointers.retain(|at| at.matches('/').count() > 1);
    pointers
}

fn apply(objects: Vec<Value>, change: &Change) -> Vec<Value> {
    let mut objects = Value::from(objects);
    let pointers = pointers(&objects);
    let place = |at: &prop::sample::Index| pointers[at.index(pointers.len())].as_str();
    match change {
        Change::Replace(at, value) => {
            *objects.pointer_mut(place(at)).expect("as the captures have it") = value.clone()
        }
        Change::Add(at, value) => {
            let target = objects.pointer_mut(place(at)).expect("as the captures have it");
            if let Value::Object(fields) = target {
                fields.insert("addedByANewerKargo".to_owned(), value.clone());
            }
        }
        Change::Remove(at) => {
            let (parent, key) = place(at).rsplit_once('/').expect("as the captures have it");
            match objects.pointer_mut(parent).expect("as the captures have it") {
                Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Array(list) => drop(list.remove(key.parse().expect("as the captures have it"))),
                other => panic!("{other} has no `{key}`"),
            }
        }
    }
    let Value::Array(objects) = objects else { unreachable!("a scene is a list") };
    objects
}

/// What could not be read is named by object and path, on one short line that moves no cursor.
fn is_named(object: &Value, error: &convert::ConvertError) -> TestCaseResult {
    use convert::ConvertError::{Decode, Missing, UnknownWord};
    let (named, path) = match error {
        Decode { object, path, .. } | UnknownWord { object, path, .. } => (object.clone(), path.clone()),
        Missing { object, path } => (object.clone(), (*path).to_owned()),
    };
    prop_assert!(!path.is_empty(), "{error}");
    if let Some(kind) = object["kind"].as_str() {
        prop_assert!(
            named.starts_with(kind) || kind.len() > 100 || kind.contains(char::is_control),
            "`{named}` for a {kind}"
        );
    }
    let line = error.to_string();
    prop_assert!(line.len() < 1_500 && !line.contains(char::is_control), "{} bytes: {line:?}", line.len());
    Ok(())
}

#[derive(Default)]
struct Scene {
    stages: Vec<StageSnapshot>,
    promotions: Vec<PromotionSnapshot>,
    freight: ProjectFreight,
    runs: Vec<AnalysisRunSnapshot>,
}

impl Scene {
    fn add(&mut self, object: &Value) -> Result<(), convert::ConvertError> {
        match object["kind"].as_str().unwrap_or_default() {
            "Promotion" => {
                self.promotions.push(convert::promotion(&kargo::from_value(object)?, &Reading::default())?);
            }
            "Stage" => self.stages.push(convert::stage(&kargo::from_value(object)?)?),
            "Freight" => self.freight.insert(convert::freight(&kargo::from_value(object)?)?),
            "AnalysisRun" => self.runs.push(convert::analysis_run(&kargo::from_value(object)?)?),
            _ => {}
        }
        Ok(())
    }

    /// Looks at each Stage and assembles a context of everything that is found.
    fn handle(&self) -> TestCaseResult {
        for stage in &self.stages {
            let namespace =
                serde_json::from_value(json!({ "name": stage.project })).expect("as the captures have it");
            let project = convert::project(&namespace, None).expect("as the captures have it");
            let memory = StageMemory::default().after_look(stage, &self.promotions, &[], NOW);
            let rules = Rules::default();
            let deadlines = Deadlines::default();
            let run = self.runs.first();
            let found = detect::look(&Sight {
                now: NOW,
                deadlines: &deadlines,
                project: &project,
                stage,
                promotions: &self.promotions,
                freight: &self.freight,
                memory: &memory,
                run: Run::Read(run),
            });
            for failure in &found.failures {
                prop_assert!(failure.summary.len() <= 300);
                let incident = IncidentState::open("prod-1".into(), failure.clone(), NOW);
                let context = assemble::context(&World {
                    catalogue: policy_core::classify::catalogue::Catalogue::built_in(),
                    now: NOW,
                    seed: assemble::seed(&incident),
                    failure,
                    project: &project,
                    stage,
                    promotions: &self.promotions,
                    freight: &self.freight,
                    neighbours: &self.stages.iter().cloned().map(Arc::new).collect::<Vec<_>>(),
                    fleet: None,
                    analysis_run: run,
                    applications: &[],
                    remembered: None,
                    incident: &incident,
                    rules: &rules,
                    settings: &Settings::default(),
                    state: None,
                    deliveries: &[],
                });
                prop_assert!(cut::size(&context) <= 64 * 1024, "{} bytes", cut::size(&context));
                let text = serde_json::to_string(&context).expect("as the captures have it");
                prop_assert!(
                    !text.contains("\\u001b") && !text.contains('\u{202e}'),
                    "a control character got through"
                );
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_object_says_it_is_read_or_named(mut objects in scene(), changes in proptest::collection::vec(change(), 1..4)) {
        for change in &changes {
            objects = apply(objects, change);
        }
        let mut scene = Scene::default();
        for object in &objects {
            if let Err(error) = scene.add(object) {
                is_named(object, &error)?;
            }
        }
        scene.handle()?;
    }

    /// An object is never read as something else because a newer Kargo says more.
    #[test]
    fn newer_fields_change_nothing(objects in scene(), at in any::<prop::sample::Index>(), value in anything()) {
        let all = pointers(&Value::from(objects.clone()));
        let place = all[at.index(all.len())].rsplit('/').next().unwrap_or_default();
        prop_assume!(!MAPS.contains(&place));
        let more = apply(objects.clone(), &Change::Add(at, value));
        for (before, after) in objects.iter().zip(&more) {
            let (before, after) = (read_object(before).expect("as the captures have it"), read_object(after).expect("as the captures have it"));
            // Steps and variables are compared by digests, which have to change with them; labels, outputs and the
            // keys of maps are data.
            prop_assert_eq!(comparable(before), comparable(after));
        }
    }

    /// What is refused is the field that is wrong, not another one.
    #[test]
    fn the_field_that_is_wrong_is_named(objects in scene(), at in any::<prop::sample::Index>()) {
        let all = Value::from(objects.clone());
        let pointers = pointers(&all);
        let pointer = &pointers[at.index(pointers.len())];
        // No field of Kargo's that is read is a float.
        let changed = apply(objects, &Change::Replace(at, json!(0.5)));
        for object in &changed {
            if let Err(convert::ConvertError::Decode { path, .. }) = read_object(object) {
                let wanted: Vec<String> = pointer.split('/').skip(2).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
                let wanted = wanted.join(".");
                let path = path.replace('[', ".").replace(']', "");
                prop_assert!(wanted == path || wanted.starts_with(&format!("{path}.")), "`{path}` is named for `{wanted}`");
            }
        }
    }
}

/// Without what is meant to change when anything does.
fn comparable(mut snapshot: Value) -> Value {
    if let Some(fields) = snapshot.as_object_mut() {
        for key in [
            "templateHash",
            "template",
            "vars",
            "labels",
            "collection",
            "verifiedIn",
            "currentlyIn",
            "approvedFor",
            "holds",
        ] {
            fields.remove(key);
        }
    }
    for step in snapshot.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
        step.as_object_mut().expect("as the captures have it").remove("digest");
        step.as_object_mut().expect("as the captures have it").remove("output");
    }
    for entry in snapshot.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
        entry.as_object_mut().expect("as the captures have it").remove("items");
    }
    snapshot
}
