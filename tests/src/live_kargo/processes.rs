//! Kargo's webhooks server and controller as child processes beside an API server of their own.
//!
//! In: the program. Out: a running control plane, whose parts can be stopped and started. What it needs to know and what
//! keeps it on loopback is in its environment (kargo-live.md 1). Nothing is shared with other tests: Kargo's controller
//! looks at every Project.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::admissionregistration::v1 as registration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use super::VARIABLE;
use super::steps::Steps;
use crate::apiserver::{ADMIN, ApiServer, KARGO_CONTROLLER, Options, User};
use crate::process::Supervised;
use crate::rights::{Grant, rule};
use crate::tls::{Authority, CertifiedPair};
use crate::until;

const WEBHOOKS_ACCOUNT: &str = "system:serviceaccount:kargo:kargo-webhooks-server";
const MANAGEMENT_ACCOUNT: &str = "system:serviceaccount:kargo:kargo-management-controller";
const EXTERNAL_ACCOUNT: &str = "system:serviceaccount:kargo:kargo-external-webhooks-server";
/// Who is the control plane, as Kargo's chart has it.
const CONTROL_PLANE: &str = "^system:serviceaccount:kargo:(kargo-api|kargo-controller|kargo-garbage-collector|kargo-management-controller)$";

/// A running control plane. Dropping it ends every process.
pub struct LiveKargo {
    // Order of drop: Kargo goes before its API server.
    webhooks: Mutex<Option<Supervised>>,
    controller: Mutex<Option<Supervised>>,
    server: ApiServer,
    program: PathBuf,
    pub(super) steps: Steps,
    port: u16,
    pair: CertifiedPair,
}

