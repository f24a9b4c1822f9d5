//! `wasi:filesystem`: no directory is given, so no handle can exist, so no function of `types` can do anything.
//!
//! In: the interface as the component imports it. Out: an empty list of directories, and functions that end the
//! guest. Linked only so that guests whose runtime drags it in can start.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{LinkerInstance, Resource, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use super::{CALL_COST, charge};
use crate::sandbox::Sandbox;

struct Descriptor;
struct DirectoryEntryStream;

pub(super) fn preopens(instance: &mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()> {
    instance.func_wrap("get-directories", |mut store: StoreContextMut<'_, Sandbox>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })
}

pub(super) fn types(
    instance: &mut LinkerInstance<'_, Sandbox>,
    engine: &Engine,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    let ComponentItem::ComponentInstance(imported) = item else {
        return Ok(());
    };
    for (name, export) in imported.exports(engine) {
        match (&export.ty, name) {
            (ComponentItem::Resource(_), "descriptor") => {
                instance.resource(name, ResourceType::host::<Descriptor>(), |_, _| Ok(()))?;
            }
            (ComponentItem::Resource(_), "directory-entry-stream") => {
                instance.resource(name, ResourceType::host::<DirectoryEntryStream>(), |_, _| Ok(()))?;
            }
            (ComponentItem::ComponentFunc(_), "filesystem-error-code") => {
                instance.func_new(name, |_, _, _, results| {
                    if let Some(result) = results.first_mut() {
                        *result = Val::Option(None);
                    }
                    Ok(())
                })?;
            }
            (ComponentItem::ComponentFunc(_), _) => {
                instance.func_new(name, |_, _, _, _| wasmtime::bail!("there are no files here"))?;
            }
            // Type aliases, and `error`, which is an alias of `wasi:io/error`.
            _ => {}
        }
    }
    Ok(())
}
