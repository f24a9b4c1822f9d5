//! Cases about the shapes of Kubernetes objects: which policy rules, what is acceptable, what is sent, what is refused.
//!
//! In: a case file as a value. Out: what the functions of `policy-api` say, as a value to compare with `expect`.
//! Run kinds: `precedence`, `accept`, `adapter-request`, `adapter-refusal`, `adapter-answer`, `missing-verbs`.

use policy_api::accept::{self, Author, Module};
use policy_api::adapter::{self, v1_11};
use policy_api::crd::{ClusterFailurePolicy, FailurePolicy};
use policy_api::{rights, select};
use policy_core::snapshot::{ProjectSnapshot, StageSnapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Runs a case of the given kind: `None` when the kind is not one of this file.
pub fn run(kind: &str, case: &Value) -> Option<Result<Value, String>> {
    Some(match kind {
        "precedence" => precedence(case),
        "accept" => acceptance(case),
        "adapter-request" => request(case),
        "adapter-refusal" => refusal(case),
        "adapter-answer" => answer(case),
        "missing-verbs" => missing_verbs(case),
        _ => return None,
    })
}

fn read<T: DeserializeOwned>(case: &Value, key: &str) -> Result<T, String> {
    let value = case.get(key).cloned().ok_or_else(|| format!("no `{key}:`"))?;
    serde_json::from_value(value).map_err(|error| format!("`{key}`: {error}"))
}

fn read_or_default<T: DeserializeOwned + Default>(case: &Value, key: &str) -> Result<T, String> {
    if case.get(key).is_some() { read(case, key) } else { Ok(T::default()) }
}

/// A case gives `{name, spec}`; the rest of the object is always the same.
fn objects<T: DeserializeOwned>(case: &Value, key: &str, kind: &str) -> Result<Vec<T>, String> {
    let short: Vec<Value> = read_or_default(case, key)?;
    let whole = |short: Value| {
        let object = json!({"apiVersion": "refloat.dev/v1alpha1", "kind": kind,
            "metadata": {"name": short["name"]}, "spec": short["spec"]});
        serde_json::from_value(object).map_err(|error| format!("`{key}`: {error}"))
    };
    short.into_iter().map(whole).collect()
}

/// `stages` and `project` with `policies` and `platform`: who rules each Stage, and by which rules.
fn precedence(case: &Value) -> Result<Value, String> {
    let project: ProjectSnapshot = read(case, "project")?;
    let policies: Vec<FailurePolicy> = objects(case, "policies", "FailurePolicy")?;
    let platform: Vec<ClusterFailurePolicy> = objects(case, "platform", "ClusterFailurePolicy")?;
    let caps = select::caps(&project, &platform);
    let mut result = serde_json::Map::new();
    for stage in stages(case, &project)? {
        let ruling = select::ruling(&stage, &project, &policies, &platform);
        let name = |meta: &kube::api::ObjectMeta| meta.name.clone().unwrap_or_default();
        let by = match &ruling {
            select::Ruling::Project(policy) => format!("FailurePolicy {}", name(&policy.metadata)),
            select::Ruling::Platform(policy, _) => format!("ClusterFailurePolicy {}", name(&policy.metadata)),
            select::Ruling::Conflict(names) => format!("conflict of {}", names.join(", ")),
            select::Ruling::Nothing => "nothing".to_owned(),
        };
        let rules = ruling.body().map(|body| select::rules(body, &caps));
        let kept = |rules| kept_fields(case, rules);
        result.insert(stage.name.to_string(), json!({"by": by, "rules": rules.map(kept)}));
    }
    Ok(Value::Object(result))
}

/// Only the rules that the case asks for by `show:`.
fn kept_fields(case: &Value, rules: policy_core::rules::Rules) -> Value {
    let mut rules = serde_json::to_value(rules).unwrap_or_default();
    let shown: Vec<String> = read_or_default(case, "show").unwrap_or_default();
    if let Some(rules) = rules.as_object_mut() {
        rules.retain(|field, _| shown.contains(field));
    }
    rules
}

fn stages(case: &Value, project: &ProjectSnapshot) -> Result<Vec<StageSnapshot>, String> {
    let short: Vec<Value> = read(case, "stages")?;
    short.into_iter().map(|short| stage(&short, project.name.as_str())).collect()
}

fn stage(short: &Value, project: &str) -> Result<StageSnapshot, String> {
    let mut whole = json!({"project": project, "uid": "stage-uid", "resourceVersion": "41"});
    for (key, value) in short.as_object().into_iter().flatten() {
        whole[key.as_str()] = value.clone();
    }
    serde_json::from_value(whole).map_err(|error| format!("a Stage: {error}"))
}

/// `body`, `caps`, `author` and what is known about `modules` by chain entry: problems and the condition.
fn acceptance(case: &Value) -> Result<Value, String> {
    let body = read(case, "body")?;
    let caps = read_or_default(case, "caps")?;
    let author = match case.get("author").and_then(Value::as_str) {
        Some("Platform") => Author::Platform,
        Some(_) | None => Author::Project,
    };
    let modules: serde_json::Map<String, Value> = read_or_default(case, "modules")?;
    let module = |entry: &policy_api::crd::policy_body::ChainEntry| match modules.get(&entry.name) {
        None => Module::Missing(modules.keys().map(|name| format!("`{name}`")).collect()),
        Some(Value::String(why)) => Module::NotReady(why.clone()),
        Some(manifest) => match serde_json::from_value(manifest.clone()) {
            Ok(manifest) => Module::ready("sha256:00".into(), manifest),
            Err(error) => Module::NotReady(format!("the case is wrong: {error}")),
        },
    };
    let problems = accept::problems(&body, author, &caps, module);
    let statement = accept::statement(&problems);
    Ok(json!({"problems": problems, "reason": statement.reason, "message": statement.message}))
}

/// `write` on `stage`: the exact request, or why there is none.
fn request(case: &Value) -> Result<Value, String> {
    let stage = stage(&case["stage"], "shop")?;
    let claim = v1_11::Claim {
        incident: "prod-0123456789".into(),
        attempt_id: "prod-0123456789-1".to_owned(),
        decision_record: "prod-9876543210".to_owned(),
    };
    Ok(match v1_11::request(&read(case, "write")?, &stage, &claim) {
        Ok(request) => serde_json::to_value(request).unwrap_or_default(),
        Err(withheld) => json!({"withheld": withheld.to_string()}),
    })
}

/// `answers` by name, each `{httpStatus, body}`: what each one means.
fn refusal(case: &Value) -> Result<Value, String> {
    let answers: serde_json::Map<String, Value> = read(case, "answers")?;
    let mut result = serde_json::Map::new();
    for (name, answer) in answers {
        let status: kube::core::Status = read(&answer, "body")?;
        let refusal = adapter::refusal(&status);
        result.insert(name, json!({"is": refusal, "advice": refusal.advice(), "says": refusal.sentence()}));
    }
    Ok(Value::Object(result))
}

/// `answer` to a create: what Kargo stamped, and whether it is what was planned for `freight`, `expect`, `account`.
fn answer(case: &Value) -> Result<Value, String> {
    let answer: Value = read(case, "answer")?;
    let stamped = v1_11::stamped(&answer).ok_or("`answer` is no Promotion")?;
    let freight: String = read(case, "freight")?;
    let account: String = read(case, "account")?;
    let mut compared = serde_json::Map::new();
    for hold in ["must-hold", "must-not-resume", "any"] {
        let expect = serde_json::from_value(Value::from(hold)).map_err(|error| error.to_string())?;
        let result = v1_11::compare(&stamped, &freight.as_str().into(), expect, &account);
        compared.insert(
            hold.to_owned(),
            Value::from(result.err().map_or("agrees".to_owned(), |e| e.to_string())),
        );
    }
    Ok(json!({"stamped": stamped, "compared": compared}))
}

/// `granted` on `stage`: what is missing.
fn missing_verbs(case: &Value) -> Result<Value, String> {
    let granted: Vec<String> = read(case, "granted")?;
    let stage: String = read(case, "stage")?;
    let needed = rights::needed(&stage.as_str().into());
    let answers: Vec<_> =
        needed.into_iter().map(|needed| (needed.clone(), Some(granted.contains(&needed.text())))).collect();
    Ok(json!(rights::missing_verbs(&answers)))
}
