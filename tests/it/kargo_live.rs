//! The same scenario files on a real Kargo, for those who have one: `make kargo-live`.
//!
//! Every scenario is either played or left out for a reason; that much is checked always. What is played comes out as
//! its file expects, in real time: moments and limits are divided by the figure beside the name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use policy_engine::Engine;
use policy_tests::live_kargo::{LiveKargo, LiveStage, VARIABLE, hurried};
use simulator::Difference;
use tokio::sync::Semaphore;

use crate::simulate::{components, engine, read, scenarios};

type Outcome = anyhow::Result<()>;

/// How many are played at once: most of the time they wait.
const AT_ONCE: usize = 10;
/// No play takes longer.
const LONGEST: Duration = Duration::from_secs(720);

/// What is played, and how many times faster than the file says.
const PLAYED: &[(&str, u32)] = &[
    ("bad-freight", 15),
    ("channel-with-a-typo", 10),
    ("controller-dies", 10),
    ("deployed-but-lost", 5),
    ("exhausted", 3),
    ("first-freight-fails", 10),
    ("gate-says-no", 10),
    ("guest-fault-channels", 10),
    ("hands-off", 6),
    ("hint-on-freight", 10),
    ("hold-by-person", 15),
    ("hold-then-failure", 10),
    ("inconclusive", 10),
    ("lost-and-repaired", 5),
    ("match-upstream", 10),
    ("missing-promote", 10),
    ("never-answers", 10),
    ("never-verified", 5),
    ("newer-freight-in-the-queue", 6),
    ("nobody-asks", 10),
    ("observe", 10),
    ("origin-leaks", 10),
    ("own-rules", 10),
    ("person", 15),
    ("person-aborts", 6),
    ("person-aborts-verification", 6),
    ("pipeline", 6),
    ("push-race", 6),
    ("rollback-fails", 10),
    ("rollback-verification-fails", 10),
    ("same-priority", 10),
    ("silent-stall", 20),
    ("silently-dead", 60),
    ("slow-and-fine", 10),
    ("step-hint", 10),
    ("switched-on", 10),
    ("tolerated-step", 10),
    ("two-origins", 10),
    ("verification-errs", 10),
    ("waits-for-a-verification", 60),
];

/// Played after the others, one after another: they stop a part of Kargo, which all share.
const PLAYED_ALONE: &[(&str, u32)] = &[("nobody-controls", 20), ("webhooks-down", 5)];

const REQUESTS: &str = "what goes wrong with single requests and replicas is made in memory";
const HEALTH: &str =
    "without Argo CD no Stage of Kargo has health checks, so none is ever unhealthy or progressing";
const HANGS: &str = "Kargo cannot be told not to look at a Stage";
const RACE: &str = "Kargo misses the end of a run only sometimes";
const UNSCALED: &str = "it is about minutes that the controller lets nobody set";

/// What is not played, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("answer-lost", REQUESTS),
    (
        "control-plane-account",
        "accounts of the control plane are an option of Kargo's, which all plays share",
    ),
    ("create-lost", REQUESTS),
    ("created-twice", REQUESTS),
    ("downtime", UNSCALED),
    ("cooldown", UNSCALED),
    ("kargo-hangs", HANGS),
    ("kargo-hangs-for-a-while", HANGS),
    ("kargo-unknown", "this Kargo has its own definitions"),
    ("leader-cut-off", REQUESTS),
    ("leader-dies-after-create", REQUESTS),
    ("missed-verification", RACE),
    ("missed-verification-observed", RACE),
    ("never-healthy", HEALTH),
    ("own-step-kind", "this Kargo has the step kinds that come with it"),
    ("restart-keeps-the-episode", HEALTH),
    ("rollback-makes-it-no-better", HEALTH),
    ("stored-late", REQUESTS),
    ("turns-unhealthy", HEALTH),
    ("two-replicas", REQUESTS),
    ("unhealthy-for-a-moment", HEALTH),
    ("health-unknown", HEALTH),
    ("kargo-hangs-behind-a-queue", HANGS),
    ("policy-blinks", UNSCALED),
    ("policy-replaced", UNSCALED),
    ("retry-due-while-down", UNSCALED),
    ("sick-before-the-fix", HEALTH),
    ("sick-in-two-words", HEALTH),
    ("webhooks-down-long", UNSCALED),
];

fn name(file: &Path) -> &str {
    file.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}

