//! Runs a built-in policy as native code, so that its cases need no WebAssembly.
//!
//! In: the host's values. Out: the SDK's values, and back. Fields and cases have the same names on both sides; a field
//! that one side lacks does not compile. Nothing here changes a value.

use policy_core::{context as core, decision, failure, settings};
use refloat_policy as sdk;
use refloat_policy::Policy;

use super::Subject;

/// Checks a case against a policy that is linked into this program.
///
/// # Errors
/// As [`super::PolicyCase::check`].
pub fn check<P: Policy>(case: &super::PolicyCase) -> Result<(), String> {
    let schema = P::manifest().settings_schema;
    case.check(&Subject {
        settings_schema: &schema,
        validate: &|settings| {
            P::validate(&settings_to_sdk(settings)).map_err(|problems| {
                let problem = |problem: sdk::Problem| settings::Problem {
                    path: problem.path,
                    message: problem.message,
                };
                problems.into_iter().map(problem).collect()
            })
        },
        decide: &|context, proposed| {
            let proposed = proposed.map(decision_to_sdk);
            match P::decide(&context_to_sdk(context), proposed.as_ref()) {
                Ok(sdk::Answer::Pass) => Ok(decision::Answer::Pass),
                Ok(sdk::Answer::Decide(decision)) => decision_to_core(decision).map(decision::Answer::Decide),
                Err(error) => Err(format!("{error:?}")),
            }
        },
    })
}

/// Both directions of a variant whose cases carry nothing. A case that only the SDK knows is an error.
macro_rules! same_cases {
    ($($to_sdk:ident $to_core:ident $core:path => $sdk:path { $($case:ident)+ })+) => {$(
        fn $to_sdk(value: $core) -> $sdk {
            type Core = $core;
            type Sdk = $sdk;
            match value { $(Core::$case => Sdk::$case,)+ }
        }

        #[allow(dead_code, reason = "not every variant comes back in an answer")]
        fn $to_core(value: $sdk) -> Result<$core, String> {
            type Core = $core;
            type Sdk = $sdk;
            match value {
                $(Sdk::$case => Ok(Core::$case),)+
                Sdk::Other(name) => Err(format!("`{name}` is not known to this host")),
            }
        }
    )+};
}

same_cases! {
    trigger_to_sdk trigger_to_core failure::Trigger => sdk::Trigger {
        PromotionFailed PromotionErrored PromotionAborted PromotionStalled PromotionPendingStuck PromotionDenied
        StepFailedTolerated PromotionNotRecorded VerificationFailed VerificationError VerificationInconclusive
        VerificationAborted VerificationStuck VerificationMissing StageUnhealthy StageHealthUnknown RollbackFailed
        AutoPromotionBlocked ExternalAlert Timer ActionResult ApprovalResolved ApprovalExpired Manual
    }
    class_to_sdk class_to_core failure::Class => sdk::Class {
        Transient Conflict MergeConflict Quota Timeout Auth Config NotFound Artifact DeployFailed Unhealthy
        VerificationFailed VerificationInconclusive VerificationError UnhealthyAfterSuccess PolicyDenied HumanRejected
        HumanTimeout UserAbort Stalled Capability Internal RollbackFailed Unknown
    }
    retryability_to_sdk retryability_to_core failure::Retryability => sdk::Retryability {
        Now AfterDelay WholeOnly Unknown NeedsChange Never
    }
    domain_to_sdk domain_to_core failure::FaultDomain => sdk::FaultDomain {
        Freight Environment Platform Configuration Human Unknown
    }
    effect_to_sdk effect_to_core failure::Effect => sdk::Effect { None Partial Complete Unknown }
    health_to_sdk health_to_core core::Health => sdk::Health { Healthy Unhealthy Progressing Unknown NotApplicable }
    actor_to_sdk actor_to_core core::ActorKind => sdk::ActorKind { Kargo Refloat Person Unknown }
    mode_to_sdk mode_to_core core::Mode => sdk::Mode { Observe Suggest Enforce }
    severity_to_sdk severity_to_core decision::Severity => sdk::Severity { Info Warning Critical }
    on_error_to_sdk on_error_to_core decision::OnError => sdk::OnError { Stop Continue }
}

