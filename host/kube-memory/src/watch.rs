//! Watches: changes as they happen, bookmarks, and an end that always comes.
//!
//! In: a call, and what is to go wrong with the watch. Out: a stream of lines, each an event, in the order of versions.
//! Sources: `apiserver/pkg/endpoints/handlers/get.go` (timeouts), `pkg/storage/cacher/cache_watcher.go` (bookmarks).
//! A watch without an end and without bookmarks would make kube's watcher believe that its connection is dead, and
//! connect again for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::call::Call;
use crate::fault::{Fate, WatchEnd};
use crate::list::bad_version;
use crate::refusal::{Problem, Refusal};
use crate::resource::Kind;
use crate::selector::Selector;
use crate::server::Shared;
use crate::store::{Change, Compacted, Store, at_version, prefix};

/// How long a watch lasts that asks for no time: the least that the server takes by default (it adds up to as much
/// again by chance; `--min-request-timeout`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a bookmark is sent.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch sends its last bookmark.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// A watch that is about to begin.
#[derive(Debug)]
pub(crate) struct Watch {
    kind: usize,
    api_version: String,
    kind_name: String,
    prefix: String,
    selector: Selector,
    lines: VecDeque<String>,
    /// The last version that was looked at.
    seen: u64,
    /// The last version that the client knows, so that no bookmark tells it again; `None` before the first look.
    told: Option<u64>,
    bookmarks: Bookmarks,
    ends_at: Instant,
    lag: Duration,
    breaks: Option<(Instant, WatchEnd)>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bookmarks {
    /// None are wanted, or the last one was sent.
    No,
    /// The time of the next one, and whether there was something to tell in it at the last look.
    Next { at: Instant, has_news: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing is told any more, and nobody is told so.
    Silent,
    /// What is still to be told is told, and then it is over.
    Ending,
    /// The connection breaks.
    Breaking,
    Over,
}

/// The connection of a watch broke.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by peer")]
pub(crate) struct Broken;

impl Watch {
    /// Checks the options and takes down what there is at the beginning.
    pub(crate) fn begin(call: &Call, kind: Kind<'_>, store: &Store, fate: &Fate) -> Result<Self, Refusal> {
        let Kind { number, resource } = kind;
        check_options(call)?;
        let selector = Selector::parse(call.option("labelSelector"), call.option("fieldSelector"), resource)?;
        let now = Instant::now();
        let seconds = call.option("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0);
        let ends_at = now + seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let mut watch = Self {
            kind: number,
            api_version: resource.api_version(),
            kind_name: resource.kind.clone(),
            prefix: prefix(&call.namespace),
            selector,
            lines: VecDeque::new(),
            seen: store.version(),
            told: None,
            bookmarks: Bookmarks::No,
            ends_at,
            lag: Duration::ZERO,
            breaks: None,
            state: State::Open,
        };
        match fate {
            Fate::WatchLags(lag) => watch.lag = *lag,
            Fate::WatchEnds(after, how) => watch.breaks = Some((now + *after, *how)),
            _ => {}
        }
        watch.start(call, store)?;
        if call.is_set("allowWatchBookmarks") {
            watch.bookmarks = watch.bookmark_after(now, now, false);
        }
        Ok(watch)
    }

    fn start(&mut self, call: &Call, store: &Store) -> Result<(), Refusal> {
        let asked = call.option("resourceVersion");
        let is_any = matches!(asked, "" | "0");
        let wants_initial = call.is_set("sendInitialEvents");
        if !is_any {
            let version: u64 = asked.parse().map_err(|_| bad_version(asked))?;
            if !wants_initial {
                self.seen = version;
                return Ok(());
            }
        }
        for (_, object) in store.list(self.kind, &self.prefix) {
            if self.selector.selects(object) {
                self.lines.push_back(event("ADDED", object));
            }
        }
        if wants_initial && call.is_set("allowWatchBookmarks") {
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            self.lines.push_back(self.bookmark(Some(annotations)));
        }
        Ok(())
    }

    /// The first one after `now`, when there was or would have been one at `last`.
    fn bookmark_after(&self, now: Instant, last: Instant, has_news: bool) -> Bookmarks {
        let end = self.ends_at.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(last);
        let mut at = last;
        while at <= now && at < end {
            at = (at + BOOKMARK_EVERY).min(end);
        }
        if at <= now { Bookmarks::No } else { Bookmarks::Next { at, has_news } }
    }

    /// Sends a bookmark if it is time, and says when the next one is, if there is something to tell in it.
    fn look_at_bookmarks(&mut self, store: &Store, now: Instant) -> Option<Instant> {
        let Bookmarks::Next { at, has_news: is_awaited } = self.bookmarks else { return None };
        // Of a quiet kind there is nothing to tell: the real server's cache of it has not moved on either.
        let news = store.last_of_kind(self.kind).min(self.seen);
        let mut has_news = self.told.is_some_and(|told| told < news);
        if at <= now && is_awaited && has_news {
            has_news = false;
            self.told = Some(self.seen);
            let line = self.bookmark(None);
            self.lines.push_back(line);
        }
        self.bookmarks = self.bookmark_after(now, at, has_news);
        match self.bookmarks {
            Bookmarks::Next { at, has_news: true } => Some(at),
            Bookmarks::Next { has_news: false, .. } | Bookmarks::No => None,
        }
    }

    fn bookmark(&self, annotations: Option<Value>) -> String {
        let mut metadata = json!({"resourceVersion": self.seen.to_string()});
        if let (Some(annotations), Some(metadata)) = (annotations, metadata.as_object_mut()) {
            metadata.insert("annotations".to_owned(), annotations);
        }
        let object = json!({"apiVersion": self.api_version, "kind": self.kind_name, "metadata": metadata});
        event("BOOKMARK", &object)
    }

    /// The stream of lines.
    pub(crate) fn stream(self, shared: Arc<Shared>) -> impl Stream<Item = Result<Vec<u8>, Broken>> + Send {
        stream::unfold((self, shared), |(mut watch, shared)| async {
            let line = watch.next(&shared).await?;
            if let Ok(line) = &line {
                shared.note_watch_line(line);
            }
            Some((line, (watch, shared)))
        })
    }

    async fn next(&mut self, shared: &Shared) -> Option<Result<Vec<u8>, Broken>> {
        loop {
            // Asked for before looking, so that no change between looking and waiting is missed.
            let mut changed = std::pin::pin!(shared.changed(self.kind)?);
            changed.as_mut().enable();
            let wake_at = shared.with_store(|store| self.look(store, Instant::now()));
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(line.into_bytes()));
            }
            match self.state {
                State::Open | State::Silent => {}
                State::Ending => {
                    self.state = State::Over;
                    return None;
                }
                State::Breaking => {
                    self.state = State::Over;
                    return Some(Err(Broken));
                }
                State::Over => return None,
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Takes down what there is to tell now, and says when there may be more.
    fn look(&mut self, store: &Store, now: Instant) -> Instant {
        // The far end of a silent connection only ends with the client.
        const NEVER: Duration = Duration::from_secs(86_400);
        if self.state != State::Open {
            return now + NEVER;
        }
        if let Some((at, how)) = self.breaks.filter(|(at, _)| *at <= now) {
            self.breaks = None;
            self.end(how, store);
            return at + NEVER;
        }
        let lagging = self.take_changes(store, now);
        self.told = self.told.or(Some(self.seen));
        if self.ends_at <= now {
            self.state = State::Ending;
            return now;
        }
        let bookmark = self.look_at_bookmarks(store, now);
        let times = [Some(self.ends_at), lagging, bookmark, self.breaks.map(|(at, _)| at)];
        times.into_iter().flatten().min().unwrap_or(self.ends_at)
    }

    fn end(&mut self, how: WatchEnd, store: &Store) {
        self.state = match how {
            WatchEnd::Closed => State::Ending,
            WatchEnd::Broken => State::Breaking,
            WatchEnd::Silent => State::Silent,
            WatchEnd::Expired => {
                let status = Refusal::too_old(self.seen, store.version());
                self.lines.push_back(event("ERROR", status.status()));
                State::Ending
            }
        };
    }

    /// Returns when the first change that still lags may be told.
    fn take_changes(&mut self, store: &Store, now: Instant) -> Option<Instant> {
        let changes = match store.of_kind_since(self.kind, self.seen) {
            Ok(changes) => changes,
            Err(Compacted(oldest)) => {
                let status = Refusal::too_old(self.seen, oldest);
                self.lines.push_back(event("ERROR", status.status()));
                self.state = State::Ending;
                return None;
            }
        };
        for change in changes {
            let visible_at = change.at + self.lag;
            if visible_at > now {
                return Some(visible_at);
            }
            self.seen = change.version;
            if change.key.path.starts_with(&self.prefix)
                && let Some(line) = line_of(change, &self.selector)
            {
                self.told = self.told.map(|_| change.version);
                self.lines.push_back(line);
            }
        }
        self.seen = self.seen.max(store.version());
        None
    }
}

fn line_of(change: &Change, selector: &Selector) -> Option<String> {
    let before = change.before.as_deref().filter(|object| selector.selects(object));
    let after = change.after.as_deref().filter(|object| selector.selects(object));
    match (before, after) {
        (None, Some(object)) => Some(event("ADDED", object)),
        (Some(_), Some(object)) => Some(event("MODIFIED", object)),
        (Some(object), None) => Some(event("DELETED", &at_version(object, change.version))),
        (None, None) => None,
    }
}

/// The type first, as `WatchEvent` of Kubernetes has it: whoever reads on then knows what the object is.
fn event(kind: &str, object: &Value) -> String {
    // What is JSON can be written as JSON, and sooner than it is displayed.
    let object = serde_json::to_string(object).unwrap_or_default();
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn check_options(call: &Call) -> Result<(), Refusal> {
    let forbidden = |detail: &str| Problem::forbidden("resourceVersionMatch", detail);
    let has_initial = !call.option("sendInitialEvents").is_empty();
    let problem = match call.option("resourceVersionMatch") {
        "NotOlderThan" if has_initial => return Ok(()),
        "" if !has_initial => return Ok(()),
        _ if has_initial => {
            forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        _ => forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
    };
    Err(Refusal::invalid("meta.k8s.io", "ListOptions", "", &[problem]))
}
