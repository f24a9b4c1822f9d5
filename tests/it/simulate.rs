//! Scenarios: each comes out as it expects, and a run is a function of scenario and seed, in one process and in two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use policy_engine::{Compiler, Engine, Limits};
use policy_tests::apiserver;
use policy_tests::cli::repository;
use policy_tests::real_ground::RealStage;
use serde_json::Value;
use simulator::scenario::Accident;
use simulator::{Played, Scenario, Setup};

type Outcome = anyhow::Result<()>;

/// The user that the controller is.
const CONTROLLER: &str = "system:serviceaccount:refloat-system:refloat";
/// Seeds that are played twice.
const SEEDS: u64 = 200;

pub(crate) fn scenarios() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["host/refloat/demo/scenarios", "tests/scenarios"] {
        for entry in std::fs::read_dir(repository().join(folder)).context(folder)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "there are no scenarios");
    Ok(files)
}

pub(crate) fn read(file: &Path) -> anyhow::Result<Scenario> {
    let scenario: Scenario = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| anyhow::anyhow!("cannot understand `{}`: {error}", file.display()))?;
    let problems = scenario.problems();
    ensure!(problems.is_empty(), "`{}`: {problems:#?}", file.display());
    Ok(scenario)
}

pub(crate) fn engine() -> anyhow::Result<Arc<Engine>> {
    let compiler = Compiler::new(policy_tests::stage_play::refloat()?, ["compile-component".to_owned()]);
    let cache = std::env::current_exe()?.with_file_name("test-component-cache");
    Ok(Arc::new(Engine::new(&Limits::default(), &compiler, &cache)?))
}

pub(crate) fn components(scenario: &Scenario) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    Ok(simulator::components(scenario, Path::new(""))?)
}

pub(crate) fn play(scenario: &Scenario, seed: u64, engine: &Arc<Engine>) -> anyhow::Result<Played> {
    let components = components(scenario)?;
    Ok(simulator::play(&Setup { scenario, seed, engine: Arc::clone(engine), components })?)
}

fn as_expected(file: &Path, played: &Played) -> Outcome {
    let (differences, timeline) = (&played.differences, &played.timeline);
    ensure!(differences.is_empty(), "`{}`: {differences:#?}\n{timeline:#?}", file.display());
    Ok(())
}

#[test]
fn scenarios_come_out_as_they_expect() -> Outcome {
    let engine = engine()?;
    for file in scenarios()? {
        as_expected(&file, &play(&read(&file)?, 0, &engine)?)?;
    }
    Ok(())
}

/// Two hours with one failure in them, ten minutes after the beginning.
const QUIET: &str = r#"
title: Ten minutes of nothing, a push race, and nothing again
world:
  stages: [{name: prod, holds: [v1]}]
  freight: [{name: v1}, {name: v2}]
policies:
  default: {chain: [{name: retry, builtin: retry-transient, settings: {base: 10s, jitter: none}}]}
script:
  promotions:
  - {stage: prod, freight: v2, attempts: {upTo: 1}, steps: {push: {error: "error pushing changes to remote: dial tcp 192.0.2.7:443: connect: connection refused"}}}
timeline: [{at: 10m, promote: {stage: prod, freight: v2}}]
until: 2h
"#;

/// What a controller asks for when nothing happens is what thousands of Stages cost a cluster.
#[test]
fn a_quiet_controller_asks_for_little() -> Outcome {
    let scenario: Scenario = serde_saphyr::from_str(QUIET)?;
    let requests = play(&scenario, 0, &engine()?)?.requests;
    requests.verb("create").resource("decisionrecords").expect(1)?;
    // At the first sweep, at the one after the record was written, and an hour after that.
    requests.verb("list").resource("decisionrecords").expect(3)?;
    // Three rights, each quarter of an hour and for the decision and its delivery.
    let asked = requests.resource("subjectaccessreviews").by_user(CONTROLLER).len();
    ensure!((24..=36).contains(&asked), "rights were asked for {asked} times");
    let renewed = requests.verb("update").resource("leases").len();
    ensure!((700..=720).contains(&renewed), "the Lease was renewed {renewed} times");
    Ok(())
}

/// For two hours an incident waits and nothing else happens. One look every 30 s would be 240 of them.
#[test]
fn an_incident_that_waits_is_looked_at_less_and_less() -> Outcome {
    let scenario = read(&repository().join("tests/scenarios/kargo-hangs.yaml"))?;
    let requests = play(&scenario, 0, &engine()?)?.requests;
    let looks = requests.verb("get").resource("stages").by_user(CONTROLLER).len();
    ensure!((20..=120).contains(&looks), "the Stage was read {looks} times");
    Ok(())
}

