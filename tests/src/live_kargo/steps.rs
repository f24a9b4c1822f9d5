//! Steps of a real Kargo that end as a script says: each is an `http` step that asks this server on loopback.
//!
//! In: the Directors of Projects, requests of Kargo. Out: answers by which a step succeeds, fails with the script's text,
//! goes on, stalls, or errs. An `http` step cannot err with a text of our choice but one: a redirect whose target is no
//! address is quoted in the error (`error sending HTTP request: Get "…": failed to parse Location header "…"`), so the
//! class that Refloat reads from it is the text's. It must not decide how anything ends: that is the script's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use kargo_model::outcome::{After, Pace};
use kargo_model::promotion::attempt_number;
use kargo_model::{Kind, ObjectKey, Outcome, World};
use kube::api::ListParams;
use kube::{Client, Config};
use serde_json::{Value, json};
use simulator::Scenario;
use simulator::kargo::{Director, api, typed};
use simulator::scenario::StageSpec;
use tokio::sync::OnceCell;

/// An answer that no rule of Refloat knows, so that a step which fails on purpose is no more than that.
const REFUSED: u16 = 418;

/// The running server. It ends with the test process.
#[derive(Clone)]
pub(crate) struct Steps(Arc<Shared>);

struct Shared {
    address: std::net::SocketAddr,
    config: Config,
    /// A client belongs to the runtime that it was made in, which is the server's.
    client: OnceCell<Client>,
    directors: Mutex<BTreeMap<String, Arc<Director>>>,
    begun: Mutex<BTreeMap<(String, String), Begun>>,
}

/// A step of one Promotion that has been asked about.
#[derive(Clone, Copy)]
struct Begun {
    at: Instant,
    n_errors: u32,
}

enum Reply {
    Succeed,
    Fail { code: u16, text: String },
    Err(String),
    Run,
    Stall,
}

impl Steps {
    /// Serves on a free port. It asks the API server as `config` says.
    pub(crate) fn serve(config: Config) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            config,
            client: OnceCell::new(),
            directors: Mutex::default(),
            begun: Mutex::default(),
        });
        let app = axum::Router::new()
            .route("/steps/{project}/{alias}/{promotion}", get(step))
            // Kargo looks for clouds that could give it credentials: this one has none.
            .fallback(|| async { "{}" })
            .with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("steps".to_owned()).spawn(move || {
            // How it ended is visible to Kargo.
            let _ = runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::from_std(listener)?, app.into_make_service()).await
            });
        })?;
        Ok(Self(shared))
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.0.address.to_string()
    }

    /// From now on steps of that Project end as `director` says.
    pub(crate) fn direct(&self, project: &str, director: Arc<Director>) {
        let mut directors = self.0.directors.lock().unwrap_or_else(PoisonError::into_inner);
        directors.insert(project.to_owned(), director);
    }

    /// The steps of a Stage as Kargo is to have them: each asks this server, under its alias.
    pub(crate) fn of_stage(&self, scenario: &Scenario, stage: &StageSpec) -> Vec<Value> {
        let project = &scenario.world.project;
        let steps = stage.steps.iter().map(|step| {
            let mut value = json!({"as": step.alias, "uses": "http"});
            for (field, more) in &step.more {
                value[field] = more.clone();
            }
            let url =
                format!("http://{}/steps/{project}/{}/${{{{ ctx.promotion }}}}", self.0.address, step.alias);
            value["config"] = json!({"url": url, "timeout": "5m"});
            // Without expressions, and only then, an answer that is no success stalls the step.
            if !stalls(scenario, &stage.name, &step.alias) {
                value["config"]["successExpression"] = json!("response.body.ends == 'well'");
                value["config"]["failureExpression"] = json!("response.body.ends == 'badly'");
                value["config"]["errorExpression"] = json!("response.body.text");
                value["config"]["pollInterval"] = json!("10s");
            }
            value
        });
        steps.collect()
    }
}

fn stalls(scenario: &Scenario, stage: &str, alias: &str) -> bool {
    let rules = scenario.script.promotions.iter().filter(|rule| rule.stage.is_empty() || rule.stage == stage);
    rules.filter_map(|rule| rule.steps.get(alias)).any(|outcome| *outcome == Outcome::Stall)
}

