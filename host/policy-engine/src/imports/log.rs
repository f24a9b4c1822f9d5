//! `refloat:failure-policy/log`: the only thing that a policy calls on purpose.
//!
//! In: a level and a line. Out: a bounded line in the call's log. The length is looked at before a byte is copied.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmStr};

use super::{CALL_COST, amount, charge};
use crate::sandbox::{Level, Sandbox};

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made from a discriminant by the derived code")]
enum WitLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "fatal")]
    Fatal,
}

impl From<WitLevel> for Level {
    fn from(level: WitLevel) -> Self {
        match level {
            WitLevel::Debug => Self::Debug,
            WitLevel::Info => Self::Info,
            WitLevel::Warn => Self::Warn,
            WitLevel::Error => Self::Error,
            WitLevel::Fatal => Self::Fatal,
        }
    }
}

pub(super) fn define(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Sandbox>, (level, message): (WitLevel, WasmStr)| {
            let text = message.to_str(&store)?.into_owned();
            charge(&mut store, CALL_COST + amount(text.len()))?;
            store.data_mut().log.write(level.into(), &text);
            Ok(())
        },
    )
}
