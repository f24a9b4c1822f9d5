//! A real kube-apiserver with a real etcd on loopback, for tests.
//! In: options with the users to know. Out: clients and kubeconfig files per user, and the audit log.
//! Everything lives in a temporary folder and ends with the value, or with the test process. Must not touch
//! any other cluster, and has no controllers: deleted namespaces stay `Terminating`, nothing collects garbage.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::audit::{self, AuditLog};
use crate::binaries::{Binaries, BinariesError};
use crate::process::Supervised;
use crate::tls::{self, Authority, TlsError};

/// May do everything (`system:masters`).
pub const ADMIN: &str = "admin";
/// The account of Refloat's controller.
pub const REFLOAT: &str = "system:serviceaccount:refloat-system:refloat";
/// The account of Kargo's controller, part of Kargo's control plane.
pub const KARGO_CONTROLLER: &str = "system:serviceaccount:kargo:kargo-controller";
/// A person. Like every user but [`ADMIN`], without any right until a test grants one.
pub const ALICE: &str = "alice@example.com";
/// A person whom tests expect to be refused.
pub const MALLORY: &str = "mallory@example.com";
/// Somebody who has no right at all until a test gives it some, cluster-wide ones included: no two tests use it.
pub const NEWCOMER: &str = "newcomer@example.com";
/// A program that impersonates and that no other test grants anything.
pub const IMPERSONATOR: &str = "system:serviceaccount:api-script:impersonator";

/// A machine that is busy with other builds needs many times the usual 4 seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Another process may take a port between our choosing it and the server's binding it.
const ATTEMPTS: u32 = 5;

/// A user that the server knows by a token.
#[derive(Clone, Debug)]
pub struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    /// A user. A service account (`system:serviceaccount:NAMESPACE:NAME`) gets the groups that every one has.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let mut groups = Vec::new();
        if let Some((namespace, _)) =
            name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
        {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Self { name, groups }
    }

    /// The name that the server knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its groups, without `system:authenticated`, which the server adds.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Users beside those that every server knows ([`ADMIN`] and the others of this module).
    pub users: Vec<User>,
    /// Further flags of kube-apiserver.
    pub flags: Vec<String>,
}

