//! The engine: every switch of wasmtime in one place with its reason, and the gate that bounds concurrent calls.
//!
//! In: [`Limits`]. Out: wasmtime engines, one that runs and never compiles, one that compiles and never runs.
//! Nothing here knows what a policy is.

use std::hash::{Hash, Hasher};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::limits::Limits;

/// How often the backstop looks. A guest that fuel did not end is ended at most this much late.
const TICK: Duration = Duration::from_millis(100);

/// An engine cannot be set up: the machine refuses what it needs.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime does not accept its configuration here.
    #[error("cannot set up the WebAssembly engine")]
    Configure(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread of the wall-clock backstop does not start.
    #[error("cannot start the thread of the wall-clock backstop")]
    Ticker(#[source] std::io::Error),
    /// The cache's directory cannot be used.
    #[error("cannot use the cache directory `{path}`")]
    Cache {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What code generation and the meaning of a run depend on: equal in the child that compiles and in the process
/// that runs.
fn semantics() -> Config {
    let mut config = Config::new();
    config
        // Fuel is the limit: the same input ends at the same instruction on every machine.
        .consume_fuel(true)
        .operator_cost(prices())
        // The backstop for what fuel misjudges.
        .epoch_interruption(true)
        // Half of the smallest stack on which a controller calls a guest.
        .max_wasm_stack(512 << 10)
        // Same bits for the same input on every CPU.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Nothing that our guests need, and surface for mistakes of the compiler.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        // Asynchronous components are compiled out (see the workspace's features); what is left of them costs 2 to 4 microseconds for each call.
        .concurrency_support(false)
        // Names of functions are enough for a fault; offsets cost 7 to 11 % of the code's size.
        .generate_address_map(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // For profilers and native debuggers only; registering it is paid for by each load.
        .native_unwind_info(false)
        // Reserved address space is free, and this is what makes bounds checks free.
        .memory_init_cow(true);
    config
}

/// What instructions cost beyond one unit of fuel each. wasmtime charges for the bytes of a copy; growing leaves the
/// guest for the host, takes a hundred times as long as an instruction, and would let the wall clock end a loop of it.
fn prices() -> OperatorCost {
    let mut prices = OperatorCost::new();
    prices.MemoryGrow = u8::MAX;
    prices.TableGrow = u8::MAX;
    prices
}

/// The engine of the child: compiles, never runs, reserves nothing.
pub(crate) fn compiling() -> Result<wasmtime::Engine, wasmtime::Error> {
    wasmtime::Engine::new(&semantics())
}

/// Where instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Slots that are mapped once and reset after each call.
    Pool,
    /// Mapped and unmapped for each call: several times slower, and calls on two threads hinder each other.
    OnDemand,
}

/// The engine that runs, and how it allocates.
pub(crate) fn running(limits: &Limits) -> Result<(wasmtime::Engine, Allocation), EngineError> {
    let mut config = semantics();
    // Compiling is outside of wasmtime's promise of safety, so this process cannot do it at all.
    config.enable_compiler(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    match wasmtime::Engine::new(&config) {
        Ok(engine) => Ok((engine, Allocation::Pool)),
        Err(error) => {
            // A slot reserves 4 GiB of address space, which `ulimit -v` and some container runtimes refuse.
            tracing::warn!(%error, "no instance pool here, calls will be slower");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            let engine =
                wasmtime::Engine::new(&config).map_err(|error| EngineError::Configure(error.into()))?;
            Ok((engine, Allocation::OnDemand))
        }
    }
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let calls = limits.concurrent_calls;
    let each = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    // As many of everything as all concurrent calls may use together: the gate lets no further call in, so a call
    // never finds the pool empty, which would look like the guest's fault.
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(each(limits.core_instances)))
        .total_memories(calls.saturating_mul(each(limits.memories)))
        .total_tables(calls.saturating_mul(each(limits.tables)))
        .max_core_instances_per_component(each(limits.core_instances))
        .max_memories_per_component(each(limits.memories))
        .max_tables_per_component(each(limits.tables))
        .max_tables_per_module(each(limits.tables))
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(1 << 20)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        // What is reset by copying instead of unmapping: the whole of a small guest. Larger would let a hostile
        // guest leave that much resident in every slot.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        // Where the kernel has it (Linux 6.7), only pages that were written are reset: one call of the system.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Names the engine for records: the same id means the same fuel for the same input.
pub(crate) fn id(engine: &wasmtime::Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    let text = hex::encode(sha.0.finalize());
    format!("wasmtime-48.0.8-{}", text.get(..16).unwrap_or(&text))
}

/// Starts the one thread behind the wall-clock backstop. It ends when the last user of the engine is gone.
pub(crate) fn start_ticker(engine: &wasmtime::Engine) -> Result<(), EngineError> {
    let weak = engine.weak();
    let tick = move || {
        loop {
            std::thread::sleep(TICK);
            match weak.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    };
    std::thread::Builder::new().name("wasm-backstop".to_owned()).spawn(tick).map_err(EngineError::Ticker)?;
    Ok(())
}

/// Ticks of the backstop until a call is ended: never before `wall`.
pub(crate) fn ticks(wall: Duration) -> u64 {
    let ticks = wall.as_millis().div_ceil(TICK.as_millis());
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// Lets a bounded number of calls in at a time.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Mutex<Places>,
    changed: Condvar,
}

#[derive(Debug)]
struct Places {
    free: u32,
    /// Calls that wait for a place. Nobody is woken while there are none: that is a system call for each decision.
    waiting: u32,
}

impl Gate {
    pub(crate) fn new(places: u32) -> Self {
        Self { places: Mutex::new(Places { free: places.max(1), waiting: 0 }), changed: Condvar::new() }
    }

    /// Waits for a place, which is given back when the pass is dropped. Each call ends by fuel, so this ends.
    pub(crate) fn enter(&self) -> Pass<'_> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        while places.free == 0 {
            places.waiting += 1;
            places = self.changed.wait(places).unwrap_or_else(PoisonError::into_inner);
            places.waiting -= 1;
        }
        places.free -= 1;
        Pass(self)
    }
}

/// A place in the [`Gate`].
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.free += 1;
        if places.waiting > 0 {
            self.0.changed.notify_one();
        }
    }
}
