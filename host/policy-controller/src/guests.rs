//! Where guests run: on threads of their own, or right where they are asked for.
//!
//! In: work that takes a while and waits for nothing. Out: its result. A cluster's controller uses threads, so that no
//! guest holds up a watch or the Lease. A simulation runs everything in one order on one thread: a thread that ends
//! sooner or later by the machine's mood would make two runs of one seed differ.

use tokio::task::JoinError;

/// Where guests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guests {
    /// On tokio's threads for blocking work.
    #[default]
    Threads,
    /// At once, on the thread that asks. Nothing else happens meanwhile, and no virtual time passes.
    InPlace,
}

impl Guests {
    /// Runs `work` and gives what it came to.
    ///
    /// # Errors
    /// When the thread is gone because the work panicked or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await,
            Self::InPlace => Ok(work()),
        }
    }
}
