//! What Argo Rollouts makes of an AnalysisRun, as the script says. In go the world, a run and the script, out come the
//! run's next status and the moment of the one after. It must not touch the Stage: Kargo reads the run by itself.
//! Observed with Argo Rollouts v1.10.2: captures `e/successful`, `e/failed`, `e/error`, `e/inconclusive`, `e/running`,
//! `e/abort`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::names::{FREIGHT_COLLECTION, STAGE, label_value};
use crate::object::{at, flag, label, list, name, namespace, put, text};
use crate::script::{Judgement, Measurement, Metric, Script, VerificationOutcome, VerificationRule};
use crate::stage::Stage;
use crate::time::{parse, parse_duration, stamp_value};
use crate::verification::{runs, status_patch};
use crate::world::{Effect, Kind, World};

/// `consecutiveErrorLimit` of a metric that does not say (Argo Rollouts, `DefaultConsecutiveErrorLimit`).
const ERROR_LIMIT: u64 = 4;

/// The next writes for a Stage's runs.
pub fn next(world: &World, stage: &Value, script: &Script) -> Vec<Effect> {
    of_stage(world, stage).filter_map(|run| progress(world, run, stage, script)).collect()
}

/// When one of a Stage's runs changes by itself: its next measurement, or its end.
pub fn next_wake(world: &World, stage: &Value, script: &Script) -> Option<Timestamp> {
    of_stage(world, stage)
        .filter_map(|run| {
            let play = Play::of(world, run, stage, script)?;
            let ahead = |moment: &Timestamp| *moment > world.now;
            play.moments().into_iter().filter(ahead).min()
        })
        .min()
}

fn of_stage<'a>(world: &'a World, stage: &'a Value) -> impl Iterator<Item = &'a Value> {
    let wanted = label_value(Stage(stage).name());
    world
        .list(Kind::AnalysisRun, namespace(stage))
        .filter(move |run| label(run, STAGE) == Some(wanted.as_str()))
}

/// The rule for a run: runs of the same Stage and collection count as attempts, by name.
pub(crate) fn rule<'a>(
    world: &World,
    run: &Value,
    stage: &Value,
    script: &'a Script,
) -> Option<&'a VerificationRule> {
    let collection = label(run, FREIGHT_COLLECTION).unwrap_or_default();
    let siblings = runs(world, stage, collection).filter(|other| name(other) <= name(run)).count();
    let attempt = u32::try_from(siblings).unwrap_or(u32::MAX);
    let freight: Vec<&str> =
        list(run, &["metadata", "ownerReferences"]).iter().map(|owner| text(owner, &["name"])).collect();
    script.verification_rule(name(stage), &freight, attempt)
}

fn progress(world: &World, run: &Value, stage: &Value, script: &Script) -> Option<Effect> {
    let play = Play::of(world, run, stage, script)?;
    let mut new = run.clone();
    put(&mut new, &["status"], play.status(world.now));
    status_patch(run, &new)
}

/// A run that is not over, and what the script wants of it.
struct Play<'a> {
    run: &'a Value,
    started: Timestamp,
    metrics: Vec<Metric>,
    ends: Ends,
}

#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// As its metrics say, at that moment.
    At(Timestamp),
    /// Now, because somebody cut it off. Its measurements had passed, so it is successful (capture `e/abort`).
    CutOff,
    /// Not by itself.
    Never,
}

impl<'a> Play<'a> {
    /// `None` when the run is over or nobody touches it.
    fn of(world: &World, run: &'a Value, stage: &Value, script: &Script) -> Option<Self> {
        if !matches!(text(run, &["status", "phase"]), "" | "Pending" | "Running") {
            return None;
        }
        let silent = VerificationRule::default();
        let rule = rule(world, run, stage, script).unwrap_or(&silent);
        let started = parse(text(run, &["status", "startedAt"]))
            .or_else(|| parse(text(run, &["metadata", "creationTimestamp"])))
            .unwrap_or(world.now);
        let metrics = match rule.metrics.is_empty() {
            true => vec![assumed(run, &rule.outcome)],
            false => rule.metrics.clone(),
        };
        let ends = match rule.outcome {
            _ if flag(run, &["spec", "terminate"]) => Ends::CutOff,
            VerificationOutcome::Ignore => return None,
            VerificationOutcome::Run => Ends::Never,
            _ => Ends::At(started.saturating_add(rule.duration().unwrap_or_default()).unwrap_or(started)),
        };
        Some(Self { run, started, metrics, ends })
    }

