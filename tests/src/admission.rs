//! An admission webhook server on loopback, into which a test plugs its own judgement (a stand-in for Kargo's).
//! In: an async function from a call to an answer, and the resources to register it for. Out: a running server.
//! It runs in a thread of its own, so it may outlive the async runtime of the test that started it. It can be
//! taken down and up again, on the same port. Must not judge anything itself.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::State;
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1 as registration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::tls::{self, Authority, CertifiedPair, TlsError};

/// What the API server wants to know.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path called, as registered: tells several hooks of one server apart.
    pub path: String,
    /// The `request` of the AdmissionReview (`operation`, `userInfo`, `object`, `oldObject`, `dryRun`, ...).
    pub request: Value,
}

/// What the hook says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As it is.
    Allow,
    /// Allowed, with this object in place of the one that came; only from a mutating hook.
    Replace(Value),
    /// Refused with this `metav1.Status` (`code`, `reason`, `message`, `details`).
    Deny(Value),
}

/// Why a server could not be run or registered.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// Its certificate.
    #[error("cannot make the webhook server's certificate")]
    Tls(#[from] TlsError),
    /// Its port, thread or TLS set-up.
    #[error("cannot serve webhooks on `{address}`")]
    Serve {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The API server refused a registration.
    #[error("cannot register the webhook `{name}`")]
    Register {
        /// Name of the configuration.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

type Judge = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A running server. Dropping it closes the port; registrations stay and then fail every call.
pub struct AdmissionServer {
    judge: Judge,
    pair: CertifiedPair,
    ca: String,
    address: SocketAddr,
    running: Option<(Handle<SocketAddr>, JoinHandle<()>)>,
}

/// Which resources a hook is asked about.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Name of the configuration and, with `.refloat.test` appended, of the webhook in it.
    pub name: String,
    /// Path that [`Call::path`] will show, with a leading slash.
    pub path: String,
    /// (API group, plural resource with an optional `/subresource`).
    pub resources: Vec<(String, String)>,
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub operations: Vec<String>,
    /// The only namespace to be asked about; `None` means every one.
    pub namespace: Option<String>,
}

/// Starts a server whose answers `judge` gives. A Kubernetes client that `judge` uses must be made inside `judge`
/// (once, on its first call), not in the test: clients belong to the async runtime that they were made in.
///
/// # Errors
/// When no certificate, port or thread can be had.
pub fn serve_admission<F, Fut>(judge: F) -> Result<AdmissionServer, AdmissionError>
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    tls::use_ring();
    let authority = Authority::new("refloat-test-webhooks")?;
    let mut server = AdmissionServer {
        judge: Arc::new(move |call| Box::pin(judge(call))),
        pair: authority.server("webhooks")?,
        ca: authority.pem(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        running: None,
    };
    server.up()?;
    Ok(server)
}

impl AdmissionServer {
    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The PEM for `clientConfig.caBundle`.
    pub fn ca_bundle(&self) -> &str {
        &self.ca
    }

    /// Refuses connections from now on, as when the webhook's process has died. Nothing happens when it is down.
    pub fn down(&mut self) {
        if let Some((handle, thread)) = self.running.take() {
            handle.shutdown();
            // Only fails when the thread panicked, which ended the server just as well.
            let _ = thread.join();
        }
    }

    /// Serves again, on the same port. Nothing happens when it is up.
    ///
    /// # Errors
    /// When the port or a thread cannot be had.
    pub fn up(&mut self) -> Result<(), AdmissionError> {
        if self.running.is_some() {
            return Ok(());
        }
        let address = self.address.to_string();
        self.running = Some(self.spawn().map_err(|source| AdmissionError::Serve { address, source })?);
        Ok(())
    }

    fn spawn(&mut self) -> std::io::Result<(Handle<SocketAddr>, JoinHandle<()>)> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let tls = RustlsConfig::from_config(Arc::new(tls::server_config(&self.pair)?));
        let app = Router::new().fallback(review).with_state(Arc::clone(&self.judge));
        let handle = Handle::new();
        let stop = handle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
            // How it ended is visible to the API server, and to the test by the answers.
            let _ = runtime.block_on(async {
                from_tcp_rustls(listener, tls)?.handle(stop).serve(app.into_make_service()).await
            });
        })?;
        Ok((handle, thread))
    }

    /// Registers a mutating hook with `failurePolicy: Fail`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register_mutating(&self, admin: &kube::Client, hook: &Hook) -> Result<(), AdmissionError> {
        let configuration = registration::MutatingWebhookConfiguration {
            metadata: ObjectMeta { name: Some(hook.name.clone()), ..Default::default() },
            webhooks: Some(vec![registration::MutatingWebhook {
                name: format!("{}.refloat.test", hook.name),
                client_config: self.client_config(hook),
                rules: Some(rules(hook)),
                namespace_selector: hook.selector(),
                failure_policy: Some("Fail".to_owned()),
                side_effects: "None".to_owned(),
                admission_review_versions: vec!["v1".to_owned()],
                ..Default::default()
            }]),
        };
        let created = Api::all(admin.clone()).create(&PostParams::default(), &configuration).await;
        created.map(drop).map_err(|source| hook.refused(source))
    }

    /// Registers a validating hook with `failurePolicy: Fail`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register_validating(&self, admin: &kube::Client, hook: &Hook) -> Result<(), AdmissionError> {
        let configuration = registration::ValidatingWebhookConfiguration {
            metadata: ObjectMeta { name: Some(hook.name.clone()), ..Default::default() },
            webhooks: Some(vec![registration::ValidatingWebhook {
                name: format!("{}.refloat.test", hook.name),
                client_config: self.client_config(hook),
                rules: Some(rules(hook)),
                namespace_selector: hook.selector(),
                failure_policy: Some("Fail".to_owned()),
                side_effects: "None".to_owned(),
                admission_review_versions: vec!["v1".to_owned()],
                ..Default::default()
            }]),
        };
        let created = Api::all(admin.clone()).create(&PostParams::default(), &configuration).await;
        created.map(drop).map_err(|source| hook.refused(source))
    }

    fn client_config(&self, hook: &Hook) -> registration::WebhookClientConfig {
        registration::WebhookClientConfig {
            ca_bundle: Some(ByteString(self.ca.clone().into_bytes())),
            url: Some(format!("{}{}", self.url(), hook.path)),
            service: None,
        }
    }
}

