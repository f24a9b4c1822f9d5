//! The model of Kargo against what a running Kargo did: each story under `tests/cases/model/stories` tells a capture
//! again to the model and compares what an outside observer sees, each refusal of `f/responses.json` is asked for, and a
//! table says for every captured file whether the two agree, or why nobody compares them. What Kargo's webhooks make of
//! Freight, which few captures show, is compared with what those webhooks answered by themselves.

#![allow(clippy::print_stdout, reason = "the table is what the test is for, and is read by people")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use kargo_model::admission::{AdmissionRequest, Denial, Operation, User, mutate_freight, validate_freight};
use kargo_model::cluster::Refused;
use kargo_model::freight_name::freight_name;
use kargo_model::names::ALIAS;
use kargo_model::object::{at, label, list, name, namespace, put, text};
use kargo_model::{Cluster, Kind, ObjectKey, Outcome as StepOutcome, Script, World, merge};
use policy_tests::captured::{self, Pair};
use policy_tests::model_player;
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const KARGO: &str = "kargo.akuity.io/v1alpha1";
const RESPONSES: &str = "f/responses.json";

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/model")
}

fn told(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(cases().join(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

/// Captured files that no story compares, with the reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Uncompared {
    /// A path, or the end of several.
    file: String,
    reason: String,
}

#[test]
fn stories_show_what_a_running_kargo_showed() -> Outcome {
    let (mut failures, mut agreed) = (Vec::new(), BTreeMap::from([(RESPONSES.to_owned(), BTreeSet::new())]));
    let files = told("stories")?;
    for file in &files {
        let story = file.file_stem().and_then(|stem| stem.to_str()).context("a name")?.to_owned();
        match model_player::tell(file) {
            Ok(pairs) => {
                for pair in pairs {
                    agreed.entry(pair).or_insert_with(BTreeSet::new).insert(story.clone());
                }
            }
            Err(error) => failures.push(format!("{}: {error:#}", file.display())),
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of {} stories differ\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
    agreement(&agreed)
}

/// Rules that no capture shows, or not alone: switched-off flaws, time, what Kargo does when nothing happens.
#[test]
fn rules_hold_where_no_capture_shows_them() -> Outcome {
    let files = told("rules")?;
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| {
            model_player::tell(file).err().map(|error| format!("{}: {error:#}", file.display()))
        })
        .collect();
    ensure!(failures.is_empty() && !files.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Every captured file is compared or has its reason, and the table in `AGREEMENT.md` says so.
fn agreement(agreed: &BTreeMap<String, BTreeSet<String>>) -> Outcome {
    let uncompared: Vec<Uncompared> =
        serde_saphyr::from_str(&std::fs::read_to_string(cases().join("uncompared.yaml"))?)
            .map_err(|error| anyhow::anyhow!("cannot understand `uncompared.yaml`: {error}"))?;
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut whole, mut files, mut used) = (0, 0, BTreeSet::new());
    for file in captured_files()? {
        files += 1;
        let (folder, short) = file.rsplit_once('/').unwrap_or(("", &file));
        let reason = uncompared.iter().find(|one| file.ends_with(&one.file));
        let line = match (agreed.get(&file), reason) {
            (Some(stories), None) => {
                whole += 1;
                let told = if stories.is_empty() {
                    "each refusal is asked for".to_owned()
                } else {
                    stories.iter().map(|story| format!("`{story}`")).collect::<Vec<_>>().join(", ")
                };
                format!("{short} | {told}")
            }
            (None, Some(reason)) => {
                used.insert(&reason.file);
                format!("{short} | not compared: {}", reason.reason)
            }
            (None, None) => anyhow::bail!("no story compares `{file}`, and `uncompared.yaml` has no reason"),
            (Some(_), Some(_)) => anyhow::bail!("`{file}` is compared, and `uncompared.yaml` says why not"),
        };
        folders.entry(folder.to_owned()).or_default().push(line);
    }
    let idle: Vec<&String> =
        uncompared.iter().map(|one| &one.file).filter(|file| !used.contains(file)).collect();
    ensure!(idle.is_empty(), "`uncompared.yaml` speaks of files that do not exist: {idle:?}");
    let mut table = format!(
        "# Where the model of Kargo and a running Kargo agree\n\nWritten by the test `kargo_model`: `BLESS=1` writes it \
         again. Of {files} captured files {whole} are compared, in {} stories.\nNames, ids, times and what only an API \
         server writes are left out, and whether `currentPromotion` names its Freight,\nwhich depends on which of two \
         controllers was faster. Freight has the name that the model computes in all {} places\nwhere a capture shows it \
         whole.\n\n| Capture | File | Story, or \
         why not |\n|---|---|---|\n",
        told("stories")?.len(),
        names_agree()?
    );
    for (folder, lines) in folders {
        for line in lines {
            writeln!(table, "| `{folder}` | {line} |")?;
        }
    }
    let path = captured::scenarios().join("../AGREEMENT.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &table)?;
    }
    println!("{table}");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(kept == table, "`AGREEMENT.md` is not what this run found; help: run it with BLESS=1");
    Ok(())
}

/// How often a capture shows Freight with its artifacts; each has the name and the label that the model would give it.
fn names_agree() -> anyhow::Result<usize> {
    let mut n_shown = 0;
    for file in captured_files()? {
        let documents = if file.ends_with(".json") { Vec::new() } else { captured::capture(&file)? };
        for document in documents {
            let object = document.get("object").unwrap_or(&document);
            if text(object, &["kind"]) == "Freight" && !list(object, &["images"]).is_empty() {
                n_shown += 1;
                ensure!(freight_name(object) == name(object), "{file}: not `{}`", freight_name(object));
                let alias = text(object, &["alias"]);
                ensure!(label(object, ALIAS) == Some(alias), "{file}: the label is not `{alias}`");
            }
        }
    }
    Ok(n_shown)
}

fn captured_files() -> anyhow::Result<Vec<String>> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) -> Outcome {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                walk(&path, root, found)?;
            } else if path.extension().is_none_or(|extension| extension != "md") {
                found.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
            }
        }
        Ok(())
    }
    let (root, mut found) = (captured::scenarios(), Vec::new());
    walk(&root, &root, &mut found)?;
    found.sort();
    Ok(found)
}

