//! Case files of the reading half of the core: read, detect, look, settle, target, memory, classify, hints, redact,
//! settings.
//!
//! In: a case's YAML as a JSON value. Out: what the core makes of it, as a JSON value that the runner compares with
//! `expect`. Objects are given as Kargo writes them, inline or as `capture: a/fail-step/promotion.yaml` below
//! `tests/data/captures/kargo-1.11.2`. Never reads anything else, and judges nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use policy_api::kargo::{self, convert};
use policy_core::classify::catalogue::Catalogue;
use policy_core::deadlines::Deadlines;
use policy_core::detect::{Run, Sight};
use policy_core::failure::{Failure, Trigger};
use policy_core::hints::Places;
use policy_core::incident::Delivery;
use policy_core::name::FreightName;
use policy_core::snapshot::{AnalysisRunSnapshot, ProjectFreight, PromotionSnapshot, StageSnapshot};
use policy_core::stage_memory::StageMemory;
use policy_core::time::Timestamp;
use policy_core::{classify, detect, hints, redact, settings, settle, target};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// Runs a case of one of these kinds: `None` when the kind is not one of them, `Err` when the case makes no sense.
#[must_use]
pub fn run(kind: &str, case: &Value) -> Option<Result<Value, String>> {
    let actual = match kind {
        "read" => read_case(case),
        "detect" => detect_case(case),
        "look" => look_case(case),
        "settle" => settle_case(case),
        "target" => target_case(case),
        "memory" => memory_case(case),
        "classify" => classify_case(case),
        "hints" => hints_case(case),
        "redact" => redact_case(case),
        "settings" => settings_case(case),
        _ => return None,
    };
    Some(actual.map_err(|error| format!("{error:#}")))
}

/// Where captures lie.
pub fn captures() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("data/captures")
}

/// `objects`, perhaps `fill` (what `FILL` in any text stands for: a text and how often) -> for each `read`, or what is wrong
/// with it; with `show`, what was read.
fn read_case(case: &Value) -> anyhow::Result<Value> {
    let mut given = serde_json::to_string(case.get("objects").context("no `objects`")?)?;
    if let Some(fill) = case.get("fill") {
        let times = usize::try_from(fill.get("times").and_then(Value::as_u64).unwrap_or(1))?;
        given = given.replace("FILL", &fill.get("text").and_then(Value::as_str).unwrap_or("x").repeat(times));
    }
    let objects: Vec<Value> = serde_json::from_str(&given)?;
    let show = case.get("show").is_some();
    let each = objects.iter().map(|object| match read_object(object) {
        Ok(snapshot) if show => snapshot,
        Ok(_) => json!("read"),
        Err(error) => json!(error.to_string()),
    });
    Ok(each.collect())
}

/// The snapshot of an object of any kind of Kargo's that is read.
///
/// # Errors
/// What is wrong with it.
pub fn read_object(object: &Value) -> Result<Value, convert::ConvertError> {
    let reading = convert::Reading::default();
    let snapshot = match object.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "Promotion" => serde_json::to_value(convert::promotion(&kargo::from_value(object)?, &reading)?),
        "Stage" => serde_json::to_value(convert::stage(&kargo::from_value(object)?)?),
        "Freight" => serde_json::to_value(convert::freight(&kargo::from_value(object)?)?),
        "AnalysisRun" => serde_json::to_value(convert::analysis_run(&kargo::from_value(object)?)?),
        _ => return Ok(Value::Null),
    };
    Ok(snapshot.unwrap_or_default())
}

/// `promotion` or `stage` with `promotions` -> the failure, `null` when there is none.
fn detect_case(case: &Value) -> anyhow::Result<Value> {
    let found = match objects(case, "promotion")?.first() {
        Some(promotion) => detect::promotion(&promotion_snapshot(promotion)?),
        None => detect::verification(&stage(case)?, &promotions(case)?),
    };
    Ok(serde_json::to_value(found)?)
}