/// Why a server could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// The programs are not there and could not be built.
    #[error("cannot get the programs to run")]
    Binaries(#[from] BinariesError),
    /// A certificate or key could not be made.
    #[error("cannot make the server's certificates")]
    Tls(#[from] TlsError),
    /// A file, port or process could not be had.
    #[error("cannot set up `{what}`")]
    SetUp {
        /// The file, port or process.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program ended or never became ready.
    #[error("{what}; the last lines of the logs:\n{logs}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// The tails of both logs.
        logs: String,
    },
    /// Nobody registered this user before the start.
    #[error("the server knows no user `{name}`\nhelp: add it to `Options::users`")]
    UnknownUser {
        /// The name asked for.
        name: String,
    },
    /// The kubeconfig of a user does not make a client.
    #[error("cannot make a client for `{user}`")]
    Client {
        /// The user.
        user: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn set_up<T>(what: impl AsRef<Path>, result: std::io::Result<T>) -> Result<T, ApiServerError> {
    result.map_err(|source| ApiServerError::SetUp { what: what.as_ref().display().to_string(), source })
}

/// A running server. Dropping it ends both programs and removes their folder.
#[derive(Debug)]
pub struct ApiServer {
    // Order of drop: the API server goes before its store.
    apiserver: Supervised,
    etcd: Supervised,
    folder: PathBuf,
    url: String,
    kubeconfigs: BTreeMap<String, PathBuf>,
    binaries: Binaries,
}

/// The one server that the tests of this process share, with the CRDs of Kargo and of Argo Rollouts' analysis
/// established. Each test takes a namespace of its own.
///
/// # Errors
/// When it cannot be started; the next caller tries again.
pub async fn shared() -> anyhow::Result<&'static ApiServer> {
    static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
    SHARED
        .get_or_try_init(|| async {
            let server = ApiServer::start(&Options::default()).await?;
            let admin = server.client(ADMIN).await?;
            crate::crds::apply_folder(&admin, &server.binaries.kargo_crds()).await?;
            crate::crds::apply_folder(&admin, &server.binaries.analysis_crds()).await?;
            Ok(server)
        })
        .await
}

impl ApiServer {
    /// Starts etcd and kube-apiserver and waits until the latter says that it is ready (about 4 seconds on a
    /// quiet machine).
    ///
    /// # Errors
    /// When the programs cannot be had or started, or are not ready in time; the message has their last log lines.
    pub async fn start(options: &Options) -> Result<Self, ApiServerError> {
        tls::use_ring();
        let mut attempt = 1;
        loop {
            match Self::try_start(options).await {
                Err(ApiServerError::NotReady { logs, .. })
                    if attempt < ATTEMPTS && logs.contains("address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_start(options: &Options) -> Result<Self, ApiServerError> {
        let binaries = Binaries::provide()?;
        let temporary = tempfile::Builder::new().prefix("refloat-api-").tempdir();
        let temporary = set_up("temporary folder", temporary)?;
        let folder = temporary.path();
        let [etcd_port, peer_port, port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let kubeconfigs = write_identity(folder, &url, &options.users)?;

        let arguments = etcd_arguments(folder, etcd_port, peer_port);
        let etcd = start_program(folder, &binaries, "etcd", &arguments)?;
        // From here on the supervisors remove it, also when this process dies.
        let folder = &temporary.keep();
        let deadline = Instant::now() + READY_WITHIN;
        // Started without a store, the API server would find it only at its next attempt, a second later.
        while tokio::net::TcpStream::connect(("127.0.0.1", etcd_port)).await.is_err() {
            wait_or_give_up("etcd does not listen", deadline, &[&etcd]).await?;
        }
        let mut arguments = apiserver_arguments(folder, etcd_port, port);
        arguments.extend(options.flags.iter().cloned());
        let apiserver = start_program(folder, &binaries, "kube-apiserver", &arguments)?;
        let server = Self { apiserver, etcd, folder: folder.clone(), url, kubeconfigs, binaries };
        server.wait_ready(deadline).await?;
        Ok(server)
    }

    async fn wait_ready(&self, deadline: Instant) -> Result<(), ApiServerError> {
        let client = self.client(ADMIN).await?;
        loop {
            let mut request = http::Request::new(Vec::new());
            *request.uri_mut() = http::Uri::from_static("/readyz");
            if client.request_text(request).await.is_ok() {
                return Ok(());
            }
            wait_or_give_up("kube-apiserver is not ready", deadline, &[&self.etcd, &self.apiserver]).await?;
        }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The programs and definitions that this server was started from.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A folder for files that should go with the server.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kubeconfig file for child processes.
    ///
    /// # Errors
    /// When the user was not registered at the start.
    pub fn kubeconfig(&self, user: &str) -> Result<&Path, ApiServerError> {
        let path = self.kubeconfigs.get(user);
        path.map(PathBuf::as_path).ok_or_else(|| ApiServerError::UnknownUser { name: user.to_owned() })
    }

    /// What a client of this user is made from: no proxy, and no retries of the client's own, so that one call is
    /// one line of the audit log.
    ///
    /// # Errors
    /// When the user was not registered at the start.
    pub async fn config(&self, user: &str) -> Result<kube::Config, ApiServerError> {
        let failed = |source: kube::config::KubeconfigError| ApiServerError::Client {
            user: user.to_owned(),
            source: source.into(),
        };
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user)?).map_err(failed)?;
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?;
        config.proxy_url = None;
        config.default_retry = false;
        Ok(config)
    }

    /// A client of this user. It belongs to the async runtime that it was made in.
    ///
    /// # Errors
    /// When the user was not registered at the start.
    pub async fn client(&self, user: &str) -> Result<kube::Client, ApiServerError> {
        make_client(user, self.config(user).await?)
    }

    /// A client of `user` that acts as somebody else; `user` needs the right to `impersonate`.
    ///
    /// # Errors
    /// When `user` was not registered at the start; `target` need not be.
    pub async fn impersonating(&self, user: &str, target: &User) -> Result<kube::Client, ApiServerError> {
        let mut config = self.config(user).await?;
        config.auth_info.impersonate = Some(target.name.clone());
        // A service account's groups are added by the server, and naming them takes a right of its own.
        let own = |group: &&String| !group.starts_with("system:serviceaccounts");
        let groups: Vec<String> = target.groups.iter().filter(own).cloned().collect();
        config.auth_info.impersonate_groups = (!groups.is_empty()).then_some(groups);
        make_client(user, config)
    }

    /// What was asked of this server, by whom, and what came of it.
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.folder.join(AUDIT_LOG))
    }

    /// The last lines of both programs' logs, for failure messages.
    pub fn logs(&self, lines: usize) -> String {
        self.etcd.tail(lines) + &self.apiserver.tail(lines)
    }
}

const AUDIT_LOG: &str = "audit.log";

fn make_client(user: &str, config: kube::Config) -> Result<kube::Client, ApiServerError> {
    kube::Client::try_from(config)
        .map_err(|source| ApiServerError::Client { user: user.to_owned(), source: source.into() })
}

/// Three ports that are free now, chosen together so that they differ.
fn free_ports() -> Result<[u16; 3], ApiServerError> {
    let listen = || set_up("free port", TcpListener::bind("127.0.0.1:0"));
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = set_up("free port", listener.local_addr())?.port();
    }
    Ok(ports)
}

fn start_program(
    folder: &Path,
    binaries: &Binaries,
    name: &str,
    arguments: &[String],
) -> Result<Supervised, ApiServerError> {
    set_up(name, Supervised::start(folder, name, &binaries.programs.join(name), arguments))
}

async fn wait_or_give_up(
    what: &str,
    deadline: Instant,
    programs: &[&Supervised],
) -> Result<(), ApiServerError> {
    let ended = programs.iter().any(|program| program.ended());
    if !ended && Instant::now() < deadline {
        tokio::time::sleep(POLL_EVERY).await;
        return Ok(());
    }
    let what = if ended { "a program ended by itself".to_owned() } else { format!("{what} in time") };
    Err(ApiServerError::NotReady { what, logs: programs.iter().map(|program| program.tail(15)).collect() })
}

/// Writes certificates, keys, tokens, the audit policy and a kubeconfig per user; returns the latter by user.
fn write_identity(
    folder: &Path,
    url: &str,
    further: &[User],
) -> Result<BTreeMap<String, PathBuf>, ApiServerError> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        set_up(&path, std::fs::write(&path, text)).map(|()| path)
    };
    let authority = Authority::new("refloat-tests")?;
    let pair = authority.server("kube-apiserver")?;
    let (private, public) = tls::key_pair("service accounts")?;
    let ca = write("ca.crt", &authority.pem())?;
    write("server.crt", &pair.certificate)?;
    write("server.key", &pair.key)?;
    write("sa.key", &private)?;
    write("sa.pub", &public)?;
    write("audit-policy.yaml", &audit::policy().to_string())?;

    let known = [REFLOAT, KARGO_CONTROLLER, ALICE, MALLORY, NEWCOMER, IMPERSONATOR].map(User::new);
    let admin = User::new(ADMIN).group("system:masters");
    let mut tokens = String::new();
    let mut kubeconfigs = BTreeMap::new();
    for (number, user) in std::iter::once(&admin).chain(&known).chain(further).enumerate() {
        let token = format!("token-{number}");
        tokens.push_str(&format!("{token},{},{number},\"{}\"\n", user.name, user.groups.join(",")));
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority": ca}}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        });
        let path = write(&format!("kubeconfig-{number}.yaml"), &kubeconfig.to_string())?;
        kubeconfigs.insert(user.name.clone(), path);
    }
    write("tokens.csv", &tokens)?;
    Ok(kubeconfigs)
}

fn etcd_arguments(folder: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        // Nothing here has to survive a power cut.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

fn apiserver_arguments(folder: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        file("cert-dir", "generated"),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("client-ca-file", "ca.crt"),
        file("token-auth-file", "tokens.csv"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        file("service-account-key-file", "sa.pub"),
        file("service-account-signing-key-file", "sa.key"),
        "--authorization-mode=RBAC".to_owned(),
        // Nothing creates a `default` service account here, without which that plugin refuses every Pod.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        file("audit-policy-file", "audit-policy.yaml"),
        file("audit-log-path", AUDIT_LOG),
        // Written before the request is over, so that whoever got an answer finds its line.
        "--audit-log-mode=blocking".to_owned(),
        // Megabytes until the log is moved away, which would lose places in it.
        "--audit-log-maxsize=100000".to_owned(),
    ]
}