/// A script may name any of the captured step failures; each gives the end that it shows.
#[test]
fn captured_step_failures_can_be_told_again() -> Outcome {
    let labels: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(captured::steps().join("labels.json"))?)?;
    for (folder, label) in &labels {
        let mut script = Script::new().step("prod", "", kargo_model::Attempts::Any, {
            ("deploy", StepOutcome::Captured(folder.clone()))
        });
        let path = captured::steps().join(folder).join("promotion.yaml");
        let promotion = captured::documents(&path)?.remove(0);
        script
            .resolve(|_, alias| StepOutcome::of_capture(&promotion, alias))
            .with_context(|| folder.clone())?;
        let outcome = script.step_outcome("prod", "x", 1, "deploy").context("a rule")?;
        let phase = match outcome {
            StepOutcome::Verbatim(verbatim) => verbatim.status.as_str(),
            StepOutcome::Succeed(_) => "Succeeded",
            StepOutcome::Wait => "Running",
            other => anyhow::bail!("{folder}: {other:?}"),
        };
        ensure!(label["sst"] == phase, "{folder}: {outcome:?}");
    }
    ensure!(labels.len() > 300, "only {} captures", labels.len());
    Ok(())
}

/// The requests of `f/responses.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Requests {
    objects: Vec<Value>,
    requests: BTreeMap<String, Request>,
    /// Captured responses that are nobody's here to give, with the reason.
    elsewhere: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    by: String,
    action: Action,
    #[serde(default)]
    without_promote: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    stage_deleted: bool,
    /// Whether the Freight was approved for the Stage before.
    #[serde(default)]
    approved: bool,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Action {
    Create,
    /// Patches the spec, or a label when there is none, of a Promotion that exists.
    Patch,
    Delete,
}