async fn step(
    State(shared): State<Arc<Shared>>,
    Path((project, alias, promotion)): Path<(String, String, String)>,
) -> Result<Response<Body>, (StatusCode, String)> {
    let failed = |text: String| (StatusCode::INTERNAL_SERVER_ERROR, text);
    let outcome = shared.outcome(&project, &alias, &promotion).await;
    let outcome = outcome.map_err(|error| failed(format!("{error:#}")))?;
    let key = (promotion, alias);
    let (elapsed, n_errors) = {
        let mut begun = shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = begun.entry(key.clone()).or_insert(Begun { at: Instant::now(), n_errors: 0 });
        (begun.at.elapsed(), begun.n_errors)
    };
    let (reply, hold) = reply(&outcome, elapsed, n_errors);
    tokio::time::sleep(hold).await;
    if matches!(reply, Reply::Err(_)) {
        let mut begun = shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.entry(key).and_modify(|begun| begun.n_errors += 1);
    }
    response(reply).map_err(|error| failed(error.to_string()))
}

impl Shared {
    /// What the script says of this Promotion's step; success when it says nothing.
    async fn outcome(&self, project: &str, alias: &str, promotion: &str) -> anyhow::Result<Outcome> {
        let director = self.directors.lock().unwrap_or_else(PoisonError::into_inner).get(project).cloned();
        let director = director.context("a Project that nobody directs")?;
        let client = self.client.get_or_try_init(|| async { Client::try_from(self.config.clone()) }).await?;
        let mut world = World::new(jiff::Timestamp::now());
        for found in api(client, Kind::Promotion, project).list(&ListParams::default()).await? {
            world.put(typed(Kind::Promotion, &found)?);
        }
        let key = ObjectKey::new(Kind::Promotion, project, promotion);
        let this = world.find(&key).context("a Promotion that is not there")?;
        let text = |pointer| this.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (stage, freight) = (text("/spec/stage"), text("/spec/freight"));
        let script = director.script();
        let scripted = script.step_outcome(stage, freight, attempt_number(&world, this), alias);
        Ok(scripted.cloned().unwrap_or_else(|| Outcome::Succeed(serde_json::Map::new())))
    }
}

/// The answer now, and how long to keep Kargo waiting for it.
fn reply(outcome: &Outcome, elapsed: Duration, n_errors: u32) -> (Reply, Duration) {
    let now = |reply| (reply, Duration::ZERO);
    match outcome {
        Outcome::Succeed(_) => now(Reply::Succeed),
        Outcome::Fail(text) => now(Reply::Fail { code: REFUSED, text: text.clone() }),
        Outcome::Reject(rejection) => {
            now(Reply::Fail { code: rejection.code, text: rejection.message.clone() })
        }
        Outcome::Error(text) => now(Reply::Err(text.clone())),
        Outcome::ErrorFirst(first) if n_errors < first.times => now(Reply::Err(first.message.clone())),
        Outcome::ErrorFirst(first) => reply(&first.then, elapsed, n_errors),
        Outcome::Wait => now(Reply::Run),
        Outcome::Stall => now(Reply::Stall),
        Outcome::After(after) => later(after, elapsed, n_errors),
        Outcome::Unrecoverable(_)
        | Outcome::Misconfigured(_)
        | Outcome::BadCondition(_)
        | Outcome::Verbatim(_)
        | Outcome::Captured(_) => {
            let text = "the test cannot let a step of a real Kargo end like that".to_owned();
            now(Reply::Fail { code: REFUSED, text })
        }
    }
}

fn later(after: &After, elapsed: Duration, n_errors: u32) -> (Reply, Duration) {
    let takes = after.duration().unsigned_abs();
    let rest = takes.saturating_sub(elapsed);
    match after.pace {
        _ if rest.is_zero() => reply(&after.then, elapsed.saturating_sub(takes), n_errors),
        Pace::Polling => (Reply::Run, Duration::ZERO),
        Pace::Stalling => (Reply::Stall, Duration::ZERO),
        Pace::Request => (reply(&after.then, Duration::ZERO, n_errors).0, rest),
    }
}

fn response(reply: Reply) -> Result<Response<Body>, axum::http::Error> {
    let answer = |code: u16, body: Value| {
        let response = Response::builder().status(code).header("Content-Type", "application/json");
        response.body(Body::from(body.to_string()))
    };
    match reply {
        Reply::Succeed => answer(200, json!({"ends": "well"})),
        Reply::Fail { code, text } => answer(code, json!({"ends": "badly", "text": text})),
        Reply::Run => answer(200, json!({"ends": "later"})),
        Reply::Stall => answer(500, json!({})),
        // A colon is where no address begins; a header has one line.
        Reply::Err(text) => {
            let target = format!(": {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
            Response::builder().status(302).header("Location", target).body(Body::empty())
        }
    }
}
