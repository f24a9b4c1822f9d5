//! The API server in memory against the real one: `tests/cases/api/script.yaml` is sent to both, step by step, and both
//! must answer with the same code and the same body. The real server is the truth.
//! Masked are what the servers draw or count for themselves: uids, versions, times, generated names, managed fields.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use kube_memory::{Rbac, Resource};
use policy_tests::apiserver::{self, ADMIN, ALICE, IMPERSONATOR, MALLORY, User};
use policy_tests::rights::{Grant, rule};
use policy_tests::until;
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    /// Beginnings of paths, by the name that stands for them.
    paths: BTreeMap<String, String>,
    /// Only there to be referred to.
    #[serde(rename = "objects")]
    _objects: Value,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    #[serde(default = "admin", rename = "as")]
    user: String,
    impersonate: Option<String>,
    /// Method and path.
    send: String,
    #[serde(default = "json_type", rename = "type")]
    content_type: String,
    accept: Option<String>,
    body: Option<Value>,
    text: Option<String>,
    code: u16,
    #[serde(default)]
    keep: BTreeMap<String, String>,
    #[serde(default)]
    same: BTreeMap<String, String>,
}

fn admin() -> String {
    ADMIN.to_owned()
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// One of the two servers, with what steps have kept of its answers.
struct Side {
    clients: BTreeMap<&'static str, Client>,
    kept: BTreeMap<String, String>,
}

/// An answer: its code, and its body as JSON, as a list of lines of JSON, or as a text.
#[derive(Debug)]
struct Answered {
    code: u16,
    body: Value,
}

impl Side {
    fn new(clients: BTreeMap<&'static str, Client>, paths: &BTreeMap<String, String>) -> Self {
        Self { clients, kept: paths.clone() }
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    async fn send(&mut self, step: &Step) -> anyhow::Result<Answered> {
        let (method, path) = step.send.split_once(' ').context("`send` is a method and a path")?;
        let body = match (&step.body, &step.text) {
            (Some(body), None) => self.filled(&body.to_string()),
            (None, Some(text)) => text.clone(),
            _ => String::new(),
        };
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(self.filled(path))
            .header("content-type", &step.content_type);
        if let Some(accept) = &step.accept {
            request = request.header("accept", accept);
        }
        if let Some(user) = &step.impersonate {
            request = request.header("impersonate-user", user);
        }
        let client = self.clients.get(step.user.as_str()).context("nobody is called that")?;
        let response = client.send(request.body(Body::from(body.into_bytes()))?).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await?;
        let text = String::from_utf8(bytes.to_vec())?;
        let answered = Answered { code, body: read(&text, path) };
        self.remember(step, &answered.body)?;
        Ok(answered)
    }

    /// A server answers the first lists of a new kind with 429 until it has read what there is.
    async fn wait_until_served(&self) -> Outcome {
        let admin = self.clients.get(ADMIN).context("admin is always there")?;
        for kind in kinds() {
            let uri = format!("/apis/{}/{}", kind.api_version(), kind.plural);
            until(&format!("`{}` are served", kind.plural), || async {
                Ok(admin.request::<Value>(Request::get(&uri).body(Vec::new())?).await.is_ok())
            })
            .await?;
        }
        Ok(())
    }

    fn remember(&mut self, step: &Step, body: &Value) -> Outcome {
        let at = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        for (name, pointer) in &step.same {
            let kept = self.kept.get(name).map(String::as_str).unwrap_or_default();
            ensure!(at(pointer) == kept, "`{pointer}` was `{kept}` and is `{}`", at(pointer));
        }
        for (name, pointer) in &step.keep {
            ensure!(!at(pointer).is_empty(), "there is no `{pointer}` to keep in {body:#}");
            self.kept.insert(name.clone(), at(pointer).to_owned());
        }
        Ok(())
    }
}

fn read(text: &str, path: &str) -> Value {
    let whole = parsed(text);
    let is_status = whole.get("kind").is_some_and(|kind| kind == "Status");
    let is_watch = path.contains("watch=true") && !is_status;
    if is_watch { text.lines().map(parsed).filter(|line| !is_passing(line)).collect() } else { whole }
}

/// A bookmark that only says how far the server has come: what else is written to it meanwhile decides whether it comes.
fn is_passing(line: &Value) -> bool {
    line["type"] == "BOOKMARK" && line.pointer("/object/metadata/annotations").is_none()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// What the servers draw or count for themselves, replaced by words.
fn mask(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.iter_mut().for_each(|(key, value)| mask(value, key));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, key)),
        Value::String(text) => {
            let masked = match key {
                "resourceVersion" | "continue" if !text.is_empty() => format!("[{key}]"),
                "uid" if text.len() == 36 => "[uid]".to_owned(),
                "creationTimestamp" | "deletionTimestamp" => "[time]".to_owned(),
                "name" if text.starts_with("made-") => "made-[suffix]".to_owned(),
                "message" => mask_words(text),
                _ => return,
            };
            *value = masked.into();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Uids, and the versions of messages that name some.
fn mask_words(message: &str) -> String {
    let has_versions = message.contains("esource version") || message.contains("ResourceVersion in record");
    let masked = message.split(' ').map(|word| {
        let core = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let is_uid = core.len() == 36 && core.bytes().filter(|byte| *byte == b'-').count() == 4;
        let is_version = has_versions && !core.is_empty() && core.bytes().all(|byte| byte.is_ascii_digit());
        match (is_uid, is_version) {
            (true, _) => word.replace(core, "[uid]"),
            (_, true) => word.replace(core, "[version]"),
            (false, false) => word.to_owned(),
        }
    });
    masked.collect::<Vec<_>>().join(" ")
}

/// Both answers and the step, when they differ; nothing else.
fn difference(
    step: &Step,
    memory: &anyhow::Result<Answered>,
    real: &anyhow::Result<Answered>,
) -> Option<String> {
    let shown = |answered: &anyhow::Result<Answered>| match answered {
        Ok(answered) => {
            let mut body = answered.body.clone();
            mask(&mut body, "");
            format!("{}\n{body:#}", answered.code)
        }
        Err(error) => format!("{error:#}"),
    };
    let (in_memory, in_reality) = (shown(memory), shown(real));
    let is_expected = matches!(real, Ok(answered) if answered.code == step.code);
    (in_memory != in_reality || !is_expected).then(|| {
        let Step { name, send, code, .. } = step;
        let lines = similar::TextDiff::from_lines(&in_reality, &in_memory);
        let lines = lines.unified_diff().context_radius(40).to_string();
        format!("{name} ({send}, expected {code}): - real, + memory\n{in_reality}\n{lines}")
    })
}

fn kinds() -> Vec<Resource> {
    let kargo = |kind, plural| Resource::custom("kargo.akuity.io", "v1alpha1", kind, plural).with_status();
    vec![
        kargo("Stage", "stages"),
        kargo("Warehouse", "warehouses"),
        Resource::custom("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns"),
    ]
}

fn user_in_memory(name: &str) -> kube_memory::User {
    if name == ADMIN { kube_memory::User::admin() } else { kube_memory::User::new(name) }
}

async fn sides(paths: &BTreeMap<String, String>) -> anyhow::Result<[Side; 2]> {
    let users = [ADMIN, ALICE, MALLORY, IMPERSONATOR];
    let memory = kube_memory::ApiServer::new(7, jiff::Timestamp::now, kinds());
    memory.set_authorizer(Rbac);
    let in_memory = users.map(|user| (user, memory.client(&user_in_memory(user)))).into();
    let server = apiserver::shared().await?;
    let mut in_reality = BTreeMap::new();
    for user in users {
        in_reality.insert(user, server.client(user).await?);
    }
    Ok([Side::new(in_memory, paths), Side::new(in_reality, paths)])
}

/// The rights that the steps on rights speak of, the same on both sides.
async fn grant(admin: &Client) -> Outcome {
    let account = "system:serviceaccount:api-script:refloat";
    let mut impersonate = rule("", &["serviceaccounts"], &["impersonate"]);
    impersonate.resource_names = Some(vec!["refloat".to_owned()]);
    let rules = [
        ("api-script-reader", ALICE, rule("kargo.akuity.io", &["stages"], &["get", "patch"])),
        ("api-script-impersonator", IMPERSONATOR, impersonate),
        ("api-script-account", account, rule("kargo.akuity.io", &["stages"], &["create", "promote"])),
    ];
    for (name, user, rule) in rules {
        let namespace = Some("api-script".to_owned());
        let grant = Grant { name: name.to_owned(), namespace, user: User::new(user), rules: vec![rule] };
        grant.apply(admin).await?;
    }
    Ok(())
}

#[tokio::test]
async fn both_servers_give_the_same_answers() -> Outcome {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/api/script.yaml");
    let text = std::fs::read_to_string(&file)?;
    let options = serde_saphyr::options! { strict_booleans: true };
    let script: Script = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    ensure!(script.steps.len() >= 60, "only {} steps: the script cannot be whole", script.steps.len());
    let [mut memory, mut real] = sides(&script.paths).await?;
    real.wait_until_served().await?;
    let mut differences = Vec::new();
    for (number, step) in script.steps.iter().enumerate() {
        if number == 1 {
            // Roles need the namespace, which the first step makes.
            for side in [&memory, &real] {
                grant(side.clients.get(ADMIN).context("admin is always there")?).await?;
            }
        }
        let (in_memory, in_reality) = tokio::join!(memory.send(step), real.send(step));
        differences.extend(difference(step, &in_memory, &in_reality));
    }
    ensure!(
        differences.is_empty(),
        "{} of {} steps differ\n\n{}",
        differences.len(),
        script.steps.len(),
        differences.join("\n\n")
    );
    Ok(())
}

#[test]
fn masks_hide_only_what_servers_draw_or_count() {
    let mut value = json!({"metadata": {"name": "made-x7k2p", "uid": "1c4deac3-b83e-4bc0-8f13-94b386169345",
        "resourceVersion": "12", "managedFields": []}, "spec": {"uid": "mine", "name": "web"},
        "message": "too old resource version: 1 (5); at 3 of \"1c4deac3-b83e-4bc0-8f13-94b386169345\""});
    mask(&mut value, "");
    let expected = json!({"metadata": {"name": "made-[suffix]", "uid": "[uid]", "resourceVersion": "[resourceVersion]"},
        "spec": {"uid": "mine", "name": "web"},
        "message": "too old resource version: [version] ([version]); at [version] of \"[uid]\""});
    assert_eq!(value, expected);
}
