//! Cuts a context down: fixed limits per list first, then whatever it takes to fit into a size.
//!
//! In: a context. Out: the same with shorter lists and texts, each cut list named in `truncated`. Lists are sorted
//! newest first and cut at their end, so that what is lost is the oldest. What a decision depends on most (the
//! failing step, targets, budgets) is never dropped.

use crate::context::Context;

/// Largest context as JSON, in bytes: what a DecisionRecord may hold, and what fuel limits are made for.
pub const MAX_CONTEXT_BYTES: usize = 64 * 1024;

/// A list of a context: its path, and how to cut it to at most so many entries. Returns whether anything was cut.
type List = (&'static str, usize, fn(&mut Context, usize) -> bool);

/// Lists with their fixed limits, from what is missed least to what is missed most.
const LISTS: &[List] = &[
    ("verification.metrics.measurements", 10, |context, keep| {
        let metrics = context.verification.iter_mut().flat_map(|one| &mut one.metrics);
        cut_each(metrics.map(|metric| &mut metric.measurements), keep)
    }),
    ("incident.decisions", 20, |context, keep| cut(&mut context.incident.decisions, keep)),
    ("freight.candidates", 20, |context, keep| cut(&mut context.freight.candidates, keep)),
    ("freight.history", 10, |context, keep| cut(&mut context.freight.history, keep)),
    ("project.labels", 64, |context, keep| cut(&mut context.project.labels, keep)),
    ("stage.labels", 64, |context, keep| cut(&mut context.stage.labels, keep)),
    ("stage.upstream", 64, |context, keep| cut(&mut context.stage.upstream, keep)),
    ("queue", 50, |context, keep| cut(&mut context.queue, keep)),
    ("freight.artifacts", 50, |context, keep| {
        let freight = &mut context.freight;
        let pieces = freight.failing.iter_mut().chain(&mut freight.current).chain(&mut freight.candidates);
        cut_each(pieces.map(|piece| &mut piece.artifacts), keep)
    }),
    ("incident.attempts", 20, |context, keep| cut(&mut context.incident.attempts, keep)),
    ("verification.metrics", 50, |context, keep| {
        let mut verification = context.verification.iter_mut();
        verification.any(|one| cut(&mut one.metrics, keep))
    }),
    ("hints", 16, |context, keep| cut(&mut context.hints, keep)),
];

/// Cuts every list to its fixed limit.
pub fn to_limits(context: &mut Context) {
    for (path, limit, shorten) in LISTS {
        if shorten(context, *limit) {
            mark(context, path);
        }
    }
}

/// Cuts until the context as JSON has at most `max_bytes`: outputs, then lists, then texts, each by halves. Settings
/// and state are not touched; they are bounded where they come from.
pub fn to_size(context: &mut Context, max_bytes: usize) {
    let mut text_bytes = super::MAX_OUTPUT_BYTES;
    let mut rounds = 0_u32;
    while size(context) > max_bytes && rounds < 16 {
        text_bytes /= 2;
        rounds += 1;
        shorten_texts(context, text_bytes.max(128));
        if size(context) <= max_bytes {
            return;
        }
        for (path, limit, shorten) in LISTS {
            let keep = limit.checked_shr(rounds).unwrap_or(0).max(1);
            if shorten(context, keep) {
                mark(context, path);
            }
            if size(context) <= max_bytes {
                return;
            }
        }
        shorten_steps(context, rounds);
    }
}

/// The size that counts: bytes of compact JSON.
pub fn size(context: &Context) -> usize {
    serde_json::to_vec(context).map_or(0, |json| json.len())
}

/// Steps that neither failed nor said anything go first, and only when halving texts has not helped twice.
fn shorten_steps(context: &mut Context, rounds: u32) {
    let Some(promotion) = context.promotion.as_mut().filter(|_| rounds > 2) else {
        return;
    };
    let before = promotion.steps.len();
    promotion.steps.retain(|step| {
        matches!(step.status.as_deref(), Some("Failed" | "Errored" | "Aborted" | "Running"))
            || step.output.is_some()
    });
    if promotion.steps.len() < before {
        mark(context, "promotion.steps");
    }
}

fn shorten_texts(context: &mut Context, max_bytes: usize) {
    let mut was_cut = false;
    if let Some(promotion) = &mut context.promotion {
        was_cut |= shorten(&mut promotion.message, max_bytes);
        for step in &mut promotion.steps {
            was_cut |= shorten(&mut step.message, max_bytes);
            if let Some(output) = &mut step.output {
                was_cut |= shorten(output, max_bytes);
            }
        }
    }
    if let Some(verification) = &mut context.verification {
        was_cut |= shorten(&mut verification.message, max_bytes);
        for metric in &mut verification.metrics {
            was_cut |= shorten(&mut metric.message, max_bytes);
            for measurement in &mut metric.measurements {
                was_cut |= shorten(&mut measurement.message, max_bytes);
            }
        }
    }
    was_cut |= shorten(&mut context.failure.summary, max_bytes);
    if was_cut {
        mark(context, "texts");
    }
}

fn shorten(text: &mut String, max_bytes: usize) -> bool {
    if text.len() <= max_bytes {
        return false;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    true
}

fn cut<T>(list: &mut Vec<T>, keep: usize) -> bool {
    let is_longer = list.len() > keep;
    list.truncate(keep);
    is_longer
}

fn cut_each<'a, T: 'a>(lists: impl Iterator<Item = &'a mut Vec<T>>, keep: usize) -> bool {
    let mut was_cut = false;
    for list in lists {
        was_cut |= cut(list, keep);
    }
    was_cut
}

fn mark(context: &mut Context, path: &str) {
    if !context.truncated.iter().any(|known| known == path) {
        context.truncated.push(path.to_owned());
    }
}
