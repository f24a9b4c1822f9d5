//! What is in the body of a request: an object, a patch, or options of a deletion.
//!
//! In: bytes and their content type. Out: JSON of the right kind, or the refusal of what it is not.
//! Sources: `apiserver/pkg/endpoints/handlers/{rest,patch,delete}.go`, `handlers/negotiation/errors.go`. JSON only: the
//! real server also takes YAML and, for built-in kinds, strategic merge patches.

use serde_json::{Value, json};

use crate::call::Call;
use crate::metadata::{field_text, shape, text};
use crate::refusal::{Problem, Refusal};
use crate::resource::Resource;

/// The object that was sent, in the server's shape.
pub(crate) fn object(call: &Call, resource: &Resource) -> Result<Value, Refusal> {
    check_json(&call.content_type)?;
    let mut object: Value = serde_json::from_slice(&call.body).map_err(|error| {
        let why = format!("couldn't get version/kind; json parse error: {}", in_go(&error, &call.body));
        unrecognized(&call.body, resource, &why)
    })?;
    check_kind(&object, call, resource)?;
    shape(&mut object, resource);
    Ok(object)
}

/// Whether it says that it is of that kind, as far as it says anything.
fn check_kind(object: &Value, call: &Call, resource: &Resource) -> Result<(), Refusal> {
    let (api_version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    let Resource { group, version, kind: expected_kind, .. } = resource;
    let expected = resource.api_version();
    if resource.is_custom() {
        if kind.is_empty() {
            let why = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(&call.body));
            return Err(unrecognized(&call.body, resource, &why));
        }
        if api_version != expected {
            return Err(Refusal::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
        }
        if kind != expected_kind {
            let problem = Problem::invalid("kind", kind, &format!("must be {expected_kind}"));
            return Err(Refusal::invalid(group, kind, field_text(object, "name"), &[problem]));
        }
        return Ok(());
    }
    let why = if !api_version.is_empty() && api_version != expected {
        format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:110\""
        )
    } else if !kind.is_empty() && kind != expected_kind {
        let internal = match group.split('.').next() {
            None | Some("") => "core",
            Some(package) => package,
        };
        format!("converting ({version}.{kind}) to ({internal}.{expected_kind}): unknown conversion")
    } else {
        return Ok(());
    };
    let version = api_version.rsplit('/').next().unwrap_or_default();
    Err(Refusal::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {expected_kind}: {why}"
    )))
}

/// With the beginning of what was sent: as a text if it looks like JSON, else in hexadecimal digits.
fn unrecognized(body: &[u8], resource: &Resource, why: &str) -> Refusal {
    const LONGEST: usize = 30;
    let start = body.get(..LONGEST).unwrap_or(body);
    let dots = if body.len() > LONGEST { " ..." } else { "" };
    let start =
        if body.starts_with(b"{") { String::from_utf8_lossy(start).into_owned() } else { hex::encode(start) };
    Refusal::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({start}{dots})",
        resource.kind
    ))
}

/// Go's words for a syntax error, as far as it can be told from ours.
fn in_go(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(byte) => format!("invalid character {:?} looking for beginning of value", char::from(*byte)),
        None => error.to_string(),
    }
}

fn subtype(content_type: &str) -> &str {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.strip_prefix("application/").unwrap_or(media_type)
}

fn check_json(content_type: &str) -> Result<(), Refusal> {
    match subtype(content_type) {
        "" | "json" => Ok(()),
        _ => Err(Refusal::unsupported_media_type(&["json", "yaml", "vnd.kubernetes.protobuf"])),
    }
}

/// A way to say what is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchFormat {
    /// RFC 7396.
    Merge,
    /// RFC 6902.
    Json,
}

/// The way that a content type stands for.
pub(crate) fn patch_format(content_type: &str, resource: &Resource) -> Result<PatchFormat, Refusal> {
    match subtype(content_type) {
        "merge-patch+json" => Ok(PatchFormat::Merge),
        "json-patch+json" => Ok(PatchFormat::Json),
        "apply-patch+yaml" | "apply-patch+cbor" => Err(Refusal::no_apply()),
        _ if resource.is_custom() => {
            Err(Refusal::unsupported_media_type(&["json-patch+json", "merge-patch+json", "apply-patch+yaml"]))
        }
        _ => Err(Refusal::unsupported_media_type(&[
            "json-patch+json",
            "merge-patch+json",
            "strategic-merge-patch+json",
            "apply-patch+yaml",
        ])),
    }
}

impl PatchFormat {
    /// Changes an object by a patch.
    pub(crate) fn apply(self, object: &mut Value, patch: &[u8]) -> Result<(), Refusal> {
        let unreadable = |error: serde_json::Error| {
            Refusal::bad_request(format!("error decoding patch: {}", in_go(&error, patch)))
        };
        match self {
            Self::Merge => {
                let patch: Value = serde_json::from_slice(patch).map_err(unreadable)?;
                if !patch.is_object() {
                    let message = "error decoding patch: json: cannot unmarshal into Go value of type \
                        map[string]interface {}";
                    return Err(Refusal::bad_request(message));
                }
                json_patch::merge(object, &patch);
            }
            Self::Json => {
                let patch: json_patch::Patch = serde_json::from_slice(patch).map_err(unreadable)?;
                json_patch::patch(object, &patch).map_err(|_| Refusal::patch_does_not_apply())?;
            }
        }
        Ok(())
    }
}

/// The options of a deletion: from the body or, without one, from the query.
pub(crate) fn delete_options(call: &Call) -> Result<Value, Refusal> {
    if call.body.is_empty() {
        let policy = call.option("propagationPolicy");
        return Ok(if policy.is_empty() { json!({}) } else { json!({"propagationPolicy": policy}) });
    }
    check_json(&call.content_type)?;
    serde_json::from_slice(&call.body).map_err(|error| {
        let why = in_go(&error, &call.body);
        Refusal::bad_request(format!("couldn't get version/kind; json parse error: {why}"))
    })
}
