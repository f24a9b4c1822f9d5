//! `refloat classify FILE`: what kind of failure a Promotion or a step's message is.
//!
//! In: a Promotion as YAML or JSON, or plain text, and perhaps a file of rules. Out: class, how sure, by which rule,
//! and what steps hinted. The same functions as in the controller; nothing is looked up in a cluster.

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
    let (classified, read) = if is_object(&text) {
        of_promotion(&catalogue, &text, &name, args)?
    } else {
        let read = classify::text_by(&catalogue, args.step_kind.as_deref(), text.trim_end());
        (Classified::new(None, Some(&read), Found::default()), Some(read))
    };
    output::show(args.output, &classified, printer, |classified| human(classified, read.as_ref()))?;
    Ok(Exit::AsExpected)
}

/// Whether it is a Kubernetes object: it says its kind and its API version, in YAML at the beginning of lines. A message may
/// say one of them, and begin with a bracket.
fn is_object(text: &str) -> bool {
    let is_json = text.trim_start().starts_with('{');
    ["apiVersion", "kind"].iter().all(|field| match is_json {
        true => text.contains(&format!("\"{field}\"")),
        false => text.lines().any(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'))),
    })
}

fn of_promotion(
    catalogue: &Catalogue,
    text: &str,
    name: &str,
    args: &ClassifyArgs,
) -> Result<(Classified, Option<Classification>), CannotRun> {
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
    let read = failure.is_some().then(|| classify::promotion_by(catalogue, promotion, &hints.accepted));
    Ok((Classified::new(failure, read.as_ref(), hints), read))
}

fn human(classified: &Classified, read: Option<&Classification>) -> String {
    let mut layout = Layout::default();
    if let Some(failure) = &classified.failure {
        layout.paragraph(&explain::failure(failure));
    }
    match read {
        Some(read) => {
            layout.labelled("class", &explain::classification(read));
            if !read.text.is_empty() {
                layout.labelled("text", &explain::line(&read.text));
            }
        }
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
