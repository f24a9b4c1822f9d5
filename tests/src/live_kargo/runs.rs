//! Ends AnalysisRuns of a real Kargo as a script says, in place of Argo Rollouts.
//!
//! In: a Project and its Director. Out: statuses of AnalysisRuns, by the rules of `kargo_model::rollouts`. It must not
//! touch anything else. A run is left alone until it was seen twice: one that ends before Kargo has noted its name is
//! missed (kargo-live.md 0.4), which no scenario can count on here.

use std::collections::BTreeSet;
use std::time::Duration;

use kargo_model::{Effect, Kind, Script, World, object, rollouts};
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use simulator::kargo::{Director, api, typed};

/// Ten times what Kargo takes to note a run's name.
const EVERY: Duration = Duration::from_millis(300);

/// Plays Argo Rollouts until the future is dropped.
pub(crate) async fn end_runs(client: Client, project: &str, director: &Director) {
    let mut seen = BTreeSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        // What a request has failed at, the next round does.
        let _ = round(&client, project, &director.script(), &mut seen).await;
    }
}

async fn round(
    client: &Client,
    project: &str,
    script: &Script,
    seen: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let mut world = World::new(jiff::Timestamp::now());
    let runs = api(client, Kind::AnalysisRun, project).list(&ListParams::default()).await?;
    for run in &runs {
        let run = typed(Kind::AnalysisRun, run)?;
        if !seen.insert(object::name(&run).to_owned()) {
            world.put(run);
        }
    }
    if world.list(Kind::AnalysisRun, project).next().is_none() {
        return Ok(());
    }
    for stage in api(client, Kind::Stage, project).list(&ListParams::default()).await? {
        for effect in rollouts::next(&world, &typed(Kind::Stage, &stage)?, script) {
            if let Effect::PatchStatus { key, patch } = effect {
                let patch = Patch::Merge(json!({"status": patch}));
                api(client, key.kind, project).patch(&key.name, &PatchParams::default(), &patch).await?;
            }
        }
    }
    Ok(())
}
