//! Creates, updates and deletions, step by step in the server's order.
//!
//! In: a call whose sender has the rights for it. Out: the object as stored (or, on a dry run, as it would be), or a
//! refusal; then nothing has changed.
//! Sources: `apiserver/pkg/endpoints/handlers/{create,update,delete}.go`, `pkg/registry/generic/registry/store.go`,
//! `pkg/registry/rest/{create,update,delete}.go`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admission::{Admission, Operation, Review};
use crate::authorize::{Authorizer, Rights, User};
use crate::call::Call;
use crate::identifiers::Identifiers;
use crate::metadata::{
    edit, edit_field, field, field_text, finalizers, resource_version, set, shape, take_over, time,
};
use crate::refusal::{Problem, Refusal};
use crate::resource::{Kind, Resource};
use crate::store::{Key, Objects, Store};
use crate::{body, list, validate};

/// How often a name is drawn before giving up (`apiserver/pkg/registry/generic/registry/store.go`).
const MAX_NAMES: usize = 8;
/// Added when dependents are to go first or to stay; without a garbage collector nobody ever removes it.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

const CHANGED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Whether webhooks can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Webhooks {
    Up,
    Down,
}

/// Everything that a write may touch or ask.
pub(crate) struct Desk<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) identifiers: &'a mut Identifiers,
    pub(crate) resources: &'a [Resource],
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) admission: Option<&'a dyn Admission>,
    pub(crate) webhooks: Webhooks,
    pub(crate) now: Timestamp,
}

/// What is written, by whom.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) call: &'a Call,
    pub(crate) user: &'a User,
    pub(crate) kind: Kind<'a>,
}

/// HTTP code and object.
type Written = Result<(u16, Arc<Value>), Refusal>;

impl<'a> Write<'a> {
    fn resource(&self) -> &'a Resource {
        self.kind.resource
    }

    /// The namespace that the object is in, which is empty for a Namespace.
    fn namespace(&self) -> &'a str {
        if self.resource().is_namespaced() { &self.call.namespace } else { "" }
    }

    fn key(&self, name: &str) -> Key {
        Key::new(self.kind.number, self.namespace(), name)
    }

    fn not_found(&self) -> Refusal {
        Refusal::not_found(self.resource(), &self.call.name)
    }

    fn conflict(&self, why: &str) -> Refusal {
        Refusal::conflict(self.resource(), &self.call.name, why)
    }

    fn invalid(&self, name: &str, problems: &[Problem]) -> Result<(), Refusal> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(Refusal::invalid(&self.resource().group, &self.resource().kind, name, problems))
    }

    fn is_to_status(&self) -> bool {
        self.call.subresource == "status"
    }
}

