//! Policies by the names that people type, loaded and ready to be asked.
//!
//! In: `builtin:NAME` or a path. Out: a [`Loaded`] policy, or one line on why not.
//! Components are compiled by a child of this program and kept in the user's cache; nothing is fetched from anywhere.

use std::path::{Path, PathBuf};

use policy_core::chain::{Asked, Entry};
use policy_core::context::Context;
use policy_core::decision::Decision;
use policy_core::manifest::Manifest;
use policy_core::name::Digest;
use policy_core::settings::{Problem, Settings};
use policy_engine::{Call, Compiler, Engine, Limits, Policy};
use policy_source::Module;

use crate::args::CacheArgs;
use crate::exit::CannotRun;

/// Loads modules.
pub(crate) struct Modules {
    engine: Engine,
}

impl Modules {
    /// Starts an engine with the default limits, which are those of the controller.
    pub(crate) fn open(args: &CacheArgs) -> Result<Self, CannotRun> {
        Ok(Self { engine: engine(args)? })
    }

    /// Loads one module.
    pub(crate) fn load(&self, module: &Module) -> Result<Loaded, CannotRun> {
        let component = module.load().map_err(|error| CannotRun::from_error(&error, ""))?;
        let started = std::time::Instant::now();
        let policy = self
            .engine
            .load(&component.bytes)
            .map_err(|error| CannotRun::from_error(&error, error.help()).in_file(&module.to_string()))?;
        Ok(Loaded {
            name: module.to_string(),
            digest: component.digest,
            load_milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            engine_id: self.engine.engine_id().to_owned(),
            policy,
        })
    }
}

/// An engine with the default limits, the same for every subcommand.
pub(crate) fn engine(args: &CacheArgs) -> Result<Engine, CannotRun> {
    Engine::new(&Limits::default(), &compiler()?, &cache_folder(args))
        .map_err(|error| CannotRun::from_error(&error, "choose another folder with `--cache`"))
}

/// This program itself, as the child that compiles.
fn compiler() -> Result<Compiler, CannotRun> {
    let program = std::env::current_exe().map_err(|error| {
        CannotRun::new(format!("cannot find the program's own file: {error}"), "is `/proc` mounted?")
    })?;
    Ok(Compiler::new(program, ["compile-component".to_owned()]))
}

/// `--cache`, else `refloat/components` where the user's caches are, else in the system's folder for such things.
fn cache_folder(args: &CacheArgs) -> PathBuf {
    let own = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = || {
        let home = own("HOME").map(|home| home.join(".cache"));
        own("XDG_CACHE_HOME").or(home).unwrap_or_else(std::env::temp_dir)
    };
    args.cache.clone().unwrap_or_else(|| base().join(Path::new("refloat/components")))
}

/// A policy that can be asked.
pub(crate) struct Loaded {
    /// As it was named.
    pub(crate) name: String,
    /// SHA-256 of its bytes.
    pub(crate) digest: Digest,
    /// How long compiling took, or reading what was compiled before.
    pub(crate) load_milliseconds: u64,
    engine_id: String,
    policy: Policy,
}

impl Loaded {
    /// What it says about itself.
    pub(crate) fn manifest(&self) -> &Manifest {
        self.policy.manifest()
    }

    /// The engine that runs it, limits included: equal ids give equal answers and equal fuel.
    pub(crate) fn engine_id(&self) -> &str {
        &self.engine_id
    }

    /// The component itself.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its place in a chain.
    pub(crate) fn entry(&self) -> Entry {
        Entry { role: self.manifest().role, triggers: self.manifest().triggers.clone() }
    }

    /// What it thinks of settings that fit its schema.
    pub(crate) fn validate(&self, settings: &Settings) -> Result<(), Vec<Problem>> {
        match self.policy.validate(settings).result {
            Ok(problems) if problems.is_empty() => Ok(()),
            Ok(problems) => Err(problems),
            Err(fault) => Err(vec![Problem { path: String::new(), message: fault.message }]),
        }
    }
}

/// A chain that is being asked: keeps what each call cost.
pub(crate) struct Asking<'a> {
    loaded: &'a [Loaded],
    contexts: &'a [Context],
    calls: Vec<Option<Call>>,
}

impl<'a> Asking<'a> {
    /// `contexts` has one entry per module.
    pub(crate) fn new(loaded: &'a [Loaded], contexts: &'a [Context]) -> Self {
        Self { loaded, contexts, calls: loaded.iter().map(|_| None).collect() }
    }

    /// Asks the entry at `position`.
    pub(crate) fn ask(&mut self, position: usize, proposed: Option<&Decision>) -> Asked {
        let (Some(module), Some(context), Some(slot)) =
            (self.loaded.get(position), self.contexts.get(position), self.calls.get_mut(position))
        else {
            unreachable!("the chain asks only for entries that it was given")
        };
        let call = module.policy.decide(context, proposed);
        let asked = call.result.clone();
        *slot = Some(call);
        asked
    }

    /// What the call of an entry cost; `None` when it was not asked.
    pub(crate) fn call(&self, position: usize) -> Option<&Call> {
        self.calls.get(position).and_then(Option::as_ref)
    }
}
