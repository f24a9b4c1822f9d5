//! The few expressions of promotion templates that the model evaluates: `if` conditions and `${{ }}` in configs.
//! In go the expression and what it may refer to, out comes a value. It must not pretend: an `if` that it does not
//! know is an error, an unknown `${{ }}` stays as written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What expressions of one Promotion may refer to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `ctx.project`, `ctx.stage`, `ctx.promotion`, `ctx.targetFreight.name`, `ctx.meta.promotion.actor` and so on.
    pub context: BTreeMap<String, Value>,
    /// `vars.<name>`.
    pub vars: BTreeMap<String, Value>,
    /// `status('<alias>')` of the steps so far.
    pub statuses: BTreeMap<String, String>,
    /// Whether an earlier step failed that has no `continueOnError`.
    pub failure: Failure,
}

/// Whether an earlier step failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    /// None did.
    #[default]
    None,
    /// One did.
    Earlier,
}

/// Whether a step is skipped: by its `if`, or without one by an earlier failure (`local_orchestrator.go`).
///
/// # Errors
/// The text of the error when the expression is not one that the model knows.
pub fn should_skip(condition: &str, scope: &Scope) -> Result<Skip, String> {
    if condition.is_empty() {
        return Ok(Skip::when(scope.failure == Failure::Earlier));
    }
    match evaluate(inner(condition).unwrap_or(condition), scope) {
        Some(Value::Bool(run)) => Ok(Skip::when(!run)),
        Some(_) | None => Err(format!("the model of Kargo does not know the expression {condition:?}")),
    }
}

/// Whether a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It is skipped.
    Yes,
    /// It runs.
    No,
}

impl Skip {
    fn when(skip: bool) -> Self {
        match skip {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

/// `value` with every known `${{ }}` replaced; one that is the whole text keeps its type.
pub fn fill(value: &Value, scope: &Scope) -> Value {
    match value {
        Value::String(text) => fill_text(text, scope),
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, scope)).collect()),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (key.clone(), fill(value, scope))).collect::<Map<_, _>>(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn fill_text(text: &str, scope: &Scope) -> Value {
    if let Some(value) = inner(text).and_then(|expression| evaluate(expression, scope)) {
        return value;
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("${{") {
        let Some((expression, after)) = tail.split_once("}}") else { break };
        filled.push_str(before);
        match evaluate(expression.trim(), scope) {
            Some(Value::String(value)) => filled.push_str(&value),
            Some(value) => filled.push_str(&value.to_string()),
            None => filled.push_str(&format!("${{{{{expression}}}}}")),
        }
        rest = after;
    }
    filled.push_str(rest);
    Value::String(filled)
}

/// The expression of a text that is nothing but one `${{ }}`.
fn inner(text: &str) -> Option<&str> {
    let expression = text.trim().strip_prefix("${{")?.strip_suffix("}}")?;
    (!expression.contains("${{")).then(|| expression.trim())
}

fn evaluate(expression: &str, scope: &Scope) -> Option<Value> {
    let expression = expression.trim();
    if let Some(rest) = expression.strip_prefix('!') {
        return Some(Value::Bool(!evaluate(rest, scope)?.as_bool()?));
    }
    for (operator, wanted) in [("==", true), ("!=", false)] {
        if let Some((left, right)) = expression.split_once(operator) {
            return Some(Value::Bool((evaluate(left, scope)? == evaluate(right, scope)?) == wanted));
        }
    }
    match expression {
        "always()" | "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        "failure()" => return Some(Value::Bool(scope.failure == Failure::Earlier)),
        "success()" => return Some(Value::Bool(scope.failure == Failure::None)),
        _ => {}
    }
    if let Some(literal) = quoted(expression) {
        return Some(Value::from(literal));
    }
    if let Some(alias) = expression.strip_prefix("status(").and_then(|rest| rest.strip_suffix(')')) {
        let status = scope.statuses.get(quoted(alias.trim())?).cloned().unwrap_or_default();
        return Some(Value::String(status));
    }
    // The model has no Secrets, and a missing one is empty text (capture `a/secret-missing`).
    if expression.starts_with("secret(") {
        return Some(Value::from(""));
    }
    match expression.strip_prefix("vars.") {
        Some(name) => scope.vars.get(name).cloned(),
        None => scope.context.get(expression).cloned(),
    }
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        Scope {
            context: BTreeMap::from([
                ("ctx.targetFreight.name".to_owned(), json!("bf95772")),
                ("ctx.meta.promotion.rollback".to_owned(), json!(false)),
            ]),
            statuses: BTreeMap::from([("deploy".to_owned(), "Errored".to_owned())]),
            failure: Failure::Earlier,
            ..Scope::default()
        }
    }

    #[test]
    fn steps_are_skipped_by_their_condition_or_by_an_earlier_failure() {
        for (condition, expected) in [
            ("", Skip::Yes),
            ("${{ always() }}", Skip::No),
            ("${{ failure() }}", Skip::No),
            ("${{ success() }}", Skip::Yes),
            ("${{ status('deploy') == 'Errored' }}", Skip::No),
            ("${{ ctx.meta.promotion.rollback }}", Skip::Yes),
            ("${{ !ctx.meta.promotion.rollback }}", Skip::No),
        ] {
            assert_eq!(should_skip(condition, &scope()), Ok(expected), "{condition}");
        }
        assert!(should_skip("${{ quota('x') > 3 }}", &scope()).is_err());
    }

    #[test]
    fn templates_keep_the_type_of_a_whole_value_and_leave_what_they_do_not_know() {
        let config = json!({"a": "${{ ctx.meta.promotion.rollback }}", "b": "rejected ${{ ctx.targetFreight.name }}!",
            "c": "${{ quota('x').left }}"});
        assert_eq!(
            fill(&config, &scope()),
            json!({"a": false, "b": "rejected bf95772!", "c": "${{ quota('x').left }}"})
        );
    }
}
