//! Files of a platform's own rules for what failures mean.
//!
//! In: files, the first one tried first. Out: the catalogue that begins with them and ends with what is built in, or
//! the first mistake with its file and line. A file is taken as a whole or not at all.

use std::borrow::Cow;

use policy_core::classify::catalogue::Catalogue;

use crate::exit::CannotRun;
use crate::input::{self, Place};

/// The built-in rules, after those of the files.
pub(crate) fn catalogue(files: &[Place]) -> Result<Cow<'static, Catalogue>, CannotRun> {
    let mut catalogue = Cow::Borrowed(Catalogue::built_in());
    for place in files.iter().rev() {
        catalogue = Cow::Owned(added(&catalogue, &input::text(place)?, place)?);
    }
    Ok(catalogue)
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
