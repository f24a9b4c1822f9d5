//! A policy that is patient with what goes on for too long: it looks again every five minutes, and tells people after an
//! hour. What went on by itself meanwhile ends its incident without a word.
//!
//! Build: `cargo build -p refloat-policy --example asks-again-later --target wasm32-wasip2 --profile guest`

use refloat_policy::{ActionKind, Answer, Context, Decision, Error, Manifest, Policy, Severity, Trigger};

struct AsksAgainLater;

refloat_policy::export!(AsksAgainLater);

/// Pause between two looks, seconds.
const PAUSE_SECONDS: u32 = 300;
/// How long to be patient, seconds.
const PATIENCE_SECONDS: u32 = 3_600;

impl Policy for AsksAgainLater {
    fn manifest() -> Manifest {
        Manifest::new("asks-again-later", "1.0.0", "Waits for what is slow, and tells people after an hour.")
            .triggers([
                Trigger::PromotionStalled,
                Trigger::PromotionPendingStuck,
                Trigger::VerificationStuck,
                Trigger::StageUnhealthy,
            ])
            .actions([ActionKind::Wait, ActionKind::Notify])
    }

    fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
        let waited = context.now_unix_seconds.saturating_sub(context.incident.opened_unix_seconds);
        if waited < PATIENCE_SECONDS {
            return Ok(Decision::new().wait(PAUSE_SECONDS, "it to go on").because("it may be slow").into());
        }
        let title = format!("{}/{}: still not over", context.project.name, context.stage.name);
        let text = context.failure.summary.as_str();
        Ok(Decision::new().notify(Severity::Warning, title, text).because("an hour is enough").into())
    }
}