impl Desk<'_> {
    /// POST.
    pub(crate) fn create(&mut self, write: Write<'_>) -> Written {
        let mut object = body::object(write.call, write.resource())?;
        for name in
            ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
        {
            set(&mut object, name, None);
        }
        keep_in_namespace(&mut object, write.namespace())?;
        self.check_namespace(write, field_text(&object, "name"))?;
        self.store_new(write, object).map(|object| (201, object))
    }

    /// PUT.
    pub(crate) fn update(&mut self, write: Write<'_>) -> Written {
        let mut object = body::object(write.call, write.resource())?;
        keep_in_namespace(&mut object, write.namespace())?;
        check_name(&object, write)?;
        let Some(existing) = self.store.get(&write.key(&write.call.name)).cloned() else {
            if !write.resource().creates_on_update() {
                return Err(write.not_found());
            }
            self.check_may_create(write)?;
            self.check_namespace(write, &write.call.name)?;
            return self.store_new(write, object).map(|object| (201, object));
        };
        let (sent, stored) = (field_text(&object, "uid"), field_text(&existing, "uid"));
        if !sent.is_empty() && sent != stored {
            let path =
                [&write.resource().group, &write.resource().plural, write.namespace(), &write.call.name];
            let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
            return Err(write.conflict(&format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: UID in precondition: {sent}, UID in object meta: {stored}",
                path.join("/")
            )));
        }
        self.replace(write, object, &existing).map(|object| (200, object))
    }

    /// PATCH.
    pub(crate) fn patch(&mut self, write: Write<'_>) -> Written {
        let patch = body::patch_format(&write.call.content_type, write.resource())?;
        let existing = self.store.get(&write.key(&write.call.name)).cloned();
        let existing = existing.ok_or_else(|| write.not_found())?;
        let mut object = Value::clone(&existing);
        patch.apply(&mut object, &write.call.body)?;
        shape(&mut object, write.resource());
        keep_in_namespace(&mut object, write.namespace())?;
        check_name(&object, write)?;
        self.replace(write, object, &existing).map(|object| (200, object))
    }

    /// DELETE of one object.
    pub(crate) fn delete(&mut self, write: Write<'_>) -> Written {
        let options = body::delete_options(write.call)?;
        let key = write.key(&write.call.name);
        let existing = self.store.get(&key).cloned().ok_or_else(|| write.not_found())?;
        check_preconditions(&options, &existing, write)?;
        let review = self.review(write, Operation::Delete, &write.call.name, Some(&existing));
        self.ask_webhooks(&review, |webhooks| webhooks.validate(&review, None))?;
        let mut object = Value::clone(&existing);
        set_deletion_finalizers(&mut object, &options);
        let is_namespace = write.resource().is("", "namespaces");
        if finalizers(&object).is_empty() && !is_namespace {
            if !write.call.is_dry_run() {
                self.store.remove(&key);
            }
            return Ok((200, Arc::new(deleted(write, &existing))));
        }
        self.mark_as_deleting(&mut object, write.resource());
        let stored = self.keep(write, key, object, &existing);
        Ok((200, stored))
    }

    /// DELETE of all that a selector selects; answers with a list of them as they were.
    pub(crate) fn delete_many(&mut self, write: Write<'_>) -> Written {
        let list = list::list(write.call, write.kind, self.store)?;
        for item in &list.items {
            let mut call = write.call.clone();
            field_text(item, "name").clone_into(&mut call.name);
            field_text(item, "namespace").clone_into(&mut call.namespace);
            self.delete(Write { call: &call, ..write })?;
        }
        Ok((200, Arc::new(list.value())))
    }

    fn mark_as_deleting(&self, object: &mut Value, resource: &Resource) {
        if field(object, "deletionTimestamp").is_none() {
            if let Some(generation) = field(object, "generation").and_then(Value::as_u64) {
                set(object, "generation", Some(generation.saturating_add(1).into()));
            }
            set(object, "deletionTimestamp", Some(time(self.now)));
        }
        if resource.is("", "namespaces") {
            edit_field(object, "status", |status| {
                status.insert("phase".to_owned(), "Terminating".into());
            });
        } else {
            set(object, "deletionGracePeriodSeconds", Some(0.into()));
        }
    }

    /// The path of every new object, however it was sent.
    fn store_new(&mut self, write: Write<'_>, mut object: Value) -> Result<Arc<Value>, Refusal> {
        let name = field_text(&object, "name").to_owned();
        let review = self.review(write, Operation::Create, &name, None);
        self.mutate(&review, &mut object)?;
        keep_in_namespace(&mut object, write.namespace())?;
        set(&mut object, "uid", Some(self.identifiers.uid().into()));
        set(&mut object, "creationTimestamp", Some(time(self.now)));
        set(&mut object, "generation", write.resource().is_custom().then(|| 1.into()));
        if write.resource().has_status() {
            edit(&mut object, |fields| fields.retain(|key, _| key != "status"));
        }
        let name = self.final_name(write, &mut object)?;
        write.invalid(&name, &validate::new_object(&object, write.resource()))?;
        let review = self.review(write, Operation::Create, &name, None);
        self.ask_webhooks(&review, |webhooks| webhooks.validate(&review, Some(&object)))?;
        if let Some(existing) = self.store.get(&write.key(&name)) {
            let is_ending = field(existing, "deletionTimestamp").is_some();
            let refusal = Refusal::already_exists(write.resource(), &name);
            return Err(if is_ending { refusal.prefixed("object is being deleted: ") } else { refusal });
        }
        if field(&object, "resourceVersion").is_some() {
            return Err(Refusal::plain_error("resourceVersion should not be set on objects to be created"));
        }
        if write.call.is_dry_run() {
            return Ok(Arc::new(object));
        }
        Ok(self.store.put(write.key(&name), object))
    }

    /// The name, drawn if only its beginning was sent.
    fn final_name(&mut self, write: Write<'_>, object: &mut Value) -> Result<String, Refusal> {
        let base = field_text(object, "generateName").to_owned();
        if !field_text(object, "name").is_empty() || base.is_empty() {
            return Ok(field_text(object, "name").to_owned());
        }
        for _ in 0..MAX_NAMES {
            let name = self.identifiers.name(&base);
            if self.store.get(&write.key(&name)).is_none() {
                set(object, "name", Some(name.clone().into()));
                return Ok(name);
            }
        }
        Err(Refusal::already_exists(write.resource(), &base))
    }

    /// The path of every change of an object that is there.
    fn replace(
        &mut self,
        write: Write<'_>,
        mut object: Value,
        existing: &Arc<Value>,
    ) -> Result<Arc<Value>, Refusal> {
        let name = &write.call.name;
        let review = self.review(write, Operation::Update, name, Some(existing));
        self.mutate(&review, &mut object)?;
        check_version(&mut object, existing, write)?;
        keep_in_namespace(&mut object, write.namespace())?;
        if write.is_to_status() {
            let status = object.get_mut("status").map(Value::take);
            object = without(existing, "status");
            if let (Some(status), Some(fields)) = (status, object.as_object_mut()) {
                fields.insert("status".to_owned(), status);
            }
        } else {
            prepare_update(&mut object, existing, write.resource());
        }
        write.invalid(name, &validate::changed_object(&object, existing, write.resource()))?;
        self.ask_webhooks(&review, |webhooks| webhooks.validate(&review, Some(&object)))?;
        let is_over = field(existing, "deletionTimestamp").is_some()
            && finalizers(&object).is_empty()
            && !write.resource().is("", "namespaces");
        if is_over {
            if !write.call.is_dry_run() {
                self.store.remove(&write.key(name));
            }
            return Ok(Arc::new(object));
        }
        Ok(self.keep(write, write.key(name), object, existing))
    }

    /// Stores what differs, unless it is a dry run.
    fn keep(&mut self, write: Write<'_>, key: Key, object: Value, existing: &Value) -> Arc<Value> {
        if write.call.is_dry_run() || object == *existing {
            return Arc::new(object);
        }
        self.store.put(key, object)
    }

    fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Refusal> {
        self.ask_webhooks(review, |webhooks| webhooks.mutate(review, object))?;
        shape(object, review.resource);
        Ok(())
    }

    fn review<'a>(
        &'a self,
        write: Write<'a>,
        operation: Operation,
        name: &'a str,
        old: Option<&'a Value>,
    ) -> Review<'a> {
        Review {
            operation,
            resource: write.resource(),
            subresource: &write.call.subresource,
            namespace: write.namespace(),
            name,
            user: write.user,
            dry_run: write.call.is_dry_run(),
            old,
            objects: self.objects(),
            rights: self.rights(),
        }
    }

    fn ask_webhooks(
        &self,
        review: &Review<'_>,
        ask: impl FnOnce(&dyn Admission) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(admission) = self.admission else { return Ok(()) };
        match (admission.webhook(review), self.webhooks) {
            (None, _) => Ok(()),
            (Some(webhook), Webhooks::Down) => Err(Refusal::webhook_down(&webhook)),
            (Some(_), Webhooks::Up) => ask(admission),
        }
    }

    fn objects(&self) -> Objects<'_> {
        Objects { store: self.store, resources: self.resources }
    }

    fn rights(&self) -> Rights<'_> {
        Rights { authorizer: self.authorizer, objects: self.objects() }
    }

    /// Nothing new comes into a namespace that is not there or is going away (the plugin `NamespaceLifecycle`).
    fn check_namespace(&self, write: Write<'_>, name: &str) -> Result<(), Refusal> {
        let namespace = write.namespace();
        if namespace.is_empty() {
            return Ok(());
        }
        let Some(found) = self.objects().get("", "namespaces", "", namespace) else {
            return match self.resources.iter().find(|resource| resource.is("", "namespaces")) {
                Some(namespaces) => Err(Refusal::not_found(namespaces, namespace)),
                None => Ok(()),
            };
        };
        if field(found, "deletionTimestamp").is_some() {
            return Err(Refusal::namespace_ends(write.resource(), name, namespace));
        }
        Ok(())
    }

    /// Who creates by PUT needs both rights.
    fn check_may_create(&self, write: Write<'_>) -> Result<(), Refusal> {
        let mut attributes = write.call.attributes();
        attributes.verb = "create".to_owned();
        self.rights().check(write.user, &attributes)
    }
}

