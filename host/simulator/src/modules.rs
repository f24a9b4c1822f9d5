//! Components that a scenario's policies name.
//!
//! In: a scenario and the folder that paths in it start from. Out: the bytes of each module by its name, or the first one
//! that cannot be had. Nothing here compiles.

use std::collections::BTreeMap;
use std::path::Path;

use policy_source::{Module, SourceError};

use crate::scenario::Scenario;

/// A module's bytes cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("module `{module}` of the scenario")]
pub struct ModuleError {
    /// Its name in the scenario.
    pub module: String,
    /// Why.
    pub source: SourceError,
}

/// Bytes of a scenario's modules. Paths are relative to `folder`.
///
/// # Errors
/// When one is not there or cannot be read.
pub fn components(scenario: &Scenario, folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, ModuleError> {
    let load = |text: &str| match text.strip_prefix("example:") {
        Some(example) => policy_source::example(example),
        None => match Module::parse(text) {
            Module::File(path) => Module::File(folder.join(path)).load(),
            builtin => builtin.load(),
        },
    };
    let modules = scenario.modules.iter().map(|(name, text)| {
        let component = load(text).map_err(|source| ModuleError { module: name.clone(), source })?;
        Ok((name.clone(), component.bytes))
    });
    modules.collect()
}