#[test]
fn refusals_read_as_a_running_kargo_wrote_them() -> Outcome {
    let path = captured::scenarios().join(RESPONSES);
    let captured: BTreeMap<String, Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let requests: Requests =
        serde_saphyr::from_str(&std::fs::read_to_string(cases().join("responses.yaml"))?)
            .map_err(|error| anyhow::anyhow!("cannot understand `responses.yaml`: {error}"))?;
    let covered: BTreeSet<&String> = requests.requests.keys().chain(requests.elsewhere.keys()).collect();
    ensure!(covered == captured.keys().collect(), "`responses.yaml` does not cover what was captured");
    for (case, request) in &requests.requests {
        let expected = captured.get(case).with_context(|| format!("no response `{case}` was captured"))?;
        let (code, body) = ask(&requests.objects, request).with_context(|| case.clone())?;
        ensure!(
            json!(code) == expected["httpStatus"],
            "{case}: {code} instead of {}",
            expected["httpStatus"]
        );
        let file = format!("{RESPONSES} {case}");
        captured::compare(&[Pair { file, captured: expected["body"].clone(), model: body }])?;
    }
    Ok(())
}

fn ask(objects: &[Value], request: &Request) -> anyhow::Result<(u16, Value)> {
    let mut cluster = Cluster::new("2026-11-23T06:31:45Z".parse()?, 2);
    objects.iter().cloned().for_each(|object| cluster.world.put(object));
    let namespace = request.namespace.as_deref().unwrap_or("shop-access");
    let promotion = json!({"apiVersion": KARGO, "kind": "Promotion",
        "metadata": {"namespace": namespace, "generateName": "p-"}, "spec": request.spec});
    let mut existing = promotion.clone();
    put(
        &mut existing,
        &["spec"],
        json!({"stage": "open", "freight": "bf95772b8c1b188c8e4b98a22366778f5be78404"}),
    );
    let key = match request.action {
        Action::Create => None,
        Action::Patch | Action::Delete => {
            ObjectKey::of(&cluster.create("system:serviceaccount:refloat-system:refloat", existing)?)
        }
    };
    if request.without_promote {
        cluster.without_promote.insert(request.by.clone());
    }
    if request.approved {
        let freight = ObjectKey::new(Kind::Freight, namespace, text(&request.spec, &["freight"]));
        let approval =
            json!({"approvedFor": {text(&request.spec, &["stage"]): {"approvedAt": "2026-11-23T06:31:45Z"}}});
        cluster.patch_status(&freight, &approval)?;
    }
    if request.stage_deleted {
        cluster.world.remove(&ObjectKey::new(Kind::Stage, namespace, "open"));
    }
    let result = match (&request.action, key) {
        (Action::Create, _) if request.dry_run => cluster.dry_run(&request.by, promotion),
        (Action::Create, _) => cluster.create(&request.by, promotion),
        (Action::Patch, Some(key)) => {
            let patch = match request.spec.is_null() {
                true => json!({"metadata": {"labels": {"changed": "yes"}}}),
                false => json!({"spec": request.spec}),
            };
            cluster.patch(&request.by, &key, &patch)
        }
        (Action::Delete, Some(key)) => cluster.delete(&request.by, &key).map(|()| Value::Null),
        (Action::Patch | Action::Delete, None) => anyhow::bail!("the Promotion was not created"),
    };
    Ok(match result {
        Ok(created) => {
            let annotations = at(&created, &["metadata", "annotations"]);
            (201, json!({"created": text(&created, &["metadata", "name"]), "annotations": annotations}))
        }
        Err(Refused::Status(status)) => (code_of(&status)?, status),
        Err(other) => return Err(other.into()),
    })
}

fn code_of(status: &Value) -> anyhow::Result<u16> {
    Ok(u16::try_from(at(status, &["code"]).and_then(Value::as_u64).unwrap_or_default())?)
}

