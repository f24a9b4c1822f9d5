//! Core values to the parameters of track 0.1, borrowing every text.
//!
//! In: a context, settings, a proposed decision. Out: the same as generated types, and how many bytes they are: the
//! context's share of fuel is counted here. By hand and exhaustive: a field that is added to the core must not be
//! forgotten silently.

use std::cell::Cell;

use bumpalo::Bump;
use policy_core::context as core;
use policy_core::decision as ours;
use policy_core::failure;
use policy_core::settings::{Scalar, Settings};
use policy_core::time::Timestamp;

use super::bindings::exports::refloat::failure_policy::policy as wit;
use super::cases::{actor_kind, class, effect, fault_domain, health, mode, retryability, trigger};

/// What one element of a list counts beside its texts.
const ELEMENT_BYTES: usize = 8;

/// Borrows from core values and allocates lists in an arena.
pub(super) struct Lowering<'a> {
    arena: &'a Bump,
    bytes: Cell<usize>,
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn seconds(time: Option<Timestamp>) -> Option<u32> {
    time.map(|time| time.0)
}

impl<'a> Lowering<'a> {
    pub(super) fn new(arena: &'a Bump) -> Self {
        Self { arena, bytes: Cell::new(0) }
    }

    /// Bytes of text and of list elements so far: the same for the same values, whatever memory looks like.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    fn text(&self, text: &'a str) -> &'a str {
        self.count(text.len());
        text
    }

    fn maybe(&self, text: Option<&'a String>) -> Option<&'a str> {
        text.map(|text| self.text(text))
    }

    fn list<T, U>(&self, items: &'a [T], lower: impl Fn(&'a T) -> U) -> &'a [U] {
        if items.is_empty() {
            return &[];
        }
        self.count(items.len().saturating_mul(ELEMENT_BYTES));
        self.arena.alloc_slice_fill_iter(items.iter().map(lower))
    }

    fn texts(&self, items: &'a [String]) -> &'a [&'a str] {
        self.list(items, |item| self.text(item))
    }

    fn pairs(&self, items: &'a [(String, String)]) -> Pairs<'a> {
        self.list(items, |(key, value)| (self.text(key), self.text(value)))
    }

    pub(super) fn settings(&self, settings: &'a Settings) -> wit::Settings<'a> {
        let Settings { values, json } = settings;
        wit::Settings {
            values: self.list(values, |(path, value)| (self.text(path), self.scalar(value))),
            json: self.text(json),
        }
    }

    fn scalar(&self, scalar: &'a Scalar) -> wit::Scalar<'a> {
        match scalar {
            Scalar::Null => wit::Scalar::Null,
            Scalar::Boolean(value) => wit::Scalar::Boolean(*value),
            Scalar::Integer(value) => wit::Scalar::Integer(*value),
            Scalar::Number(value) => wit::Scalar::Number(*value),
            Scalar::Text(value) => wit::Scalar::Text(self.text(value)),
        }
    }

    pub(super) fn context(&self, context: &'a core::Context) -> wit::Context<'a> {
        let [a, b, c, d] = context.seed;
        wit::Context {
            now_unix_seconds: context.now_unix_seconds.0,
            seed: (a, b, c, d),
            failure: self.failure(&context.failure),
            classification: self.classification(&context.classification),
            hints: self.list(&context.hints, |hint| self.hint(hint)),
            incident: self.incident(&context.incident),
            budgets: budgets(&context.budgets),
            project: wit::Project {
                name: self.text(&context.project.name),
                labels: self.pairs(&context.project.labels),
                extra: self.pairs(&context.project.extra),
            },
            stage: self.stage(&context.stage),
            promotion: context.promotion.as_ref().map(|promotion| self.promotion(promotion)),
            verification: context.verification.as_ref().map(|verification| self.verification(verification)),
            freight: self.freight_facts(&context.freight),
            queue: self.list(&context.queue, |queued| self.queued(queued)),
            capabilities: self.list(&context.capabilities, |kind| self.action_kind(kind)),
            mode: mode(context.mode),
            settings: self.settings(&context.settings),
            state: self.maybe(context.state.as_ref()),
            truncated: self.texts(&context.truncated),
            extra: self.pairs(&context.extra),
        }
    }

    fn failure(&self, failure: &'a core::FailureFacts) -> wit::Failure<'a> {
        wit::Failure {
            id: self.text(&failure.id),
            trigger: trigger(failure.trigger),
            at_unix_seconds: failure.at_unix_seconds.0,
            summary: self.text(&failure.summary),
        }
    }

    fn classification(&self, it: &'a failure::Classification) -> wit::Classification<'a> {
        wit::Classification {
            class: class(it.class),
            retryability: retryability(it.retryability),
            fault_domain: fault_domain(it.fault_domain),
            effect: effect(it.effect),
            confidence_percent: it.confidence_percent,
            rule: self.text(&it.rule),
            step: self.maybe(it.step.as_ref()),
            text: self.text(&it.text),
        }
    }

    fn hint(&self, hint: &'a failure::StepHint) -> wit::StepHint<'a> {
        wit::StepHint {
            step: self.text(&hint.step),
            channel: self.text(&hint.channel),
            class: hint.class.map(class),
            retry: hint.retry.map(retryability),
            retry_after_seconds: hint.retry_after_seconds,
            max_attempts: hint.max_attempts,
            reason: self.maybe(hint.reason.as_ref()),
            scope_key: self.maybe(hint.scope_key.as_ref()),
            extra: self.pairs(&hint.extra),
        }
    }

    fn incident(&self, incident: &'a core::IncidentFacts) -> wit::Incident<'a> {
        wit::Incident {
            id: self.text(&incident.id),
            opened_unix_seconds: incident.opened_unix_seconds.0,
            retries: incident.retries,
            rollbacks: incident.rollbacks,
            attempts: self.list(&incident.attempts, |attempt| wit::Attempt {
                number: attempt.number,
                kind: self.action_kind(&attempt.kind),
                promotion: self.maybe(attempt.promotion.as_ref()),
                freight: self.maybe(attempt.freight.as_ref()),
                at_unix_seconds: attempt.at_unix_seconds.0,
                outcome: self.outcome(&attempt.outcome),
            }),
            decisions: self.list(&incident.decisions, |decision| wit::PastDecision {
                at_unix_seconds: decision.at_unix_seconds.0,
                trigger: trigger(decision.trigger),
                class: class(decision.class),
                actions: self.list(&decision.actions, |(kind, outcome)| {
                    (self.action_kind(kind), self.outcome(outcome))
                }),
            }),
        }
    }

    fn outcome(&self, outcome: &'a core::Outcome) -> wit::Outcome<'a> {
        match outcome {
            core::Outcome::Pending => wit::Outcome::Pending,
            core::Outcome::Succeeded => wit::Outcome::Succeeded,
            core::Outcome::Failed => wit::Outcome::Failed,
            core::Outcome::Aborted => wit::Outcome::Aborted,
            core::Outcome::Refused(id) => wit::Outcome::Refused(self.text(id)),
            core::Outcome::Postponed(id) => wit::Outcome::Postponed(self.text(id)),
            core::Outcome::Superseded => wit::Outcome::Superseded,
            core::Outcome::Observed => wit::Outcome::Observed,
        }
    }

    fn stage(&self, stage: &'a core::StageFacts) -> wit::Stage<'a> {
        wit::Stage {
            name: self.text(&stage.name),
            labels: self.pairs(&stage.labels),
            shard: self.maybe(stage.shard.as_ref()),
            origins: self.texts(&stage.origins),
            health: health(stage.health),
            auto_promotion: stage.auto_promotion,
            holds: self.list(&stage.holds, |hold| wit::HoldFact {
                origin: self.text(&hold.origin),
                freight: self.text(&hold.freight),
                actor: self.maybe(hold.actor.as_ref()),
                ours: hold.ours,
            }),
            upstream: self.texts(&stage.upstream),
            verifies: stage.verifies,
            extra: self.pairs(&stage.extra),
        }
    }

    fn promotion(&self, promotion: &'a core::PromotionFacts) -> wit::Promotion<'a> {
        wit::Promotion {
            name: self.text(&promotion.name),
            freight: self.text(&promotion.freight),
            phase: self.text(&promotion.phase),
            message: self.text(&promotion.message),
            actor_kind: actor_kind(promotion.actor_kind),
            actor: self.maybe(promotion.actor.as_ref()),
            is_rollback: promotion.is_rollback,
            created_unix_seconds: seconds(promotion.created_unix_seconds),
            started_unix_seconds: seconds(promotion.started_unix_seconds),
            finished_unix_seconds: seconds(promotion.finished_unix_seconds),
            steps: self.list(&promotion.steps, |step| self.step(step)),
            template_changed: promotion.template_changed,
            extra: self.pairs(&promotion.extra),
        }
    }

    fn step(&self, step: &'a core::StepFacts) -> wit::Step<'a> {
        wit::Step {
            index: step.index,
            alias: self.text(&step.alias),
            kind: self.text(&step.kind),
            status: self.maybe(step.status.as_ref()),
            message: self.text(&step.message),
            error_count: step.error_count,
            continue_on_error: step.continue_on_error,
            mutates: step.mutates,
            started_unix_seconds: seconds(step.started_unix_seconds),
            finished_unix_seconds: seconds(step.finished_unix_seconds),
            output: self.maybe(step.output.as_ref()),
            extra: self.pairs(&step.extra),
        }
    }

    fn queued(&self, queued: &'a core::QueuedPromotion) -> wit::QueuedPromotion<'a> {
        wit::QueuedPromotion {
            name: self.text(&queued.name),
            freight: self.text(&queued.freight),
            phase: self.maybe(queued.phase.as_ref()),
            actor_kind: actor_kind(queued.actor_kind),
        }
    }

    fn verification(&self, it: &'a core::VerificationFacts) -> wit::Verification<'a> {
        wit::Verification {
            id: self.text(&it.id),
            phase: self.text(&it.phase),
            message: self.text(&it.message),
            actor: self.maybe(it.actor.as_ref()),
            analysis_run: self.maybe(it.analysis_run.as_ref()),
            reused: it.reused,
            started_unix_seconds: seconds(it.started_unix_seconds),
            finished_unix_seconds: seconds(it.finished_unix_seconds),
            metrics: self.list(&it.metrics, |metric| self.metric(metric)),
            extra: self.pairs(&it.extra),
        }
    }

    fn metric(&self, metric: &'a core::MetricFacts) -> wit::Metric<'a> {
        let core::MetricCounts { total, successful, failed, inconclusive, error } = metric.counts;
        wit::Metric {
            name: self.text(&metric.name),
            phase: self.text(&metric.phase),
            message: self.text(&metric.message),
            counts: wit::MetricCounts { total, successful, failed, inconclusive, error },
            dry_run: metric.dry_run,
            measurements: self.list(&metric.measurements, |measurement| wit::Measurement {
                phase: self.text(&measurement.phase),
                value: self.text(&measurement.value),
                message: self.text(&measurement.message),
                finished_unix_seconds: seconds(measurement.finished_unix_seconds),
            }),
            extra: self.pairs(&metric.extra),
        }
    }

    fn freight_facts(&self, it: &'a core::FreightFacts) -> wit::FreightFacts<'a> {
        wit::FreightFacts {
            failing: it.failing.as_ref().map(|piece| self.freight(piece)),
            current: self.list(&it.current, |piece| self.freight(piece)),
            history: self.list(&it.history, |past| wit::PastCollection {
                id: self.text(&past.id),
                freight: self.list(&past.freight, |piece| wit::FreightRef {
                    origin: self.text(&piece.origin),
                    name: self.text(&piece.name),
                }),
                verification: self.maybe(past.verification.as_ref()),
                verification_reused: past.verification_reused,
            }),
            targets: self.list(&it.targets, |target| wit::RollbackTarget {
                origin: self.text(&target.origin),
                freight: self.maybe(target.freight.as_ref()),
                because: self.text(&target.because),
                exists: target.exists,
                available: target.available,
            }),
            candidates: self.list(&it.candidates, |piece| self.freight(piece)),
        }
    }

    fn freight(&self, piece: &'a core::FreightPiece) -> wit::Freight<'a> {
        wit::Freight {
            name: self.text(&piece.name),
            alias: self.maybe(piece.alias.as_ref()),
            origin: self.text(&piece.origin),
            discovered_unix_seconds: seconds(piece.discovered_unix_seconds),
            artifacts: self.list(&piece.artifacts, |artifact| wit::Artifact {
                kind: self.text(&artifact.kind),
                repository: self.text(&artifact.repository),
                version: self.text(&artifact.version),
            }),
            extra: self.pairs(&piece.extra),
        }
    }

    pub(super) fn decision(&self, decision: &'a ours::Decision) -> wit::DecisionParam<'a> {
        wit::DecisionParam {
            actions: self.list(&decision.actions, |action| wit::ActionParam {
                id: self.text(&action.id),
                reason: self.text(&action.reason),
                on_error: match action.on_error {
                    ours::OnError::Stop => wit::OnErrorParam::Stop,
                    ours::OnError::Continue => wit::OnErrorParam::Continue,
                },
                operation: self.operation(&action.operation),
            }),
            explanation: self.text(&decision.explanation),
            state: self.maybe(decision.state.as_ref()),
            class: decision.class.map(class),
        }
    }

    fn operation(&self, operation: &'a ours::Operation) -> wit::OperationParam<'a> {
        use ours::Operation as Op;
        use wit::OperationParam as Wit;
        match operation {
            Op::Retry { delay_seconds } => Wit::Retry(wit::Retry { delay_seconds: *delay_seconds }),
            Op::Rollback { target, origin } => Wit::Rollback(wit::RollbackParam {
                target: self.selector(target),
                origin: self.maybe(origin.as_ref()),
            }),
            Op::Wait { seconds, cause } => {
                Wit::Wait(wit::WaitParam { seconds: *seconds, cause: self.text(cause) })
            }
            Op::Notify(message) => Wit::Notify(self.message(message)),
            Op::EmitEvent { reason, note } => {
                Wit::EmitEvent(wit::EmitEventParam { reason: self.text(reason), note: self.text(note) })
            }
            Op::Accept { text } => Wit::Accept(wit::NoteParam { text: self.text(text) }),
            Op::Escalate { title, text } => {
                Wit::Escalate(wit::EscalateParam { title: self.text(title), text: self.text(text) })
            }
            Op::HandOff { to, note } => {
                Wit::HandOff(wit::HandOffParam { to: self.text(to), note: self.text(note) })
            }
            Op::Record(facts) => Wit::Record(self.pairs(facts)),
            Op::RequestApproval(request) => Wit::RequestApproval(self.approval(request)),
            Op::AbortPromotion { name } => {
                Wit::AbortPromotion(wit::AbortPromotionParam { name: self.maybe(name.as_ref()) })
            }
            Op::Hold { origin, until_unix_seconds } => Wit::Hold(wit::HoldParam {
                origin: self.maybe(origin.as_ref()),
                until_unix_seconds: *until_unix_seconds,
            }),
            Op::RunRecovery { name, parameters } => Wit::RunRecovery(wit::RunRecoveryParam {
                name: self.text(name),
                parameters: self.pairs(parameters),
            }),
            Op::Custom { kind, json } => {
                Wit::Custom(wit::CustomParam { kind: self.text(kind), json: self.text(json) })
            }
        }
    }

    fn selector(&self, selector: &'a ours::RollbackSelector) -> wit::RollbackSelectorParam<'a> {
        match selector {
            ours::RollbackSelector::LastVerified => wit::RollbackSelectorParam::LastVerified,
            ours::RollbackSelector::Previous => wit::RollbackSelectorParam::Previous,
            ours::RollbackSelector::Exact(name) => wit::RollbackSelectorParam::Exact(self.text(name)),
            ours::RollbackSelector::Other(name) => wit::RollbackSelectorParam::Other(self.text(name)),
        }
    }

    fn message(&self, message: &'a ours::Message) -> wit::NotifyParam<'a> {
        wit::NotifyParam {
            channel: self.maybe(message.channel.as_ref()),
            severity: match message.severity {
                ours::Severity::Info => wit::SeverityParam::Info,
                ours::Severity::Warning => wit::SeverityParam::Warning,
                ours::Severity::Critical => wit::SeverityParam::Critical,
            },
            title: self.text(&message.title),
            text: self.text(&message.text),
            dedupe_key: self.maybe(message.dedupe_key.as_ref()),
        }
    }

    fn approval(&self, request: &'a ours::ApprovalRequest) -> wit::RequestApprovalParam<'a> {
        wit::RequestApprovalParam {
            question: self.text(&request.question),
            options: self.list(&request.options, |(id, label)| wit::ApprovalOptionParam {
                id: self.text(id),
                label: self.text(label),
            }),
            timeout_seconds: request.timeout_seconds,
            on_timeout: self.text(&request.on_timeout),
        }
    }

    fn action_kind(&self, kind: &'a ours::ActionKind) -> wit::ActionKindParam<'a> {
        use ours::ActionKind as Kind;
        use wit::ActionKindParam as Wit;
        match kind {
            Kind::Retry => Wit::Retry,
            Kind::Rollback => Wit::Rollback,
            Kind::Wait => Wit::Wait,
            Kind::Notify => Wit::Notify,
            Kind::EmitEvent => Wit::EmitEvent,
            Kind::Accept => Wit::Accept,
            Kind::Escalate => Wit::Escalate,
            Kind::HandOff => Wit::HandOff,
            Kind::Record => Wit::Record,
            Kind::RequestApproval => Wit::RequestApproval,
            Kind::AbortPromotion => Wit::AbortPromotion,
            Kind::Hold => Wit::Hold,
            Kind::RunRecovery => Wit::RunRecovery,
            Kind::Custom(kind) => Wit::Custom(self.text(kind)),
        }
    }
}

fn budgets(it: &core::Budgets) -> wit::Budgets {
    wit::Budgets {
        retries_left: it.retries_left,
        rollbacks_left: it.rollbacks_left,
        deliveries_left: it.deliveries_left,
        not_before_unix_seconds: seconds(it.not_before_unix_seconds),
        expires_unix_seconds: seconds(it.expires_unix_seconds),
    }
}
