//! `wasi:io`: streams that are empty or feed the log, and polls that are always over at once.
//!
//! In: handles made by [`super::cli`] and [`super::clocks`]. Out: end of file, log lines, a clock that jumps.
//! Nothing waits: a poll moves the virtual clock to the earliest deadline instead.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType, WasmList};

use super::{CALL_COST, amount, charge};
use crate::sandbox::{Sandbox, Stream};

/// What a guest may write between two looks at `check-write`.
const WRITE_BUDGET: u64 = 64 << 10;

/// Handle types. Their representation is a number: an index for pollables, the stream's number for outputs.
pub(super) struct IoError;
pub(super) struct Pollable;
pub(super) struct InputStream;
pub(super) struct OutputStream;

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Store<'a> = StoreContextMut<'a, Sandbox>;

pub(super) fn error(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))?;
    instance.func_wrap("[method]error.to-debug-string", |_: Store<'_>, (_this,): (Resource<IoError>,)| {
        Ok((String::new(),))
    })
}

pub(super) fn poll(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.resource("pollable", ResourceType::host::<Pollable>(), |mut store, rep| {
        store.data_mut().pollables.remove(rep);
        Ok(())
    })?;
    instance.func_wrap(
        "[method]pollable.ready",
        |mut store: Store<'_>, (this,): (Resource<Pollable>,)| {
            charge(&mut store, CALL_COST)?;
            let sandbox = store.data_mut();
            let now = sandbox.clock.look();
            Ok((sandbox.pollables.deadline(this.rep()) <= now,))
        },
    )?;
    instance.func_wrap(
        "[method]pollable.block",
        |mut store: Store<'_>, (this,): (Resource<Pollable>,)| {
            charge(&mut store, CALL_COST)?;
            let sandbox = store.data_mut();
            let deadline = sandbox.pollables.deadline(this.rep());
            sandbox.clock.advance_to(deadline);
            Ok(())
        },
    )?;
    instance.func_wrap("poll", |mut store: Store<'_>, (list,): (Vec<Resource<Pollable>>,)| {
        charge(&mut store, CALL_COST + 10 * amount(list.len()))?;
        if list.is_empty() {
            // WASI says that this traps: it would wait for ever.
            wasmtime::bail!("poll of an empty list");
        }
        let sandbox = store.data_mut();
        let deadlines: Vec<u64> = list.iter().map(|it| sandbox.pollables.deadline(it.rep())).collect();
        let earliest = deadlines.iter().copied().min().unwrap_or(0);
        sandbox.clock.advance_to(earliest);
        let now = sandbox.clock.elapsed();
        let ready = (0_u32..).zip(&deadlines).filter(|(_, deadline)| **deadline <= now);
        Ok((ready.map(|(index, _)| index).collect::<Vec<u32>>(),))
    })
}

pub(super) fn streams(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.resource("input-stream", ResourceType::host::<InputStream>(), |_, _| Ok(()))?;
    instance.resource("output-stream", ResourceType::host::<OutputStream>(), |_, _| Ok(()))?;
    for name in ["read", "blocking-read"] {
        instance.func_wrap(
            &format!("[method]input-stream.{name}"),
            |mut store: Store<'_>, (_this, _length): (Resource<InputStream>, u64)| {
                charge(&mut store, CALL_COST)?;
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        instance.func_wrap(
            &format!("[method]input-stream.{name}"),
            |mut store: Store<'_>, (_this, _length): (Resource<InputStream>, u64)| {
                charge(&mut store, CALL_COST)?;
                Ok((Err::<u64, _>(StreamError::Closed),))
            },
        )?;
    }
    instance.func_wrap(
        "[method]input-stream.subscribe",
        |store: Store<'_>, (_this,): (Resource<InputStream>,)| always_ready(store),
    )?;
    instance.func_wrap(
        "[method]output-stream.subscribe",
        |store: Store<'_>, (_this,): (Resource<OutputStream>,)| always_ready(store),
    )?;
    outputs(instance)
}

fn outputs(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]output-stream.check-write",
        |mut store: Store<'_>, (_this,): (Resource<OutputStream>,)| {
            charge(&mut store, CALL_COST)?;
            Ok((Ok::<u64, StreamError>(WRITE_BUDGET),))
        },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: Store<'_>, (this, bytes): (Resource<OutputStream>, WasmList<u8>)| {
                charge(&mut store, CALL_COST + amount(bytes.len()))?;
                let bytes = bytes.as_le_slice(&store).to_vec();
                store.data_mut().log.print(stream(&this), &bytes);
                Ok((Ok::<(), StreamError>(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: Store<'_>, (_this,): (Resource<OutputStream>,)| {
                charge(&mut store, CALL_COST)?;
                Ok((Ok::<(), StreamError>(()),))
            },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: Store<'_>, (_this, _length): (Resource<OutputStream>, u64)| {
                charge(&mut store, CALL_COST)?;
                Ok((Ok::<(), StreamError>(()),))
            },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        instance.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: Store<'_>,
             (_this, _from, _length): (Resource<OutputStream>, Resource<InputStream>, u64)| {
                charge(&mut store, CALL_COST)?;
                Ok((Err::<u64, _>(StreamError::Closed),))
            },
        )?;
    }
    Ok(())
}

fn always_ready(mut store: Store<'_>) -> wasmtime::Result<(Resource<Pollable>,)> {
    charge(&mut store, CALL_COST)?;
    Ok((Resource::new_own(store.data_mut().pollables.add(0)),))
}

/// The representation that stands for a stream.
pub(super) fn representation(stream: Stream) -> u32 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

fn stream(handle: &Resource<OutputStream>) -> Stream {
    if handle.rep() == representation(Stream::Stderr) { Stream::Stderr } else { Stream::Stdout }
}