/// Copies a record: fields after `;` are converted by an expression, all others are cloned under their name.
macro_rules! copied {
    ($from:expr => $to:path { $($field:ident)* ; $($special:ident : $value:expr,)* }) => {{
        type To = $to;
        To { $($field: $from.$field.clone(),)* $($special: $value,)* }
    }};
}

fn all<A, B>(items: &[A], convert: impl Fn(&A) -> B) -> Vec<B> {
    items.iter().map(convert).collect()
}

fn seconds(time: Option<policy_core::time::Timestamp>) -> Option<u32> {
    time.map(|time| time.0)
}

fn kind_to_sdk(kind: &decision::ActionKind) -> sdk::ActionKind {
    use decision::ActionKind as Core;
    use sdk::ActionKind as Sdk;
    match kind {
        Core::Retry => Sdk::Retry,
        Core::Rollback => Sdk::Rollback,
        Core::Wait => Sdk::Wait,
        Core::Notify => Sdk::Notify,
        Core::EmitEvent => Sdk::EmitEvent,
        Core::Accept => Sdk::Accept,
        Core::Escalate => Sdk::Escalate,
        Core::HandOff => Sdk::HandOff,
        Core::Record => Sdk::Record,
        Core::RequestApproval => Sdk::RequestApproval,
        Core::AbortPromotion => Sdk::AbortPromotion,
        Core::Hold => Sdk::Hold,
        Core::RunRecovery => Sdk::RunRecovery,
        Core::Custom(kind) => Sdk::Custom(kind.clone()),
    }
}

fn outcome_to_sdk(outcome: &core::Outcome) -> sdk::Outcome {
    match outcome {
        core::Outcome::Pending => sdk::Outcome::Pending,
        core::Outcome::Succeeded => sdk::Outcome::Succeeded,
        core::Outcome::Failed => sdk::Outcome::Failed,
        core::Outcome::Aborted => sdk::Outcome::Aborted,
        core::Outcome::Refused(id) => sdk::Outcome::Refused(id.clone()),
        core::Outcome::Postponed(id) => sdk::Outcome::Postponed(id.clone()),
        core::Outcome::Superseded => sdk::Outcome::Superseded,
        core::Outcome::Observed => sdk::Outcome::Observed,
    }
}

fn settings_to_sdk(settings: &settings::Settings) -> sdk::Settings {
    let scalar = |scalar: &settings::Scalar| match scalar {
        settings::Scalar::Null => sdk::Scalar::Null,
        settings::Scalar::Boolean(value) => sdk::Scalar::Boolean(*value),
        settings::Scalar::Integer(value) => sdk::Scalar::Integer(*value),
        settings::Scalar::Number(value) => sdk::Scalar::Number(*value),
        settings::Scalar::Text(value) => sdk::Scalar::Text(value.clone()),
    };
    sdk::Settings {
        values: all(&settings.values, |(path, value)| (path.clone(), scalar(value))),
        json: settings.json.clone(),
    }
}

fn context_to_sdk(context: &core::Context) -> sdk::Context {
    let [a, b, c, d] = context.seed;
    copied!(context => sdk::Context {
        state truncated extra;
        now_unix_seconds: context.now_unix_seconds.0,
        seed: (a, b, c, d),
        failure: copied!(context.failure => sdk::Failure {
            id summary;
            trigger: trigger_to_sdk(context.failure.trigger),
            at_unix_seconds: context.failure.at_unix_seconds.0,
        }),
        classification: classification_to_sdk(&context.classification),
        hints: all(&context.hints, hint_to_sdk),
        incident: incident_to_sdk(&context.incident),
        budgets: copied!(context.budgets => sdk::Budgets {
            retries_left rollbacks_left deliveries_left;
            not_before_unix_seconds: seconds(context.budgets.not_before_unix_seconds),
            expires_unix_seconds: seconds(context.budgets.expires_unix_seconds),
        }),
        project: copied!(context.project => sdk::Project { name labels extra; }),
        stage: stage_to_sdk(&context.stage),
        promotion: context.promotion.as_ref().map(promotion_to_sdk),
        verification: context.verification.as_ref().map(verification_to_sdk),
        freight: freight_facts_to_sdk(&context.freight),
        queue: all(&context.queue, |queued| copied!(queued => sdk::QueuedPromotion {
            name freight phase;
            actor_kind: actor_to_sdk(queued.actor_kind),
        })),
        capabilities: all(&context.capabilities, kind_to_sdk),
        mode: mode_to_sdk(context.mode),
        settings: settings_to_sdk(&context.settings),
    })
}