    /// Whether it is over at `now`.
    fn is_over(&self, now: Timestamp) -> bool {
        match self.ends {
            Ends::At(end) => now >= end,
            Ends::CutOff => true,
            Ends::Never => false,
        }
    }

    /// When something of it changes.
    fn moments(&self) -> Vec<Timestamp> {
        let end = if let Ends::At(end) = self.ends { Some(end) } else { None };
        let measured = self
            .metrics
            .iter()
            .flat_map(|metric| (0..metric.measurements.len()).map(|nth| self.measured_at(metric, nth)));
        measured.filter(|moment| end.is_none_or(|end| *moment < end)).chain(end).collect()
    }

    fn measured_at(&self, metric: &Metric, nth: usize) -> Timestamp {
        let interval = parse_duration(text(spec(self.run, &metric.name), &["interval"]));
        let nth = i32::try_from(nth).unwrap_or(i32::MAX);
        let after = interval.unwrap_or(SignedDuration::ZERO).saturating_mul(nth);
        self.started.saturating_add(after).unwrap_or(self.started)
    }

    /// The measurements that exist at `now`: all of them once the run is over by itself.
    fn measured<'m>(&self, metric: &'m Metric, now: Timestamp) -> Vec<&'m Measurement> {
        let all = self.is_over(now) && self.ends != Ends::CutOff;
        let taken = |nth: usize| all || self.measured_at(metric, nth) <= now;
        metric.measurements.iter().enumerate().filter(|(nth, _)| taken(*nth)).map(|(_, one)| one).collect()
    }

    fn status(&self, now: Timestamp) -> Value {
        let over = self.is_over(now);
        let results: Vec<Value> = self.metrics.iter().map(|metric| self.result(metric, now)).collect();
        let worst = self.metrics.iter().max_by_key(|metric| self.judge(metric, now));
        let phase = worst.map(|worst| self.judge(worst, now)).unwrap_or_default();
        let mut summary = json!({ "count": results.len() });
        let mut status = json!({
            "phase": if over { phase.text() } else { "Running" }, "startedAt": stamp_value(self.started),
            "dryRunSummary": {}, "metricResults": results,
        });
        if over {
            for metric in &self.metrics {
                count(&mut summary, self.judge(metric, now).counter());
            }
            let end = if let Ends::At(end) = self.ends { end } else { now };
            put(&mut status, &["completedAt"], stamp_value(end));
        }
        put(&mut status, &["runSummary"], summary);
        let message = match (self.ends, worst) {
            (Ends::CutOff, _) => "Run Terminated".to_owned(),
            (_, Some(worst)) if over => self.verdict(worst, phase, now),
            _ => String::new(),
        };
        if !message.is_empty() {
            put(&mut status, &["message"], json!(message));
        }
        status
    }

    fn result(&self, metric: &Metric, now: Timestamp) -> Value {
        let taken = self.measured(metric, now);
        let phase = if self.is_over(now) { self.judge(metric, now).text() } else { "Running" };
        let mut result = json!({ "name": metric.name, "phase": phase });
        let measurements = taken.iter().enumerate().map(|(nth, one)| {
            let moment = stamp_value(self.measured_at(metric, nth));
            let mut measurement =
                json!({ "phase": one.phase.text(), "startedAt": moment, "finishedAt": moment });
            for (field, text) in [("value", &one.value), ("message", &one.message)] {
                if !text.is_empty() {
                    put(&mut measurement, &[field], json!(text));
                }
            }
            measurement
        });
        put(&mut result, &["measurements"], measurements.collect());
        for one in &taken {
            count(&mut result, one.phase.counter());
            // An error is not a measurement.
            if one.phase != Judgement::Error {
                count(&mut result, "count");
            }
        }
        for (field, phase) in
            [("consecutiveSuccess", Judgement::Successful), ("consecutiveError", Judgement::Error)]
        {
            let row = in_a_row(&taken, phase);
            if row > 0 {
                put(&mut result, &[field], json!(row));
            }
        }
        if let Some(last) = taken.last().filter(|last| last.phase == Judgement::Error) {
            put(&mut result, &["message"], json!(last.message));
        }
        result
    }

    /// What its measurements make of a metric: bad ones count once there are more of them than the template allows.
    fn judge(&self, metric: &Metric, now: Timestamp) -> Judgement {
        let taken = self.measured(metric, now);
        [Judgement::Failed, Judgement::Error, Judgement::Inconclusive]
            .into_iter()
            .find(|phase| {
                self.weigh(metric, &taken, *phase).is_some_and(|weight| weight.count > weight.limit)
            })
            .unwrap_or_default()
    }

    fn weigh(&self, metric: &Metric, taken: &[&Measurement], phase: Judgement) -> Option<Weight> {
        let all = taken.iter().filter(|one| one.phase == phase).count();
        let (counter, field, count, default) = match phase {
            Judgement::Successful => return None,
            Judgement::Failed => ("failed", "failureLimit", all, 0),
            Judgement::Inconclusive => ("inconclusive", "inconclusiveLimit", all, 0),
            Judgement::Error => {
                ("consecutiveErrors", "consecutiveErrorLimit", in_a_row(taken, phase), ERROR_LIMIT)
            }
        };
        let limit = at(spec(self.run, &metric.name), &[field]).and_then(Value::as_u64).unwrap_or(default);
        Some(Weight { counter, field, count: u64::try_from(count).unwrap_or(u64::MAX), limit })
    }

    /// Why the run ended as its worst metric did; empty for success.
    fn verdict(&self, metric: &Metric, phase: Judgement, now: Timestamp) -> String {
        let taken = self.measured(metric, now);
        let Some(Weight { counter, field, count, limit }) = self.weigh(metric, &taken, phase) else {
            return String::new();
        };
        let error = match (phase, taken.last()) {
            (Judgement::Error, Some(last)) => format!(": \"Error Message: {}\"", last.message),
            _ => String::new(),
        };
        format!(
            "Metric {:?} assessed {} due to {counter} ({count}) > {field} ({limit}){error}",
            metric.name,
            phase.text()
        )
    }
}

