//! Requests to the API server that kube's typed calls do not cover: impersonated writes on Kargo objects, creates
//! with a server-side timeout, and lists that must not come from a cache.
//!
//! In: names and bodies made by `policy-api`'s adapter. Out: decoded objects, or the API server's refusal as data.
//! Every write on a Kargo object goes through here, as the Project's own account: this process has no write rights on
//! Kargo. Promotions are created by POST only: an apply would leave a phantom that wedges the Stage
//! (kargo-live.md 0.1).

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use policy_api::adapter;
use policy_api::rights::Needed;
use policy_core::kubernetes_name::is_object_name;
use policy_core::name::ProjectName;
use policy_core::snapshot::ApplicationRef;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::metrics::Metrics;
use crate::queue::StageKey;

/// How long an answer is waited for. The API server gives up a create after 5 s; a connection that went dead would hold a
/// handler for the client's own five minutes.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Promotions in one answer: they may be hundreds of kilobytes each, and Kargo keeps 20 of a Stage unless told otherwise.
const PAGE: u32 = 100;

/// Sends requests.
#[derive(Clone)]
pub struct Requests {
    client: Client,
    metrics: Arc<Metrics>,
    account: Arc<str>,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} {object}")]
pub struct RequestError {
    verb: &'static str,
    object: String,
    /// What the client says.
    pub source: kube::Error,
}

impl RequestError {
    /// A request of another file.
    pub fn new(verb: &'static str, object: impl Into<String>, source: kube::Error) -> Self {
        Self { verb, object: object.into(), source }
    }

    /// The API server's own answer, when there is one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match &self.source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Whether somebody else was quicker.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }
}

/// One page of a list.
#[derive(serde::Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<T>,
}

struct Call<'a> {
    verb: &'static str,
    resource: &'static str,
    object: String,
    method: Method,
    uri: String,
    body: Option<&'a Value>,
    content_type: &'static str,
    as_user: Option<String>,
}

impl Requests {
    /// Requests that act in each Project as its ServiceAccount named `account`.
    pub fn new(client: Client, metrics: Arc<Metrics>, account: &str) -> Self {
        Self { client, metrics, account: Arc::from(account) }
    }

    /// The underlying client, for our own kinds.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The user that a Project's account is.
    pub fn user(&self, project: &ProjectName) -> String {
        format!("system:serviceaccount:{project}:{}", self.account)
    }

    /// A Stage as it is now.
    ///
    /// # Errors
    /// When it cannot be read, "not found" included.
    pub async fn stage<T: DeserializeOwned>(&self, key: &StageKey) -> Result<T, RequestError> {
        let uri = format!("{}/stages/{}", kargo(&key.project), key.stage);
        self.read("get", "stages", key.to_string(), uri).await
    }

