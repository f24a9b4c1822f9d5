//! The numbered steps of handling one failure, and the points between them where a process may die.
//!
//! In: nothing. Out: [`Step`] and [`Checkpoints`], which the handler passes after each step.
//! In production a checkpoint does nothing. Crash tests make it end the process with SIGKILL, once for every step:
//! [`Step::ALL`] and the enum come from one list, and the test matches it exhaustively, so a step without its crash
//! test does not compile.

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// A point in the handling of a failure that has just been passed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step { $($(#[$doc])* $name),+ }

        impl Step {
            /// Every step in the order in which a delivery passes them.
            pub const ALL: &'static [Step] = &[$(Step::$name),+];

            /// Its name on the command line and in logs.
            pub fn text(self) -> &'static str {
                match self { $(Step::$name => $text),+ }
            }
        }
    };
}

steps! {
    /// The failure was seen; nothing is written.
    Detected = "detected",
    /// The Incident exists.
    Opened = "opened",
    /// Kargo has recorded the failure and the Stage is quiet.
    Settled = "settled",
    /// The context is complete.
    Gathered = "gathered",
    /// The policies have answered and the guardrails have spoken.
    Decided = "decided",
    /// The DecisionRecord exists.
    Recorded = "recorded",
    /// Messages and Events of the decision are out.
    Told = "told",
    /// The Incident knows the decision, and when its delivery is due.
    Planned = "planned",
    /// The dry run was answered and agrees with the plan.
    Rehearsed = "rehearsed",
    /// The attempt is claimed: budget spent, nothing sent.
    Claimed = "claimed",
    /// The Stage carries the mark that forces a fresh verification (rollbacks only).
    Freshened = "freshened",
    /// The Promotion exists; the Incident does not know its name yet.
    Created = "created",
    /// A list by attempt label shows exactly one.
    Counted = "counted",
    /// The Incident knows the Promotion.
    Attached = "attached",
    /// The attempt is over, its outcome is not in the Incident yet.
    Followed = "followed",
    /// The Incident is closed.
    Closed = "closed",
}

impl std::str::FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        let found = Self::ALL.iter().copied().find(|step| step.text() == text);
        found.ok_or_else(|| UnknownStep(text.to_owned()))
    }
}

/// A text that names no step.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no step of handling a failure")]
pub struct UnknownStep(String);

/// What happens at each step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoints {
    /// The step after which this process ends itself with SIGKILL, for crash tests.
    pub kill_after: Option<Step>,
}

impl Checkpoints {
    /// Passes a step.
    pub fn passed(self, step: Step) {
        tracing::trace!(step = step.text(), "passed");
        if self.kill_after == Some(step) {
            // SIGKILL and not exit: nothing may be flushed, closed or released, as in a real crash.
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            tracing::error!(?killed, "could not kill this process for a crash test");
        }
    }
}
