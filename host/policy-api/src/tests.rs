//! Generated files are current, every bound is there, and objects survive the way to the core and back.

use std::path::{Path, PathBuf};

use policy_core::context::{Context, Mode, Outcome, PastDecision};
use policy_core::decision::{Action, ActionKind, Decision, OnError, Operation};
use policy_core::failure::{Class, Failure, Trigger, UserAbort};
use policy_core::guardrails::Seen;
use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use policy_core::incident::{AskedRefresh, Attempt, Closed, IncidentState, Pending, Resolution, Timer};
use policy_core::time::Timestamp;
use policy_core::write::{ActionVerdict, HoldExpectation, Verdict, Write};
use serde_json::{Value, json};

use crate::convert;
use crate::crd::decision_record::{EntryRecord, Said};
use crate::record::Record;

#[track_caller]
fn check_generated(name: &str, text: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is not current; run the tests with BLESS=1 and read the diff", path.display());
}

#[test]
fn definitions_are_current() {
    for crd in crate::crds() {
        let name = crd.metadata.name.clone().expect("a name");
        check_generated(&format!("crds/{name}.yaml"), &crate::yaml::document(&crd));
    }
}

#[test]
fn install_manifest_is_current() {
    check_generated("install.yaml", &crate::install::yaml(&crate::install::Install::default()));
}

#[test]
fn what_enable_prints_is_current() {
    let enable = crate::rights::Enable {
        project: "shop".into(),
        stages: vec!["prod-eu".into(), "prod.us".into()],
        account: crate::rights::DEFAULT_ACCOUNT.to_owned(),
    };
    check_generated("examples/enable.yaml", &crate::rights::enable_yaml(&enable));
}

#[test]
fn everything_has_a_bound() {
    for crd in crate::crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("JSON");
        unbounded(&schema["openAPIV3Schema"], &crd.spec.names.kind);
    }
}

#[track_caller]
fn unbounded(schema: &Value, path: &str) {
    match schema["type"].as_str() {
        Some("string") => {
            let bounded = ["maxLength", "enum", "format"].iter().any(|key| !schema[key].is_null());
            assert!(bounded, "{path} has no bound");
        }
        Some("array") => assert!(!schema["maxItems"].is_null(), "{path} has no bound"),
        Some("object") if !schema["additionalProperties"].is_null() => {
            assert!(!schema["maxProperties"].is_null(), "{path} has no bound");
        }
        _ => {}
    }
    let documented = !schema["description"].is_null() || path.ends_with("[]") || path.ends_with("metadata");
    assert!(documented || path.ends_with('*'), "{path} has no description");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        unbounded(property, &format!("{path}.{name}"));
    }
    if schema["items"].is_object() {
        unbounded(&schema["items"], &format!("{path}[]"));
    }
    if schema["additionalProperties"].is_object() {
        unbounded(&schema["additionalProperties"], &format!("{path}.*"));
    }
}

fn failure(id: &str) -> Failure {
    Failure {
        id: id.into(),
        trigger: Trigger::VerificationFailed,
        project: "shop".into(),
        stage: "prod".into(),
        stage_uid: Some("stage-uid".into()),
        promotion: Some("prod.01".into()),
        promotion_uid: None,
        verification: Some("vi".into()),
        at: Timestamp(1_790_000_000),
        user_abort: Some(UserAbort { actor: None }),
        summary: "it failed".to_owned(),
    }
}