/// A copy without one field.
fn without(object: &Value, left_out: &str) -> Value {
    let fields = object.as_object().into_iter().flatten().filter(|(key, _)| *key != left_out);
    fields.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn keep_in_namespace(object: &mut Value, namespace: &str) -> Result<(), Refusal> {
    let own = field_text(object, "namespace");
    if own == namespace {
        return Ok(());
    }
    if !own.is_empty() && !namespace.is_empty() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(message));
    }
    set(object, "namespace", (!namespace.is_empty()).then(|| namespace.into()));
    Ok(())
}

fn check_name(object: &Value, write: Write<'_>) -> Result<(), Refusal> {
    let (own, asked) = (field_text(object, "name"), &write.call.name);
    if own.is_empty() {
        let message = format!(
            "the name of the object ({asked} based on URL) was undeterminable: name must be provided"
        );
        return Err(Refusal::bad_request(message));
    }
    if own != asked {
        let message = format!("the name of the object ({own}) does not match the name on the URL ({asked})");
        return Err(Refusal::bad_request(message));
    }
    Ok(())
}

fn check_version(object: &mut Value, existing: &Value, write: Write<'_>) -> Result<(), Refusal> {
    let sent = resource_version(object);
    if sent == Some(0) && write.resource().allows_unguarded_updates() {
        take_over(object, "resourceVersion", existing);
        return Ok(());
    }
    if sent == Some(0) {
        let problem = Problem::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        // The server puts the resource where the kind belongs (`store.go`, "TODO: The Invalid error ...").
        let Resource { group, plural, .. } = write.resource();
        return Err(Refusal::invalid(group, plural, &write.call.name, &[problem]));
    }
    if sent != resource_version(existing) {
        return Err(write.conflict(CHANGED));
    }
    Ok(())
}

