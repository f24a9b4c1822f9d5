//! Loading policies and calling them: the public face of this crate.
//!
//! In: component bytes, contexts, settings. Out: answers or faults, with what they cost. Every call runs in a fresh
//! instance that is dropped with everything in it; equal inputs give equal answers and use equal fuel.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::Store;
use wasmtime::component::Component;

use policy_core::context::Context;
use policy_core::decision::{Answer, Decision};
use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use policy_core::manifest::Manifest;
use policy_core::name::Digest;
use policy_core::settings::{Problem, Settings};

use crate::cache::Cache;
use crate::compile::Compiler;
use crate::component::{Inspection, inspect};
use crate::engine::{self, Allocation, EngineError, Gate};
use crate::guest_fault::{self, Broken};
use crate::imports;
use crate::limits::Limits;
use crate::load_error::LoadError;
use crate::sandbox::{Ambient, Sandbox};
use crate::wit::{self, Binding, Track};

/// Reasons of failed loads that are remembered. One entry is some 200 bytes.
const REMEMBERED_FAILURES: usize = 1_000;

/// Loads policies. Cheap to clone; one for a process.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Runtime,
    compiler: Compiler,
    cache: Cache,
    /// One lock per digest that is being loaded, and what came of it.
    loads: Mutex<HashMap<Digest, Arc<Mutex<Load>>>>,
}

/// What came of loading a component.
#[derive(Debug, Default)]
struct Load {
    /// Why it failed, and will again.
    failure: Option<LoadError>,
    /// What was loaded, as long as somebody has it: the same bytes are the same policy.
    loaded: Weak<Loaded>,
}

/// What a call needs of the engine.
#[derive(Debug)]
pub(crate) struct Runtime {
    engine: wasmtime::Engine,
    allocation: Allocation,
    id: String,
    limits: Limits,
    gate: Gate,
}

