//! Objects as they stand and change, seen from inside of the server: no request, no connection that ends, no copy.
//!
//! In: a kind and a namespace. Out: a stream that tells everything that is there, then every change, in the order of
//! versions. It is for onlookers that are a part of the play; whoever is played asks by requests ([`crate::watch`]).

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{Stream, stream};
use serde_json::Value;

use crate::server::Shared;
use crate::store::{Store, prefix};

/// What there is to tell of the objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// This object was there at the beginning.
    Found(Arc<Value>),
    /// Nothing else was.
    Complete,
    /// This object is new or has changed.
    Applied(Arc<Value>),
    /// This object is gone; this is what it was last.
    Gone(Arc<Value>),
}

struct Follower {
    kind: usize,
    prefix: String,
    /// The last version that was looked at; `None` before the first look.
    seen: Option<u64>,
    news: VecDeque<News>,
}

/// Follows the objects of a kind, by its number, in a namespace, or everywhere when that is empty.
pub(crate) fn follow(
    shared: Arc<Shared>,
    kind: Option<usize>,
    namespace: &str,
) -> impl Stream<Item = News> + Send + use<> {
    let follower =
        kind.map(|kind| Follower { kind, prefix: prefix(namespace), seen: None, news: VecDeque::new() });
    stream::unfold((follower, shared), |(follower, shared)| async {
        let mut follower = follower?;
        let news = follower.next(&shared).await?;
        Some((news, (Some(follower), shared)))
    })
}

impl Follower {
    async fn next(&mut self, shared: &Shared) -> Option<News> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Some(news);
            }
            // Asked for before looking, so that no change between looking and waiting is missed.
            let mut changed = std::pin::pin!(shared.changed(self.kind)?);
            changed.as_mut().enable();
            shared.with_store(|store| self.look(store));
            if self.news.is_empty() {
                changed.await;
            }
        }
    }

    fn look(&mut self, store: &Store) {
        let last = self.seen.replace(store.version());
        let changes = last.and_then(|last| store.of_kind_since(self.kind, last).ok());
        match changes {
            Some(changes) => {
                let ours = changes.filter(|change| change.key.path.starts_with(&self.prefix));
                self.news.extend(ours.filter_map(|change| {
                    let gone = || change.before.clone().map(News::Gone);
                    change.after.clone().map(News::Applied).or_else(gone)
                }));
            }
            // At the beginning, and behind a compaction, which says nothing of what is gone.
            None => {
                let all = store.list(self.kind, &self.prefix);
                self.news.extend(all.map(|(_, object)| News::Found(Arc::clone(object))));
                self.news.push_back(News::Complete);
            }
        }
    }
}
