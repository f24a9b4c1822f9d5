//! `refloat controller`: the host in a cluster.
//!
//! In: arguments and the cluster's credentials. Out: nothing until it is told to stop by SIGTERM or SIGINT, then 0.
//! Everything that it does is in `policy-controller`; here its parts get what was typed.

use std::sync::Arc;
use std::time::Duration;

use policy_controller::clock::Clock;
use policy_controller::feeds::Scope;
use policy_controller::guests::Guests;
use policy_controller::steps::Checkpoints;
use policy_controller::{Options, run as run_controller};
use policy_core::classify::catalogue::Catalogue;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::ControllerArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::modules::engine;
use crate::rules;

use super::crds;

pub(crate) fn run(args: &ControllerArgs) -> Ended {
    // One that no namespace has would only mean that Argo CD is never asked.
    if let Some(name) = &args.argocd_namespace {
        crds::check_name("namespace of Argo CD", name)?;
    }
    // Before anything is started: with half of its rules a controller would take other decisions.
    let catalogue = Arc::new(rules::catalogue(&args.rules.rules)?.into_owned());
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CannotRun::from_error(&error, ""))?;
    runtime.block_on(serve(args, catalogue))
}

async fn serve(args: &ControllerArgs, catalogue: Arc<Catalogue>) -> Ended {
    let client = client(args).await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let options = Options {
        namespace: args.namespace.clone(),
        lease: args.lease.clone(),
        lease_duration: Duration::from_secs(u64::from(args.lease_seconds)),
        identity: args.identity.clone().unwrap_or_else(own_name),
        account: args.project_account.clone(),
        scope: Scope(args.projects.iter().map(|name| name.as_str().into()).collect()),
        catalogue,
        argocd: args.argocd_namespace.clone(),
        listen: Some(args.listen),
        guests: Guests::Threads,
        stopped: args.stopped,
        checkpoints: Checkpoints { kill_after: args.kill_after },
    };
    let engine = Arc::new(engine(&args.cache)?);
    let ended = run_controller(client, engine, options, Clock::system(), stop).await;
    ended.map_err(|error| CannotRun::from_error(&error, "choose another address with `--listen`"))?;
    Ok(Exit::AsExpected)
}

/// A client that never repeats a request by itself: a create that was repeated could be two Promotions.
async fn client(args: &ControllerArgs) -> Result<kube::Client, CannotRun> {
    let help = "run it in a cluster, or set `--kubeconfig` or KUBECONFIG";
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path);
            let kubeconfig = kubeconfig.map_err(|error| CannotRun::from_error(&error, help))?;
            let options = kube::config::KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| CannotRun::from_error(&error, help))?
        }
        None => kube::Config::infer().await.map_err(|error| CannotRun::from_error(&error, help))?,
    };
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|error| CannotRun::from_error(&error, help))
}

async fn stop_on_signal(stop: CancellationToken) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
}

/// The Pod's name, which is the host's name in a container, and the process id for everything else.
fn own_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "refloat".to_owned());
    format!("{host}-{}", std::process::id())
}

/// JSON lines for machines; `RUST_LOG` chooses what.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube=warn"));
    let started =
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    // Only a second logger in the same process could fail here, and there is none.
    drop(started);
}
