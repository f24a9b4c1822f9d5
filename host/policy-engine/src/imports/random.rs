//! `wasi:random`: the context's seed, spread. Nothing in here is secret or unpredictable, and it says so in the WIT.
//!
//! In: the sandbox's generator. Out: the same numbers for the same seed.

use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

use super::{CALL_COST, charge};
use crate::sandbox::Sandbox;

/// Most bytes that one call gives.
const MOST_BYTES: u64 = 64 << 10;

type Store<'a> = StoreContextMut<'a, Sandbox>;

pub(super) fn random(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    numbers(instance, ["get-random-bytes", "get-random-u64"])
}

pub(super) fn insecure(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    numbers(instance, ["get-insecure-random-bytes", "get-insecure-random-u64"])
}

fn numbers(instance: &mut LinkerInstance<'_, Sandbox>, [bytes, number]: [&str; 2]) -> wasmtime::Result<()> {
    instance.func_wrap(bytes, |mut store: Store<'_>, (length,): (u64,)| {
        if length > MOST_BYTES {
            wasmtime::bail!("asked for {length} random bytes at once, {MOST_BYTES} is the most");
        }
        charge(&mut store, CALL_COST + length)?;
        Ok((store.data_mut().random.bytes(usize::try_from(length).unwrap_or(0)),))
    })?;
    instance.func_wrap(number, |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((store.data_mut().random.next(),))
    })
}

pub(super) fn insecure_seed(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    // 0.2.x named it `insecure-seed`; one late version spells it with `get-`.
    for name in ["insecure-seed", "get-insecure-seed"] {
        instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
            charge(&mut store, CALL_COST)?;
            let random = &mut store.data_mut().random;
            Ok(((random.next(), random.next()),))
        })?;
    }
    Ok(())
}
