//! What the server keeps: objects, and the changes that led to them since the last compaction.
//!
//! In: whole objects to keep or to remove. Out: objects by key and in order of keys, as they are now or as they were
//! at an earlier version, and changes after a version.
//! There is one counter of versions for everything, as in etcd. Nothing here knows what an object means.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use crate::metadata::set;
use crate::resource::Resource;

/// Where an object is kept. The order is etcd's: that of the bytes of its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Number of the kind in the server's table.
    pub(crate) kind: usize,
    /// `namespace/name`, or the name alone.
    pub(crate) path: String,
}

impl Key {
    pub(crate) fn new(kind: usize, namespace: &str, name: &str) -> Self {
        let path = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        Self { kind, path }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The version that it made.
    pub(crate) version: u64,
    /// When, for watches that lag.
    pub(crate) at: Instant,
    /// Which object.
    pub(crate) key: Key,
    /// The object before; `None` when it is new.
    pub(crate) before: Option<Arc<Value>>,
    /// The object after; `None` when it is gone.
    pub(crate) after: Option<Arc<Value>>,
}

/// A version that cannot be had any more; this is the oldest one that can.
#[derive(Debug)]
pub(crate) struct Compacted(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    changes: VecDeque<Change>,
    version: u64,
    /// Changes up to this one are forgotten.
    compacted: u64,
    /// The version of each kind's last change.
    last_of_kind: BTreeMap<usize, u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        // A resourceVersion of 0 means "any" in requests, and one of 1 is from before anything is remembered.
        Self {
            objects: BTreeMap::new(),
            changes: VecDeque::new(),
            version: 2,
            compacted: 2,
            last_of_kind: BTreeMap::new(),
        }
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The version of a kind's last change; 0 when there was none.
    pub(crate) fn last_of_kind(&self, kind: usize) -> u64 {
        self.last_of_kind.get(&kind).copied().unwrap_or_default()
    }

    /// Kinds of which something has changed after a version.
    pub(crate) fn kinds_since(&self, version: u64) -> impl Iterator<Item = usize> {
        self.last_of_kind.iter().filter(move |(_, last)| **last > version).map(|(kind, _)| *kind)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Keeps an object and gives it the next version.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version = self.version.saturating_add(1);
        set(&mut object, "resourceVersion", Some(self.version.to_string().into()));
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.note(key, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object, if it is there.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(before) = self.objects.remove(key) {
            self.version = self.version.saturating_add(1);
            self.note(key.clone(), Some(before), None);
        }
    }

    fn note(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.last_of_kind.insert(key.kind, self.version);
        self.changes.push_back(Change { version: self.version, at: Instant::now(), key, before, after });
    }

    /// All objects of a kind whose path begins so, in order, as they are now.
    pub(crate) fn list(&self, kind: usize, prefix: &str) -> impl Iterator<Item = (&str, &Arc<Value>)> {
        let from = Key { kind, path: prefix.to_owned() };
        self.objects
            .range(from..)
            .take_while(move |(key, _)| key.kind == kind && key.path.starts_with(prefix))
            .map(|(key, object)| (key.path.as_str(), object))
    }

    /// The same as they were at a version.
    pub(crate) fn list_at(
        &self,
        kind: usize,
        prefix: &str,
        version: u64,
    ) -> Result<BTreeMap<String, Arc<Value>>, Compacted> {
        if version < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let mut objects: BTreeMap<String, Arc<Value>> =
            self.list(kind, prefix).map(|(path, object)| (path.to_owned(), Arc::clone(object))).collect();
        let undone = self.changes.iter().rev().take_while(|change| change.version > version);
        for change in undone.filter(|change| change.key.kind == kind && change.key.path.starts_with(prefix)) {
            match &change.before {
                Some(before) => objects.insert(change.key.path.clone(), Arc::clone(before)),
                None => objects.remove(&change.key.path),
            };
        }
        Ok(objects)
    }

    /// The changes after a version, in order.
    fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Compacted> {
        if version < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let begin = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(begin..))
    }

    /// The changes of objects of a kind after a version. What was forgotten matters only if something of the kind is in
    /// it: the real server keeps the changes of each kind for itself, and of a quiet kind it keeps them all
    /// (`apiserver/pkg/storage/cacher/watch_cache.go`).
    pub(crate) fn of_kind_since(
        &self,
        kind: usize,
        version: u64,
    ) -> Result<impl Iterator<Item = &Change>, Compacted> {
        let is_quiet = self.last_of_kind(kind) <= version;
        let changes = self.since(if is_quiet { self.version } else { version })?;
        Ok(changes.filter(move |change| change.key.kind == kind))
    }

    /// Forgets how the objects came to be what they are now.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        self.changes.clear();
    }
}

/// A look at the stored objects, for hooks.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    pub(crate) store: &'a Store,
    pub(crate) resources: &'a [Resource],
}

impl<'a> Objects<'a> {
    /// An object by group, plural, namespace (empty for what has none) and name.
    pub fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<&'a Arc<Value>> {
        let kind = self.kind(group, plural)?;
        self.store.get(&Key::new(kind, namespace, name))
    }

    /// All objects of a kind in a namespace, or everywhere when that is empty, in order of their names.
    pub fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<&'a Arc<Value>> {
        let Some(kind) = self.kind(group, plural) else { return Vec::new() };
        self.store.list(kind, &prefix(namespace)).map(|(_, object)| object).collect()
    }

    /// The version of the last change of a kind, by group and plural; 0 when there was none.
    pub fn version_of(&self, group: &str, plural: &str) -> u64 {
        self.kind(group, plural).map_or(0, |kind| self.store.last_of_kind(kind))
    }

    /// Everything, in order of kinds and names.
    pub fn all(&self) -> impl Iterator<Item = &'a Value> {
        let kinds = 0..self.resources.len();
        let store = self.store;
        kinds.flat_map(move |kind| store.list(kind, "").map(|(_, object)| object.as_ref()))
    }

    fn kind(&self, group: &str, plural: &str) -> Option<usize> {
        self.resources.iter().position(|resource| resource.is(group, plural))
    }
}

/// What the paths of all objects in a namespace begin with; those of all objects when it is empty.
pub(crate) fn prefix(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{namespace}/") }
}

/// The object of a change that is a deletion, with the version of that deletion.
pub(crate) fn at_version(object: &Value, version: u64) -> Value {
    let mut last = object.clone();
    set(&mut last, "resourceVersion", Some(version.to_string().into()));
    last
}