/// What an update of the object itself may not change.
fn prepare_update(object: &mut Value, existing: &Value, resource: &Resource) {
    take_over(object, "creationTimestamp", existing);
    take_over(object, "deletionTimestamp", existing);
    take_over(object, "deletionGracePeriodSeconds", existing);
    take_over(object, "generation", existing);
    if field(object, "uid").is_none() {
        take_over(object, "uid", existing);
    }
    if resource.has_status() {
        edit(object, |fields| {
            match existing.get("status") {
                Some(status) => fields.insert("status".to_owned(), status.clone()),
                None => fields.remove("status"),
            };
        });
    }
    if resource.is_custom() && !is_same_but_for_metadata(object, existing) {
        let generation = field(existing, "generation").and_then(Value::as_u64).unwrap_or_default();
        set(object, "generation", Some(generation.saturating_add(1).into()));
    }
}

fn is_same_but_for_metadata<'a>(one: &'a Value, other: &'a Value) -> bool {
    let rest = |value: &'a Value| {
        let fields = value.as_object().into_iter().flatten();
        fields.filter(|(key, _)| *key != "metadata")
    };
    rest(one).eq(rest(other))
}

fn check_preconditions(options: &Value, existing: &Value, write: Write<'_>) -> Result<(), Refusal> {
    let Resource { group, kind, .. } = write.resource();
    let wanted = |name: &str| options.get("preconditions")?.get(name)?.as_str();
    let (uid, version) = (field_text(existing, "uid"), field_text(existing, "resourceVersion"));
    if let Some(asked) = wanted("uid").filter(|asked| *asked != uid) {
        let why = format!(
            "the UID in the precondition ({asked}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        );
        return Err(Refusal::conflict_on(group, kind, &write.call.name, &why));
    }
    if let Some(asked) = wanted("resourceVersion").filter(|asked| *asked != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        );
        return Err(Refusal::conflict_on(group, kind, &write.call.name, &why));
    }
    Ok(())
}

fn set_deletion_finalizers(object: &mut Value, options: &Value) {
    let mut kept = finalizers(object);
    let before = kept.clone();
    let policy = options.get("propagationPolicy").and_then(Value::as_str);
    let wanted = match policy {
        Some("Foreground") => Some(FOREGROUND),
        Some("Orphan") => Some(ORPHAN),
        Some(_) => None,
        None => return,
    };
    kept.retain(|one| one != FOREGROUND && one != ORPHAN);
    kept.extend(wanted.map(str::to_owned));
    if kept != before {
        set(object, "finalizers", (!kept.is_empty()).then(|| json!(kept)));
    }
}

/// What is answered when an object is gone.
fn deleted(write: Write<'_>, existing: &Value) -> Value {
    // Of the kinds here, only these answer themselves (`ReturnDeletedObject`).
    if write.resource().is("", "serviceaccounts") {
        return existing.clone();
    }
    let (resource, uid) = (write.resource(), field_text(existing, "uid"));
    let (name, kind) = (&write.call.name, &resource.plural);
    let details = match resource.group.as_str() {
        "" => json!({"name": name, "kind": kind, "uid": uid}),
        group => json!({"name": name, "kind": kind, "uid": uid, "group": group}),
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