fn incident() -> IncidentState {
    let mut state = IncidentState::open("prod-0123456789".into(), failure("a"), Timestamp(1_790_000_010));
    state.current = failure("b");
    state.attempts.push(Attempt {
        number: 1,
        kind: ActionKind::Custom("page".to_owned()),
        freight: Some("f".into()),
        origin: Some("Warehouse/web".into()),
        claimed: Timestamp(1_790_000_020),
        promotion: None,
        reason: "because".to_owned(),
        record: "prod-record".to_owned(),
        send_before: Timestamp(1_790_000_030),
        n_claims: 2,
        expect: HoldExpectation::MustNotResume,
        outcome: Outcome::Postponed("G4".to_owned()),
    });
    state.decided = Some("b".into());
    state.n_decisions = 7;
    state.pending = Some(Pending {
        at: Timestamp(1_790_000_040),
        action: Action {
            id: "a1".to_owned(),
            reason: "because".to_owned(),
            on_error: OnError::Continue,
            operation: Operation::Retry { delay_seconds: 30 },
        },
        record: "prod-record".to_owned(),
        seen: Seen { last_promotion: Some("p".into()), collection: Some("c".to_owned()), verification: None },
    });
    state.timer =
        Some(Timer { at: Timestamp(1_790_000_050), cause: "the queue".to_owned(), by_policy: true });
    state.decisions.push(PastDecision {
        at_unix_seconds: Timestamp(1_790_000_011),
        trigger: Trigger::Timer,
        class: Class::MergeConflict,
        actions: vec![(ActionKind::HandOff, Outcome::Refused("unsupported-here".to_owned()))],
    });
    state.sent.push("key".to_owned());
    state.states = vec![None, Some(String::new()), Some("x".to_owned())];
    state.refresh =
        Some(AskedRefresh { at: Timestamp(1_790_000_060), token: "refloat-prod-0123456789".to_owned() });
    state.closed = Some(Closed {
        at: Timestamp(u32::MAX),
        resolution: Resolution::HandedOff,
        reason: "Person".to_owned(),
        message: "somebody has it".to_owned(),
    });
    state
}

#[test]
fn an_incident_survives_the_way_through_its_object() {
    let state = incident();
    let object = convert::incident(&state, None);
    let text = serde_json::to_string(&object).expect("JSON");
    let read = serde_json::from_str(&text).expect("an Incident");
    assert_eq!(convert::incident_state(&read), Ok(state));
}

#[test]
fn writing_a_state_keeps_what_only_the_object_knows() {
    let mut state = incident();
    let mut status = convert::incident(&state, None).status.expect("a status");
    status.attempts[0].message = "what Kargo said".to_owned();
    state.attempts[0].outcome = Outcome::Succeeded;
    convert::apply(&mut status, &state);
    assert_eq!(status.attempts[0].message, "what Kargo said");
    assert_eq!(status.attempts[0].outcome, "succeeded");
}

#[test]
fn a_case_of_a_newer_version_is_named() {
    let mut object = convert::incident(&incident(), None);
    object.spec.failure.trigger = "solar-flare".to_owned();
    let error = convert::incident_state(&object).expect_err("unknown");
    let text = "`Incident shop/prod-0123456789` says `solar-flare` in `failure.trigger`, which this version does not know";
    assert_eq!(error.to_string(), text);
}

fn context(filler: &str) -> Context {
    serde_json::from_value(json!({
        "nowUnixSeconds": 1_790_000_000,
        "failure": {"id": "a", "trigger": "promotion-failed", "atUnixSeconds": 1_790_000_000, "summary": filler},
        "classification": policy_core::failure::Classification::unknown(),
        "incident": {"id": "i", "openedUnixSeconds": 1_790_000_000},
        "budgets": {"retriesLeft": 3, "rollbacksLeft": 1, "deliveriesLeft": 6},
        "project": {"name": "shop"},
        "stage": {"name": "prod", "health": "unknown"},
        "capabilities": ["retry"],
    }))
    .expect("a context")
}

