//! Files of a platform's own rules for what failures mean.
//!
//! In: files, the first one tried first. Out: the catalogue that begins with them and ends with what is built in, or
//! the first mistake with its file and line. A file is taken as a whole or not at all.

use std::borrow::Cow;

use policy_core::classify::catalogue::Catalogue;

use crate::exit::CannotRun;
use crate::input::{self, Place};

/// What names files of rules in the environment.
pub(crate) const VARIABLE: &str = "REFLOAT_RULES";

/// The built-in rules, after those of the files.
pub(crate) fn catalogue(files: &[Place]) -> Result<Cow<'static, Catalogue>, CannotRun> {
    let mut catalogue = Cow::Borrowed(Catalogue::built_in());
    for place in files.iter().rev() {
        let text = input::text(place).map_err(|error| named_by_environment(error.into(), place))?;
        catalogue = Cow::Owned(added(&catalogue, &text, place)?);
    }
    Ok(catalogue)
}

/// A file that cannot be read, with the variable that names it, if one does: nobody sees that on the command line.
fn named_by_environment(reason: CannotRun, place: &Place) -> CannotRun {
    let named = std::env::var(VARIABLE).unwrap_or_default();
    if !named.split(',').any(|name| name == place.name()) {
        return reason;
    }
    CannotRun {
        help: format!("the environment's `{VARIABLE}` names it: set that right, or unset it"),
        ..reason
    }
}

/// A catalogue with the text of one file before it.
pub(crate) fn added(catalogue: &Catalogue, text: &str, place: &Place) -> Result<Catalogue, CannotRun> {
    catalogue.with(text).map_err(|bad| {
        CannotRun::new(
            format!("`{}` is no file of rules: {bad}", place.name()),
            "docs/classification.md says what a rule looks like",
        )
    })
}
