//! What a guest may use: one struct of limits, and the meter that holds a store to them.
//!
//! In: figures from the operator, or the defaults. Out: [`Meter`], which wasmtime asks before a memory or table
//! grows. Every limit is the same in controller and command line, else the same input could end differently.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// What a guest may use in one call. Sizes are bytes unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel for one call before the context's share. 100 million end an endless loop in about 15 ms.
    pub fuel: u64,
    /// Further fuel for each byte of context, so that a large context is no fault of the policy.
    pub fuel_per_context_byte: u64,
    /// Linear memory, all memories of all instances of one call together.
    pub memory_bytes: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Tables of one call.
    pub tables: usize,
    /// Core instances of one call. CPython needs 38.
    pub core_instances: usize,
    /// Memories of one call. QuickJS needs 3.
    pub memories: usize,
    /// Handles that one call may hold at once.
    pub handles: usize,
    /// What a guest may hand over in one call of the host, its answer included.
    pub answer_bytes: usize,
    /// The log of one call.
    pub log_bytes: usize,
    /// One line of it.
    pub log_line_bytes: usize,
    /// Lines of it.
    pub log_lines: usize,
    /// The wall-clock backstop. Fuel should end a guest long before.
    pub wall: Duration,
    /// A component as it arrives.
    pub component_bytes: usize,
    /// Calls at the same time; further ones wait for their turn. As many as there are processors by default: a call
    /// only computes, and a call that shares its processor may meet the wall-clock backstop before its fuel ends.
    pub concurrent_calls: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 100_000_000,
            fuel_per_context_byte: 1_000,
            memory_bytes: 64 << 20,
            table_elements: 20_000,
            tables: 20,
            core_instances: 64,
            memories: 4,
            handles: 1_000,
            answer_bytes: 256 << 10,
            log_bytes: 64 << 10,
            log_line_bytes: 1 << 10,
            log_lines: 1_000,
            wall: Duration::from_secs(1),
            component_bytes: 32 << 20,
            concurrent_calls: processors(),
        }
    }
}

/// At most 16: each concurrent call reserves 16 GiB of address space.
fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors).unwrap_or(1).min(16)
}

impl Limits {
    /// Fuel for a call with that much context.
    pub(crate) fn fuel_for(&self, context_bytes: usize) -> u64 {
        let bytes = u64::try_from(context_bytes).unwrap_or(u64::MAX);
        self.fuel.saturating_add(bytes.saturating_mul(self.fuel_per_context_byte))
    }
}

/// What a guest asked for and did not get. Ends the guest: a refused growth that it may survive would surface as an
/// unnamed trap in its allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// Memory.
    #[error("wanted {wanted} bytes of memory and may have {limit}")]
    Memory {
        /// All memories together, as they would have been.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
    /// A table.
    #[error("wanted a table of {wanted} elements and may have {limit}")]
    Table {
        /// The size that it asked for.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
}

/// Holds one store to its limits and remembers its high-water mark.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: usize,
    table_limit: usize,
    counts: [usize; 3],
    memory: usize,
    /// The first request that was refused.
    pub(crate) denied: Option<Denied>,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            counts: [limits.core_instances, limits.tables, limits.memories],
            memory: 0,
            denied: None,
        }
    }

    /// The most memory that was in use at once: memories never shrink.
    pub(crate) fn memory_peak(&self) -> usize {
        self.memory
    }

    fn deny(&mut self, denied: Denied) -> wasmtime::Result<bool> {
        self.denied.get_or_insert(denied);
        Err(denied.into())
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(wanted.saturating_sub(now));
        if total > self.memory_limit {
            return self.deny(Denied::Memory { wanted: total, limit: self.memory_limit });
        }
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if wanted > self.table_limit {
            return self.deny(Denied::Table { wanted, limit: self.table_limit });
        }
        Ok(maximum.is_none_or(|maximum| wanted <= maximum))
    }

    fn instances(&self) -> usize {
        let [instances, _, _] = self.counts;
        instances
    }

    fn tables(&self) -> usize {
        let [_, tables, _] = self.counts;
        tables
    }

    fn memories(&self) -> usize {
        let [_, _, memories] = self.counts;
        memories
    }
}
