//! `make bench`, the part of the simulation: what a simulated incident costs.
//!
//! In: the program that compiles, and scenario files. Out: CPU per incident and seeds per second on stdout. Every seed
//! plays one of the scenarios, with late and lost requests; set-up, watches and everything that the model of Kargo does
//! are part of it; compiling and loading components is not. Nothing here asserts anything.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy_engine::{Compiler, Engine, Limits, Policy};
use simulator::{Scenario, Setup};

/// As in `refloat` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// CPU per incident that is to be reached, milliseconds.
const TARGET: f64 = 15.0;
/// Rounds over all scenarios, each with seeds of its own.
const ROUNDS: u64 = 10;

struct Sheet {
    scenario: Scenario,
    components: BTreeMap<String, Vec<u8>>,
}

/// What the rounds came to.
#[derive(Default)]
struct Sum {
    n_seeds: u32,
    n_incidents: u32,
    cpu: Duration,
    passed: Duration,
    virtual_time: Duration,
    slowest: (Duration, String),
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((compiler, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty()) else {
        return Err("usage: incidents COMPILER SCENARIO ...".into());
    };
    let cache = tempfile::tempdir()?;
    let engine = Arc::new(Engine::new(&Limits::default(), &Compiler::new(compiler, []), cache.path())?);
    let sheets = files.iter().map(|file| read(file)).collect::<Outcome<Vec<_>>>()?;
    let _loaded = loaded(&sheets, &engine)?;
    for sheet in &sheets {
        play(sheet, 0, &engine)?;
    }
    let mut sum = Sum::default();
    let began = Instant::now();
    for seed in 1..=ROUNDS * u64::try_from(sheets.len())? {
        let sheet = sheets.get(usize::try_from(seed)? % sheets.len()).ok_or("a scenario")?;
        let before = cpu()?;
        let (n_incidents, lasted) = play(sheet, seed, &engine)?;
        let cost = cpu()?.saturating_sub(before);
        sum.n_seeds += 1;
        sum.n_incidents += n_incidents;
        sum.cpu += cost;
        sum.virtual_time += lasted;
        if cost > sum.slowest.0 {
            sum.slowest = (cost, format!("seed {seed} of `{}`", sheet.scenario.title));
        }
    }
    sum.passed = began.elapsed();
    write!(std::io::stdout().lock(), "{}", sum.table())?;
    Ok(())
}

impl Sum {
    fn table(&self) -> String {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        let per_incident = milliseconds(self.cpu) / f64::from(self.n_incidents.max(1));
        let (n_seeds, n_incidents) = (self.n_seeds, self.n_incidents);
        let seeds_per_second = f64::from(n_seeds) / self.passed.as_secs_f64();
        let hours = self.virtual_time.as_secs_f64() / 3_600.0;
        format!(
            "\nsimulation: {n_seeds} seeds, {n_incidents} incidents, {hours:.0} h of virtual time\n  \
             CPU per incident, mean        {per_incident:8.1} ms   to reach {TARGET:.1}   ratio {:.2}\n  \
             seeds per second              {seeds_per_second:8.1}\n  \
             dearest                       {:8.1} ms   {}\n",
            per_incident / TARGET,
            milliseconds(self.slowest.0),
            self.slowest.1,
        )
    }
}

/// Every component that may be called, so that no play has to load one. Scenarios are about what is no component, too.
fn loaded(sheets: &[Sheet], engine: &Engine) -> Outcome<Vec<Policy>> {
    let builtins = policy_source::builtins().into_iter().map(policy_source::builtin);
    let builtins = builtins.collect::<Result<Vec<_>, _>>()?;
    let own = sheets.iter().flat_map(|sheet| sheet.components.values());
    let all = builtins.iter().map(|component| &component.bytes).chain(own);
    Ok(all.filter_map(|bytes| engine.load(bytes).ok()).collect())
}

fn read(file: &str) -> Outcome<Sheet> {
    let scenario: Scenario = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| format!("`{file}` is no scenario: {error}"))?;
    if let Some(problem) = scenario.problems().first() {
        return Err(format!("`{file}` at `{}`: {}", problem.path, problem.message).into());
    }
    let components = simulator::components(&scenario, Path::new(""))?;
    Ok(Sheet { scenario, components })
}

/// Incidents, and how long they took in virtual time.
fn play(sheet: &Sheet, seed: u64, engine: &Arc<Engine>) -> Outcome<(u32, Duration)> {
    let (scenario, components) = (&sheet.scenario, sheet.components.clone());
    let played = simulator::play(&Setup { scenario, seed, engine: Arc::clone(engine), components })?;
    Ok((u32::try_from(played.facts.incidents.len())?, played.lasted))
}

/// What this thread, on which everything runs, has used of the processor.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
