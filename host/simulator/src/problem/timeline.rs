//! What makes no sense in what happens: moments without a time, out of order or too late, people who act on what is not
//! there yet, and switches that are where they are told to go.

use super::{Problem, of_duration, script};
use crate::scenario::{LeaderFate, Moment, Scenario, Switch};

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, moment) in scenario.timeline.iter().enumerate() {
        problems.extend(of_moment(scenario, n, moment));
    }
    problems.extend(contradictions(scenario));
    problems.extend(scenario.until.as_ref().and_then(|text| of_duration("until", text)));
    problems
}

fn of_moment(scenario: &Scenario, n: usize, moment: &Moment) -> Vec<Problem> {
    let path = format!("timeline[{n}]");
    let mut problems = Vec::new();
    problems.extend(of_duration(&format!("{path}.at"), &moment.at));
    let n_acts = moment.n_acts();
    if n_acts != 1 {
        let message = match n_acts {
            0 => "nothing happens here".to_owned(),
            several => format!("{several} things happen at once here"),
        };
        let help = "give each moment exactly one of `freight`, `promote`, `abort` and so on";
        problems.push(Problem::new(path.clone(), message, help));
    }
    if let Some(promote) = &moment.promote {
        let freight = format!("{path}.promote.freight");
        problems.extend(scenario.unknown_stage(&format!("{path}.promote.stage"), &promote.stage));
        problems.extend(scenario.unknown_freight(&freight, &promote.freight));
        if let Some(stage) = scenario.stage(&promote.stage) {
            problems.extend(scenario.unwanted(&freight, stage, &promote.freight));
        }
        problems.extend(too_early(scenario, moment, &freight, &promote.freight));
    }
    let on_stage = [
        ("abort", moment.abort.as_ref().map(|on| &on.stage)),
        ("abortVerification", moment.abort_verification.as_ref().map(|on| &on.stage)),
        ("reverify", moment.reverify.as_ref().map(|on| &on.stage)),
        ("annotate", moment.annotate.as_ref().map(|annotate| &annotate.stage)),
    ];
    for (act, stage) in on_stage {
        problems
            .extend(stage.and_then(|stage| scenario.unknown_stage(&format!("{path}.{act}.stage"), stage)));
    }
    for (i, stage) in moment.hangs.iter().flatten().enumerate() {
        problems.extend(scenario.unknown_stage(&format!("{path}.hangs[{i}]"), stage));
    }
    if let Some(script) = &moment.script {
        problems.extend(script::problems(scenario, script, &format!("{path}.script")));
    }
    problems
}

/// Somebody promotes what appears only afterwards.
fn too_early(scenario: &Scenario, moment: &Moment, path: &str, freight: &str) -> Option<Problem> {
    let appears = scenario
        .timeline
        .iter()
        .find(|other| other.freight.as_ref().is_some_and(|piece| piece.name == freight))
        .filter(|appears| appears.seconds() > moment.seconds())?;
    let message = format!("Freight `{freight}` does not exist yet at `{}`", moment.at);
    let help = format!("it appears at `{}`", appears.at);
    scenario
        .world
        .freight
        .iter()
        .all(|piece| piece.name != freight)
        .then(|| Problem::new(path, message, help))
}

/// What is up at some moment.
struct Up {
    webhooks: bool,
    kargo: bool,
    /// Replicas that live.
    replicas: u32,
    is_cut_off: bool,
}

/// Moments that contradict those before them.
fn contradictions(scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut latest: Option<&Moment> = None;
    let mut up = Up { webhooks: true, kargo: true, replicas: scenario.replicas, is_cut_off: false };
    for (n, moment) in scenario.timeline.iter().enumerate() {
        let path = format!("timeline[{n}]");
        if let Some(latest) = latest.filter(|latest| latest.seconds() > moment.seconds()) {
            let message = format!("`{}` is before `{}`, the moment above it", moment.at, latest.at);
            problems.push(Problem::new(format!("{path}.at"), message, "write moments in their order"));
        }
        latest = Some(moment);
        if scenario.until_seconds().is_some_and(|until| moment.seconds() > until) {
            let message = format!("`{}` is after the end, which `until` says", moment.at);
            problems.push(Problem::new(format!("{path}.at"), message, "let it go on for longer"));
        }
        problems.extend(up.go(scenario, moment, &path));
    }
    problems
}

impl Up {
    /// Lets a moment happen.
    fn go(&mut self, scenario: &Scenario, moment: &Moment, path: &str) -> Option<Problem> {
        let all = scenario.replicas;
        let problem = unmoved(&format!("{path}.webhooks"), moment.webhooks, (self.webhooks, !self.webhooks))
            .or_else(|| unmoved(&format!("{path}.kargo"), moment.kargo, (self.kargo, !self.kargo)))
            .or_else(|| {
                let now = (self.replicas == all, self.replicas == 0);
                unmoved(&format!("{path}.refloat"), moment.refloat, now)
            })
            .or_else(|| self.of_leader(&format!("{path}.leader"), moment.leader?));
        self.webhooks = moment.webhooks.map_or(self.webhooks, |switch| switch == Switch::Up);
        self.kargo = moment.kargo.map_or(self.kargo, |switch| switch == Switch::Up);
        self.replicas = match (moment.refloat, moment.leader) {
            (Some(Switch::Up), _) => all,
            (Some(Switch::Down), _) => 0,
            (None, Some(LeaderFate::Dies | LeaderFate::DiesWithClaim | LeaderFate::DiesAfterCreate)) => {
                self.replicas.saturating_sub(1)
            }
            (None, Some(LeaderFate::CutOff | LeaderFate::Back) | None) => self.replicas,
        };
        self.is_cut_off = match moment.leader {
            Some(LeaderFate::CutOff) => true,
            Some(LeaderFate::Back) => false,
            Some(LeaderFate::Dies | LeaderFate::DiesWithClaim | LeaderFate::DiesAfterCreate) | None => {
                self.is_cut_off
            }
        };
        problem
    }

    fn of_leader(&self, path: &str, fate: LeaderFate) -> Option<Problem> {
        match fate {
            LeaderFate::Back if !self.is_cut_off => {
                Some(Problem::new(path, "nobody is cut off then", "let `leader: cut-off` come before it"))
            }
            LeaderFate::Back => None,
            LeaderFate::Dies
            | LeaderFate::DiesWithClaim
            | LeaderFate::DiesAfterCreate
            | LeaderFate::CutOff => (self.replicas == 0).then(|| {
                let help = "start it before, with `refloat: up`, or give the scenario more `replicas`";
                Problem::new(path, "no replica is left then", help)
            }),
        }
    }
}

/// A switch that is where it is told to go. `now` is whether it is wholly up, and whether it is wholly down.
fn unmoved(path: &str, switch: Option<Switch>, now: (bool, bool)) -> Option<Problem> {
    let word = match (switch?, now) {
        (Switch::Up, (true, _)) => "up",
        (Switch::Down, (_, true)) => "down",
        (Switch::Up | Switch::Down, _) => return None,
    };
    let help = "leave this moment out, or turn it round";
    Some(Problem::new(path, format!("it is `{word}` already"), help))
}
