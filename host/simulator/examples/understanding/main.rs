//! `make bench`, the part of understanding: what it costs to see one failure in a Project of 500 Stages, to read it and
//! to assemble its context.
//!
//! In: the folder of captures. Out: one table on stdout. Measured is what the controller does between the API server's
//! answers and the first guest: snapshots out of its stores, one look, classification, the context. Beside it stands
//! plain deserialisation of the objects that are read live for the same failure, in turns with it. Nothing here asserts
//! anything but that every failure is found.

mod project;

// The other halves of these are used by the bench of decisions.
#[path = "../../../policy-engine/examples/bench/measure.rs"]
#[allow(dead_code, reason = "the bench of decisions measures more")]
mod measure;
#[path = "../../../policy-engine/examples/bench/table.rs"]
#[allow(dead_code, reason = "the bench of decisions has more kinds of rows")]
mod table;

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use policy_api::kargo::{self, convert};
use policy_controller::queue::StageKey;
use policy_controller::stores::Stores;
use policy_core::assemble::{self, World, cut};
use policy_core::classify::catalogue::Catalogue;
use policy_core::context::Context;
use policy_core::detect::{self, Run, Sight};
use policy_core::failure::Failure;
use policy_core::incident::IncidentState;
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_core::snapshot::{AnalysisRunSnapshot, PromotionSnapshot, StageSnapshot};
use policy_core::stage_memory::StageMemory;
use policy_core::time::Timestamp;
use serde_json::Value;

use self::measure::in_turns;
use self::project::{PROJECT, Project};
use self::table::Table;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// CPU per failure that is to be reached, microseconds.
const TARGET: f64 = 1_000.0;

/// One failing Stage as it was read live.
struct Scene {
    stage: StageSnapshot,
    promotions: Vec<PromotionSnapshot>,
    run: Option<AnalysisRunSnapshot>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [captures] = arguments.as_slice() else { return Err("usage: understanding CAPTURES".into()) };
    let project = Project::of(Path::new(captures))?;
    let (stores, scenes) = (Stores::default(), read(&project)?);
    fill(&stores, &project, &scenes)?;
    let mut sizes = Vec::new();
    for scene in &scenes {
        let context =
            understand(&stores, scene).ok_or_else(|| format!("`{}` does not fail", scene.stage.name))?;
        sizes.push(cut::size(&context));
    }
    sizes.sort_unstable();
    let mut table = Table::default();
    table.section(&format!("one failure in a Project of {}", project.summary()));
    let mut each = (0..scenes.len()).cycle();
    let mut same = (0..scenes.len()).cycle();
    let [understanding, plain] = in_turns([
        &mut || drop(black_box(each.next().and_then(|at| understand(&stores, scenes.get(at)?)))),
        &mut || drop(black_box(same.next().and_then(|at| plainly(project.live.get(at)?)))),
    ]);
    table.note("detect, classify, context, p50, µs", understanding.p50);
    table.row("detect, classify, context, p99", "µs", understanding.p99, TARGET);
    table.note("plain deserialisation, p50, µs", plain.p50);
    table.row("understanding p50 / plain p50", "", understanding.p50 / plain.p50, 1.0);
    let [decoding, plain] = in_turns([
        &mut || drop(black_box(each.next().and_then(|at| scene(project.live.get(at)?).ok()))),
        &mut || drop(black_box(same.next().and_then(|at| plainly(project.live.get(at)?)))),
    ]);
    table.note("decoding into snapshots, p50, µs", decoding.p50);
    table.row("decoding p50 / plain p50", "", decoding.p50 / plain.p50, 1.5);
    let largest = sizes.last().copied().unwrap_or_default();
    table.row("largest context", "KiB", f64::from(u32::try_from(largest)?) / 1_024.0, 64.0);
    write!(std::io::stdout().lock(), "\n{table}")?;
    Ok(())
}

fn read(project: &Project) -> Outcome<Vec<Scene>> {
    project.live.iter().map(|live| Ok(scene(live)?)).collect()
}

/// What is read live, into snapshots.
fn scene(live: &project::Live) -> Result<Scene, convert::ConvertError> {
    let reading = convert::Reading::default();
    let promotion = |bytes: &Vec<u8>| convert::promotion(&kargo::from_slice(bytes)?, &reading);
    Ok(Scene {
        stage: convert::stage(&kargo::from_slice(&live.stage)?)?,
        promotions: live.promotions.iter().map(promotion).collect::<Result<_, _>>()?,
        run: live.run.as_ref().map(|run| convert::analysis_run(&kargo::from_slice(run)?)).transpose()?,
    })
}

/// The same objects, into values that mean nothing.
fn plainly(live: &project::Live) -> Option<Vec<Value>> {
    let all = live.promotions.iter().chain([&live.stage]).chain(&live.run);
    all.map(|bytes| serde_json::from_slice(bytes).ok()).collect()
}

/// The stores as the watches have filled them.
fn fill(stores: &Stores, project: &Project, scenes: &[Scene]) -> Outcome<()> {
    let name = policy_core::name::ProjectName::from(PROJECT);
    let metadata = serde_json::from_value(serde_json::json!({ "name": PROJECT }))?;
    let snapshot = convert::project(&metadata, None)?;
    let freight = project.freight.iter().map(|bytes| convert::freight(&kargo::from_slice(bytes)?));
    let freight = freight.collect::<Result<Vec<_>, convert::ConvertError>>()?;
    stores.change(|known| {
        known.projects.insert(name.clone(), snapshot);
        known.freight.insert(name.clone(), freight.into());
        for scene in scenes {
            let key = StageKey { project: name.clone(), stage: scene.stage.name.clone() };
            known.stages.insert(key, Arc::new(scene.stage.clone()));
        }
    });
    Ok(())
}

/// Everything between what the API server answered and what the first guest is given.
fn understand(stores: &Stores, scene: &Scene) -> Option<Context> {
    let Scene { stage, promotions, run } = scene;
    let project = stores.project(&stage.project)?;
    let freight = stores.freight(&stage.project);
    let mut neighbours = stores.stages_of(&stage.project);
    neighbours.retain(|other| assemble::is_neighbour(stage, other));
    let rules = Rules::default();
    let memory = StageMemory::default().after_look(stage, promotions, &[], NOW);
    let sight = Sight {
        now: NOW,
        deadlines: &rules.deadlines,
        project: &project,
        stage,
        promotions,
        freight: &freight,
        memory: &memory,
        run: Run::Read(run.as_ref()),
    };
    let found = detect::look(&sight);
    let failure = newest(&found.failures)?;
    let incident = IncidentState::open("prod-1".into(), failure.clone(), NOW);
    Some(assemble::context(&World {
        now: NOW,
        catalogue: Catalogue::built_in(),
        seed: assemble::seed(&incident),
        failure,
        project: &project,
        stage,
        promotions,
        freight: &freight,
        neighbours: &neighbours,
        fleet: None,
        analysis_run: run.as_ref(),
        applications: &[],
        remembered: memory.good.as_ref(),
        incident: &incident,
        rules: &rules,
        settings: &Settings::default(),
        state: None,
        deliveries: &[],
    }))
}

/// The time of the look: after every capture.
const NOW: Timestamp = Timestamp(1_795_600_000);

fn newest(failures: &[Failure]) -> Option<&Failure> {
    failures.iter().max_by(|one, two| (one.at, &one.id).cmp(&(two.at, &two.id)))
}
