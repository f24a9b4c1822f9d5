//! Names of Freight: people say `v2`, Kargo says 40 hexadecimal digits.
//!
//! In: a scenario's aliases. Out: names, and aliases for names that are to be shown. The same alias has the same name in
//! every scenario.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// Aliases and names of all Freight of a scenario.
#[derive(Clone, Debug, Default)]
pub struct FreightNames {
    by_name: BTreeMap<String, String>,
}

impl FreightNames {
    /// The names for these aliases.
    pub fn of<'a>(aliases: impl Iterator<Item = &'a str>) -> Self {
        Self { by_name: aliases.map(|alias| (name(alias), alias.to_owned())).collect() }
    }

    /// Names that Kargo has given, each with its alias.
    pub fn given(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { by_name: pairs.into_iter().collect() }
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

/// The name of the Freight with that alias.
pub fn name(alias: &str) -> String {
    hex::encode(Sha256::digest(alias)).chars().take(40).collect()
}
