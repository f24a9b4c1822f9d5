//! `refloat controller`: the host in a cluster.
//!
//! In: arguments, and the cluster of `KUBECONFIG` or the one that this runs in. Out: an exit code once it was told to
//! stop by SIGTERM or SIGINT. Everything that it does is in `policy-controller`; here it is only started.

use std::time::Duration;

use policy_controller::clock::Clock;
use policy_controller::feeds::Scope;
use policy_controller::steps::Checkpoints;
use policy_controller::{Options, run as run_controller};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::ControllerArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::modules;

pub(crate) fn run(args: &ControllerArgs) -> Ended {
    let options = options(args)?;
    start_log()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CannotRun::from_error(&error, "may this process start threads?"))?;
    runtime.block_on(serve(options))?;
    Ok(Exit::AsExpected)
}

fn options(args: &ControllerArgs) -> Result<Options, CannotRun> {
    Ok(Options {
        namespace: args.namespace.clone(),
        lease: args.lease.clone(),
        lease_duration: Duration::from_secs(args.lease_seconds.into()),
        identity: args.identity.clone().unwrap_or_else(identity),
        account: args.account.clone(),
        scope: Scope(args.projects.iter().map(|name| name.as_str().into()).collect()),
        listen: args.listen,
        cache: modules::cache_folder(&args.cache),
        compiler: modules::compiler()?,
        stopped: args.stopped,
        checkpoints: Checkpoints { kill_after: args.kill_after },
    })
}

/// The host's name and the process: two replicas on one machine must not be taken for one.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "refloat".to_owned());
    format!("{host}-{}", std::process::id())
}

/// One JSON object per line on standard error; `RUST_LOG` says how much.
fn start_log() -> Result<(), CannotRun> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube_client=warn"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| CannotRun::from_error(error.as_ref(), "check `RUST_LOG`"))
}

async fn serve(options: Options) -> Result<(), CannotRun> {
    let client = kube::Client::try_default().await.map_err(|error| {
        CannotRun::from_error(&error, "set `KUBECONFIG`, or run this in a cluster with a service account")
    })?;
    let stop = CancellationToken::new();
    stop_on(SignalKind::terminate(), &stop)?;
    stop_on(SignalKind::interrupt(), &stop)?;
    run_controller(client, options, Clock::system(), stop)
        .await
        .map_err(|error| CannotRun::from_error(&error, "is another process using the address or the folder?"))
}

fn stop_on(kind: SignalKind, stop: &CancellationToken) -> Result<(), CannotRun> {
    let mut signals = signal(kind).map_err(|error| CannotRun::from_error(&error, "may this process have signals?"))?;
    let stop = stop.clone();
    tokio::spawn(async move {
        signals.recv().await;
        stop.cancel();
    });
    Ok(())
}
