//! From a call to its answer: who is it, may they, what is it about, do it.
//!
//! In: a call, its sender, the server's state. Out: an [`Answer`].
//! Order, as on the server: impersonation, rights, then whether there is such a thing at all.
//! Source: `apiserver/pkg/endpoints/filters/{impersonation,authorization}.go`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access_review::{self, Subject};
use crate::authorize::{Attributes, Decision, User, service_account};
use crate::call::{Call, Verb};
use crate::fault::Fate;
use crate::list;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::server::State;
use crate::store::{Key, Objects};
use crate::watch::Watch;
use crate::write::{Desk, Webhooks, Write};

/// What a client gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A code and an object.
    Object(u16, Value),
    /// A code and a text, for what is no resource.
    Text(u16, &'static str),
    /// Events.
    Watch(Box<Watch>),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Object(refusal.code(), refusal.status().clone())
    }
}

impl Answer {
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Object(code, _) | Self::Text(code, _) => *code,
            Self::Watch(_) => 200,
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Object(..) | Self::Watch(_) => "application/json",
            Self::Text(..) => "text/plain; charset=utf-8",
        }
    }

    /// The object, or null.
    pub(crate) fn object(&self) -> &Value {
        match self {
            Self::Object(_, object) => object,
            Self::Text(..) | Self::Watch(_) => &Value::Null,
        }
    }
}

/// Answers a call, whatever comes of it.
pub(crate) fn answer(
    state: &mut State,
    resources: &[Resource],
    call: &Call,
    sender: &User,
    fate: &Fate,
    now: Timestamp,
) -> Answer {
    let user = match user_of(state, resources, call, sender) {
        Ok(user) => user,
        Err(refusal) => return refusal.into(),
    };
    let attributes = call.attributes();
    if let Err(refusal) = check(state, resources, &user, &attributes) {
        return refusal.into();
    }
    let Some(verb) = call.verb else { return without_resource(call) };
    let result = if call.group == access_review::GROUP {
        review(state, resources, call, &user)
    } else {
        on_resource(state, resources, call, verb, &user, fate, now)
    };
    result.unwrap_or_else(Answer::from)
}

fn check(state: &State, resources: &[Resource], user: &User, wanted: &Attributes) -> Result<(), Refusal> {
    let objects = Objects { store: &state.store, resources };
    match state.authorizer.decide(user, wanted, &objects) {
        Decision::Allowed(_) => Ok(()),
        Decision::Denied(reason) => Err(wanted.refusal(user.name(), &reason)),
    }
}

/// The sender, or whom they may be taken for.
fn user_of(state: &State, resources: &[Resource], call: &Call, sender: &User) -> Result<User, Refusal> {
    let Some(target) = &call.impersonate else { return Ok(sender.clone()) };
    let wanted = |resource: &str, namespace: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    let as_whom = match service_account(&target.user) {
        Some((namespace, name)) => wanted("serviceaccounts", namespace, name),
        None => wanted("users", "", &target.user),
    };
    check(state, resources, sender, &as_whom)?;
    for group in &target.groups {
        check(state, resources, sender, &wanted("groups", "", group))?;
    }
    if target.groups.is_empty() {
        return Ok(User::new(&target.user));
    }
    // Named groups are all there are, beside the one of everybody.
    let mut groups = target.groups.clone();
    if !groups.iter().any(|group| group == "system:authenticated" || group == "system:unauthenticated") {
        groups.push("system:authenticated".to_owned());
    }
    Ok(User::exactly(&target.user, groups))
}

fn without_resource(call: &Call) -> Answer {
    match call.path.as_str() {
        "/healthz" | "/livez" | "/readyz" => Answer::Text(200, "ok"),
        "/version" => Answer::Object(200, json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4"})),
        _ => Answer::Text(404, "404 page not found\n"),
    }
}

fn review(state: &State, resources: &[Resource], call: &Call, user: &User) -> Result<Answer, Refusal> {
    let (Some(subject), Some(Verb::Create)) = (Subject::of(&call.resource), call.verb) else {
        return Err(Refusal::no_such_path());
    };
    let objects = Objects { store: &state.store, resources };
    let review: Value = serde_json::from_slice(&call.body)
        .map_err(|error| Refusal::bad_request(format!("cannot read the review: {error}")))?;
    let answer = access_review::answer(&review, subject, user, state.authorizer.as_ref(), &objects)?;
    Ok(Answer::Object(201, answer))
}

fn on_resource(
    state: &mut State,
    resources: &[Resource],
    call: &Call,
    verb: Verb,
    user: &User,
    fate: &Fate,
    now: Timestamp,
) -> Result<Answer, Refusal> {
    let found = resources.iter().enumerate().find(|(_, resource)| resource.is(&call.group, &call.resource));
    let Some((kind, resource)) = found.filter(|(_, resource)| resource.version == call.version) else {
        // Only the core group has a handler that answers for what it does not have.
        return if call.group.is_empty() {
            Err(Refusal::no_such_path())
        } else {
            Ok(Answer::Text(404, "404 page not found\n"))
        };
    };
    check_path(call, verb, resource)?;
    let namespace = if resource.is_namespaced() { call.namespace.as_str() } else { "" };
    match verb {
        Verb::Get => {
            let object = state.store.get(&Key::new(kind, namespace, &call.name));
            let object = object.ok_or_else(|| Refusal::not_found(resource, &call.name))?;
            return Ok(Answer::Object(200, Value::clone(object)));
        }
        Verb::List => return Ok(Answer::Object(200, list::list(call, kind, resource, &state.store)?)),
        Verb::Watch => {
            let watch = Watch::begin(call, kind, resource, &state.store, fate)?;
            return Ok(Answer::Watch(Box::new(watch)));
        }
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => {}
    }
    let webhooks = if *fate == Fate::WebhooksDown { Webhooks::Down } else { Webhooks::Up };
    let mut desk = Desk {
        store: &mut state.store,
        identifiers: &mut state.identifiers,
        resources,
        authorizer: state.authorizer.as_ref(),
        admission: state.admission.as_deref(),
        webhooks,
        now,
    };
    let write = Write { call, user, kind, resource };
    let (code, object) = match verb {
        Verb::Create => desk.create(write)?,
        Verb::Update => desk.update(write)?,
        Verb::Patch => desk.patch(write)?,
        Verb::Delete => desk.delete(write)?,
        Verb::DeleteCollection => desk.delete_many(write)?,
        Verb::Get | Verb::List | Verb::Watch => return Err(Refusal::no_such_path()),
    };
    Ok(Answer::Object(code, object))
}

/// Whether the kind has such a path at all.
fn check_path(call: &Call, verb: Verb, resource: &Resource) -> Result<(), Refusal> {
    let is_status = call.subresource == "status" && resource.has_status();
    if !call.subresource.is_empty() && !is_status {
        let is_custom = resource.is_custom();
        let absent = || Refusal::not_found(resource, &call.name);
        return Err(if is_custom { absent() } else { Refusal::no_such_path() });
    }
    let needs_name = !matches!(verb, Verb::List | Verb::Watch | Verb::Create | Verb::DeleteCollection);
    let is_everywhere = resource.is_namespaced() && call.namespace.is_empty();
    let is_collection = matches!(verb, Verb::List | Verb::Watch);
    if needs_name == call.name.is_empty() || (is_everywhere && !is_collection) {
        return Err(Refusal::method_not_allowed("", ""));
    }
    if is_status && matches!(verb, Verb::Create | Verb::Delete) {
        return Err(Refusal::method_not_allowed(&call.resource, &call.group));
    }
    Ok(())
}