/// `now`, `stage`, `promotions`, `freight`, `projectConfig`, `memory`, `deadlines`, `analysisRun` -> what one look finds.
fn look_case(case: &Value) -> anyhow::Result<Value> {
    let (stage, promotions, freight) = (stage(case)?, promotions(case)?, freight(case)?);
    let memory = memory(case)?;
    let deadlines = case.get("deadlines").map(Deadlines::deserialize).transpose()?.unwrap_or_default();
    let config = case.get("projectConfig").map(kargo::from_value).transpose()?;
    let namespace = serde_json::from_value(json!({ "name": stage.project }))?;
    let project = convert::project(&namespace, config.as_ref())?;
    let run = objects(case, "analysisRun")?;
    let run = run.first().map(kargo::from_value).transpose()?;
    let run = run.as_ref().map(convert::analysis_run).transpose()?;
    let now = case.get("now").and_then(Value::as_str).context("no `now`")?;
    let now: jiff::Timestamp = now.parse()?;
    let found = detect::look(&Sight {
        now: Timestamp(u32::try_from(now.as_second())?),
        deadlines: &deadlines,
        project: &project,
        stage: &stage,
        promotions: &promotions,
        freight: &freight,
        memory: &memory,
        run: if case.get("analysisRun").is_some() { Run::Read(run.as_ref()) } else { Run::NotRead },
    });
    let mut actual = json!({ "failures": found.failures.iter().map(short).collect::<Vec<_>>() });
    if let Some(again) = found.look_again {
        actual["lookAgain"] = json!(clock(again));
    }
    if !found.refresh.is_empty() {
        actual["refreshMayHelp"] = serde_json::to_value(&found.refresh)?;
    }
    if let Some(lasting) = &found.lasting {
        actual["lasting"] = json!(lasting);
    }
    if found.wants_run {
        actual["wantsRun"] = json!(true);
    }
    Ok(actual)
}

/// A failure without what every one of the same case has.
fn short(failure: &Failure) -> Value {
    let mut short = json!({
        "id": failure.id, "trigger": failure.trigger, "at": clock(failure.at), "summary": failure.summary,
    });
    if let Some(abort) = &failure.user_abort {
        short["userAbort"] = json!(abort);
    }
    if let Some(promotion) = &failure.promotion {
        short["promotion"] = json!(promotion);
    }
    if let Some(verification) = &failure.verification {
        short["verification"] = json!(verification);
    }
    short
}

fn clock(at: Timestamp) -> String {
    jiff::Timestamp::from_second(i64::from(at.0)).map(|time| time.to_string()).unwrap_or_default()
}

/// `failure` (else detected), `stage`, `promotions` -> `yes`, `not-yet: …`, `overtaken: …`.
fn settle_case(case: &Value) -> anyhow::Result<Value> {
    let (stage, promotions) = (stage(case)?, promotions(case)?);
    let failure = failure(case, &stage, &promotions)?;
    Ok(match settle::settle(&failure, &stage, &promotions) {
        settle::Settled::Yes => json!("yes"),
        settle::Settled::NotYet { because } => json!(format!("not-yet: {because}")),
        settle::Settled::Overtaken { by } => json!(format!("overtaken: {by}")),
    })
}

/// `stage`, `promotions`, `freight`, `now` -> targets, and with `also` the other answers about the Stage.
fn target_case(case: &Value) -> anyhow::Result<Value> {
    let (stage, promotions) = (stage(case)?, promotions(case)?);
    let freight = freight(case)?;
    let now = Timestamp(
        case.get("now").and_then(Value::as_u64).map(u32::try_from).transpose()?.unwrap_or(u32::MAX),
    );
    let failing = case.get("failing").and_then(Value::as_str).map(FreightName::from);
    let failure = failure(case, &stage, &promotions)?;
    let memory = memory(case)?;
    let targets = target::last_good(&target::Question {
        failure: &failure,
        failing: failing.as_ref(),
        stage: &stage,
        promotions: &promotions,
        freight: &freight,
        remembered: memory.good.as_ref(),
        now,
    });
    let mut actual = json!({ "targets": targets });
    let also = case.get("also").and_then(Value::as_array).cloned().unwrap_or_default();
    for question in also.iter().filter_map(Value::as_str) {
        actual[question] = match question {
            "holds" => serde_json::to_value(target::effective_holds(&stage, &promotions))?,
            "candidates" => serde_json::to_value(target::candidates(&stage, &freight, now))?,
            "auto-promotion" => {
                let config = kargo::from_value(case.get("projectConfig").unwrap_or(&Value::Null)).ok();
                let namespace = serde_json::from_value(json!({ "name": stage.project }))?;
                json!(target::auto_promotion(&convert::project(&namespace, config.as_ref())?, &stage))
            }
            other => bail!("`also` cannot be `{other}`"),
        };
    }
    Ok(actual)
}

/// What is remembered of the Stage.
fn memory(case: &Value) -> anyhow::Result<StageMemory> {
    Ok(case.get("memory").map(StageMemory::deserialize).transpose()?.unwrap_or_default())
}

/// `memory`, `stage`, `promotions`, `seen`, `now` -> what is remembered after a look.
fn memory_case(case: &Value) -> anyhow::Result<Value> {
    let (stage, promotions) = (stage(case)?, promotions(case)?);
    let seen: Vec<Delivery> = case.get("seen").map(Vec::deserialize).transpose()?.unwrap_or_default();
    let now = case.get("now").map(Timestamp::deserialize).transpose()?.unwrap_or_default();
    let after = memory(case)?.after_look(&stage, &promotions, &seen, now);
    Ok(serde_json::to_value(after)?)
}