/// What Kargo's webhooks for Freight were asked, and what they answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreightRequests {
    objects: Vec<Value>,
    requests: BTreeMap<String, FreightRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FreightRequest {
    /// A new piece.
    create: Option<Value>,
    /// Merged into the first piece.
    update: Option<Value>,
    /// Merged into its status.
    update_status: Option<Value>,
    /// It goes away.
    #[serde(default)]
    delete: bool,
    /// What is stored then.
    answer: Option<Value>,
    /// Or the refusal.
    refusal: Option<Value>,
}

#[test]
fn freight_is_named_and_refused_as_kargos_webhooks_do() -> Outcome {
    let asked: FreightRequests =
        serde_saphyr::from_str(&std::fs::read_to_string(cases().join("freight-requests.yaml"))?)
            .map_err(|error| anyhow::anyhow!("cannot understand `freight-requests.yaml`: {error}"))?;
    let mut world = World::new("2026-11-23T06:30:00Z".parse::<Timestamp>()?);
    asked.objects.iter().cloned().for_each(|object| world.put(object));
    let is_freight = |object: &&Value| text(object, &["kind"]) == "Freight";
    let first = asked.objects.iter().find(is_freight).context("a piece of Freight")?;
    for (case, request) in &asked.requests {
        let (answer, refusal) = match admitted(request, first, &world) {
            Ok(stored) => (Some(shown(&stored, request)), None),
            Err(denial) => {
                let status = denial.status();
                let of = |field: &str| status.get(field).cloned().unwrap_or_default();
                let [code, reason, message, details] = ["code", "reason", "message", "details"].map(of);
                let refusal = json!({"code": code, "reason": reason, "message": message, "details": details});
                (None, Some(refusal))
            }
        };
        // Freight that goes away is stored nowhere.
        ensure!(
            (request.delete || answer == request.answer) && refusal == request.refusal,
            "{case}: {answer:#?} {refusal:#?} instead of {:#?} {:#?}",
            request.answer,
            request.refusal
        );
    }
    Ok(())
}

/// What the webhooks make of a request about the first piece, or about a new one.
fn admitted(request: &FreightRequest, first: &Value, world: &World) -> Result<Value, Denial> {
    let mut object = request.create.clone().unwrap_or_else(|| first.clone());
    merge::apply(&mut object, request.update.as_ref().unwrap_or(&json!({})));
    if let Some(status) = &request.update_status {
        merge::apply(&mut object, &json!({"status": status}));
    }
    put(&mut object, &["apiVersion"], json!(KARGO));
    put(&mut object, &["kind"], json!("Freight"));
    let (operation, object, old_object) = match (&request.create, request.delete) {
        (Some(_), _) => (Operation::Create, object, Value::Null),
        (None, false) => (Operation::Update, object, first.clone()),
        (None, true) => (Operation::Delete, Value::Null, first.clone()),
    };
    let namespace = namespace(if object.is_null() { &old_object } else { &object }).to_owned();
    let mut review =
        AdmissionRequest { operation, user: User::named("alice@example.com"), namespace, object, old_object };
    if request.update_status.is_none() && !request.delete {
        review.object = mutate_freight(&review, world);
    }
    validate_freight(&review, world).map(|()| review.object)
}

/// What an answer says of the stored object.
fn shown(stored: &Value, request: &FreightRequest) -> Value {
    let alias = text(stored, &["alias"]);
    let is_invented = request.create.as_ref().is_some_and(|new| new.get("alias").is_none());
    let mut labels = at(stored, &["metadata", "labels"]).cloned().unwrap_or_else(|| json!({}));
    let mut shown = json!({"name": name(stored), "alias": at(stored, &["alias"]),
        "discoveredAt": text(stored, &["discoveredAt"])});
    if is_invented && label(stored, ALIAS) == Some(alias) && alias.contains('-') {
        put(&mut labels, &[ALIAS], json!("INVENTED"));
        put(&mut shown, &["alias"], json!("INVENTED"));
    }
    put(&mut shown, &["labels"], labels);
    shown
}
