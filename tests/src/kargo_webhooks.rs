//! Kargo's webhooks for a real API server, under the names that Kargo's have, for one Project.
//! In: a client's configuration, a clock and the Project. Out: a running server, registered and in force. What it
//! answers are the rules of `kargo-model`, on what the API server shows at that moment. It must not judge anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1 as registration;
use k8s_openapi::api::authorization::v1 as authorization;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kargo_model::admission::{
    self, Access, AccessReview, AdmissionRequest, Denial, FREIGHT_WEBHOOK, Operation, PROMOTION_WEBHOOK,
    STAGE_WEBHOOK,
};
use kargo_model::{Kind, SeededIds, World, object};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Client, Config};
use serde_json::json;
use simulator::kargo::{api, resource, typed};
use simulator::webhooks;

use crate::admission::{AdmissionServer, Answer, Call, serve_admission};

const MUTATE: &str = "/mutate";
const VALIDATE: &str = "/validate";
/// A Stage of this name is refused by the validating webhook: how the stand-in sees that it is in force.
const PROBE: &str = "stand-in-probe";

/// The time of day, for any thread.
pub(crate) type SharedClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(crate) async fn register(admin: &Client, server: &AdmissionServer, project: &str) -> anyhow::Result<()> {
    let hook = |name: &str, path: &str, resources: &[&str]| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "clientConfig": {"url": format!("{}{path}", server.url()), "caBundle": bundle(server)},
            "namespaceSelector": LabelSelector {
                match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), project.to_owned())])),
                match_expressions: None,
            },
            "rules": [{
                "apiGroups": ["kargo.akuity.io"], "apiVersions": ["v1alpha1"], "resources": resources,
                "operations": match path { MUTATE => vec!["CREATE", "UPDATE"], _ => vec!["CREATE", "UPDATE", "DELETE"] },
                "scope": "Namespaced",
            }],
        })
    };
    let metadata = ObjectMeta { name: Some(format!("kargo-{project}")), ..Default::default() };
    let mutating: registration::MutatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": metadata,
        "webhooks": [
            hook(PROMOTION_WEBHOOK, MUTATE, &["promotions"]), hook(STAGE_WEBHOOK, MUTATE, &["stages"]),
            hook(FREIGHT_WEBHOOK, MUTATE, &["freights"]),
        ],
    }))?;
    let validating: registration::ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": metadata,
        "webhooks": [
            hook(PROMOTION_WEBHOOK, VALIDATE, &["promotions"]), hook(STAGE_WEBHOOK, VALIDATE, &["stages"]),
            hook(FREIGHT_WEBHOOK, VALIDATE, &["freights", "freights/status"]),
        ],
    }))?;
    let name = format!("kargo-{project}");
    let mutating_api: Api<registration::MutatingWebhookConfiguration> = Api::all(admin.clone());
    let validating_api: Api<registration::ValidatingWebhookConfiguration> = Api::all(admin.clone());
    // A stand-in that was started before for the same Project listened on another port.
    let _ = mutating_api.delete(&name, &DeleteParams::default()).await;
    let _ = validating_api.delete(&name, &DeleteParams::default()).await;
    mutating_api.create(&PostParams::default(), &mutating).await?;
    validating_api.create(&PostParams::default(), &validating).await?;
    Ok(())
}

fn bundle(server: &AdmissionServer) -> k8s_openapi::ByteString {
    k8s_openapi::ByteString(server.ca_bundle().as_bytes().to_vec())
}

/// A registration counts a moment after it was stored: asks by dry run until both webhooks answer.
pub(crate) async fn wait_until_in_force(admin: &Client, project: &str) -> anyhow::Result<()> {
    let stage: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {"name": PROBE},
        "spec": {"requestedFreight": [
            {"origin": {"kind": "Warehouse", "name": "web"}, "sources": {"direct": true}},
        ]},
    }))?;
    let promotion: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion", "metadata": {"name": PROBE},
        "spec": {"stage": PROBE, "freight": "none", "steps": [{"uses": "fail"}]},
    }))?;
    let dry = PostParams { dry_run: true, field_manager: None };
    crate::until("the webhooks of the stand-in for Kargo are in force", || async {
        let refused = [
            api(admin, Kind::Stage, project).create(&dry, &stage).await.err(),
            api(admin, Kind::Promotion, project).create(&dry, &promotion).await.err(),
        ];
        let texts: Vec<String> = refused.into_iter().flatten().map(|error| error.to_string()).collect();
        Ok(texts.iter().any(|text| text.contains("probed"))
            && texts.iter().any(|text| text.contains("could not find Stage")))
    })
    .await
}

