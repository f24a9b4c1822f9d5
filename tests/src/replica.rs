//! `refloat controller` processes on a play, and what they serve over HTTP.
//! In: a play, a name, more arguments. Out: a running replica; its probes and metrics as anybody would read them. It must
//! not look into the controller.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::apiserver::REFLOAT;
use crate::process::Supervised;
use crate::stage_play::{StagePlay, cache, refloat};
use crate::until;

impl StagePlay<'_> {
    /// Starts a replica of the controller for this Project.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn replica(&self, name: &str, more: &[&str]) -> anyhow::Result<Supervised> {
        self.replica_as(self.server.kubeconfig(REFLOAT)?, name, more)
    }

    /// The same with the credentials of a kubeconfig.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn replica_as(&self, kubeconfig: &Path, name: &str, more: &[&str]) -> anyhow::Result<Supervised> {
        let program = refloat()?;
        let folder = self.server.folder().join(format!("{}-{name}", self.project));
        std::fs::create_dir_all(&folder)?;
        let path = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = [
            "controller",
            "--kubeconfig",
            &path(kubeconfig),
            "--namespace",
            "refloat-system",
            "--lease",
            &self.project,
            "--identity",
            name,
            "--project",
            &self.project,
            "--lease-seconds",
            "3",
            "--listen",
            "127.0.0.1:0",
            "--cache",
            &path(&cache()?),
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        Ok(Supervised::start(&folder, name, &program, &arguments)?)
    }
}

/// Where a replica serves.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    address: SocketAddr,
}

/// Status code and body of an answer.
pub type Answer = (u16, String);

impl Served {
    /// Waits until the replica says in its log where it serves.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn by(replica: &Supervised) -> anyhow::Result<Self> {
        let said = || address(&replica.log());
        until("the replica serves", || async { Ok(said().is_some() || replica.ended()) }).await?;
        let address = said().with_context(|| format!("it ended: {}", replica.tail(5)))?;
        Ok(Self { address })
    }

    /// The answer to a GET of that path.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let status = head.split_whitespace().nth(1).context("an answer without a status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// Waits until `/readyz` answers with that status code.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn ready_is(&self, status: u16) -> anyhow::Result<()> {
        until(&format!("/readyz says {status}"), || async { Ok(self.get("/readyz")?.0 == status) }).await
    }

    /// What is counted: each sample by its name and labels.
    ///
    /// # Errors
    /// When the replica does not answer.
    pub fn metrics(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let (_, text) = self.get("/metrics")?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| -> anyhow::Result<(String, f64)> {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
            Ok((name.to_owned(), value.parse()?))
        };
        samples.map(sample).collect()
    }

    /// The types of all metrics, by name.
    ///
    /// # Errors
    /// When the replica does not answer.
    pub fn types(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let (_, text) = self.get("/metrics")?;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        Ok(types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect())
    }
}

/// The address in the log's line about it.
fn address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut serving = lines.filter(|line| {
        line.pointer("/fields/message").and_then(Value::as_str) == Some("serving probes and metrics")
    });
    serving.next()?.pointer("/fields/address")?.as_str()?.parse().ok()
}
