//! `refloat classify FILE`: what kind of failure a Promotion or a step's message is.
//!
//! In: a Promotion as YAML or JSON, or plain text, and perhaps a file of rules. Out: class, how sure, by which rule,
//! and what steps hinted; exit 1 when nothing has failed, as of `explain` and `record`. The same functions as in the
//! controller; nothing is looked up in a cluster.

use policy_core::classify::catalogue::Catalogue;
use policy_core::failure::Classification;
use policy_core::hints::{Found, Places};
use policy_core::{classify, detect, explain, hints};

use crate::args::ClassifyArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input;
use crate::layout::Layout;
use crate::objects::Objects;
use crate::output::{self, Classified};
use crate::printer::Printer;
use crate::rules;

pub(crate) fn run(args: &ClassifyArgs, printer: &mut Printer) -> Ended {
    let catalogue = rules::catalogue(&args.rules.rules)?;
    let text = input::text(&args.file)?;
    let name = args.file.name();
    let seen = if is_object(&text) {
        of_promotion(&catalogue, &text, &name, args)?
    } else {
        of_text(&catalogue, &text, &name, args)?
    };
    output::show(args.output, &seen.classified, printer, |classified| human(classified, &seen))?;
    Ok(if seen.read.is_some() { Exit::AsExpected } else { Exit::Differs })
}

/// What was found in the file.
struct Seen {
    classified: Classified,
    read: Option<Classification>,
    /// What to say before anything else, such as that a Promotion has not ended.
    first: Option<String>,
}

fn of_text(catalogue: &Catalogue, text: &str, name: &str, args: &ClassifyArgs) -> Result<Seen, CannotRun> {
    if ["failure", "classification", "budgets"].iter().all(|field| says(text, field)) {
        return Err(CannotRun::new(
            format!("`{name}` is a context, and not a Promotion or the message of a step"),
            format!(
                "`refloat decide --module builtin:NAME --context {name}` asks a policy; what the failure was read as \
                 stands in it under `classification`"
            ),
        ));
    }
    let read = classify::text_by(catalogue, args.step_kind.as_deref(), text.trim_end());
    let first = looks_structured(text).then(|| {
        format!("`{name}` says no `apiVersion` and no `kind`: all of it was read as the message of a step")
    });
    Ok(Seen { classified: Classified::new(None, Some(&read), Found::default()), read: Some(read), first })
}

/// Whether it looks like YAML or JSON of something, which is no message of a step.
fn looks_structured(text: &str) -> bool {
    let text = text.trim();
    let is_field = |line: &str| {
        line.split_once(':').is_some_and(|(key, value)| {
            let is_key =
                !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            is_key && (value.is_empty() || value.starts_with(' '))
        })
    };
    let is_yaml = |line: &str| line.starts_with([' ', '-', '#']) || line.is_empty() || is_field(line);
    (text.starts_with('{') && text.ends_with('}')) || (text.lines().count() > 1 && text.lines().all(is_yaml))
}

/// Whether it is a Kubernetes object: it says its kind and its API version, in YAML at the beginning of lines. A message may
/// say one of them, and begin with a bracket.
fn is_object(text: &str) -> bool {
    ["apiVersion", "kind"].iter().all(|field| says(text, field))
}

/// Whether it has such a field, in YAML at the beginning of a line.
fn says(text: &str, field: &str) -> bool {
    match text.trim_start().starts_with('{') {
        true => text.contains(&format!("\"{field}\"")),
        false => text.lines().any(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'))),
    }
}

fn of_promotion(
    catalogue: &Catalogue,
    text: &str,
    name: &str,
    args: &ClassifyArgs,
) -> Result<Seen, CannotRun> {
    if args.step_kind.is_some() {
        let help = "leave `--step-kind` out: a Promotion says the kinds of its steps";
        return Err(CannotRun::new(
            format!("`{name}` is an object, and `--step-kind` is for plain text"),
            help,
        ));
    }
    let objects = Objects::read(text, name)?;
    let [promotion] = objects.promotions.as_slice() else {
        let n = objects.promotions.len();
        let line = format!("`{name}` holds {n} Promotions, exactly one is needed");
        return Err(CannotRun::new(line, "`kubectl get promotion NAME -o yaml` prints one"));
    };
    let hints =
        hints::examine(&Places::among(promotion, &objects.stages, &objects.freight(&promotion.project), &[]));
    let failure = detect::promotion(promotion);
    let first = explain::unended(promotion);
    // One that runs and has a failed step is read, too: some of them never end.
    let is_stalling = first.is_some() && detect::first_failed_step(promotion).is_some();
    let read = (failure.is_some() || is_stalling)
        .then(|| classify::promotion_by(catalogue, promotion, &hints.accepted));
    Ok(Seen { classified: Classified::new(failure, read.as_ref(), hints), read, first })
}

fn human(classified: &Classified, seen: &Seen) -> String {
    let mut layout = Layout::default();
    let failure = classified.failure.as_ref().map(explain::failure);
    if let Some(text) = failure.as_ref().or(seen.first.as_ref()) {
        layout.paragraph(text);
    }
    match &seen.read {
        Some(read) => {
            layout.labelled("class", &explain::classification(read));
            if !read.text.is_empty() {
                layout.labelled("text", &explain::line(&read.text));
            }
        }
        None if seen.first.is_some() => layout.paragraph("nothing has failed in it so far"),
        None => layout.paragraph("nothing failed: this Promotion is no failure that a policy is asked about"),
    }
    layout.list("hint", classified.hints.iter().map(super::hint));
    let refused = classified.refused_hints.iter();
    layout.list(
        "not heard",
        refused.map(|hint| format!("step `{}` by {}: {}", hint.step, hint.channel, hint.because)),
    );
    layout.into_text()
}
