//! What a controller process serves for Kubernetes and for monitoring: `/healthz`, `/readyz`, `/metrics`.
//!
//! In: real processes on a real API server, reached through a door that a test can close. Out: status codes and counts,
//! compared with what the API server's audit log says was asked of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context as _;
use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome as Step};
use policy_tests::apiserver::{self, ADMIN, ApiServer, NEWCOMER, REFLOAT, User};
use policy_tests::replica::Served;
use policy_tests::rights::{Grant, rule};
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay};
use policy_tests::until;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const RACE: &str = "error sending HTTP request: Post \"http://127.0.0.1:9/deploy\": dial tcp 127.0.0.1:9: connect: connection refused";

/// A way to the API server that can be closed: then nobody gets through, and whoever was through is cut off.
struct Door {
    is_open: Arc<AtomicBool>,
    n_turned_away: Arc<AtomicUsize>,
    kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

impl Door {
    /// A closed door, and a kubeconfig of `user` that leads through it.
    async fn closed(server: &ApiServer, user: &str) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(server.kubeconfig(user)?)?)?;
        let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default().to_owned();
        let inside = url.trim_start_matches("https://").to_owned();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", listener.local_addr()?));
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string())?;
        let door =
            Self { is_open: Arc::default(), n_turned_away: Arc::default(), kubeconfig, _folder: folder };
        let (is_open, n_turned_away) = (Arc::clone(&door.is_open), Arc::clone(&door.n_turned_away));
        tokio::spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                if !is_open.load(Ordering::Acquire) {
                    n_turned_away.fetch_add(1, Ordering::AcqRel);
                    continue;
                }
                let (is_open, inside) = (Arc::clone(&is_open), inside.clone());
                tokio::spawn(async move {
                    let Ok(mut inside) = tokio::net::TcpStream::connect(inside).await else { return };
                    let closes = until("the door closes", || async { Ok(!is_open.load(Ordering::Acquire)) });
                    tokio::select! {
                        biased;
                        _ = closes => {}
                        _ = tokio::io::copy_bidirectional(&mut outside, &mut inside) => {}
                    }
                });
            }
        });
        Ok(door)
    }

    fn set_open(&self, open: bool) {
        self.is_open.store(open, Ordering::Release);
    }

    /// Waits until somebody was turned away a few times more.
    async fn turns_away(&self) -> Outcome {
        let before = self.n_turned_away.load(Ordering::Acquire);
        let turned = || self.n_turned_away.load(Ordering::Acquire) >= before + 2;
        until("somebody comes to the closed door", || async { Ok(turned()) }).await
    }
}

#[tokio::test]
async fn a_replica_is_ready_while_it_can_work() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "probed", Script::new(), Setting::default()).await?;
    let door = Door::closed(server, REFLOAT).await?;
    let replica = play.replica_as(&door.kubeconfig, "one", &[])?;
    let served = Served::by(&replica).await?;
    door.turns_away().await?;
    assert_eq!(served.get("/readyz")?.0, 503, "there is no API server");
    assert_eq!(served.get("/healthz")?, (200, "ok\n".to_owned()));

    door.set_open(true);
    served.ready_is(200).await?;
    assert_eq!(served.metrics()?.get("refloat_leader"), Some(&1.0));

    // A second one does not lead, and could.
    let second = play.replica("two", &[])?;
    let standby = Served::by(&second).await?;
    standby.ready_is(200).await?;
    assert_eq!(standby.get("/healthz")?.0, 200);
    assert_eq!(standby.metrics()?.get("refloat_leader"), Some(&0.0));

    // Cut off, the leader is no leader any more and is not ready; the standby takes over.
    door.set_open(false);
    served.ready_is(503).await?;
    assert_eq!(served.metrics()?.get("refloat_leader"), Some(&0.0));
    assert_eq!(served.get("/healthz")?.0, 200, "restarting it would not help");
    until("the standby leads", || async { Ok(standby.metrics()?.get("refloat_leader") == Some(&1.0)) })
        .await?;
    standby.ready_is(200).await?;

    // Back again, it waits for the other one, and is ready to take over.
    door.set_open(true);
    served.ready_is(200).await?;
    assert_eq!(served.metrics()?.get("refloat_leader"), Some(&0.0));
    Ok(())
}

#[tokio::test]
async fn a_leader_is_not_ready_before_its_caches_are() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "probed-caches", Script::new(), Setting::default()).await?;
    let admin = server.client(ADMIN).await?;
    let grant = |name: &str, namespace: Option<&str>, rules| Grant {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        user: User::new(NEWCOMER),
        rules,
    };
    let leases = vec![rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])];
    grant("probed-caches-leases", Some("refloat-system"), leases).apply(&admin).await?;
    let mark = server.audit().mark()?;
    let replica = play.replica_as(server.kubeconfig(NEWCOMER)?, "one", &[])?;
    let served = Served::by(&replica).await?;
    until("its lists are refused", || async {
        Ok(!server.audit().since(mark)?.by_user(NEWCOMER).refused().is_empty())
    })
    .await?;
    assert_eq!(served.metrics()?.get("refloat_leader"), Some(&1.0));
    assert_eq!(served.get("/readyz")?.0, 503, "nothing can be read yet");

    let rules = vec![rule("*", &["*"], &["get", "list", "watch"])];
    grant("probed-caches-reads", None, rules).apply(&admin).await?;
    served.ready_is(200).await
}