fn record(context: Context) -> Record {
    let settings = policy_core::settings::Settings { values: Vec::new(), json: "{\"x\":1}".to_owned() };
    Record {
        incident: "prod-0123456789".into(),
        number: 1,
        mode: Mode::Suggest,
        engine_id: "wasmtime 48.0.8".to_owned(),
        context: Some(context),
        entries: vec![EntryRecord {
            name: "retry".to_owned(),
            settings: serde_json::to_string(&settings).expect("JSON"),
            state: Some("s".to_owned()),
            said: Said::Decision,
            fuel: "123".to_owned(),
            ..EntryRecord::default()
        }],
        decision: Some(Decision { explanation: "again".to_owned(), ..Decision::default() }),
        fault: Some((
            "retry".to_owned(),
            GuestFault {
                kind: GuestFaultKind::OutOfFuel,
                message: "no fuel".to_owned(),
                reproducible: true,
                log: vec!["line".to_owned()],
            },
        )),
        verdicts: vec![ActionVerdict {
            action: "a1".to_owned(),
            kind: ActionKind::Retry,
            verdict: Verdict::Postpone { until: Timestamp(9), because: "backoff".to_owned() },
            by: vec![(
                "G4".to_owned(),
                Verdict::Postpone { until: Timestamp(9), because: "backoff".to_owned() },
            )],
        }],
        writes: vec![Write::CreatePromotion {
            stage: "prod".into(),
            freight: "f".into(),
            origin: None,
            kind: ActionKind::Retry,
            not_before: Timestamp(9),
            expect: HoldExpectation::MustNotResume,
        }],
        truncated: Vec::new(),
    }
}

#[test]
fn a_record_survives_the_way_through_a_file() {
    let record = record(context(""));
    let object = record.to_object();
    assert_eq!(object.metadata.namespace.as_deref(), Some("shop"));
    for text in [crate::yaml::document(&object), serde_json::to_string(&object).expect("JSON")] {
        let read = Record::from_text(&text).expect("a record");
        assert_eq!(read, record);
        assert_eq!(read.to_object(), object);
        let seen = read.context_of(&read.entries[0]).expect("a context");
        assert_eq!((seen.state.as_deref(), seen.settings.json.as_str()), (Some("s"), "{\"x\":1}"));
    }
}

#[test]
fn a_context_that_does_not_fit_is_left_out_and_marked() {
    // Digits of a hash do not compress below half their length.
    let mut filler = String::new();
    for number in 0..4000_u32 {
        filler.push_str(crate::record::context_digest(&context(&number.to_string())).as_str());
    }
    let object = record(context(&filler)).to_object();
    assert!(object.spec.context_gz.is_empty());
    assert_eq!(object.spec.truncated, ["context"]);
    assert_eq!(object.spec.context_digest, crate::record::context_digest(&context(&filler)));
    assert_eq!(Record::from_object(&object).expect("readable").context, None);
}

#[test]
fn a_changed_context_is_noticed() {
    let mut object = record(context("")).to_object();
    object.spec.context_gz = record(context("other")).to_object().spec.context_gz;
    let text = Record::from_object(&object).expect_err("not the same").to_string();
    assert!(text.starts_with("the context in the DecisionRecord has digest `sha256:"), "{text}");
    let text = Record::from_text("kind: Stage").expect_err("no record").to_string();
    assert_eq!(text, "`kind` of the DecisionRecord is not what this version can read");
}

#[test]
fn a_policy_narrows_the_triggers_that_its_modules_want() {
    use policy_core::failure::Trigger::{Manual, PromotionErrored, PromotionFailed, VerificationFailed};
    let body = |triggers: &[&str]| crate::crd::policy_body::PolicyBody {
        triggers: triggers.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    let wanted = [PromotionFailed, VerificationFailed];
    let cases: [(&[&str], &[_], &[_]); 4] = [
        (&[], &wanted, &wanted),
        (&["verification-failed", "promotion-errored"], &wanted, &[VerificationFailed]),
        (&["promotion-errored"], &[], &[PromotionErrored]),
        (&["promotion-errored"], &wanted, &[Manual]),
    ];
    for (named, wanted, expected) in cases {
        assert_eq!(crate::select::triggers(&body(named), wanted), expected, "{named:?}");
    }
}