/// What seeds have found once, and how many of them look for it again: a double that opened several incidents, webhooks
/// that were up, failures of an outage that were forgotten, endings that became decisions.
const FOUND: [&str; 5] =
    ["created-twice", "webhooks-down-long", "downtime", "policy-replaced", "retry-due-while-down"];
const FINDERS: u64 = 45;

#[test]
fn what_seeds_have_found_does_not_come_back() -> Outcome {
    let engine = engine()?;
    for name in FOUND {
        let scenario = read(&repository().join(format!("tests/scenarios/{name}.yaml")))?;
        for seed in 1..=FINDERS {
            let played = play(&scenario, seed, &engine)?;
            let differences = &played.differences;
            ensure!(differences.is_empty(), "seed {seed} of `{name}` differs: {differences:?}");
        }
    }
    Ok(())
}

/// The Promotion ends while Kargo's webhooks are down, so that Kargo cannot say where the Freight is.
const WHILE_DOWN: &str = "
title: Webhooks stay away
world: {stages: [{name: test, verification: true, holds: [v1]}], freight: [{name: v1}, {name: v2}]}
script: {promotions: [{freight: v2, steps: {push: {after: {takes: 3m, then: {succeed: {}}}}}}]}
timeline: [{at: 0s, promote: {stage: test, freight: v2}}, {at: 1m, webhooks: down}]
until: 20m
";

/// Ever longer pauses: 13 tries in the first 15 s (`kargo-live` 7), and then five more in a quarter of an hour.
#[test]
fn kargo_tries_again_with_growing_pauses() -> Outcome {
    let scenario: Scenario = serde_saphyr::from_str(WHILE_DOWN)?;
    let requests = play(&scenario, 0, &engine()?)?.requests;
    let failed = requests.resource("freights").filter(|request| request.code == 500).len();
    ensure!((15..=20).contains(&failed), "Kargo tried {failed} times");
    Ok(())
}

/// Those whose story is about what a real API server decides: admission, schemas, guarded updates, rights. Writes are
/// counted from its audit log.
const ON_A_REAL_SERVER: [&str; 11] = [
    "host/refloat/demo/scenarios/push-race.yaml",
    "host/refloat/demo/scenarios/bad-freight.yaml",
    "host/refloat/demo/scenarios/exhausted.yaml",
    "host/refloat/demo/scenarios/person.yaml",
    "tests/scenarios/controller-dies.yaml",
    "tests/scenarios/first-freight-fails.yaml",
    "tests/scenarios/gate-says-no.yaml",
    "tests/scenarios/missing-promote.yaml",
    "tests/scenarios/observe.yaml",
    "tests/scenarios/pipeline.yaml",
    "tests/scenarios/webhooks-down.yaml",
];

/// The same files, the same expectations, on etcd and kube-apiserver with Kargo's own CRDs.
#[tokio::test]
async fn scenarios_come_out_the_same_on_a_real_api_server() -> Outcome {
    let server = apiserver::shared().await?;
    let engine = engine()?;
    let mut plays = tokio::task::JoinSet::new();
    for file in ON_A_REAL_SERVER {
        let name = Path::new(file).file_stem().and_then(|name| name.to_str()).context("a name")?;
        let stage = RealStage::open(server, &format!("scenario-{name}")).await?;
        let engine = Arc::clone(&engine);
        plays.spawn_blocking(move || {
            let (file, began) = (repository().join(file), std::time::Instant::now());
            let scenario = read(&file)?;
            let played = stage.play(&scenario, &engine, components(&scenario)?);
            let played = played.with_context(|| file.display().to_string())?;
            as_expected(&file, &played)?;
            let (real, passed) = (began.elapsed().as_secs_f64(), played.lasted.as_secs());
            anyhow::Ok(format!(
                "{name:<24} {passed:>6} s in {real:>5.1} s, {} requests",
                played.requests.len()
            ))
        });
    }
    while let Some(played) = plays.join_next().await {
        println!("{}", played??);
    }
    Ok(())
}

/// With what goes wrong by the seed: late and lost requests, answers that never come, watches that break.
#[test]
fn a_run_is_a_function_of_scenario_and_seed() -> Outcome {
    let engine = engine()?;
    let mut scenarios = scenarios()?.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    if !is_soak() {
        scenarios.retain(is_short);
    }
    let (n_seeds, began) = (seeds()?, std::time::Instant::now());
    for (seed, scenario) in (1..=n_seeds).zip(scenarios.iter().cycle()) {
        let (one, two) = (play(scenario, seed, &engine)?, play(scenario, seed, &engine)?);
        ensure!(one.hash == two.hash, "seed {seed} of `{}` gives two runs", scenario.title);
        ensure!(one.timeline == two.timeline, "seed {seed} of `{}` gives two stories", scenario.title);
        does_no_harm(scenario, &one).with_context(|| format!("seed {seed} of `{}`", scenario.title))?;
    }
    let plays_per_second = 2.0 * n_seeds as f64 / began.elapsed().as_secs_f64();
    println!("{n_seeds} seeds, each played twice: {plays_per_second:.1} plays a second");
    Ok(())
}

