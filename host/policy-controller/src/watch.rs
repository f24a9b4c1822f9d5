//! One watch of one kind of object: list, then changes, with reconnects, for ever.
//!
//! In: an `Api` and what to do with changes. Out: calls of that function, in order, from one task.
//! A full list replaces everything that was known, so that a deletion missed during a disconnect is not missed
//! for good. Nothing here decides anything.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::{WatchStreamExt, watcher};
use policy_api::kargo::Perhaps;
use serde::de::DeserializeOwned;

/// The first pause before a watch that broke off is begun again, and the longest: those of client-go's reflector.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so long without trouble the next pause is the first one again.
const CALM: Duration = Duration::from_secs(120);

/// Pauses that double. kube's own add random jitter, which a simulation could not repeat; one leader with a watch per
/// kind is no herd that needs it.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = self.last.map_or(FIRST_PAUSE, |last| last.saturating_mul(2).min(LONGEST_PAUSE));
        self.last = Some(next);
        self.last
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.last = None;
    }
}

/// Something that a watch says.
#[derive(Debug)]
pub enum Change<K> {
    /// These are all objects there are.
    All(Vec<K>),
    /// This object is new or different.
    Applied(K),
    /// This object is gone.
    Deleted(K),
}

impl<K: Default + kube::Resource> Change<Perhaps<K>> {
    /// The change without objects that cannot be decoded, which are logged. `None` when it is about such a one alone;
    /// that it is gone is known by its metadata all the same.
    pub fn readable(self) -> Option<Change<K>> {
        let read = |object: Perhaps<K>| {
            object
                .object()
                .inspect_err(|error| {
                    tracing::warn!(error = &**error as &dyn std::error::Error, "object left out")
                })
                .ok()
        };
        match self {
            Self::All(list) => Some(Change::All(list.into_iter().filter_map(read).collect())),
            Self::Applied(object) => read(object).map(Change::Applied),
            Self::Deleted(Perhaps::Read(object)) => Some(Change::Deleted(object)),
            Self::Deleted(Perhaps::Unreadable { metadata, .. }) => {
                let mut gone = K::default();
                *gone.meta_mut() = *metadata;
                Some(Change::Deleted(gone))
            }
        }
    }
}

/// Follows one kind until the future is dropped.
pub async fn follow<K>(api: Api<K>, config: watcher::Config, mut on: impl FnMut(Change<K>))
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let pauses = ResetTimerBackoff::new(Pauses::default(), CALM);
    let mut stream = std::pin::pin!(watcher(api, config).backoff(pauses));
    let mut listed = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => listed.push(object),
            Ok(watcher::Event::InitDone) => on(Change::All(std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(object)) => on(Change::Applied(object)),
            Ok(watcher::Event::Delete(object)) => on(Change::Deleted(object)),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "watch interrupted"),
        }
    }
}
