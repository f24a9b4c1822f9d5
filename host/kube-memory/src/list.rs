//! Lists: selectors, pages, and lists of an earlier version.
//!
//! In: a call and the store. Out: a list object, or why there is none.
//! Sources: `apiserver/pkg/storage/etcd3/store.go` (pages), `apiserver/pkg/storage/continue.go` (tokens),
//! `apimachinery/pkg/apis/meta/internalversion/validation/validation.go` (which options go together).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::metadata::{self, edit};
use crate::refusal::{Problem, Refusal};
use crate::resource::{Kind, Resource};
use crate::selector::Selector;
use crate::store::{Compacted, Store, prefix};

const CONTINUE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter.";
const LIST_TOO_OLD: &str = "The resourceVersion for the provided list is too old.";

/// Where a list goes on.
#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    format: String,
    rv: u64,
    start: String,
}

const FORMAT: &str = "meta.k8s.io/v1";

/// A list, with its fields in the order in which objects have theirs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List {
    api_version: String,
    #[serde(serialize_with = "items")]
    pub(crate) items: Vec<Arc<Value>>,
    kind: String,
    metadata: Map<String, Value>,
}

impl List {
    pub(crate) fn value(&self) -> Value {
        let items: Vec<&Value> = self.items.iter().map(Arc::as_ref).collect();
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": self.metadata, "items": items})
    }
}

fn items<S: Serializer>(items: &[Arc<Value>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(items.iter().map(Arc::as_ref))
}

/// Answers a list.
pub(crate) fn list(call: &Call, kind: Kind<'_>, store: &Store) -> Result<List, Refusal> {
    let resource = kind.resource;
    check_options(call)?;
    let selector = Selector::parse(call.option("labelSelector"), call.option("fieldSelector"), resource)?;
    let prefix = prefix(&call.namespace);
    let token = Token::of(call)?;
    let version = version_of(call, token.as_ref(), store)?;
    let too_old =
        |Compacted(_)| Refusal::expired(if token.is_some() { CONTINUE_TOO_OLD } else { LIST_TOO_OLD });
    let objects = store.list_at(kind.number, &prefix, version).map_err(too_old)?;
    let start = token.map(|token| format!("{prefix}{}", token.start)).unwrap_or_default();
    let page = page(&objects, &start, &selector, limit_of(call));
    let mut fields = Map::new();
    fields.insert("resourceVersion".to_owned(), version.to_string().into());
    if let Some(last) = &page.last {
        let start = format!("{}\0", last.strip_prefix(prefix.as_str()).unwrap_or(last));
        fields.insert("continue".to_owned(), Token { format: FORMAT.to_owned(), rv: version, start }.text());
        if selector.is_empty() {
            fields.insert("remainingItemCount".to_owned(), page.n_left.into());
        }
    } else if resource.is_custom() {
        fields.insert("continue".to_owned(), "".into());
    }
    let item = |object: &&Arc<Value>| match call.wants_metadata {
        true => Arc::new(metadata::only(object)),
        false => item(object, resource),
    };
    Ok(List {
        api_version: resource.api_version(),
        items: page.items.iter().map(item).collect(),
        kind: format!("{}List", resource.kind),
        metadata: fields,
    })
}

/// Items of built-in kinds do not repeat what the list says.
fn item(object: &Arc<Value>, resource: &Resource) -> Arc<Value> {
    if resource.is_custom() {
        return Arc::clone(object);
    }
    let mut item = Value::clone(object);
    edit(&mut item, |fields| fields.retain(|key, _| key != "apiVersion" && key != "kind"));
    Arc::new(item)
}

struct Page<'a> {
    items: Vec<&'a Arc<Value>>,
    /// Path of the last item, when more follow.
    last: Option<String>,
    n_left: usize,
}

fn page<'a>(
    objects: &'a BTreeMap<String, Arc<Value>>,
    start: &str,
    selector: &Selector,
    limit: Option<usize>,
) -> Page<'a> {
    let from = objects.range(start.to_owned()..);
    let mut selected = from.filter(|(_, object)| selector.selects(object));
    let mut page = Page { items: Vec::new(), last: None, n_left: 0 };
    let mut last = None;
    for (path, object) in selected.by_ref().take(limit.unwrap_or(usize::MAX)) {
        page.items.push(object);
        last = Some(path);
    }
    page.n_left = selected.count();
    if page.n_left > 0 {
        page.last = last.cloned();
    }
    page
}

fn limit_of(call: &Call) -> Option<usize> {
    let limit: usize = call.option("limit").parse().ok()?;
    // Asked for any version, the server answers from its cache, which knows no pages.
    let is_any = call.option("resourceVersion") == "0" && call.option("continue").is_empty();
    (limit > 0 && !is_any).then_some(limit)
}

/// The version that is shown.
fn version_of(call: &Call, token: Option<&Token>, store: &Store) -> Result<u64, Refusal> {
    let current = store.version();
    if let Some(token) = token {
        return Ok(token.rv);
    }
    let asked = call.option("resourceVersion");
    if matches!(asked, "" | "0") {
        return Ok(current);
    }
    let asked: u64 = asked.parse().map_err(|_| bad_version(asked))?;
    if asked > current {
        return Err(Refusal::too_new(asked, current));
    }
    // Without a match, a limit makes it exact (legacy), and no limit makes it "not older than".
    let is_exact = match call.option("resourceVersionMatch") {
        "Exact" => true,
        "NotOlderThan" => false,
        _ => limit_of(call).is_some(),
    };
    Ok(if is_exact { asked } else { current })
}

/// What the server says about a version that is no number.
pub(crate) fn bad_version(text: &str) -> Refusal {
    let problem = Problem::invalid("resourceVersion", text, &go_parse_error(text));
    Refusal::invalid("", "", "", &[problem])
}

fn go_parse_error(text: &str) -> String {
    format!("strconv.ParseUint: parsing {text:?}: invalid syntax")
}

fn check_options(call: &Call) -> Result<(), Refusal> {
    let forbidden = |detail: &str| Problem::forbidden("resourceVersionMatch", detail);
    let mut problems = Vec::new();
    let word = call.option("resourceVersionMatch");
    if !word.is_empty() {
        if call.option("resourceVersion").is_empty() {
            problems.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if !call.option("continue").is_empty() {
            problems.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        if word == "Exact" && call.option("resourceVersion") == "0" {
            problems.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid("meta.k8s.io", "ListOptions", "", &problems))
}

impl Token {
    fn of(call: &Call) -> Result<Option<Self>, Refusal> {
        let text = call.option("continue");
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |why: &str| Refusal::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| wrong(&error.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if token.format != FORMAT {
            return Err(wrong(&format!("server does not recognize this encoded version {}", token.format)));
        }
        Ok(Some(token))
    }

    fn text(&self) -> Value {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default()).into()
    }
}
