//! From a call to its answer: who is it, may they, what is it about, do it.
//!
//! In: a call, its sender, the server's state. Out: an [`Answer`].
//! Order, as on the server: impersonation, rights, then whether there is such a thing at all.
//! Source: `apiserver/pkg/endpoints/filters/{impersonation,authorization}.go`.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::access_review::{self, Subject};
use crate::authorize::{AUTHENTICATED, Attributes, Rights, User, service_account};
use crate::call::{Call, Verb};
use crate::fault::Fate;
use crate::list;
use crate::metadata;
use crate::refusal::Refusal;
use crate::resource::{Kind, Resource};
use crate::server::State;
use crate::store::{Key, Objects};
use crate::watch::Watch;
use crate::write::{Desk, Write};

/// What a client gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A code and an object as JSON.
    Object(u16, String),
    /// A code and a text, for what is no resource.
    Text(u16, &'static str),
    /// Events.
    Watch(Box<Watch>),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::of(refusal.code(), refusal.status())
    }
}

impl Answer {
    pub(crate) fn of(code: u16, object: &impl Serialize) -> Self {
        // What is JSON can be written as JSON.
        Self::Object(code, serde_json::to_string(object).unwrap_or_default())
    }

    /// What is sent at once; nothing of a watch.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Object(_, text) => text,
            Self::Text(_, text) => text,
            Self::Watch(_) => "",
        }
    }

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
}

/// A call in front of the server's state.
pub(crate) struct Hearing<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) resources: &'a [Resource],
    pub(crate) call: &'a Call,
    pub(crate) fate: &'a Fate,
    pub(crate) now: Timestamp,
}

impl Hearing<'_> {
    /// Answers the call, whatever comes of it.
    pub(crate) fn answer(mut self, sender: &User) -> Answer {
        self.carry_out(sender).unwrap_or_else(Answer::from)
    }

    fn carry_out(&mut self, sender: &User) -> Result<Answer, Refusal> {
        let user = self.user(sender)?;
        self.rights().check(&user, &self.call.attributes())?;
        match self.call.verb {
            None => Ok(without_resource(self.call)),
            Some(_) if self.call.group == access_review::GROUP => self.review_access(&user),
            Some(verb) => self.on_resource(verb, &user),
        }
    }

    fn rights(&self) -> Rights<'_> {
        let objects = Objects { store: &self.state.store, resources: self.resources };
        Rights { authorizer: self.state.authorizer.as_ref(), objects }
    }

    /// The sender, or whom they may be taken for.
    fn user<'u>(&self, sender: &'u User) -> Result<Cow<'u, User>, Refusal> {
        let Some(target) = &self.call.impersonate else { return Ok(Cow::Borrowed(sender)) };
        let rights = self.rights();
        let (resource, namespace, name) = match service_account(&target.user) {
            Some((namespace, name)) => ("serviceaccounts", namespace, name),
            None => ("users", "", target.user.as_str()),
        };
        rights.check(sender, &impersonation(resource, namespace, name))?;
        for group in &target.groups {
            rights.check(sender, &impersonation("groups", "", group))?;
        }
        if target.groups.is_empty() {
            return Ok(Cow::Owned(User::new(&target.user)));
        }
        // Named groups are all there are, beside the one of everybody.
        let mut groups = target.groups.clone();
        if !groups.iter().any(|group| group == AUTHENTICATED || group == "system:unauthenticated") {
            groups.push(AUTHENTICATED.to_owned());
        }
        Ok(Cow::Owned(User::exactly(&target.user, groups)))
    }

    fn review_access(&self, user: &User) -> Result<Answer, Refusal> {
        let (Some(subject), Some(Verb::Create)) = (Subject::of(&self.call.resource), self.call.verb) else {
            return Err(Refusal::no_such_path());
        };
        let review: Value = serde_json::from_slice(&self.call.body)
            .map_err(|error| Refusal::bad_request(format!("cannot read the review: {error}")))?;
        Ok(Answer::of(201, &access_review::answer(&review, subject, user, self.rights())?))
    }

    fn on_resource(&mut self, verb: Verb, user: &User) -> Result<Answer, Refusal> {
        let call = self.call;
        let mut kinds = self.resources.iter().enumerate().map(|(number, resource)| Kind { number, resource });
        let kind = kinds.find(|kind| {
            kind.resource.is(&call.group, &call.resource) && kind.resource.version == call.version
        });
        let Some(kind) = kind else {
            // Only the core group has a handler that answers for what it does not have.
            return if call.group.is_empty() {
                Err(Refusal::no_such_path())
            } else {
                Ok(Answer::Text(404, "404 page not found\n"))
            };
        };
        check_path(call, verb, kind.resource)?;
        let write = Write { call, user, kind };
        let (code, object) = match verb {
            Verb::Get => (200, self.get(kind)?),
            Verb::List => return self.list(kind),
            Verb::Watch => {
                let watch = Watch::begin(call, kind, &self.state.store, self.fate)?;
                return Ok(Answer::Watch(Box::new(watch)));
            }
            Verb::Create => self.desk().create(write)?,
            Verb::Update => self.desk().update(write)?,
            Verb::Patch => self.desk().patch(write)?,
            Verb::Delete => self.desk().delete(write)?,
            Verb::DeleteCollection => self.desk().delete_many(write)?,
        };
        Ok(match call.wants_metadata {
            true => Answer::of(code, &metadata::partial(&object)),
            false => Answer::of(code, object.as_ref()),
        })
    }

    fn list(&self, kind: Kind<'_>) -> Result<Answer, Refusal> {
        let list = list::list(self.call, kind, &self.state.store)?;
        Ok(match self.call.wants_metadata {
            true => Answer::of(200, &metadata::partial(&list.value())),
            false => Answer::of(200, &list),
        })
    }

    fn get(&self, kind: Kind<'_>) -> Result<Arc<Value>, Refusal> {
        let Call { namespace, name, .. } = self.call;
        let namespace = if kind.resource.is_namespaced() { namespace.as_str() } else { "" };
        let object = self.state.store.get(&Key::new(kind.number, namespace, name));
        let object = object.ok_or_else(|| Refusal::not_found(kind.resource, name))?;
        Ok(Arc::clone(object))
    }

    fn desk(&mut self) -> Desk<'_> {
        Desk {
            store: &mut self.state.store,
            identifiers: &mut self.state.identifiers,
            resources: self.resources,
            authorizer: self.state.authorizer.as_ref(),
            admission: self.state.admission.as_deref(),
            webhooks: self.state.webhooks,
            now: self.now,
        }
    }
}

fn impersonation(resource: &str, namespace: &str, name: &str) -> Attributes {
    Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

fn without_resource(call: &Call) -> Answer {
    match call.path.as_str() {
        "/healthz" | "/livez" | "/readyz" => Answer::Text(200, "ok"),
        "/version" => Answer::of(200, &json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4"})),
        _ => Answer::Text(404, "404 page not found\n"),
    }
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