/// What holds whatever gets lost: there are incidents if there is to be one, never more than without the trouble, and nothing
/// is delivered that would not be without it. What comes late may come too late for the scenario, so other expectations need
/// not hold.
fn does_no_harm(scenario: &Scenario, played: &Played) -> Outcome {
    let (expected, facts) = (&scenario.expect, &played.facts);
    let is_doubled = scenario.timeline.iter().any(|moment| moment.next_create == Some(Accident::Twice));
    ensure!(is_doubled || facts.doubles.is_empty(), "several Promotions of {:?}", facts.doubles);
    let (most, n) = (expected.promotions_by_refloat.unwrap_or(usize::MAX), facts.promotions_by_refloat);
    ensure!(n <= most, "{n} Promotions by Refloat, and {most} without trouble");
    if let Some(incidents) = &expected.incidents {
        let (most, n) = (incidents.len(), facts.incidents.len());
        ensure!(n <= most && (n > 0 || most == 0), "{n} incidents, and {most} without trouble: {facts:?}");
    }
    if expected.writes_to_kargo == Some(0) {
        ensure!(
            facts.writes_to_kargo == 0,
            "{} writes to Kargo, and none without trouble",
            facts.writes_to_kargo
        );
    }
    Ok(())
}

/// How many, unless `make soak` wants more.
fn seeds() -> anyhow::Result<u64> {
    let asked = std::env::var("REFLOAT_SEEDS").ok().map(|text| text.parse()).transpose();
    Ok(asked.context("REFLOAT_SEEDS is no number")?.unwrap_or(SEEDS))
}

fn is_soak() -> bool {
    std::env::var_os("REFLOAT_SEEDS").is_some()
}

/// Whether it is over within an hour: who waits for longer sends the same requests again and again. `make soak` takes all.
fn is_short(scenario: &Scenario) -> bool {
    let last = scenario.timeline.last().map_or(0, simulator::scenario::Moment::seconds);
    last.max(scenario.until_seconds().unwrap_or_default()) <= 3_600
}

#[test]
fn two_processes_agree_to_the_byte() -> Outcome {
    let program = policy_tests::stage_play::refloat()?;
    for file in scenarios()?.into_iter().take(6) {
        let run = || {
            std::process::Command::new(&program)
                .args(["simulate", "--seed", "7", "--output", "json"])
                .arg(&file)
                .output()
        };
        let (one, two) = (run()?, run()?);
        ensure!(one.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&one.stderr));
        ensure!(one.stdout == two.stdout, "`{}` differs between two processes", file.display());
    }
    Ok(())
}

/// Editors use the schema that is committed.
#[test]
fn the_schema_is_current_and_fits_every_scenario() -> Outcome {
    let file = repository().join("docs/scenario.schema.json");
    let schema = Scenario::schema();
    let current = serde_json::to_string_pretty(&schema)? + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &current)?;
    }
    let help = "`refloat simulate --schema` prints the current one";
    ensure!(std::fs::read_to_string(&file)? == current, "`{}` is out of date\nhelp: {help}", file.display());
    let validator = jsonschema::validator_for(&schema)?;
    for file in scenarios()? {
        let scenario: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)
            .map_err(|error| anyhow::anyhow!("`{}`: {error}", file.display()))?;
        let problems: Vec<String> = validator
            .iter_errors(&scenario)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        ensure!(problems.is_empty(), "`{}` does not fit the schema: {problems:#?}", file.display());
    }
    Ok(())
}

#[test]
fn scenarios_are_short_enough_to_read() -> Outcome {
    let scenarios = scenarios()?;
    ensure!(scenarios.len() >= 25, "only {} scenarios", scenarios.len());
    for file in scenarios {
        let n_lines = std::fs::read_to_string(&file)?.lines().count();
        ensure!(n_lines < 60, "`{}` has {n_lines} lines", file.display());
    }
    Ok(())
}

#[test]
fn the_document_shows_a_scenario_that_is_played() -> Outcome {
    let file = std::fs::read_to_string(repository().join("host/refloat/demo/scenarios/push-race.yaml"))?;
    let document = std::fs::read_to_string(repository().join("docs/scenarios.md"))?;
    ensure!(document.contains(&file), "`docs/scenarios.md` shows another scenario than it names");
    Ok(())
}