impl Engine {
    /// Sets up the engine, its cache below `cache_directory`, and the backstop's thread.
    ///
    /// # Errors
    /// The machine refuses what is needed; never because of a policy.
    pub fn new(limits: &Limits, compiler: &Compiler, cache_directory: &Path) -> Result<Self, EngineError> {
        let (engine, allocation) = engine::running(limits)?;
        // The engine that runs has no compiler and so no name for its output; the one that compiles has.
        let id = engine::compiling().map(|engine| engine::id(&engine));
        let id = id.map_err(|error| EngineError::Configure(error.into()))?;
        let cache = Cache::open(cache_directory, &id)
            .map_err(|source| EngineError::Cache { path: cache_directory.display().to_string(), source })?;
        engine::start_ticker(&engine)?;
        let gate = Gate::new(limits.concurrent_calls);
        let runtime = Runtime { engine, allocation, id, limits: limits.clone(), gate };
        let inner = Inner { runtime, compiler: compiler.clone(), cache, loads: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Names the engine for records: the same id means the same fuel for the same input.
    pub fn engine_id(&self) -> &str {
        &self.inner.runtime.id
    }

    /// Where instances live; [`Allocation::OnDemand`] when the machine refuses the pool.
    pub fn allocation(&self) -> Allocation {
        self.inner.runtime.allocation
    }

    /// Checks a component, compiles it unless it is in the cache, and asks it for its manifest.
    ///
    /// Blocks, for seconds when it compiles. Loads of the same bytes wait for each other, and while somebody has what
    /// came of one, the others get that.
    ///
    /// # Errors
    /// Everything that may be wrong with a component, see [`LoadError`].
    pub fn load(&self, bytes: &[u8]) -> Result<Policy, LoadError> {
        let inspection = inspect(bytes, &self.inner.runtime.limits)?;
        let track = inspection.check()?;
        let load = self.inner.load_of(&inspection.digest);
        let mut load = load.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &load.failure {
            return Err(error.clone());
        }
        if let Some(loaded) = load.loaded.upgrade() {
            return Ok(Policy(loaded));
        }
        match self.load_checked(bytes, track, inspection) {
            Ok(loaded) => {
                load.loaded = Arc::downgrade(&loaded);
                Ok(Policy(loaded))
            }
            Err(error) => {
                if !error.is_temporary() {
                    load.failure = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    fn load_checked(
        &self,
        bytes: &[u8],
        track: Track,
        inspection: Inspection,
    ) -> Result<Arc<Loaded>, LoadError> {
        let component = self.inner.component(bytes, &inspection.digest)?;
        let mismatch = |error: wasmtime::Error| LoadError::Mismatch { because: format!("{error:#}") };
        let linker = imports::link(&component).map_err(mismatch)?;
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let binding = wit::bind(track, pre).map_err(mismatch)?;
        let described = binding.describe(&self.inner.runtime);
        let manifest = described.result.map_err(|fault| match fault.kind {
            GuestFaultKind::ContractViolation => LoadError::Manifest { because: fault.message },
            kind => LoadError::Describe {
                because: format!("{}: {}", kind.text(), fault.message),
                reproducible: fault.reproducible,
            },
        })?;
        Ok(Arc::new(Loaded { inner: Arc::clone(&self.inner), binding, manifest, inspection, track }))
    }
}

impl Inner {
    fn load_of(&self, digest: &Digest) -> Arc<Mutex<Load>> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if loads.len() >= REMEMBERED_FAILURES {
            // Loads in progress are held by somebody else, too, and stay.
            loads.retain(|_, load| Arc::strong_count(load) > 1);
        }
        Arc::clone(loads.entry(digest.clone()).or_default())
    }

    fn component(&self, bytes: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        let engine = &self.runtime.engine;
        if let Some(component) = self.cache.load(engine, digest) {
            return Ok(component);
        }
        let code = self.compiler.compile(bytes)?;
        let unusable = |because: String| LoadError::Compiler { because };
        self.cache
            .store(digest, &code)
            .map_err(|error| unusable(format!("cannot write to the cache: {error}")))?;
        // Our own fresh code that does not load does not fit into the pool: more instances than a call may have.
        self.cache.load(engine, digest).ok_or_else(|| LoadError::OutOfBounds {
            what: "more instances, memories or tables than a call may have".to_owned(),
            limit: imports::amount(self.runtime.limits.core_instances),
        })
    }
}

/// A loaded policy. Cheap to clone; may be called from many threads at once.
#[derive(Clone)]
pub struct Policy(Arc<Loaded>);

struct Loaded {
    inner: Arc<Inner>,
    binding: Box<dyn Binding>,
    manifest: Manifest,
    inspection: Inspection,
    track: Track,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, digest) = (&self.manifest.name, &self.inspection.digest);
        f.debug_struct("Loaded").field("name", name).field("digest", digest).finish()
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Policy").field(&self.0).finish()
    }
}

impl Policy {
    /// What the policy says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The contract's track that it speaks.
    pub fn track(&self) -> Track {
        self.0.track
    }

    /// SHA-256 of the component.
    pub fn digest(&self) -> &Digest {
        &self.0.inspection.digest
    }

    /// What the component imports and exports, and its size.
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// Lets the policy check settings; no problems means that they are fine.
    pub fn validate(&self, settings: &Settings) -> Call<Vec<Problem>> {
        self.0.binding.validate(&self.0.inner.runtime, settings)
    }

    /// Asks the policy. `proposed` is what entries before it in the chain propose.
    ///
    /// Blocks until the guest ends: by itself, by fuel, or by the backstop.
    pub fn decide(&self, context: &Context, proposed: Option<&Decision>) -> Call<Answer> {
        // A modifier hands on what was proposed to it; those kinds of action are not of its making (wit/README.md).
        let mut declared = Cow::Borrowed(self.0.manifest.actions.as_slice());
        if let Some(proposed) = proposed {
            declared.to_mut().extend(proposed.actions.iter().map(|action| action.operation.kind()));
        }
        let request = wit::Request { context, proposed, declared: &declared };
        self.0.binding.decide(&self.0.inner.runtime, request)
    }
}

/// One call of a guest: how it ended and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<T = Answer> {
    /// The answer, or whose fault it was.
    pub result: Result<T, GuestFault>,
    /// Fuel that was used. The same for the same input under the same engine id.
    pub fuel_used: u64,
    /// Fuel that there was.
    pub fuel_limit: u64,
    /// What the guest logged and printed: clean and capped, not redacted.
    pub log: Vec<String>,
    /// The most linear memory that was in use, in bytes.
    pub memory_peak: usize,
}

impl<T> Call<T> {
    /// Checks the answer; one that does not hold becomes a fault.
    pub(crate) fn checked<U>(self, check: impl FnOnce(T) -> Result<U, Broken>) -> Call<U> {
        let Self { result, fuel_used, fuel_limit, log, memory_peak } = self;
        let result =
            result.and_then(|answer| check(answer).map_err(|broken| guest_fault::broken(broken, &log)));
        Call { result, fuel_used, fuel_limit, log, memory_peak }
    }
}

impl Runtime {
    /// Runs one call in a fresh store, which is dropped before this returns.
    pub(crate) fn run<T>(
        &self,
        context_bytes: usize,
        ambient: Ambient,
        work: impl FnOnce(&mut Store<Sandbox>) -> wasmtime::Result<T>,
    ) -> Call<T> {
        let _pass = self.gate.enter();
        let limits = &self.limits;
        let mut store = Store::new(&self.engine, Sandbox::new(limits, ambient));
        let fuel_limit = limits.fuel_for(context_bytes);
        let prepared = self.prepare(&mut store, fuel_limit);
        // A panic in here is a mistake of the host; it must not take other Projects' decisions with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| prepared.and_then(|()| work(&mut store))));
        let fuel_used = fuel_limit.saturating_sub(store.get_fuel().unwrap_or(0));
        let mut sandbox = store.into_data();
        let result = match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(guest_fault::of_error(&error, &mut sandbox, limits)),
            Err(_) => Err(host_panicked()),
        };
        let memory_peak = sandbox.meter.memory_peak();
        let log = sandbox.log.finish();
        let result = result.map_err(|fault| GuestFault { log: guest_fault::tail(&log), ..fault });
        Call { result, fuel_used, fuel_limit, log, memory_peak }
    }

    /// Every limit, before the first instruction of the guest: start functions run while it is instantiated.
    fn prepare(&self, store: &mut Store<Sandbox>, fuel: u64) -> wasmtime::Result<()> {
        store.limiter(|sandbox| &mut sandbox.meter);
        store.set_fuel(fuel)?;
        store.set_epoch_deadline(engine::ticks(self.limits.wall).saturating_add(1));
        store.set_hostcall_fuel(self.limits.answer_bytes);
        store.set_max_component_handles(self.limits.handles);
        Ok(())
    }
}

fn host_panicked() -> GuestFault {
    GuestFault {
        kind: GuestFaultKind::Trap,
        message: "the host failed while it ran the guest; this is a mistake of the host".to_owned(),
        reproducible: false,
        log: Vec::new(),
    }
}