/// Names and types are what dashboards and alerts are made of: a change of one is a change for people.
const TYPES: &[(&str, &str)] = &[
    ("refloat_decision_fuel", "histogram"),
    ("refloat_decision_seconds", "histogram"),
    ("refloat_decisions", "counter"),
    ("refloat_deliveries", "counter"),
    ("refloat_failures", "counter"),
    ("refloat_failures_ignored", "counter"),
    ("refloat_guest_faults", "counter"),
    ("refloat_incidents_closed", "counter"),
    ("refloat_leader", "gauge"),
    ("refloat_queue_length", "gauge"),
    ("refloat_record_bytes", "gauge"),
    ("refloat_requests", "counter"),
];

#[tokio::test]
async fn metrics_count_what_happened() -> Outcome {
    const PROJECT: &str = "metered";
    let server = apiserver::shared().await?;
    let script = Script::new().step(STAGE, NEW, Attempts::Only(1), ("deploy", Step::Error(RACE.to_owned())));
    let play = StagePlay::open(server, PROJECT, script, Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let settings = json!({"max": 2, "base": "10s", "give-up": "escalate"});
    let chain = json!([{"name": "retry", "builtin": "retry-transient", "settings": settings}]);
    play.policy("retry", &json!({"chain": chain, "limits": {"backoff": "10s"}})).await?;
    let replica = play.replica("one", &[])?;
    let served = Served::by(&replica).await?;
    play.condition("retry", "Accepted", "True").await?;
    play.promote(NEW).await?;
    play.closed().await?;

    let types = served.types()?;
    let unknown: Vec<_> =
        types.iter().filter(|(name, kind)| !TYPES.contains(&(name.as_str(), kind.as_str()))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // What never happened need not be shown.
    let happened = |name: &str| !["refloat_failures_ignored", "refloat_guest_faults"].contains(&name);
    for (name, _) in TYPES.iter().filter(|(name, _)| happened(name)) {
        assert!(types.contains_key(*name), "{name} is not in {types:#?}");
    }
    let seen =
        |name: &str, kind: &str| format!("refloat_{name}_total{{project=\"{PROJECT}\",kind=\"{kind}\"}}");
    let metrics = served.metrics()?;
    for (sample, count) in [
        (seen("failures", "promotion-errored"), 1.0),
        (seen("decisions", "enforce"), 1.0),
        (seen("deliveries", "retry"), 1.0),
        (seen("incidents_closed", "Recovered"), 1.0),
        ("refloat_decision_seconds_count".to_owned(), 1.0),
        ("refloat_decision_fuel_count".to_owned(), 1.0),
    ] {
        assert_eq!(metrics.get(&sample), Some(&count), "{sample}: {metrics:#?}");
    }
    let faults = metrics.keys().filter(|name| name.starts_with("refloat_guest_faults_total"));
    assert_eq!(faults.count(), 0);
    requests_are_counted(&play, &served).await
}

/// The replica's count of its requests is the audit log's.
async fn requests_are_counted(play: &StagePlay<'_>, served: &Served) -> Outcome {
    let account = format!("system:serviceaccount:{}:refloat", play.project);
    let of = |verb: &str, resource: &str| {
        format!("refloat_requests_total{{verb=\"{verb}\",resource=\"{resource}\"}}")
    };
    let asked = || -> anyhow::Result<Vec<(String, usize)>> {
        let own = play.audit()?.by_user(REFLOAT);
        let promotions = own.as_actor(&account).resource("promotions");
        let ours = |verb: &str, resource: &str| own.resource(resource).verb(verb).len();
        Ok(vec![
            (of("create", "promotions"), promotions.writes().verb("create").len()),
            (of("dry-run", "promotions"), promotions.dry_runs().len()),
            (of("create", "incidents"), ours("create", "incidents")),
            (of("update", "incidents"), ours("update", "incidents")),
            (of("create", "decisionrecords"), ours("create", "decisionrecords")),
        ])
    };
    let counted = |asked: &[(String, usize)]| -> anyhow::Result<Vec<(String, String)>> {
        let metrics = served.metrics()?;
        let count = |name: &String| metrics.get(name).map(f64::to_string).unwrap_or_default();
        Ok(asked.iter().map(|(name, _)| (name.clone(), count(name))).collect())
    };
    // A line of the audit log may be written a moment after its answer.
    let agreed = until("the audit log and the metrics agree", || async {
        let asked = asked()?;
        let expected: Vec<_> = asked.iter().map(|(name, n)| (name.clone(), n.to_string())).collect();
        Ok(asked.iter().all(|(_, n)| *n > 0) && counted(&asked)? == expected)
    })
    .await;
    let asked = asked()?;
    agreed.with_context(|| format!("asked {asked:#?}, counted {:#?}", counted(&asked)))
}
