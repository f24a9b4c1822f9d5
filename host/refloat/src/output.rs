//! The documents that `--output json` and `--output yaml` write. Their fields are stable: scripts read them.
//!
//! In: values of the core and the engine. Out: types with one documented field each, written once here.
//! Fields may be added; none is renamed or removed without a line in the changelog.

use policy_core::failure::{Classification, Failure, StepHint};
use serde::Serialize;

use crate::args::Output;
use crate::exit::CannotRun;
use crate::printer::Printer;

/// What `classify` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Classified {
    /// The failure, when a Promotion was given and it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// How it is read; absent when nothing failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classification: Option<Classification>,
    /// What steps say about their failures.
    pub(crate) hints: Vec<StepHint>,
}

/// Writes `document` for machines, or asks `human` for sentences.
///
/// # Errors
/// When the document cannot be written as text, which no input should be able to cause.
pub(crate) fn show<T: Serialize>(
    output: Output,
    document: &T,
    printer: &mut Printer,
    human: impl FnOnce(&T) -> String,
) -> Result<(), CannotRun> {
    let text = match output {
        Output::Human => human(document),
        Output::Json => serde_json::to_string_pretty(document)
            .map_err(|error| CannotRun::from_error(&error, "please report this"))?,
        Output::Yaml => {
            serde_saphyr::to_string(document).map_err(|error| CannotRun::from_error(&error, "please report this"))?
        }
    };
    printer.answer(&text);
    Ok(())
}
