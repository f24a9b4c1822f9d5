//! A Project of 500 Stages out of captured objects: five Warehouses, and for each a Stage `test` behind `dev` that gives
//! its Freight to 98 others.
//!
//! In: the folder of captures. Out: JSON as an API server would give it. Every Stage has as many Promotions as Kargo's
//! garbage collector leaves (20), the newest one failed in one of the captured ways or its verification failed; the
//! Project has 40 pieces of Freight per Warehouse, each held, verified or both in up to 100 Stages.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Outcome;

pub(crate) const PROJECT: &str = "big";
const WAREHOUSES: usize = 5;
const STAGES_EACH: usize = 100;
const FREIGHT_EACH: usize = 40;
/// Kargo keeps 20 terminal Promotions per Stage (`garbageCollector.maxRetainedPromotions` of its chart).
const PROMOTIONS_EACH: usize = 20;
/// Kargo keeps ten entries (kargo-live.md 5).
const HISTORY: usize = 10;

/// What is read live for one failure.
pub(crate) struct Live {
    pub(crate) stage: Vec<u8>,
    pub(crate) promotions: Vec<Vec<u8>>,
    pub(crate) run: Option<Vec<u8>>,
}

/// The Project.
pub(crate) struct Project {
    pub(crate) live: Vec<Live>,
    pub(crate) freight: Vec<Vec<u8>>,
}

/// Captured objects that everything is made from.
struct Captured {
    stage: Value,
    good: Value,
    bad: Vec<Value>,
    run: Value,
    freight: Value,
}

impl Captured {
    fn read(captures: &Path) -> Outcome<Self> {
        let mut bad = Vec::new();
        for path in promotions(&captures.join("kargo-1.11.2-steps"))? {
            let promotion = document(&path)?;
            let phase = promotion.pointer("/status/phase").and_then(Value::as_str);
            if matches!(phase, Some("Failed" | "Errored")) {
                bad.push(promotion);
            }
        }
        let whole = captures.join("kargo-1.11.2");
        Ok(Self {
            stage: document(&whole.join("e/failed/stage.yaml"))?,
            good: document(&whole.join("setup/promotion-succeeded.yaml"))?,
            bad,
            run: document(&whole.join("e/failed/analysisrun.yaml"))?,
            freight: document(&whole.join("setup/freight.yaml"))?,
        })
    }
}

impl Project {
    pub(crate) fn of(captures: &Path) -> Outcome<Self> {
        let captured = Captured::read(captures)?;
        let each =
            |count: usize| (0..WAREHOUSES).flat_map(move |warehouse| (0..count).map(move |n| (warehouse, n)));
        let live =
            each(STAGES_EACH).map(|(warehouse, n)| live(&captured, warehouse, n)).collect::<Outcome<_>>()?;
        let freight = each(FREIGHT_EACH).map(|(warehouse, n)| freight(&captured, warehouse, n));
        Ok(Self { live, freight: freight.collect::<Outcome<_>>()? })
    }

    /// Counts and sizes for people.
    pub(crate) fn summary(&self) -> String {
        let size = |live: &Live| {
            live.stage.len()
                + live.promotions.iter().map(Vec::len).sum::<usize>()
                + live.run.as_ref().map_or(0, Vec::len)
        };
        let total: usize = self.live.iter().map(size).sum();
        let n_promotions: usize = self.live.iter().map(|live| live.promotions.len()).sum();
        format!(
            "{} Stages, {n_promotions} Promotions, {} Freight; {} KiB of JSON are read for it",
            self.live.len(),
            self.freight.len(),
            total / self.live.len().max(1) / 1_024
        )
    }
}

fn live(captured: &Captured, warehouse: usize, n: usize) -> Outcome<Live> {
    let name = stage_name(warehouse, n);
    let promotion_of = |at: usize| format!("{name}.01m83hgk5z{at:016}.{:.7}", freight_name(warehouse, at));
    let mut promotions = Vec::new();
    for at in 0..PROMOTIONS_EACH {
        let is_bad = at + 1 == PROMOTIONS_EACH && !fails_by_verification(n);
        let kind = captured.bad.get((warehouse * STAGES_EACH + n) % captured.bad.len());
        let mut promotion = kind.filter(|_| is_bad).unwrap_or(&captured.good).clone();
        let freight = freight_name(warehouse, at);
        for (pointer, value) in [
            ("/metadata/name", json!(promotion_of(at))),
            ("/metadata/namespace", json!(PROJECT)),
            ("/metadata/uid", json!(format!("{name}-{at}"))),
            ("/spec/stage", json!(name)),
            ("/spec/freight", json!(freight)),
            ("/status/freight", json!({ "name": freight, "origin": origin(warehouse) })),
            ("/status/freightCollection", json!({ "id": freight, "items": items(warehouse, at) })),
        ] {
            put(&mut promotion, pointer, value)?;
        }
        promotions.push(serde_json::to_vec(&promotion)?);
    }
    let mut run = captured.run.clone();
    put(&mut run, "/metadata/name", json!(format!("{name}.run")))?;
    put(&mut run, "/metadata/namespace", json!(PROJECT))?;
    let stage = stage(captured, warehouse, n, &promotion_of(PROMOTIONS_EACH - 1))?;
    let run = fails_by_verification(n).then(|| serde_json::to_vec(&run)).transpose()?;
    Ok(Live { stage: serde_json::to_vec(&stage)?, promotions, run })
}

