//! `wasi:clocks`: the context's time, moving as the guest looks at it and sleeps.
//!
//! In: the sandbox's virtual clock. Out: the same readings for the same run, everywhere.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};

use super::io::Pollable;
use super::{CALL_COST, charge};
use crate::sandbox::Sandbox;

type Store<'a> = StoreContextMut<'a, Sandbox>;

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

pub(super) fn monotonic(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((store.data_mut().clock.look(),))
    })?;
    instance.func_wrap("resolution", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((1_000_u64,))
    })?;
    instance.func_wrap("subscribe-instant", |mut store: Store<'_>, (when,): (u64,)| {
        charge(&mut store, CALL_COST)?;
        Ok((Resource::<Pollable>::new_own(store.data_mut().pollables.add(when)),))
    })?;
    instance.func_wrap("subscribe-duration", |mut store: Store<'_>, (nanos,): (u64,)| {
        charge(&mut store, CALL_COST)?;
        let sandbox = store.data_mut();
        let when = sandbox.clock.elapsed().saturating_add(nanos);
        Ok((Resource::<Pollable>::new_own(sandbox.pollables.add(when)),))
    })
}

pub(super) fn wall(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        let (seconds, nanoseconds) = store.data_mut().clock.wall();
        Ok((Datetime { seconds, nanoseconds },))
    })?;
    instance.func_wrap("resolution", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Datetime { seconds: 0, nanoseconds: 1_000 },))
    })
}