fn classification_to_sdk(classification: &failure::Classification) -> sdk::Classification {
    copied!(classification => sdk::Classification {
        confidence_percent rule step text;
        class: class_to_sdk(classification.class),
        retryability: retryability_to_sdk(classification.retryability),
        fault_domain: domain_to_sdk(classification.fault_domain),
        effect: effect_to_sdk(classification.effect),
    })
}

fn hint_to_sdk(hint: &failure::StepHint) -> sdk::StepHint {
    copied!(hint => sdk::StepHint {
        step channel retry_after_seconds max_attempts reason scope_key extra;
        class: hint.class.map(class_to_sdk),
        retry: hint.retry.map(retryability_to_sdk),
    })
}

fn incident_to_sdk(incident: &core::IncidentFacts) -> sdk::Incident {
    copied!(incident => sdk::Incident {
        id retries rollbacks;
        opened_unix_seconds: incident.opened_unix_seconds.0,
        attempts: all(&incident.attempts, |attempt| copied!(attempt => sdk::Attempt {
            number promotion freight;
            kind: kind_to_sdk(&attempt.kind),
            at_unix_seconds: attempt.at_unix_seconds.0,
            outcome: outcome_to_sdk(&attempt.outcome),
        })),
        decisions: all(&incident.decisions, |past| sdk::PastDecision {
            at_unix_seconds: past.at_unix_seconds.0,
            trigger: trigger_to_sdk(past.trigger),
            class: class_to_sdk(past.class),
            actions: all(&past.actions, |(kind, outcome)| (kind_to_sdk(kind), outcome_to_sdk(outcome))),
        }),
    })
}

fn stage_to_sdk(stage: &core::StageFacts) -> sdk::Stage {
    copied!(stage => sdk::Stage {
        name labels shard origins auto_promotion upstream verifies extra;
        health: health_to_sdk(stage.health),
        holds: all(&stage.holds, |hold| copied!(hold => sdk::HoldFact { origin freight actor ours; })),
    })
}

fn promotion_to_sdk(promotion: &core::PromotionFacts) -> sdk::Promotion {
    copied!(promotion => sdk::Promotion {
        name freight phase message actor is_rollback template_changed extra;
        actor_kind: actor_to_sdk(promotion.actor_kind),
        created_unix_seconds: seconds(promotion.created_unix_seconds),
        started_unix_seconds: seconds(promotion.started_unix_seconds),
        finished_unix_seconds: seconds(promotion.finished_unix_seconds),
        steps: all(&promotion.steps, |step| copied!(step => sdk::Step {
            index alias kind status message error_count continue_on_error mutates output extra;
            started_unix_seconds: seconds(step.started_unix_seconds),
            finished_unix_seconds: seconds(step.finished_unix_seconds),
        })),
    })
}

fn verification_to_sdk(verification: &core::VerificationFacts) -> sdk::Verification {
    copied!(verification => sdk::Verification {
        id phase message actor analysis_run reused extra;
        started_unix_seconds: seconds(verification.started_unix_seconds),
        finished_unix_seconds: seconds(verification.finished_unix_seconds),
        metrics: all(&verification.metrics, |metric| copied!(metric => sdk::Metric {
            name phase message dry_run extra;
            counts: copied!(metric.counts => sdk::MetricCounts { total successful failed inconclusive error; }),
            measurements: all(&metric.measurements, |taken| copied!(taken => sdk::Measurement {
                phase value message;
                finished_unix_seconds: seconds(taken.finished_unix_seconds),
            })),
        })),
    })
}