fn stage(captured: &Captured, warehouse: usize, n: usize, last: &str) -> Outcome<Value> {
    let name = stage_name(warehouse, n);
    let sources = match n {
        0 => json!({ "direct": true }),
        1 => json!({ "stages": [stage_name(warehouse, 0)] }),
        _ => json!({ "stages": [stage_name(warehouse, 1)], "requiredSoakTime": "1h0m0s" }),
    };
    let newest = if fails_by_verification(n) { PROMOTIONS_EACH - 1 } else { PROMOTIONS_EACH - 2 };
    let history = (0..HISTORY).map(|back| {
        let (at, is_failed) = (newest - back, back == 0 && fails_by_verification(n));
        let run = json!({ "name": if is_failed { format!("{name}.run") } else { format!("{name}.{at}") } });
        json!({ "id": freight_name(warehouse, at), "items": items(warehouse, at), "verificationHistory": [{
            "id": format!("{name}-{at}"), "phase": if is_failed { "Failed" } else { "Successful" }, "analysisRun": run,
            "message": if is_failed { "Metric \"smoke\" assessed Failed due to failed (1) > failureLimit (0)" } else { "" },
            "startTime": "2026-11-23T06:29:22Z", "finishTime": "2026-11-23T06:29:23Z",
        }] })
    });
    let mut stage = captured.stage.clone();
    for (pointer, value) in [
        ("/metadata/name", json!(name)),
        ("/metadata/namespace", json!(PROJECT)),
        ("/metadata/uid", json!(name)),
        ("/spec/requestedFreight", json!([{ "origin": origin(warehouse), "sources": sources }])),
        ("/status/freightHistory", history.collect()),
        ("/status/lastPromotion/name", json!(last)),
    ] {
        put(&mut stage, pointer, value)?;
    }
    Ok(stage)
}

fn freight(captured: &Captured, warehouse: usize, n: usize) -> Outcome<Vec<u8>> {
    // The newest have not got everywhere, and each Stage holds one.
    let n_verified = STAGES_EACH * (FREIGHT_EACH - n) / FREIGHT_EACH;
    let verified =
        (0..n_verified).map(|stage| (stage_name(warehouse, stage), json!({ "longestSoak": "1h30m5s" })));
    let held = (0..STAGES_EACH)
        .filter(|stage| stage % 3 == n % 3 && (PROMOTIONS_EACH - 3..PROMOTIONS_EACH).contains(&n));
    let held = held.map(|stage| (stage_name(warehouse, stage), json!({ "since": "2026-11-23T06:29:22Z" })));
    let mut freight = captured.freight.clone();
    for (pointer, value) in [
        ("/metadata/name", json!(freight_name(warehouse, n))),
        ("/metadata/namespace", json!(PROJECT)),
        ("/metadata/uid", json!(freight_name(warehouse, n))),
        ("/origin", origin(warehouse)),
        (
            "/status",
            json!({ "verifiedIn": verified.collect::<Value>(), "currentlyIn": held.collect::<Value>() }),
        ),
    ] {
        put(&mut freight, pointer, value)?;
    }
    Ok(serde_json::to_vec(&freight)?)
}

/// One Stage in four; the others by their newest Promotion.
fn fails_by_verification(n: usize) -> bool {
    n.is_multiple_of(4)
}

fn stage_name(warehouse: usize, n: usize) -> String {
    match n {
        0 => format!("w{warehouse}-dev"),
        1 => format!("w{warehouse}-test"),
        _ => format!("w{warehouse}-prod-{n:03}"),
    }
}

fn freight_name(warehouse: usize, n: usize) -> String {
    format!("{warehouse:02}{n:02}2b8c1b188c8e4b98a22366778f5be78404ab")
}

fn origin(warehouse: usize) -> Value {
    json!({ "kind": "Warehouse", "name": format!("web{warehouse}") })
}

fn items(warehouse: usize, n: usize) -> Value {
    let name = freight_name(warehouse, n);
    json!({ format!("Warehouse/web{warehouse}"): { "name": name, "origin": origin(warehouse) } })
}

/// Puts a value where the pointer leads; what is on the way to it is made.
fn put(object: &mut Value, pointer: &str, value: Value) -> Outcome<()> {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        let fields = at.as_object_mut().ok_or_else(|| format!("no object on the way to `{pointer}`"))?;
        at = fields.entry(key).or_insert_with(|| json!({}));
    }
    *at = value;
    Ok(())
}

/// Every captured failure of a step.
fn promotions(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "promotion.yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The first document of a file.
fn document(path: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| format!("cannot understand `{}`: {error}", path.display()))?;
    documents.into_iter().next().ok_or_else(|| format!("`{}` is empty", path.display()).into())
}