/// Starts the server. It asks the API server as `config` says.
///
/// # Errors
/// When no port or thread can be had.
pub(crate) fn serve(config: Config, clock: SharedClock) -> anyhow::Result<AdmissionServer> {
    let clients = Arc::new(ClientOfThread { config, made: Mutex::new(None) });
    let seed = Arc::new(AtomicU64::new(u64::from(std::process::id())));
    Ok(serve_admission(move |call| {
        let (clients, clock, seed) = (Arc::clone(&clients), Arc::clone(&clock), Arc::clone(&seed));
        async move {
            let judged = match clients.get() {
                Ok(client) => {
                    let ids = SeededIds::new(seed.fetch_add(1, Ordering::Relaxed));
                    judge(&client, &call, ids, World::new(clock())).await
                }
                Err(error) => Err(error.into()),
            };
            judged.unwrap_or_else(|error| {
                let problem = format!("the stand-in for Kargo: {error:#}");
                Answer::Deny(Denial::Internal { problem }.status())
            })
        }
    })?)
}

/// A client belongs to the async runtime that it was made in, and the webhook server gets a new thread and runtime
/// each time it comes up.
struct ClientOfThread {
    config: Config,
    made: Mutex<Option<(ThreadId, Client)>>,
}

impl ClientOfThread {
    fn get(&self) -> Result<Client, kube::Error> {
        let here = std::thread::current().id();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((thread, client)) if *thread == here => Ok(client.clone()),
            _ => {
                let client = Client::try_from(self.config.clone())?;
                *made = Some((here, client.clone()));
                Ok(client)
            }
        }
    }
}

async fn judge(client: &Client, call: &Call, mut ids: SeededIds, mut world: World) -> anyhow::Result<Answer> {
    let request = AdmissionRequest::from_review(&json!({"request": call.request}))?;
    let subject = request.subject();
    if object::name(subject) == PROBE && call.path == VALIDATE {
        return Ok(Answer::Deny(Denial::Internal { problem: "probed".to_owned() }.status()));
    }
    let Some(kind) = Kind::from_name(object::text(subject, &["kind"])) else { return Ok(Answer::Allow) };
    look_up(client, kind, &request, &mut world).await?;
    let answer = if call.path == MUTATE {
        webhooks::mutate(kind, &request, &world, &mut ids)
            .map(|changed| changed.map_or(Answer::Allow, Answer::Replace))
    } else {
        let access = match kind {
            Kind::Promotion => access(client, &admission::promote_review(&request)).await?,
            _ => Access::Allowed,
        };
        webhooks::validate(kind, &request, &world, access).map(|()| Answer::Allow)
    };
    Ok(answer.unwrap_or_else(|denial| Answer::Deny(denial.status())))
}

/// What the rules may want to see, read at this moment.
async fn look_up(
    client: &Client,
    kind: Kind,
    request: &AdmissionRequest,
    world: &mut World,
) -> anyhow::Result<()> {
    let project = &request.namespace;
    let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &resource(Kind::Namespace));
    if let Some(namespace) = namespaces.get_opt(project).await? {
        world.put(typed(Kind::Namespace, &namespace)?);
    }
    let kinds: &[Kind] = match (kind, request.operation) {
        (Kind::Freight, Operation::Create) => &[Kind::Freight, Kind::Warehouse],
        (Kind::Freight, Operation::Update) => &[Kind::Freight],
        (Kind::Freight, Operation::Delete) => &[Kind::Stage],
        (Kind::Promotion, Operation::Create) => {
            &[Kind::Stage, Kind::Freight, Kind::Warehouse, Kind::ProjectConfig, Kind::PromotionTask]
        }
        (Kind::Promotion, Operation::Update) => &[Kind::Stage],
        _ => &[],
    };
    for kind in kinds {
        for found in api(client, *kind, project).list(&ListParams::default()).await? {
            world.put(typed(*kind, &found)?);
        }
    }
    Ok(())
}

async fn access(client: &Client, review: &AccessReview) -> anyhow::Result<Access> {
    let question = authorization::SubjectAccessReview {
        spec: authorization::SubjectAccessReviewSpec {
            user: Some(review.user.name.clone()),
            groups: Some(review.user.groups.clone()),
            resource_attributes: Some(authorization::ResourceAttributes {
                group: Some(review.group.to_owned()),
                resource: Some(review.resource.to_owned()),
                verb: Some(review.verb.to_owned()),
                namespace: Some(review.namespace.clone()),
                name: Some(review.name.clone()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &question).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok(if allowed { Access::Allowed } else { Access::Denied })
}