fn freight_facts_to_sdk(facts: &core::FreightFacts) -> sdk::FreightFacts {
    let reference = |of: &core::FreightRef| copied!(of => sdk::FreightRef { origin name; });
    sdk::FreightFacts {
        failing: facts.failing.as_ref().map(freight_to_sdk),
        current: all(&facts.current, freight_to_sdk),
        history: all(&facts.history, |past| {
            copied!(past => sdk::PastCollection {
                id verification verification_reused;
                freight: all(&past.freight, reference),
            })
        }),
        targets: all(&facts.targets, |target| {
            copied!(target => sdk::RollbackTarget {
                origin freight because exists available;
            })
        }),
        candidates: all(&facts.candidates, freight_to_sdk),
    }
}

fn freight_to_sdk(freight: &core::FreightPiece) -> sdk::Freight {
    copied!(freight => sdk::Freight {
        name alias origin extra;
        discovered_unix_seconds: seconds(freight.discovered_unix_seconds),
        artifacts: all(&freight.artifacts, |artifact| copied!(artifact => sdk::Artifact { kind repository version; })),
    })
}

fn decision_to_sdk(decision: &decision::Decision) -> sdk::Decision {
    copied!(decision => sdk::Decision {
        explanation state;
        actions: all(&decision.actions, |action| copied!(action => sdk::Action {
            id reason;
            on_error: on_error_to_sdk(action.on_error),
            operation: operation_to_sdk(&action.operation),
        })),
        class: decision.class.map(class_to_sdk),
    })
}

fn operation_to_sdk(operation: &decision::Operation) -> sdk::Operation {
    use decision::Operation as Core;
    use sdk::Operation as Sdk;
    match operation.clone() {
        Core::Retry { delay_seconds } => Sdk::Retry(sdk::Retry { delay_seconds }),
        Core::Rollback { target, origin } => {
            let target = match target {
                decision::RollbackSelector::LastVerified => sdk::RollbackSelector::LastVerified,
                decision::RollbackSelector::Previous => sdk::RollbackSelector::Previous,
                decision::RollbackSelector::Exact(name) => sdk::RollbackSelector::Exact(name),
                decision::RollbackSelector::Other(name) => sdk::RollbackSelector::Other(name),
            };
            Sdk::Rollback(sdk::Rollback { target, origin })
        }
        Core::Wait { seconds, cause } => Sdk::Wait(sdk::Wait { seconds, cause }),
        Core::Notify(message) => Sdk::Notify(copied!(message => sdk::Notify {
            channel title text dedupe_key;
            severity: severity_to_sdk(message.severity),
        })),
        Core::EmitEvent { reason, note } => Sdk::EmitEvent(sdk::EmitEvent { reason, note }),
        Core::Accept { text } => Sdk::Accept(sdk::Note { text }),
        Core::Escalate { title, text } => Sdk::Escalate(sdk::Escalate { title, text }),
        Core::HandOff { to, note } => Sdk::HandOff(sdk::HandOff { to, note }),
        Core::Record(facts) => Sdk::Record(facts),
        Core::RequestApproval(ask) => Sdk::RequestApproval(copied!(ask => sdk::RequestApproval {
            question timeout_seconds on_timeout;
            options: ask.options.iter().cloned().map(|(id, label)| sdk::ApprovalOption { id, label }).collect(),
        })),
        Core::AbortPromotion { name } => Sdk::AbortPromotion(sdk::AbortPromotion { name }),
        Core::Hold { origin, until_unix_seconds } => Sdk::Hold(sdk::Hold { origin, until_unix_seconds }),
        Core::RunRecovery { name, parameters } => Sdk::RunRecovery(sdk::RunRecovery { name, parameters }),
        Core::Custom { kind, json } => Sdk::Custom(sdk::Custom { kind, json }),
    }
}