/// How often something was measured, and how often it may be.
struct Weight {
    counter: &'static str,
    field: &'static str,
    count: u64,
    limit: u64,
}

/// How many of the newest measurements are of that phase.
fn in_a_row(taken: &[&Measurement], phase: Judgement) -> usize {
    taken.iter().rev().take_while(|one| one.phase == phase).count()
}

/// The template's metric of that name.
fn spec<'a>(run: &'a Value, metric: &str) -> &'a Value {
    let metrics = list(run, &["spec", "metrics"]);
    metrics.iter().find(|spec| text(spec, &["name"]) == metric).unwrap_or(&Value::Null)
}

/// The run's first metric, measured once, or as often as its limits allow and once more. The values are those that the
/// captured metrics returned.
fn assumed(run: &Value, outcome: &VerificationOutcome) -> Metric {
    let first = list(run, &["spec", "metrics"]).first().unwrap_or(&Value::Null);
    let limit = |field: &str, default| at(first, &[field]).and_then(Value::as_u64).unwrap_or(default);
    let (phase, value, message, allowed) = match outcome {
        VerificationOutcome::Succeed | VerificationOutcome::Run | VerificationOutcome::Ignore => {
            (Judgement::Successful, "\"pass\"", "", 0)
        }
        VerificationOutcome::Fail => (Judgement::Failed, "\"fail\"", "", limit("failureLimit", 0)),
        VerificationOutcome::Inconclusive => {
            (Judgement::Inconclusive, "\"dunno\"", "", limit("inconclusiveLimit", 0))
        }
        VerificationOutcome::Error(problem) => {
            (Judgement::Error, "", problem.as_str(), limit("consecutiveErrorLimit", ERROR_LIMIT))
        }
    };
    let one = Measurement { phase, value: value.to_owned(), message: message.to_owned() };
    let times = usize::try_from(allowed).unwrap_or_default().saturating_add(1);
    let name = match text(first, &["name"]) {
        "" => "smoke",
        name => name,
    };
    Metric { name: name.to_owned(), measurements: vec![one; times] }
}

fn count(counters: &mut Value, field: &str) {
    let before = at(counters, &[field]).and_then(Value::as_u64).unwrap_or_default();
    put(counters, &[field], json!(before + 1));
}
