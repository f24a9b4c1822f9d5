//! Scenarios: each comes out as it expects, and a run is a function of scenario and seed, in one process and in two.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use policy_engine::{Compiler, Engine, Limits};
use policy_source::Module;
use policy_tests::cli::repository;
use simulator::scenario::Accident;
use simulator::{Played, Scenario, Setup};

type Outcome = anyhow::Result<()>;

/// Seeds that are played twice.
const SEEDS: u64 = 200;

fn scenarios() -> anyhow::Result<Vec<PathBuf>> {
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

fn read(file: &Path) -> anyhow::Result<Scenario> {
    let scenario: Scenario = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| anyhow::anyhow!("cannot understand `{}`: {error}", file.display()))?;
    let problems = scenario.problems();
    ensure!(problems.is_empty(), "`{}`: {problems:#?}", file.display());
    Ok(scenario)
}

fn engine() -> anyhow::Result<Arc<Engine>> {
    let compiler = Compiler::new(policy_tests::stage_play::refloat()?, ["compile-component".to_owned()]);
    let cache = std::env::current_exe()?.with_file_name("test-component-cache");
    Ok(Arc::new(Engine::new(&Limits::default(), &compiler, &cache)?))
}

fn play(scenario: &Scenario, seed: u64, engine: &Arc<Engine>) -> anyhow::Result<Played> {
    let mut components = std::collections::BTreeMap::new();
    for (name, module) in &scenario.modules {
        let component = match module.strip_prefix("example:") {
            Some(example) => policy_source::example(example)?,
            None => Module::parse(module).load()?,
        };
        components.insert(name.clone(), component.bytes);
    }
    Ok(simulator::play(&Setup { scenario, seed, engine: Arc::clone(engine), components })?)
}

#[test]
fn scenarios_come_out_as_they_expect() -> Outcome {
    let engine = engine()?;
    for file in scenarios()? {
        let played = play(&read(&file)?, 0, &engine)?;
        ensure!(
            played.differences.is_empty(),
            "`{}`: {:#?}\n{:#?}",
            file.display(),
            played.differences,
            played.timeline
        );
    }
    Ok(())
}

/// With what goes wrong by the seed: late and lost requests, answers that never come, watches that break.
#[test]
fn a_run_is_a_function_of_scenario_and_seed() -> Outcome {
    let engine = engine()?;
    let scenarios = scenarios()?.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    for (seed, scenario) in (1..=SEEDS).zip(scenarios.iter().cycle()) {
        let (one, two) = (play(scenario, seed, &engine)?, play(scenario, seed, &engine)?);
        ensure!(one.hash == two.hash, "seed {seed} of `{}` gives two runs", scenario.title);
        ensure!(one.timeline == two.timeline, "seed {seed} of `{}` gives two stories", scenario.title);
        let is_doubled = scenario.timeline.iter().any(|moment| moment.next_create == Some(Accident::Twice));
        ensure!(
            is_doubled || one.facts.doubles.is_empty(),
            "seed {seed} of `{}`: several Promotions of {:?}",
            scenario.title,
            one.facts.doubles
        );
    }
    Ok(())
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

#[test]
fn the_document_shows_a_scenario_that_is_played() -> Outcome {
    let file = std::fs::read_to_string(repository().join("host/refloat/demo/scenarios/push-race.yaml"))?;
    let document = std::fs::read_to_string(repository().join("docs/scenarios.md"))?;
    ensure!(document.contains(&file), "`docs/scenarios.md` shows another scenario than it names");
    Ok(())
}