fn decision_to_core(from: sdk::Decision) -> Result<decision::Decision, String> {
    let action = |action: sdk::Action| {
        Ok(decision::Action {
            id: action.id,
            reason: action.reason,
            on_error: on_error_to_core(action.on_error)?,
            operation: operation_to_core(action.operation)?,
        })
    };
    Ok(decision::Decision {
        actions: from.actions.into_iter().map(action).collect::<Result<_, String>>()?,
        explanation: from.explanation,
        state: from.state,
        class: from.class.map(class_to_core).transpose()?,
    })
}

fn operation_to_core(operation: sdk::Operation) -> Result<decision::Operation, String> {
    use decision::Operation as Core;
    use sdk::Operation as Sdk;
    Ok(match operation {
        Sdk::Retry(retry) => Core::Retry { delay_seconds: retry.delay_seconds },
        Sdk::Rollback(rollback) => {
            let target = match rollback.target {
                sdk::RollbackSelector::LastVerified => decision::RollbackSelector::LastVerified,
                sdk::RollbackSelector::Previous => decision::RollbackSelector::Previous,
                sdk::RollbackSelector::Exact(name) => decision::RollbackSelector::Exact(name),
                sdk::RollbackSelector::Other(name) => decision::RollbackSelector::Other(name),
            };
            Core::Rollback { target, origin: rollback.origin }
        }
        Sdk::Wait(wait) => Core::Wait { seconds: wait.seconds, cause: wait.cause },
        Sdk::Notify(message) => Core::Notify(decision::Message {
            channel: message.channel,
            severity: severity_to_core(message.severity)?,
            title: message.title,
            text: message.text,
            dedupe_key: message.dedupe_key,
        }),
        Sdk::EmitEvent(event) => Core::EmitEvent { reason: event.reason, note: event.note },
        Sdk::Accept(note) => Core::Accept { text: note.text },
        Sdk::Escalate(page) => Core::Escalate { title: page.title, text: page.text },
        Sdk::HandOff(hand_off) => Core::HandOff { to: hand_off.to, note: hand_off.note },
        Sdk::Record(facts) => Core::Record(facts),
        Sdk::RequestApproval(ask) => Core::RequestApproval(decision::ApprovalRequest {
            question: ask.question,
            options: ask.options.into_iter().map(|option| (option.id, option.label)).collect(),
            timeout_seconds: ask.timeout_seconds,
            on_timeout: ask.on_timeout,
        }),
        Sdk::AbortPromotion(abort) => Core::AbortPromotion { name: abort.name },
        Sdk::Hold(hold) => Core::Hold { origin: hold.origin, until_unix_seconds: hold.until_unix_seconds },
        Sdk::RunRecovery(run) => Core::RunRecovery { name: run.name, parameters: run.parameters },
        Sdk::Custom(custom) => Core::Custom { kind: custom.kind, json: custom.json },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy_case::PolicyCase;

    fn run(policy: &str, check: fn(&PolicyCase) -> Result<(), String>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/policies").join(policy);
        let mut failed = Vec::new();
        let mut n_cases = 0;
        for entry in std::fs::read_dir(&folder).expect("the folder of this policy's cases") {
            let path = entry.expect("an entry").path();
            n_cases += 1;
            if let Err(difference) = PolicyCase::read(&path).and_then(|case| check(&case)) {
                failed.push(difference);
            }
        }
        assert!(n_cases > 5, "{policy} has {n_cases} cases");
        assert!(failed.is_empty(), "{} of {n_cases}\n{}", failed.len(), failed.join("\n"));
    }

    #[test]
    fn retry_transient() {
        run("retry-transient", check::<retry_transient::RetryTransient>);
    }

    #[test]
    fn rollback_last_verified() {
        run("rollback-last-verified", check::<rollback_last_verified::RollbackLastVerified>);
    }

    #[test]
    fn notify() {
        run("notify", check::<notify::NotifyPeople>);
    }
}
