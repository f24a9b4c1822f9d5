//! Which policy rules a Stage, and which bounds come of it together with the platform's caps.
//!
//! In: the objects as they are in force, a Stage, its Project. Out: a [`Ruling`], and core rules.
//! Highest priority wins, a tie is a conflict and means Observe, caps of all matching ClusterFailurePolicies
//! intersect, and a Project can tighten, never loosen.
//! Nothing here knows whether a policy is acceptable: that is `crate::accept`.

use std::cmp::Reverse;

use kube::ResourceExt;
use policy_core::context;
use policy_core::deadlines::Deadlines;
use policy_core::decision::ActionKind;
use policy_core::failure::Trigger;
use policy_core::name::StageName;
use policy_core::rules::Rules;
use policy_core::snapshot::{ProjectSnapshot, StageSnapshot};
use policy_core::target;
use policy_core::time::parse_duration;

use crate::convert::case_of;
use crate::crd::cluster_failure_policy::{Caps, ProjectModules};
use crate::crd::condition::{Statement, reasons, types};
use crate::crd::policy_body::{Limits, PolicyBody};
use crate::crd::selector::Selector;
use crate::crd::{ClusterFailurePolicy, FailurePolicy};

/// What rules a Stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling<'a> {
    /// A FailurePolicy of its Project.
    Project(&'a FailurePolicy),
    /// The default of a ClusterFailurePolicy, because no FailurePolicy of the Project selects the Stage.
    Platform(&'a ClusterFailurePolicy, &'a PolicyBody),
    /// Several of the same priority: the Stage is observed, and each of them says so. Names, sorted.
    Conflict(Vec<String>),
    /// Nothing selects it.
    Nothing,
}

impl<'a> Ruling<'a> {
    /// Its body, unless nothing or nobody in particular rules.
    pub fn body(&self) -> Option<&'a PolicyBody> {
        match *self {
            Self::Project(policy) => Some(&policy.spec.body),
            Self::Platform(_, body) => Some(body),
            Self::Conflict(_) | Self::Nothing => None,
        }
    }
}

/// Which of `policies` (all of the Stage's Project) and `platform` rules the Stage.
pub fn ruling<'a>(
    stage: &StageSnapshot,
    project: &ProjectSnapshot,
    policies: &'a [FailurePolicy],
    platform: &'a [ClusterFailurePolicy],
) -> Ruling<'a> {
    let own = highest(policies.iter().filter(|policy| selects(policy, stage)), |policy| policy.spec.priority);
    match own.as_slice() {
        [] => default_of(project, platform),
        [policy] => Ruling::Project(policy),
        several => Ruling::Conflict(names(several)),
    }
}

/// Which of `platform` gives Stages of the Project their default.
pub fn default_of<'a>(project: &ProjectSnapshot, platform: &'a [ClusterFailurePolicy]) -> Ruling<'a> {
    let defaults = platform.iter().filter(|policy| policy.spec.default.is_some() && covers(policy, project));
    match highest(defaults, |policy| policy.spec.priority).as_slice() {
        [] => Ruling::Nothing,
        [policy] => match &policy.spec.default {
            Some(body) => Ruling::Platform(policy, body),
            None => Ruling::Nothing,
        },
        several => Ruling::Conflict(names(several)),
    }
}

fn highest<'a, T>(candidates: impl Iterator<Item = &'a T>, priority: impl Fn(&T) -> i32) -> Vec<&'a T> {
    let mut candidates: Vec<&T> = candidates.collect();
    candidates.sort_by_key(|candidate| Reverse(priority(candidate)));
    let top = candidates.first().map(|first| priority(first));
    candidates.retain(|candidate| Some(priority(candidate)) == top);
    candidates
}

fn names<T: ResourceExt>(objects: &[&T]) -> Vec<String> {
    let mut names: Vec<String> = objects.iter().map(|object| object.name_any()).collect();
    names.sort();
    names
}

/// Whether `policy` selects the Stage.
pub fn selects(policy: &FailurePolicy, stage: &StageSnapshot) -> bool {
    let Some(selector) = &policy.spec.stage_selector else { return true };
    target::matches(&selector.to_core(), &stage.name, &stage.labels)
}

