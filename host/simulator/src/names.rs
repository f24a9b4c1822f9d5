//! Names of Freight: people say `v2`, Kargo says 40 hexadecimal digits.
//!
//! In: Freight as it is to be created. Out: names, and aliases for names that are to be shown. What is in Freight is its
//! name (`kargo_model::freight_name`), so that names are known before Kargo has given them.

use std::collections::BTreeMap;

use kargo_model::freight_name::freight_name;
use serde_json::Value;

use crate::timeline::text;

/// Aliases and names of all Freight of a scenario.
#[derive(Clone, Debug, Default)]
pub struct FreightNames {
    by_name: BTreeMap<String, String>,
}

impl FreightNames {
    /// The names that Kargo gives to these pieces of Freight.
    pub fn of<'a>(freight: impl Iterator<Item = &'a Value>) -> Self {
        Self {
            by_name: freight.map(|piece| (freight_name(piece), text(piece, "/alias").to_owned())).collect(),
        }
    }

    /// The name of the Freight with that alias; the text itself when it is none.
    pub fn name<'a>(&'a self, alias: &'a str) -> &'a str {
        let known = self.by_name.iter().find(|(_, known)| *known == alias);
        known.map_or(alias, |(name, _)| name.as_str())
    }

    /// The alias of Freight for people; a name that none has is cut short.
    pub fn alias(&self, name: &str) -> String {
        self.by_name.get(name).cloned().unwrap_or_else(|| name.chars().take(7).collect())
    }

    /// `text` with aliases in place of names.
    pub fn plain(&self, text: &str) -> String {
        self.by_name.iter().fold(text.to_owned(), |text, (name, alias)| text.replace(name, alias))
    }
}