impl Drop for AdmissionServer {
    fn drop(&mut self) {
        self.down();
    }
}

impl Hook {
    fn selector(&self) -> Option<LabelSelector> {
        let namespace = self.namespace.clone()?;
        let labels = [("kubernetes.io/metadata.name".to_owned(), namespace)].into();
        Some(LabelSelector { match_labels: Some(labels), match_expressions: None })
    }

    fn refused(&self, source: kube::Error) -> AdmissionError {
        AdmissionError::Register { name: self.name.clone(), source: Box::new(source) }
    }
}

fn rules(hook: &Hook) -> Vec<registration::RuleWithOperations> {
    let rule = |(group, resource): &(String, String)| registration::RuleWithOperations {
        api_groups: Some(vec![group.clone()]),
        api_versions: Some(vec!["*".to_owned()]),
        operations: Some(hook.operations.clone()),
        resources: Some(vec![resource.clone()]),
        scope: None,
    };
    hook.resources.iter().map(rule).collect()
}

async fn review(State(judge): State<Judge>, uri: axum::http::Uri, Json(review): Json<Value>) -> Json<Value> {
    let request = review.get("request").cloned().unwrap_or_default();
    let uid = request.get("uid").cloned().unwrap_or_default();
    let before = request.get("object").cloned().unwrap_or_default();
    let response = match judge(Call { path: uri.path().to_owned(), request }).await {
        Answer::Allow => json!({"uid": uid, "allowed": true}),
        Answer::Deny(status) => json!({"uid": uid, "allowed": false, "status": status}),
        Answer::Replace(after) => {
            use base64::Engine as _;
            let patch = base64::prelude::BASE64_STANDARD.encode(patch(&before, &after).to_string());
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
        }
    };
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

/// A JSON patch that exchanges whole members at the top, which is all that a replaced object needs.
fn patch(before: &Value, after: &Value) -> Value {
    let members = |object: &Value| object.as_object().cloned().unwrap_or_default();
    let (before, after) = (members(before), members(after));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let removed = gone.map(|key| json!({"op": "remove", "path": format!("/{key}")}));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let set = changed.map(|(key, value)| json!({"op": "add", "path": format!("/{key}"), "value": value}));
    removed.chain(set).collect()
}
