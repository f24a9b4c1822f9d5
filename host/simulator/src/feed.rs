//! Objects as they stand and change, for those who look on: Kargo's controllers and the timeline.
//!
//! In: a kind in a Project. Out: a stream of [`News`] that never ends. A server in memory tells them without requests; on
//! any other they come from kube's watcher, whose interruptions are nobody's business here: it starts again by itself.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use kargo_model::object;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
pub use kube_memory::News;
use serde_json::{Value, json};

/// News of one kind.
pub type Feed = BoxStream<'static, News>;

/// The news of a kind by a watch.
pub fn watched(client: &Client, project: &str, resource: &ApiResource) -> Feed {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), project, resource);
    let resource = resource.clone();
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let value = move |object: &DynamicObject| typed(&resource, object).ok().map(Arc::new);
    let news = events.filter_map(move |event| {
        std::future::ready(match event {
            Ok(watcher::Event::InitApply(object)) => value(&object).map(News::Found),
            Ok(watcher::Event::InitDone) => Some(News::Complete),
            Ok(watcher::Event::Apply(object)) => value(&object).map(News::Applied),
            Ok(watcher::Event::Delete(object)) => value(&object).map(News::Gone),
            Ok(watcher::Event::Init) | Err(_) => None,
        })
    });
    news.boxed()
}

/// Several feeds as one, each with what it is of.
pub(crate) fn all<K: Copy + Send + 'static>(
    feeds: impl IntoIterator<Item = (K, Feed)>,
) -> stream::SelectAll<BoxStream<'static, (K, News)>> {
    stream::select_all(feeds.into_iter().map(|(kind, feed)| feed.map(move |news| (kind, news)).boxed()))
}

/// An object as JSON, with its kind, which lists leave out.
///
/// # Errors
/// When it is no JSON, which nothing is that was read as JSON.
pub fn typed(resource: &ApiResource, found: &DynamicObject) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(found)?;
    object::put(&mut value, &["kind"], json!(resource.kind));
    object::put(&mut value, &["apiVersion"], json!(resource.api_version));
    Ok(value)
}