impl LiveKargo {
    /// Starts etcd, kube-apiserver, and `program` as webhooks server and controller, with Refloat installed.
    ///
    /// # Errors
    /// When the program is not there, or something does not start in time; the message has the last lines of its log.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        ensure!(program.is_file(), "`{VARIABLE}` names no file: `{}`", program.display());
        let masters = User::new(WEBHOOKS_ACCOUNT).group("system:masters");
        let server = ApiServer::start(&Options { users: vec![masters], ..Options::default() }).await?;
        let admin = server.client(ADMIN).await?;
        crate::crds::apply_folder(&admin, &server.binaries().kargo_crds()).await?;
        crate::crds::apply_folder(&admin, &server.binaries().analysis_crds()).await?;
        crate::stage_play::install_ours(&server, &admin).await?;
        for name in ["kargo", "kargo-system-resources", "kargo-shared-resources"] {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            Api::all(admin.clone()).create(&PostParams::default(), &namespace).await?;
        }
        let everything = rule("*", &["*"], &["*"]);
        let user = User::new(KARGO_CONTROLLER);
        let grant =
            Grant { name: "kargo-controller".to_owned(), namespace: None, user, rules: vec![everything] };
        grant.apply(&admin).await?;
        let authority = Authority::new("kargo-webhooks")?;
        let pair = authority.server("kargo-webhooks-server")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        register(&admin, port, &authority.pem()).await?;
        let live = Self {
            webhooks: Mutex::default(),
            controller: Mutex::default(),
            steps: Steps::serve(server.config(ADMIN).await?)?,
            program: program.to_owned(),
            server,
            port,
            pair,
        };
        live.webhooks_up()?;
        live.controller_up()?;
        until("Kargo's controller says that it is there", || async {
            live.nobody_ended()?;
            let leases: Api<Lease> = Api::namespaced(admin.clone(), "kargo");
            Ok(!leases.list(&ListParams::default()).await?.items.is_empty())
        })
        .await?;
        Ok(live)
    }

    /// The API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Starts the webhooks server, on the same port as before. Nothing happens when it runs.
    pub(super) fn webhooks_up(&self) -> anyhow::Result<()> {
        let mut running = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let folder = self.folder("kargo-webhooks")?;
            let certificates = folder.join("k8s-webhook-server/serving-certs");
            std::fs::create_dir_all(&certificates)?;
            std::fs::write(certificates.join("tls.crt"), &self.pair.certificate)?;
            std::fs::write(certificates.join("tls.key"), &self.pair.key)?;
            let more = [
                ("WEBHOOK_SERVER_PORT", self.port.to_string()),
                ("CONTROLPLANE_USER_REGEX", CONTROL_PLANE.to_owned()),
                ("MANAGEMENT_CONTROLLER_USERNAME", MANAGEMENT_ACCOUNT.to_owned()),
                ("EXTERNAL_WEBHOOKS_SERVER_USERNAME", EXTERNAL_ACCOUNT.to_owned()),
            ];
            *running = Some(self.run("kubernetes-webhooks-server", &folder, WEBHOOKS_ACCOUNT, &more)?);
        }
        Ok(())
    }

    /// Kills the webhooks server.
    pub(super) fn webhooks_down(&self) {
        drop(self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Starts the controller. Nothing happens when it runs.
    pub(super) fn controller_up(&self) -> anyhow::Result<()> {
        let mut running = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let folder = self.folder("kargo-controller")?;
            let more = [
                ("IS_DEFAULT_CONTROLLER", "true".to_owned()),
                // Without it, Kargo looks for the cluster that it runs in, and ends.
                ("ARGOCD_INTEGRATION_ENABLED", "false".to_owned()),
                ("ROLLOUTS_INTEGRATION_ENABLED", "true".to_owned()),
            ];
            *running = Some(self.run("controller", &folder, KARGO_CONTROLLER, &more)?);
        }
        Ok(())
    }

    /// Kills the controller.
    pub(super) fn controller_down(&self) {
        drop(self.controller.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The last lines of Kargo's logs.
    pub fn logs(&self, lines: usize) -> String {
        [&self.webhooks, &self.controller]
            .into_iter()
            .filter_map(|part| {
                let part = part.lock().unwrap_or_else(PoisonError::into_inner);
                part.as_ref().map(|running| running.tail(lines))
            })
            .collect()
    }

    fn nobody_ended(&self) -> anyhow::Result<()> {
        for part in [&self.webhooks, &self.controller] {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = part.as_ref().is_some_and(Supervised::ended);
            ensure!(
                !ended,
                "a part of Kargo has ended:\n{}",
                part.as_ref().map_or(String::new(), |part| part.tail(15))
            );
        }
        Ok(())
    }

    /// A folder of a process's own, which goes with it.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.server.folder().join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    fn run(
        &self,
        subcommand: &str,
        folder: &Path,
        user: &str,
        more: &[(&str, String)],
    ) -> anyhow::Result<Supervised> {
        let nowhere = "http://127.0.0.1:9".to_owned();
        let common = [
            ("KUBECONFIG", self.server.kubeconfig(user)?.display().to_string()),
            ("TMPDIR", folder.display().to_string()),
            ("KARGO_NAMESPACE", "kargo".to_owned()),
            ("SYSTEM_RESOURCES_NAMESPACE", "kargo-system-resources".to_owned()),
            ("SHARED_RESOURCES_NAMESPACE", "kargo-shared-resources".to_owned()),
            // Nothing leaves the machine: registries are behind a proxy that is not there, clouds are our own server.
            ("HTTP_PROXY", nowhere.clone()),
            ("HTTPS_PROXY", nowhere),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
            ("GCE_METADATA_HOST", self.steps.address()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
        ];
        let pairs = common.iter().chain(more).map(|(name, value)| format!("{name}={value}"));
        let program = [self.program.display().to_string(), subcommand.to_owned()];
        let arguments: Vec<String> = pairs.chain(program).collect();
        Ok(Supervised::start(folder, subcommand, Path::new("env"), &arguments)?)
    }
}

/// Registers Kargo's webhooks as its chart does, but for those of kinds that no scenario has.
async fn register(admin: &kube::Client, port: u16, ca: &str) -> anyhow::Result<()> {
    use base64::Engine as _;
    let bundle = base64::prelude::BASE64_STANDARD.encode(ca);
    let hook = |verb: &str, kind: &str, resources: &[&str], operations: &[&str]| {
        json!({
            "name": format!("{kind}.kargo.akuity.io"), "sideEffects": "NoneOnDryRun",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "clientConfig": {"caBundle": bundle,
                "url": format!("https://127.0.0.1:{port}/{verb}-kargo-akuity-io-v1alpha1-{kind}")},
            "rules": [{"apiGroups": ["kargo.akuity.io"], "apiVersions": ["v1alpha1"], "scope": "*",
                "resources": resources, "operations": operations}],
        })
    };
    let written: [&str; 2] = ["CREATE", "UPDATE"];
    let all: [&str; 3] = ["CREATE", "UPDATE", "DELETE"];
    let mutating: Vec<Value> = [
        ("freight", "freights"),
        ("promotion", "promotions"),
        ("stage", "stages"),
        ("warehouse", "warehouses"),
    ]
    .map(|(kind, plural)| hook("mutate", kind, &[plural], &written))
    .into();
    let validating = [
        hook("validate", "freight", &["freights", "freights/status"], &all),
        hook("validate", "project", &["projects"], &written),
        hook("validate", "projectconfig", &["projectconfigs"], &written),
        hook("validate", "promotion", &["promotions"], &all),
        hook("validate", "stage", &["stages"], &written),
        hook("validate", "warehouse", &["warehouses"], &written),
    ];
    let mutating: registration::MutatingWebhookConfiguration =
        serde_json::from_value(json!({"metadata": {"name": "kargo"}, "webhooks": mutating}))?;
    let validating: registration::ValidatingWebhookConfiguration =
        serde_json::from_value(json!({"metadata": {"name": "kargo"}, "webhooks": validating}))?;
    Api::all(admin.clone()).create(&PostParams::default(), &mutating).await?;
    Api::all(admin.clone()).create(&PostParams::default(), &validating).await?;
    Ok(())
}