/// `promotion`, or `stage` with `analysisRun`, or `text` with `kind` -> the classification.
fn classify_case(case: &Value) -> anyhow::Result<Value> {
    let promotion = objects(case, "promotion")?;
    let classification = if let Some(text) = case.get("text").and_then(Value::as_str) {
        classify::text(case.get("kind").and_then(Value::as_str), text)
    } else if let Some(promotion) = promotion.first() {
        let promotion = promotion_snapshot(promotion)?;
        classify::promotion(&promotion, &hints::read(&promotion))
    } else {
        let stage = stage(case)?;
        let newest = stage.history.first().and_then(|current| current.verifications.first());
        let newest = newest.context("the Stage has no verification")?;
        let runs: Vec<AnalysisRunSnapshot> = objects(case, "analysisRun")?
            .iter()
            .map(|run| Ok(convert::analysis_run(&kargo::from_value(run)?)?))
            .collect::<anyhow::Result<_>>()?;
        classify::verification(
            Catalogue::built_in(),
            newest,
            runs.iter().find(|run| Some(&run.name) == newest.analysis_run.as_ref()),
        )
    };
    let mut actual = serde_json::to_value(classification)?;
    // The text is long and repeats the input; cases about it ask for it.
    if case.get("showText").is_none()
        && let Some(members) = actual.as_object_mut()
    {
        members.remove("text");
    }
    Ok(actual)
}

/// `promotion`, perhaps `stage`, `freight`, `trust` -> accepted and refused hints.
fn hints_case(case: &Value) -> anyhow::Result<Value> {
    let promotion = objects(case, "promotion")?;
    let promotion = promotion_snapshot(promotion.first().context("no `promotion`")?)?;
    let trusted: Vec<String> = match case.get("trust") {
        Some(trusted) => serde_json::from_value(trusted.clone())?,
        None => Vec::new(),
    };
    let stages: Vec<StageSnapshot> =
        if case.get("stage").is_some() { vec![stage(case)?] } else { Vec::new() };
    let found = hints::examine(&Places::among(&promotion, &stages, &freight(case)?, &trusted));
    Ok(json!({ "accepted": found.accepted, "refused": found.refused }))
}

/// `text`, perhaps `cap` -> the redacted text.
fn redact_case(case: &Value) -> anyhow::Result<Value> {
    let text = case.get("text").and_then(Value::as_str).context("no `text`")?;
    let clean = redact::text(text);
    Ok(match case.get("cap").and_then(Value::as_u64) {
        Some(cap) => json!(redact::capped(&clean, usize::try_from(cap)?)),
        None => json!(clean),
    })
}

/// `settings`, `schema` -> `accepted` or `problems`.
fn settings_case(case: &Value) -> anyhow::Result<Value> {
    let schema = case.get("schema").context("no `schema`")?;
    let schema = schema.as_str().map_or_else(|| schema.to_string(), str::to_owned);
    Ok(match settings::accept(case.get("settings").unwrap_or(&Value::Null), &schema) {
        Ok(accepted) => json!({ "accepted": accepted }),
        Err(problems) => json!({ "problems": problems }),
    })
}

/// The failure as given, else the one found in `promotion`, else that of the Stage's verification, else a failed
/// Promotion that is not described further.
fn failure(case: &Value, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> anyhow::Result<Failure> {
    if let Some(failure) = case.get("failure") {
        return Ok(serde_json::from_value(failure.clone())?);
    }
    if let Some(promotion) = objects(case, "promotion")?.first() {
        let promotion = promotion_snapshot(promotion)?;
        return detect::promotion(&promotion).context("`promotion` is no failure");
    }
    if let Some(failure) = detect::verification(stage, promotions) {
        return Ok(failure);
    }
    Ok(Failure {
        id: "0".into(),
        trigger: Trigger::PromotionFailed,
        project: stage.project.clone(),
        stage: stage.name.clone(),
        stage_uid: Some(stage.uid.clone()),
        promotion: None,
        promotion_uid: None,
        verification: None,
        at: Timestamp(0),
        user_abort: None,
        summary: String::new(),
    })
}

fn stage(case: &Value) -> anyhow::Result<StageSnapshot> {
    let stages = objects(case, "stage")?;
    let stage = stages.first().context("no `stage`")?;
    Ok(convert::stage(&kargo::from_value(&with_identity(stage, "Stage"))?)?)
}

/// All of `promotions`, and `promotion` as well.
fn promotions(case: &Value) -> anyhow::Result<Vec<PromotionSnapshot>> {
    let mut found = objects(case, "promotions")?;
    found.extend(objects(case, "promotion")?);
    found.iter().map(promotion_snapshot).collect()
}

fn freight(case: &Value) -> anyhow::Result<ProjectFreight> {
    let found = objects(case, "freight")?;
    let read = |freight| Ok(convert::freight(&kargo::from_value(&with_identity(freight, "Freight"))?)?);
    Ok(found.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?.into())
}

fn promotion_snapshot(promotion: &Value) -> anyhow::Result<PromotionSnapshot> {
    let promotion = kargo::from_value(&with_identity(promotion, "Promotion"))?;
    Ok(convert::promotion(&promotion, &convert::Reading::default())?)
}

/// Inline objects need not repeat what every object has.
fn with_identity(object: &Value, kind: &str) -> Value {
    let mut object = object.clone();
    for (key, value) in
        [("namespace", "shop"), ("name", "prod"), ("uid", "00000000-0000-0000-0000-000000000001")]
    {
        if object["metadata"][key].is_null() {
            object["metadata"][key] = json!(value);
        }
    }
    if kind == "Promotion" && object["spec"]["stage"].is_null() {
        object["spec"]["stage"] = json!("prod");
    }
    object
}

/// The objects under `key`: one, a list, or captures, each of which may hold several documents.
fn objects(case: &Value, key: &str) -> anyhow::Result<Vec<Value>> {
    let given = match case.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    };
    let mut objects = Vec::new();
    for one in given {
        match one.get("capture").and_then(Value::as_str) {
            Some(path) => objects.extend(captured(path)?),
            None => objects.push(one),
        }
    }
    Ok(objects)
}