#[test]
fn every_scenario_is_for_a_real_kargo_or_left_out_for_a_reason() -> Outcome {
    let played = PLAYED.iter().chain(PLAYED_ALONE).map(|(name, _)| *name);
    let mut named: Vec<&str> = played.chain(LEFT_OUT.iter().map(|(name, _)| *name)).collect();
    named.sort_unstable();
    let files = scenarios()?;
    let mut there: Vec<&str> = files.iter().map(|file| name(file)).collect();
    there.sort_unstable();
    ensure!(named == there, "lists of `{}` and scenarios differ:\n{named:?}\n{there:?}", file!());
    for (name, times) in PLAYED.iter().chain(PLAYED_ALONE) {
        let file = files.iter().find(|file| self::name(file) == *name).context("a file")?;
        hurried(&read(file)?, *times).with_context(|| format!("`{name}` cannot be hurried"))?;
    }
    Ok(())
}

/// Only asked for by `make kargo-live`; without the variable it says so, and what it says of Kargo is nothing.
#[tokio::test]
async fn scenarios_come_out_the_same_on_a_real_kargo_if_one_is_named() -> Outcome {
    let Some(program) = std::env::var_os(VARIABLE) else {
        println!("not asked for: `{VARIABLE}` names no Kargo\nhelp: see `make kargo-live`");
        return Ok(());
    };
    // Ends with the process.
    let kargo: &'static LiveKargo = Box::leak(Box::new(LiveKargo::start(Path::new(&program)).await?));
    let stage =
        Arc::new(Plays { kargo, engine: engine()?, files: by_name()?, places: Semaphore::new(AT_ONCE) });
    let mut problems = Vec::new();
    let mut plays = tokio::task::JoinSet::new();
    for (name, times) in wanted(PLAYED) {
        let stage = Arc::clone(&stage);
        plays.spawn(async move { stage.play(name, times).await });
    }
    while let Some(played) = plays.join_next().await {
        let (line, problem) = played?;
        println!("{line}");
        problems.extend(problem);
    }
    for (name, times) in wanted(PLAYED_ALONE) {
        let (line, problem) = stage.play(name, times).await;
        println!("{line}");
        problems.extend(problem);
    }
    ensure!(problems.is_empty(), "{}\n{}", problems.join("\n"), kargo.logs(20));
    Ok(())
}

/// All of them, or those that `REFLOAT_KARGO_SCENARIOS` names, with commas between them.
fn wanted(list: &[(&'static str, u32)]) -> Vec<(&'static str, u32)> {
    let only = std::env::var("REFLOAT_KARGO_SCENARIOS").unwrap_or_default();
    let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|wanted| wanted == name);
    list.iter().copied().filter(|(name, _)| is_wanted(name)).collect()
}

fn by_name() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    Ok(scenarios()?.into_iter().map(|file| (name(&file).to_owned(), file)).collect())
}

struct Plays {
    kargo: &'static LiveKargo,
    engine: Arc<Engine>,
    files: BTreeMap<String, PathBuf>,
    places: Semaphore,
}

impl Plays {
    /// Plays one. The answer is a line about it, and what is not as expected.
    async fn play(&self, name: &str, times: u32) -> (String, Option<String>) {
        let (began, played) = (std::time::Instant::now(), self.differences(name, times).await);
        let said = match &played {
            Ok((differences, _)) if differences.is_empty() => "as expected",
            Ok(_) => "DIFFERS",
            Err(_) => "COULD NOT BE PLAYED",
        };
        let seconds = began.elapsed().as_secs();
        let line = format!("{name:<30} {times:>3} times faster, {seconds:>4} s: {said}");
        let problem = match played {
            Ok((differences, _)) if differences.is_empty() => None,
            Ok((differences, timeline)) => Some(format!("`{name}`: {differences:#?}\n{timeline}")),
            Err(error) => Some(format!("`{name}`: {error:#}")),
        };
        (line, problem)
    }

    async fn differences(&self, name: &str, times: u32) -> anyhow::Result<(Vec<Difference>, String)> {
        let _place = self.places.acquire().await?;
        let scenario = hurried(&read(self.files.get(name).context("no such scenario")?)?, times)?;
        let stage = LiveStage::open(self.kargo, &format!("live-{name}"), &scenario).await?;
        let (engine, components) = (Arc::clone(&self.engine), components(&scenario)?);
        let playing = tokio::task::spawn_blocking(move || stage.play(&engine, components));
        let played = tokio::time::timeout(LONGEST, playing).await.context("it does not end")???;
        let lines = played.timeline.iter().map(|entry| {
            let seconds = Duration::from_millis(entry.at_milliseconds).as_secs_f64();
            format!("  {seconds:>8.3} {:<12} {}", entry.who, entry.what)
        });
        Ok((played.differences.clone(), lines.collect::<Vec<_>>().join("\n")))
    }
}