/// Whether `policy` is about the Project.
pub fn covers(policy: &ClusterFailurePolicy, project: &ProjectSnapshot) -> bool {
    let Some(selector) = &policy.spec.project_selector else { return true };
    // Projects are selected by the same conventions, so their names stand where Stages' names would.
    target::matches(&selector.to_core(), &StageName::new(project.name.as_str()), &project.labels)
}

/// The intersection of what the ClusterFailurePolicies allow in this Project. Without any, everything that the core
/// allows, and Projects bring no modules.
pub fn caps(project: &ProjectSnapshot, platform: &[ClusterFailurePolicy]) -> Caps {
    let matching = platform.iter().filter(|policy| covers(policy, project));
    matching.filter_map(|policy| policy.spec.caps.clone()).reduce(tighter).unwrap_or_default()
}

/// What both allow.
fn tighter(a: Caps, b: Caps) -> Caps {
    Caps {
        actions: both(a.actions, b.actions),
        retries: least(a.retries, b.retries),
        rollbacks: least(a.rollbacks, b.rollbacks),
        deliveries: least(a.deliveries, b.deliveries),
        project_modules: a.project_modules.min(b.project_modules),
        hosts: both(a.hosts, b.hosts),
        registries: both(a.registries, b.registries),
        max_failure_age: youngest(a.max_failure_age, b.max_failure_age),
    }
}

/// The shorter of two durations. One that cannot be read is no cap, and `crate::accept` has said so.
fn youngest(a: Option<String>, b: Option<String>) -> Option<String> {
    let readable = |text: &String| parse_duration(text).is_some();
    let both = [a.filter(readable), b.filter(readable)];
    both.into_iter().flatten().min_by_key(|text| parse_duration(text))
}

fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

fn both(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.into_iter().filter(|entry| b.contains(entry)).collect()),
        (one, other) => one.or(other),
    }
}

/// The rules that `body` comes to within `caps`. What cannot be read counts as absent: `crate::accept` has refused
/// it before it could get here.
pub fn rules(body: &PolicyBody, caps: &Caps) -> Rules {
    let default = Rules::default();
    let limits = body.limits.clone().unwrap_or_default();
    let count = |own: Option<u32>, usual: u32, cap: Option<u32>| {
        let count = own.unwrap_or(usual);
        cap.map_or(count, |cap| count.min(cap))
    };
    let pauses = pauses(&limits, &default);
    Rules {
        mode: body.mode.to_core(),
        held_back: None,
        actions: actions(body, caps),
        retries: count(limits.retries, default.retries, caps.retries).min(Rules::MAX_RETRIES),
        rollbacks: count(limits.rollbacks, default.rollbacks, caps.rollbacks).min(Rules::MAX_ROLLBACKS),
        deliveries: count(limits.deliveries, default.deliveries, caps.deliveries),
        backoff_seconds: pauses.backoff,
        backoff_cap_seconds: pauses.cap,
        cooldown_seconds: pauses.cooldown,
        max_age_seconds: count(
            Some(pauses.max_age),
            default.max_age_seconds,
            caps.max_failure_age.as_deref().and_then(parse_duration),
        ),
        channels: body.channels.iter().map(|channel| channel.name.clone()).collect(),
        fault_channels: body.on_guest_fault.iter().flat_map(|fault| fault.notify.clone()).collect(),
        capture_outputs: body.capture_outputs.clone(),
        trust_envelopes: body.trust_envelopes.clone(),
        deadlines: deadlines(body),
        context_bytes: limits
            .context_kib
            .map_or(default.context_bytes, |kib| kib.saturating_mul(1024))
            .clamp(Rules::MIN_CONTEXT_BYTES, Rules::MAX_CONTEXT_BYTES),
    }
}

/// The triggers on which an entry is asked: those that its module wants, as far as the policy names them. A module that
/// wants none of them keeps `manual`, which interests everybody, because an empty list would mean all of them.
pub fn triggers(body: &PolicyBody, wanted: &[Trigger]) -> Vec<Trigger> {
    let named: Vec<Trigger> = body.triggers.iter().filter_map(|name| case_of(name)).collect();
    let both: Vec<Trigger> = match (named.as_slice(), wanted) {
        ([], wanted) => return wanted.to_vec(),
        (named, []) => named.to_vec(),
        (named, wanted) => wanted.iter().filter(|trigger| named.contains(trigger)).copied().collect(),
    };
    if both.is_empty() { vec![Trigger::Manual] } else { both }
}

