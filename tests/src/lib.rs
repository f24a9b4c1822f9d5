//! Test harness: case files, the command line, a real API server with a stand-in for Kargo.
//! In: cases and binaries. Out: running servers and what was asked of them. Nothing that ships may depend on it.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    reason = "an index or a case that is not there fails the test that asked, which is what it should do"
)]

pub mod admission;
pub mod api_case;
pub mod apiserver;
pub mod audit;
pub mod binaries;
pub mod captured;
pub mod cases;
pub mod cli;
#[cfg(test)]
mod context_properties;
pub mod core_case;
pub mod crds;
mod deliveries;
pub mod go_errors;
pub mod guard_case;
#[cfg(test)]
mod guard_properties;
pub mod guests;
pub mod kargo;
mod kargo_webhooks;
pub mod live_kargo;
pub mod model_player;
mod model_story;
pub mod model_watch;
pub mod policy_case;
pub mod process;
pub mod real_ground;
pub mod replica;
pub mod rights;
pub mod stage_play;
pub mod tls;
mod virtual_time;

/// Waits until `state` says true, asking every 20 ms, for at most 2 minutes: what tests do instead of sleeping.
///
/// # Errors
/// When the time is over, with `what` in the message, or when `state` fails.
pub async fn until<F, Fut>(what: &str, mut state: F) -> anyhow::Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !state().await? {
        anyhow::ensure!(std::time::Instant::now() < deadline, "waited two minutes in vain: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The server's reason for refusing a request.
///
/// # Errors
/// When it did not refuse, or there was no answer at all.
pub fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> anyhow::Result<Box<kube::core::Status>> {
    match result {
        Err(kube::Error::Api(status)) => Ok(status),
        Err(error) => Err(anyhow::Error::new(error).context("expected a refusal, got no answer")),
        Ok(answer) => anyhow::bail!("expected a refusal, got {answer:?}"),
    }
}
