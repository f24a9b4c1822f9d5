//! Whether the controller accepts a scenario's FailurePolicies and modules, before anything is played.
//!
//! In: what is to be played, components included. Out: the first [`Problem`]. It loads and judges them with the
//! controller's own code, so that a policy which would never be in force is not played as if it were. What a scenario
//! says is not accepted (`expect.notAccepted`) must not be. Nothing here runs a policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use policy_api::accept::{self, Author};
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::condition::reasons;
use policy_api::crd::policy_body::{ChainEntry, PolicyBody};
use policy_controller::guests::Guests;
use policy_controller::modules::{ModuleKey, ModuleState, Modules, Unusable, builtin_bytes};
use policy_core::name::ProjectName;

use crate::play::Setup;
use crate::problem::Problem;
use crate::problem::policies::{self, Put};

/// The first thing that the controller would not accept.
pub fn refused(setup: &Setup<'_>) -> Option<Problem> {
    let scenario = setup.scenario;
    let judge = Judge {
        named: &scenario.modules,
        project: ProjectName::new(scenario.world.project.as_str()),
        modules: Modules::new(Arc::clone(&setup.engine), Guests::InPlace),
    };
    let meant = &scenario.expect.not_accepted;
    for (name, bytes) in &setup.components {
        let unusable = judge.load(&ModuleKey::Cluster(name.clone()), Ok(bytes.clone())).unusable;
        if let Some(unusable) = unusable.filter(|_| meant.is_empty()) {
            let help =
                "give the path of a component (`.wasm`), or `builtin:NAME`; `refloat inspect` says more";
            return Some(Problem::new(format!("modules.{name}"), unusable.message, help));
        }
    }
    let all = policies::all(scenario);
    let refused: Vec<(&Put<'_>, Problem)> =
        all.iter().filter_map(|put| Some((put, judge.refuses(put)?))).collect();
    let is_meant = |put: &Put<'_>| meant.iter().any(|name| name == put.name);
    let by_mistake = refused.iter().find(|(put, _)| !is_meant(put)).map(|(_, problem)| problem.clone());
    by_mistake.or_else(|| {
        let is_refused = |name: &String| refused.iter().any(|(put, _)| put.name == name);
        let (n, name) = meant.iter().enumerate().find(|(_, name)| !is_refused(name))?;
        let message = format!("the controller accepts FailurePolicy `{name}`");
        Some(Problem::new(format!("expect.notAccepted[{n}]"), message, "leave it out"))
    })
}

/// The controller's eyes.
struct Judge<'a> {
    /// What the scenario's modules are called on a command line, by name.
    named: &'a BTreeMap<String, String>,
    project: ProjectName,
    modules: Modules,
}

impl Judge<'_> {
    /// Loads a module in place, which waits for nothing.
    fn load(&self, key: &ModuleKey, bytes: Result<Vec<u8>, Unusable>) -> ModuleState {
        self.modules.refresh(key, bytes, None, None).now_or_never().unwrap_or_default()
    }

    /// The first problem of a policy.
    fn refuses(&self, put: &Put<'_>) -> Option<Problem> {
        let body = put.body()?;
        for name in body.chain.iter().filter_map(|entry| entry.builtin.as_ref()) {
            let key = ModuleKey::Builtin(name.clone());
            if self.modules.state(&key).is_none() {
                self.load(&key, builtin_bytes(name));
            }
        }
        let known = |entry: &ChainEntry| self.modules.known_as(entry, &self.project);
        let found = accept::problems(&body, Author::Project, &Caps::default(), known);
        let first = found.into_iter().next()?;
        Some(put.problem(&first, self.help(&body, &first, put.name)))
    }

    fn help(&self, body: &PolicyBody, found: &accept::Problem, name: &str) -> String {
        let advice = match found.reason {
            reasons::INVALID_SETTINGS => {
                let entry =
                    found.path.split('/').nth(2).and_then(|n| body.chain.get(n.parse::<usize>().ok()?));
                let module = entry.and_then(|entry| match (&entry.builtin, &entry.module) {
                    (Some(builtin), _) => Some(format!("builtin:{builtin}")),
                    (None, Some(module)) => self.named.get(&module.name).cloned(),
                    (None, None) => None,
                });
                format!("`refloat inspect {}` lists its settings", module.unwrap_or_default())
            }
            reasons::ACTION_NOT_ALLOWED => "name what it may do in `allowedActions`".to_owned(),
            _ => "the controller would not put it in force".to_owned(),
        };
        format!("{advice}; if that is the story, say `expect: {{notAccepted: [{name}]}}`")
    }
}