    /// All Promotions of a Stage as they are now, from storage and not from a watch cache.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn promotions_of<T: DeserializeOwned>(
        &self,
        key: &StageKey,
        label_value: &str,
    ) -> Result<Vec<T>, RequestError> {
        let selector = format!("kargo.akuity.io%2Fstage%3D{label_value}");
        self.list_promotions(&key.project, &selector, format!("Promotions of {key}")).await
    }

    /// All Promotions that carry this attempt's label, from storage and not from a watch cache.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn promotions_of_attempt<T: DeserializeOwned>(
        &self,
        project: &ProjectName,
        label: &str,
        attempt: &str,
    ) -> Result<Vec<T>, RequestError> {
        let selector = format!("{}%3D{attempt}", label.replace('/', "%2F"));
        self.list_promotions(project, &selector, format!("Promotions of attempt `{attempt}`")).await
    }

    async fn list_promotions<T: DeserializeOwned>(
        &self,
        project: &ProjectName,
        selector: &str,
        object: String,
    ) -> Result<Vec<T>, RequestError> {
        let first = format!("{}/promotions?labelSelector={selector}&limit={PAGE}", kargo(project));
        let mut page: Page<T> = self.read("list", "promotions", object.clone(), first.clone()).await?;
        let mut found = Vec::new();
        loop {
            found.append(&mut page.items);
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                return Ok(found);
            };
            let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
            page =
                self.read("list", "promotions", object.clone(), format!("{first}&continue={token}")).await?;
        }
    }

    /// An AnalysisRun, if it is there.
    ///
    /// # Errors
    /// When it cannot be read for another reason than that it is not there.
    pub async fn analysis_run<T: DeserializeOwned>(
        &self,
        project: &ProjectName,
        name: &str,
    ) -> Result<Option<T>, RequestError> {
        // It comes from a Stage's status: what Kubernetes would not take as a name must not become a path.
        if !is_object_name(name) {
            return Ok(None);
        }
        let uri = format!("/apis/argoproj.io/v1alpha1/namespaces/{project}/analysisruns/{name}");
        self.read_if_there("analysisruns", format!("AnalysisRun {project}/{name}"), uri).await
    }

    /// Reads an Argo CD Application, as this controller: Applications say themselves which Stages may know of them.
    ///
    /// # Errors
    /// When it cannot be read for another reason than that it is not there.
    pub async fn application<T: DeserializeOwned>(
        &self,
        is: &ApplicationRef,
    ) -> Result<Option<T>, RequestError> {
        let ApplicationRef { namespace, name } = is;
        // They come from annotations and configurations: what is no name must not become a path.
        if !is_object_name(namespace) || !is_object_name(name) {
            return Ok(None);
        }
        let uri = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications/{name}");
        self.read_if_there("applications", format!("Application {namespace}/{name}"), uri).await
    }

    async fn read_if_there<T: DeserializeOwned>(
        &self,
        resource: &'static str,
        object: String,
        uri: String,
    ) -> Result<Option<T>, RequestError> {
        match self.read("get", resource, object, uri).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a write on a Kargo object as the Project's account. `verb` is for metrics and messages.
    ///
    /// # Errors
    /// The API server's refusal, or no answer: then the write may have been carried out all the same.
    pub async fn send_as_project(
        &self,
        project: &ProjectName,
        verb: &'static str,
        request: &adapter::Request,
    ) -> Result<Value, RequestError> {
        let method = match request.method {
            "PATCH" => Method::PATCH,
            _ => Method::POST,
        };
        let resource = if method == Method::PATCH { "stages" } else { "promotions" };
        self.send(Call {
            verb,
            resource,
            object: format!("{resource} of Project `{project}`"),
            method,
            uri: request.uri.clone(),
            body: Some(&request.body),
            content_type: request.content_type,
            as_user: Some(self.user(project)),
        })
        .await
    }

    /// Whether the Project's account may do something there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn may(&self, project: &ProjectName, needed: &Needed) -> Result<bool, RequestError> {
        let review = needed.review(project, &self.account);
        let answer: Value = self
            .send(Call {
                verb: "create",
                resource: "subjectaccessreviews",
                object: format!("a SubjectAccessReview for `{}`", self.user(project)),
                method: Method::POST,
                uri: "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned(),
                body: Some(&review),
                content_type: "application/json",
                as_user: None,
            })
            .await?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        resource: &'static str,
        object: String,
        uri: String,
    ) -> Result<T, RequestError> {
        let call = Call {
            verb,
            resource,
            object,
            method: Method::GET,
            uri,
            body: None,
            content_type: "application/json",
            as_user: None,
        };
        self.send(call).await
    }

    async fn send<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, RequestError> {
        self.metrics.request(call.verb, call.resource);
        let error = |source| RequestError { verb: call.verb, object: call.object.clone(), source };
        let body = match call.body {
            Some(value) => {
                serde_json::to_vec(value).map_err(|source| error(kube::Error::SerdeError(source)))?
            }
            None => Vec::new(),
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.uri)
            .header("content-type", call.content_type);
        if let Some(user) = &call.as_user {
            request = request.header("impersonate-user", user);
        }
        let request = request.body(body).map_err(|source| error(kube::Error::HttpError(source)))?;
        match tokio::time::timeout(ANSWER_WITHIN, self.client.request(request)).await {
            Ok(answer) => answer.map_err(error),
            Err(elapsed) => Err(error(kube::Error::Service(Box::new(elapsed)))),
        }
    }
}

fn kargo(project: &ProjectName) -> String {
    format!("/apis/kargo.akuity.io/v1alpha1/namespaces/{project}")
}