/// Rules that only observe, for a Stage that all of `names` claim with the same priority.
pub fn observing(names: &[String]) -> Rules {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let why = format!("Conflict: the policies {} have the same priority", names.join(" and "));
    Rules { mode: context::Mode::Observe, held_back: Some(why), ..Rules::default() }
}

/// The deadlines of `body`: what it sets, within bounds, and the usual ones.
fn deadlines(body: &PolicyBody) -> Deadlines {
    let mut deadlines = Deadlines::default();
    for (key, text) in body.deadlines.iter().flat_map(|given| given.given()) {
        if let (Some(place), Some(seconds)) = (deadlines.get_mut(&key), parse_duration(&text)) {
            *place = seconds.clamp(Deadlines::MIN_SECONDS, Deadlines::MAX_SECONDS);
        }
    }
    deadlines
}

struct Pauses {
    backoff: u32,
    cap: u32,
    cooldown: u32,
    max_age: u32,
}

fn pauses(limits: &Limits, default: &Rules) -> Pauses {
    let read = |text: &Option<String>, usual: u32| {
        text.as_deref().and_then(parse_duration).unwrap_or(usual).min(Rules::MAX_WAIT_SECONDS)
    };
    let backoff = read(&limits.backoff, default.backoff_seconds).max(Rules::MIN_BACKOFF_SECONDS);
    Pauses {
        backoff,
        cap: read(&limits.backoff_cap, default.backoff_cap_seconds).max(backoff),
        cooldown: read(&limits.cooldown, default.cooldown_seconds),
        max_age: read(&limits.max_failure_age, default.max_age_seconds),
    }
}

/// The actions that are allowed: the policy's own list, or the usual ones, without what the platform does not allow.
fn actions(body: &PolicyBody, caps: &Caps) -> Vec<ActionKind> {
    let own = body.allowed_actions.as_ref().map(|names| parsed(names));
    let mut actions = own.unwrap_or_else(|| Rules::default().actions);
    if let Some(allowed) = &caps.actions {
        let allowed = parsed(allowed);
        actions.retain(|action| allowed.contains(action));
    }
    actions
}

fn parsed(names: &[String]) -> Vec<ActionKind> {
    names.iter().filter_map(|name| ActionKind::parse(name)).collect()
}

/// Whether a Project may use modules of its own. Signatures are not checked by this version, so Signed means no.
pub fn may_bring_modules(caps: &Caps) -> bool {
    match caps.project_modules {
        ProjectModules::Allowed => true,
        ProjectModules::Signed | ProjectModules::Forbidden => false,
    }
}

/// What to say about a policy that ties with others, or does not.
pub fn conflict_statement(name: &str, tied: &[String]) -> Statement {
    let others: Vec<String> =
        tied.iter().filter(|other| *other != name).map(|other| format!("`{other}`")).collect();
    if others.is_empty() {
        return Statement::no(
            types::CONFLICT,
            reasons::NO_CONFLICT,
            "no other policy claims the same Stages",
        );
    }
    let message = format!(
        "{} has the same priority for some of the same Stages, which are only observed until the priorities differ",
        others.join(", ")
    );
    Statement::yes(types::CONFLICT, reasons::SAME_PRIORITY, message)
}

/// What to say about a ClusterFailurePolicy by the number of Projects that it selects.
pub fn projects_statement(projects: usize) -> Statement {
    match projects {
        0 => Statement::no(types::READY, reasons::NO_PROJECT_MATCHES, "no Project is selected"),
        1 => Statement::yes(types::READY, reasons::READY, "selects 1 Project"),
        several => Statement::yes(types::READY, reasons::READY, format!("selects {several} Projects")),
    }
}

/// What to say about a policy by the number of Stages that it rules.
pub fn stages_statement(selector: Option<&Selector>, stages: usize, project: &str) -> Statement {
    if stages > 0 {
        let message = format!("rules {stages} {}", if stages == 1 { "Stage" } else { "Stages" });
        return Statement::yes(types::READY, reasons::READY, message);
    }
    let wanted = selector.map_or_else(|| "everything".to_owned(), Selector::text);
    let message = format!("selects {wanted}, and no Stage of Project `{project}` is ruled by that");
    Statement::no(types::READY, reasons::NO_STAGE_MATCHES, message)
}
