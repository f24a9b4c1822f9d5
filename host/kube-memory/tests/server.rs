//! The server under kube's own client and watcher, in virtual time: what a real server is not compared for.
//! What both servers have is in `tests/cases/api/script.yaml`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is not there fails the test that asked, which is what it should do"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use kube_memory::{
    Admission, ApiServer, Arrival, Attributes, Decision, Fate, News, Operation, Rbac, Refusal, Resource,
    Review, User, Verb, WatchEnd,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A server with one namespace, `shop`, and the clock of the runtime.
async fn server(seed: u64) -> (ApiServer, Client) {
    let (began, epoch) = (Instant::now(), Timestamp::from_second(1_767_323_045).unwrap());
    let promotions = Resource::custom("kargo.akuity.io", "v1alpha1", "Promotion", "promotions").with_status();
    let server = ApiServer::new(seed, move || epoch + began.elapsed(), [promotions]);
    let admin = server.client(&User::admin());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &shop).await.unwrap();
    (server, admin)
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "shop")
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn promotions(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("kargo.akuity.io", "v1alpha1", "Promotion");
    Api::namespaced_with(client.clone(), "shop", &ApiResource::from_gvk(&kind))
}

fn promotion(metadata: Value) -> DynamicObject {
    serde_json::from_value(json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
        "metadata": metadata, "spec": {"stage": "prod"}}))
    .unwrap()
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn label(client: &Client, name: &str, value: &str) {
    let patch = json!({"metadata": {"labels": {"value": value}}});
    maps(client).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// A watcher that writes down what it is told and how it was interrupted.
fn follow(client: &Client, config: watcher::Config) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (api, into) = (maps(client), Arc::clone(&heard));
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
        while let Some(event) = stream.next().await {
            let value = |map: ConfigMap| map.labels().get("value").cloned().unwrap_or_default();
            into.lock().unwrap().push(match event {
                Ok(watcher::Event::Init) => "init".to_owned(),
                Ok(watcher::Event::InitApply(map)) => format!("has {}", map.name_any()),
                Ok(watcher::Event::InitDone) => "ready".to_owned(),
                Ok(watcher::Event::Apply(map)) => format!("{}={}", map.name_any(), value(map)),
                Ok(watcher::Event::Delete(map)) => format!("{} gone", map.name_any()),
                Err(error) => {
                    format!("interrupted: {}", error.to_string().split(':').next().unwrap_or_default())
                }
            });
        }
    });
    heard
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn heard(notes: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    notes.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_watcher_lives_a_thousand_seconds_and_misses_nothing() {
    let (server, admin) = server(1).await;
    maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
    let notes = follow(&admin, watcher::Config::default());
    let mut expected = vec!["init".to_owned(), "has one".to_owned(), "ready".to_owned()];
    for number in 0..100 {
        wait(10).await;
        label(&admin, "one", &number.to_string()).await;
        expected.push(format!("one={number}"));
    }
    wait(1).await;
    assert_eq!(heard(&notes), expected);
    let of_maps = server.requests().resource("configmaps");
    of_maps.verb("list").expect(1).unwrap();
    // 1,001 seconds at 290 seconds each.
    of_maps.verb("watch").expect(4).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watcher_outlives_what_is_forgotten_of_others() {
    let (server, admin) = server(1).await;
    let notes = follow(&admin, watcher::Config::default());
    wait(1).await;
    for _ in 0..20 {
        wait(50).await;
        promotions(&admin)
            .create(&PostParams::default(), &promotion(json!({"generateName": "p-"})))
            .await
            .unwrap();
        // Every version up to here is forgotten, and none of them is one of a ConfigMap.
        wait(70).await;
        server.compact();
    }
    assert_eq!(heard(&notes), ["init", "ready"]);
    server.requests().resource("configmaps").verb("list").expect(1).unwrap();
}

/// What happens to the kind in another namespace is told by bookmarks, so that the next watch begins behind it.
#[tokio::test(start_paused = true)]
async fn a_watcher_of_a_quiet_namespace_is_kept_up_to_date_by_bookmarks() {
    let (server, admin) = server(1).await;
    let elsewhere: Api<ConfigMap> = Api::namespaced(admin.clone(), "default");
    let namespace = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let notes = follow(&admin, watcher::Config::default());
    wait(1).await;
    for number in 0..20 {
        wait(50).await;
        elsewhere.create(&PostParams::default(), &map(&format!("map-{number}"))).await.unwrap();
        wait(70).await;
        server.compact();
    }
    assert_eq!(heard(&notes), ["init", "ready"]);
    server.requests().resource("configmaps").verb("list").expect(1).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_onlooker_is_told_without_a_request() {
    let (server, admin) = server(1).await;
    maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
    let n_requests = server.n_requests();
    let mut news = server.follow("", "configmaps", "shop").boxed();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut next = async || match news.next().await.unwrap() {
        News::Found(object) => format!("has {}", name(&object)),
        News::Complete => "ready".to_owned(),
        News::Applied(object) => format!("{}={}", name(&object), object["metadata"]["labels"]["value"]),
        News::Gone(object) => format!("{} gone", name(&object)),
    };
    assert_eq!([next().await, next().await], ["has one", "ready"]);
    assert_eq!(server.n_requests(), n_requests);
    label(&admin, "one", "a").await;
    maps(&admin).delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!([next().await, next().await], ["one=\"a\"", "one gone"]);
    maps(&admin).create(&PostParams::default(), &map("two")).await.unwrap();
    server.compact();
    assert_eq!([next().await, next().await], ["has two", "ready"], "what was forgotten begins anew");
    assert!(server.follow("", "no-such-kind", "").boxed().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_ends_with_its_bookmark() {
    let (server, admin) = server(1).await;
    for name in ["one", "two"] {
        maps(&admin).create(&PostParams::default(), &map(name)).await.unwrap();
    }
    let notes = follow(&admin, watcher::Config::default().streaming_lists());
    wait(1).await;
    maps(&admin).delete("one", &DeleteParams::default()).await.unwrap();
    wait(1).await;
    assert_eq!(heard(&notes), ["init", "has one", "has two", "ready", "one gone"]);
    server.requests().verb("list").expect_none().unwrap();
}

/// A run with everything in it: writes of several tasks, watches, waits, refusals.
async fn busy_run(seed: u64) -> (String, String) {
    let (server, admin) = server(seed).await;
    let notes = follow(&admin, watcher::Config::default());
    let tasks = (0..4).map(|number| {
        let admin = admin.clone();
        async move {
            let name = format!("map-{number}");
            maps(&admin).create(&PostParams::default(), &map(&name)).await.unwrap();
            for value in 0..20 {
                wait(1 + (value * 7 + number) % 5).await;
                label(&admin, &name, &value.to_string()).await;
                let made = promotion(json!({"generateName": "p-"}));
                promotions(&admin).create(&PostParams::default(), &made).await.unwrap();
                code(maps(&admin).create(&PostParams::default(), &map(&name)).await);
            }
        }
    });
    futures::future::join_all(tasks).await;
    let stored = server.look(|objects| {
        let all = objects.list("kargo.akuity.io", "promotions", "shop");
        serde_json::to_string(&all.iter().map(|object| object.as_ref()).collect::<Vec<_>>()).unwrap()
    });
    (server.log_hash(), format!("{stored}\n{:?}", heard(&notes)))
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_bytes() {
    let (first, second, other) = (busy_run(5).await, busy_run(5).await, busy_run(6).await);
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
    assert_ne!(first.1, other.1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_behind_a_compaction_lists_again() {
    let (server, admin) = server(1).await;
    maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
    let page = maps(&admin).list(&ListParams::default()).await.unwrap();
    let old = page.metadata.resource_version.unwrap();
    maps(&admin).create(&PostParams::default(), &map("two")).await.unwrap();
    let first = maps(&admin).list(&ListParams::default().limit(1)).await.unwrap();
    label(&admin, "one", "new").await;
    server.compact();
    let more = ListParams::default().limit(1).continue_token(&first.metadata.continue_.unwrap());
    assert_eq!(code(maps(&admin).list(&more).await), 410);
    let exact = ListParams::default().at(&old).matching(kube::api::VersionMatch::Exact);
    assert_eq!(code(maps(&admin).list(&exact).await), 410);
    let mut watch = maps(&admin).watch(&Default::default(), &old).await.unwrap().boxed();
    let event = watch.next().await.unwrap().unwrap();
    assert!(matches!(&event, kube::api::WatchEvent::Error(status) if status.code == 410), "{event:?}");
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_recovers_from_every_end_of_a_watch() {
    for (end, interruption) in [
        (WatchEnd::Closed, None),
        (WatchEnd::Silent, None),
        (WatchEnd::Broken, Some("interrupted: watch stream failed")),
        (WatchEnd::Expired, Some("interrupted: error returned by apiserver during watch")),
    ] {
        let (server, admin) = server(1).await;
        maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
        let mut n_watches = 0;
        server.set_faults(move |arrival: &Arrival<'_>| {
            n_watches += u32::from(arrival.verb == Some(Verb::Watch));
            let is_first = arrival.verb == Some(Verb::Watch) && n_watches == 1;
            // The label comes before the watcher does again: its shortest pause is 0.8 s, and then it is random.
            let until = Duration::from_millis(5_500);
            if is_first { Fate::WatchEnds(until, end) } else { Fate::Normal }
        });
        let notes = follow(&admin, watcher::Config::default());
        wait(6).await;
        label(&admin, "one", "late").await;
        wait(400).await;
        let notes = heard(&notes);
        assert_eq!(
            notes.iter().find(|note| note.starts_with("interrupted")).map(String::as_str),
            interruption
        );
        let is_told = match end {
            WatchEnd::Expired => notes.ends_with(&["has one".to_owned(), "ready".to_owned()]),
            WatchEnd::Closed | WatchEnd::Silent | WatchEnd::Broken => {
                notes.ends_with(&["one=late".to_owned()])
            }
        };
        assert!(is_told, "{end:?}: {notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lagging_watch_tells_everything_later() {
    let (server, admin) = server(1).await;
    maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
    server.set_faults(|arrival: &Arrival<'_>| match arrival.verb {
        Some(Verb::Watch) => Fate::WatchLags(Duration::from_secs(7)),
        _ => Fate::Normal,
    });
    let notes = follow(&admin, watcher::Config::default());
    wait(57).await;
    label(&admin, "one", "a").await;
    // Across a bookmark at 60 seconds, which must not skip what is still under way.
    wait(6).await;
    assert_eq!(heard(&notes).len(), 3);
    wait(2).await;
    assert_eq!(heard(&notes).last().unwrap(), "one=a");
}

/// What becomes of one create with `timeout=5s` whose fate is given: the client's answer, how many objects there are
/// right after it, and how many a minute later.
async fn create_with(fate: Fate) -> (String, usize, usize) {
    let (server, admin) = server(1).await;
    server.set_faults(move |arrival: &Arrival<'_>| match arrival.verb {
        Some(Verb::Create) => fate.clone(),
        _ => Fate::Normal,
    });
    let request = http::Request::post("/apis/kargo.akuity.io/v1alpha1/namespaces/shop/promotions?timeout=5s")
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&promotion(json!({"generateName": "p-"}))).unwrap())
        .unwrap();
    let answer = match admin.request::<DynamicObject>(request).await {
        Ok(_) => "stored".to_owned(),
        Err(kube::Error::Api(status)) => status.code.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    let count = || server.look(|objects| objects.list("kargo.akuity.io", "promotions", "shop").len());
    let now = count();
    wait(60).await;
    (answer, now, count())
}

#[tokio::test(start_paused = true)]
async fn every_fate_of_a_create_comes_about() {
    let seconds = Duration::from_secs;
    for (fate, answer, now, later) in [
        (Fate::Normal, "stored", 1, 1),
        (Fate::Refused(Refusal::too_many_requests()), "429", 0, 0),
        (Fate::Lost, "no answer", 0, 0),
        (Fate::Late(seconds(3)), "stored", 1, 1),
        (Fate::Late(seconds(9)), "504", 0, 0),
        (Fate::AnswerLate(seconds(3)), "stored", 1, 1),
        (Fate::AnswerLate(seconds(9)), "504", 1, 1),
        (Fate::AnswerLost(seconds(1)), "no answer", 1, 1),
        (Fate::StoredLate(seconds(4)), "no answer", 0, 1),
        (Fate::StoredLate(seconds(9)), "no answer", 0, 0),
        (Fate::Twice(seconds(2)), "stored", 1, 2),
    ] {
        let seen = create_with(fate.clone()).await;
        assert_eq!(seen, (answer.to_owned(), now, later), "{fate:?}");
    }
}

/// Renames Promotions as Kargo's webhook does, and refuses those of a Stage that the user may not promote to.
struct Kargo;

impl Admission for Kargo {
    fn webhook(&self, review: &Review<'_>) -> Option<String> {
        (review.resource.kind == "Promotion" && review.subresource.is_empty())
            .then(|| "promotion.kargo.akuity.io".to_owned())
    }

    fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Refusal> {
        if review.operation == Operation::Create {
            object["metadata"]["name"] = json!(format!("prod.{}", review.name));
        }
        Ok(())
    }

    fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Refusal> {
        let stage = object.or(review.old).map(|object| object["spec"]["stage"].clone()).unwrap_or_default();
        let promote = Attributes {
            verb: "promote".to_owned(),
            group: "kargo.akuity.io".to_owned(),
            resource: "stages".to_owned(),
            namespace: review.namespace.to_owned(),
            name: stage.as_str().unwrap_or_default().to_owned(),
            ..Attributes::default()
        };
        match review.may(review.user, &promote) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(_) => Err(Refusal::from_status(json!({"kind": "Status", "code": 403,
                "message": format!("{} may not promote", review.user.name())}))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn webhooks_rename_refuse_and_can_be_down() {
    let (server, admin) = server(1).await;
    server.set_authorizer(Rbac);
    server.set_admission(Kargo);
    let everything = json!({"apiGroups": ["*"], "resources": ["promotions"], "verbs": ["*"]});
    let role = json!({"metadata": {"name": "writer"}, "rules": [everything]});
    let binding = json!({"metadata": {"name": "writer"}, "roleRef": {"kind": "ClusterRole", "name": "writer"},
        "subjects": [{"kind": "User", "name": "alice"}]});
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let uri = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let request = http::Request::post(uri).body(serde_json::to_vec(&object).unwrap()).unwrap();
        admin.request::<Value>(request).await.unwrap();
    }
    let (params, dry) = (PostParams::default(), PostParams { dry_run: true, field_manager: None });
    let sent = promotion(json!({"name": "x"}));
    assert_eq!(promotions(&admin).create(&dry, &sent).await.unwrap().name_any(), "prod.x");
    let stored = promotions(&admin).create(&params, &sent).await.unwrap();
    assert_eq!(stored.name_any(), "prod.x");
    promotions(&admin).get("prod.x").await.unwrap();
    assert_eq!(code(promotions(&admin).get("x").await), 404);

    let alice = server.client(&User::new("alice"));
    assert_eq!(code(promotions(&alice).create(&params, &promotion(json!({"name": "y"}))).await), 403);

    // However a request fares, what counts is whether they are down when it is carried out. Half a second later they have
    // changed.
    let create = async |name: &str, fate: Fate, are_down: bool| {
        server.set_faults(move |_: &Arrival<'_>| fate.clone());
        server.set_webhooks_down(are_down);
        let change = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.set_webhooks_down(!are_down);
        };
        let (api, params) = (promotions(&admin), PostParams::default());
        let sent = promotion(json!({"name": name}));
        let (created, ()) = tokio::join!(api.create(&params, &sent), change);
        created.map_err(|error| error.to_string())
    };
    let second = Duration::from_secs(1);
    for (name, fate) in [("a", Fate::Normal), ("b", Fate::AnswerLate(second)), ("c", Fate::Twice(second))] {
        let error = create(name, fate.clone(), true).await.unwrap_err();
        assert!(error.contains("failed calling webhook \"promotion.kargo.akuity.io\""), "{fate:?}: {error}");
    }
    create("d", Fate::Late(second), true).await.unwrap();
    create("e", Fate::Late(second), false).await.unwrap_err();
    wait(2).await;
    server.set_faults(|_: &Arrival<'_>| Fate::Normal);
    server.set_webhooks_down(true);
    let status = json!({"status": {"phase": "Failed"}});
    promotions(&admin).patch_status("prod.x", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    maps(&admin).create(&params, &map("free")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn server_side_apply_is_refused_with_the_reason() {
    let (_, admin) = server(1).await;
    let request =
        http::Request::patch("/apis/kargo.akuity.io/v1alpha1/namespaces/shop/promotions/x?fieldManager=me")
            .header("content-type", concat!("application/", "apply-patch+yaml"))
            .body(b"{}".to_vec())
            .unwrap();
    let error = admin.request::<Value>(request).await.unwrap_err().to_string();
    assert!(error.contains("an apply leaves a phantom"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_trail_tells_who_asked_for_what() {
    let (server, admin) = server(1).await;
    let mark = server.n_requests();
    let as_account = http::Request::post("/api/v1/namespaces/shop/configmaps?dryRun=All")
        .header("impersonate-user", "system:serviceaccount:shop:refloat")
        .body(serde_json::to_vec(&map("one")).unwrap())
        .unwrap();
    admin.request::<Value>(as_account).await.unwrap();
    maps(&admin).create(&PostParams::default(), &map("one")).await.unwrap();
    maps(&admin).get("one").await.unwrap();
    code(maps(&admin).get("two").await);
    let seen = server.requests_since(mark);
    seen.expect(4).unwrap();
    seen.writes().as_actor("admin").expect(1).unwrap();
    seen.dry_runs().as_actor("system:serviceaccount:shop:refloat").by_user("admin").expect(1).unwrap();
    seen.verb("get").filter(|request| request.code == 404 && request.name == "two").expect(1).unwrap();
    let writes = seen.writes();
    let write = writes.iter().next().unwrap();
    assert_eq!(
        write.to_string(),
        "2026-01-02T03:04:05Z 201 admin create /api/v1/namespaces/shop/configmaps?"
    );
    let sent: serde_json::Value = serde_json::from_str(&write.sent).unwrap();
    assert_eq!(sent["metadata"]["name"], "one");
}

#[tokio::test(start_paused = true)]
async fn objects_are_listed_in_the_order_of_their_paths() {
    let (server, admin) = server(1).await;
    for namespace in ["a", "a-b"] {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &object).await.unwrap();
        Api::namespaced(admin.clone(), namespace).create(&PostParams::default(), &map("m")).await.unwrap();
    }
    let all = Api::<ConfigMap>::all(admin).list(&ListParams::default()).await.unwrap();
    let namespaces: Vec<String> = all.iter().filter_map(|map| map.namespace()).collect();
    // etcd compares bytes, and `-` comes before `/`.
    assert_eq!(namespaces, ["a-b", "a"]);
    let by_name: BTreeMap<String, usize> = server.look(|objects| {
        ["a", "a-b"].map(|name| (name.to_owned(), objects.list("", "configmaps", name).len())).into()
    });
    assert_eq!(by_name, BTreeMap::from([("a".to_owned(), 1), ("a-b".to_owned(), 1)]));
}