/// The documents of one capture; a path that begins with `kargo-` names its collection itself.
fn captured(path: &str) -> anyhow::Result<Vec<Value>> {
    let collection = if path.starts_with("kargo-") { captures() } else { captures().join("kargo-1.11.2") };
    let file = collection.join(path);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("`{path}` is no YAML"))?;
    Ok(documents
        .into_iter()
        .flat_map(|document| match document {
            Value::Array(list) => list,
            one => vec![one],
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const AREAS: [&str; 9] =
        ["detect", "look", "settle", "target", "memory", "classify", "hints", "redact", "settings"];

    fn cases() -> Vec<(String, Value)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut cases = Vec::new();
        for area in AREAS {
            for entry in std::fs::read_dir(folder.join(area)).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                let case: Value =
                    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                cases.push((format!("{area}/{}", path.file_stem().unwrap().display()), case));
            }
        }
        cases.sort_by(|a, b| a.0.cmp(&b.0));
        cases
    }

    fn answer(case: &Value) -> Value {
        run(case["run"].as_str().unwrap(), case).unwrap().unwrap_or_else(|error| json!({ "cannot": error }))
    }

    #[test]
    fn the_core_answers_as_the_cases_say() {
        if let Some(file) = std::env::var_os("CORE_CASES_ANSWERS") {
            let answers: serde_json::Map<String, Value> =
                cases().iter().map(|(name, case)| (name.clone(), answer(case))).collect();
            std::fs::write(file, serde_json::to_string(&answers).unwrap()).unwrap();
        }
        let all = cases();
        let wrong: Vec<String> = all
            .iter()
            .filter(|(_, case)| case.get("expect").is_none_or(|expect| *expect != answer(case)))
            .map(|(name, case)| format!("{name}: {}", answer(case)))
            .collect();
        assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), all.len(), wrong.join("\n"));
    }

    #[test]
    fn every_row_and_rule_has_a_case() {
        let mut seen = BTreeSet::new();
        for (_, case) in cases() {
            for part in answer(&case)["rule"].as_str().unwrap_or_default().split(['/', '+']) {
                seen.insert(part.to_owned());
            }
        }
        let rows = classify::catalogue::Catalogue::built_in().ids();
        let others = ["E8", "E12", "X1h", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8"];
        let rows = rows.chain(others);
        let missing: Vec<&str> = rows.filter(|id| !seen.contains(*id)).collect();
        assert!(missing.is_empty(), "no case for {missing:?}");
    }

    #[test]
    fn a_template_hash_of_a_stage_is_that_of_its_promotions() {
        let mut n = 0;
        for folder in [
            "a/fail-step",
            "a/http-failure-expression",
            "a/retry-threshold-3",
            "c/hold-after-failed",
            "e/failed",
        ] {
            let stage = json!({ "stage": { "capture": format!("{folder}/stage.yaml") } });
            let promotion = json!({ "promotion": { "capture": format!("{folder}/promotion.yaml") } });
            let stage = super::stage(&stage).unwrap();
            let promotion = promotions(&promotion).unwrap().remove(0);
            assert_eq!(stage.template_hash, promotion.template_hash, "{folder}");
            n += 1;
        }
        assert_eq!(n, 5);
        let with_task = json!({ "stage": { "capture": "a/task-steps/stage.yaml" } });
        assert_eq!(super::stage(&with_task).unwrap().template_hash, None);
    }
}
