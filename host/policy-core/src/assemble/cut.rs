//! Cuts a context down: fixed limits per list first, then whatever it takes to fit into a size.
//!
//! In: a context. Out: the same with shorter lists and texts, each cut list named in `truncated`. Lists are sorted
//! newest first and cut at their end, so that what is lost is the oldest. What a decision depends on most (the
//! failing step, targets, budgets) goes last. `docs/context.md` has the names and the limits.

use crate::context::{Context, FreightPiece, PromotionFacts, StepFacts};

mod extra;

/// Rounds of halving after which nothing is left to halve: the longest list has 128 entries.
const ROUNDS: u32 = 8;
/// Texts are not cut below this many bytes.
const MIN_TEXT_BYTES: usize = 128;

/// One list of a context.
struct List {
    /// Its name in `truncated`.
    path: &'static str,
    /// Entries at most.
    limit: usize,
    /// Entries that are left until everything else has been cut.
    floor: usize,
    /// Cuts it to at most so many entries; says whether there were more.
    cut: fn(&mut Context, usize) -> bool,
}

macro_rules! list {
    ($path:literal, $limit:literal, $floor:literal, |$context:ident, $keep:ident| $cut:expr) => {
        List { path: $path, limit: $limit, floor: $floor, cut: |$context, $keep| $cut }
    };
}

/// From what is missed least to what is missed most.
const LISTS: &[List] = &[
    list!("verification.metrics.measurements", 10, 0, |context, keep| {
        let metrics = context.verification.iter_mut().flat_map(|one| &mut one.metrics);
        cut_each(metrics.map(|metric| &mut metric.measurements), keep)
    }),
    list!("incident.decisions.actions", 16, 1, |context, keep| {
        cut_each(context.incident.decisions.iter_mut().map(|one| &mut one.actions), keep)
    }),
    list!("incident.decisions", 20, 1, |context, keep| cut(&mut context.incident.decisions, keep)),
    list!("project.labels", 64, 0, |context, keep| cut(&mut context.project.labels, keep)),
    list!("stage.labels", 64, 0, |context, keep| cut(&mut context.stage.labels, keep)),
    list!("freight.candidates", 20, 1, |context, keep| cut(&mut context.freight.candidates, keep)),
    list!("freight.history.freight", 64, 4, |context, keep| {
        cut_each(context.freight.history.iter_mut().map(|past| &mut past.freight), keep)
    }),
    list!("freight.history", 10, 1, |context, keep| cut(&mut context.freight.history, keep)),
    list!("stage.upstream", 64, 1, |context, keep| cut(&mut context.stage.upstream, keep)),
    list!("queue", 50, 1, |context, keep| cut(&mut context.queue, keep)),
    list!("freight.artifacts", 50, 1, |context, keep| {
        cut_each(pieces(context).map(|piece| &mut piece.artifacts), keep)
    }),
    list!("incident.attempts", 20, 1, |context, keep| cut(&mut context.incident.attempts, keep)),
    list!("verification.metrics", 50, 1, |context, keep| {
        cut_each(context.verification.iter_mut().map(|one| &mut one.metrics), keep)
    }),
    list!("hints.extra", 32, 0, |context, keep| {
        cut_each(context.hints.iter_mut().map(|hint| &mut hint.extra), keep)
    }),
    list!("hints", 16, 2, |context, keep| cut(&mut context.hints, keep)),
    list!("promotion.steps", 128, 8, |context, keep| {
        let failing = context.classification.step.clone();
        context.promotion.as_mut().is_some_and(|promotion| cut_steps(promotion, failing.as_deref(), keep))
    }),
    list!("stage.holds", 64, 8, |context, keep| cut(&mut context.stage.holds, keep)),
    list!("stage.origins", 64, 8, |context, keep| cut(&mut context.stage.origins, keep)),
    list!("freight.current", 64, 8, |context, keep| cut(&mut context.freight.current, keep)),
    list!("freight.targets", 64, 8, |context, keep| cut(&mut context.freight.targets, keep)),
    list!("capabilities", 32, 32, |context, keep| cut(&mut context.capabilities, keep)),
];

/// Cuts every list to its fixed limit.
pub fn to_limits(context: &mut Context) {
    for list in LISTS {
        if (list.cut)(context, list.limit) {
            mark(context, list.path);
        }
    }
    extra::to_lines(context, extra::MAX_LINES);
}

/// Cuts until the context as JSON has at most `max_bytes`, or nothing is left to cut: texts, then lists, each by
/// halves. Settings and state are not touched; they are bounded where they come from.
pub fn to_size(context: &mut Context, max_bytes: usize) {
    for round in 1..=ROUNDS {
        if fits(context, max_bytes) {
            return;
        }
        shorten_texts(context, (super::MAX_OUTPUT_BYTES >> round).max(MIN_TEXT_BYTES));
        extra::to_lines(context, extra::MAX_LINES >> round);
        if fits(context, max_bytes) {
            return;
        }
        for list in LISTS {
            if (list.cut)(context, (list.limit >> round).max(list.floor)) {
                mark(context, list.path);
                if fits(context, max_bytes) {
                    return;
                }
            }
        }
    }
    // Nothing that an API server accepts gets here; what remains is the failing step, one target, one of each.
    for list in LISTS {
        if !fits(context, max_bytes) && (list.cut)(context, list.floor.min(1)) {
            mark(context, list.path);
        }
    }
}

fn fits(context: &Context, max_bytes: usize) -> bool {
    size(context) <= max_bytes
}

/// The size that counts: bytes of compact JSON.
pub fn size(context: &Context) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Writing into a counter does not fail, and every key of a context is a text.
    serde_json::to_writer(&mut counter, context).map_or(usize::MAX, |()| counter.0)
}

fn pieces(context: &mut Context) -> impl Iterator<Item = &mut FreightPiece> {
    let freight = &mut context.freight;
    freight.failing.iter_mut().chain(&mut freight.current).chain(&mut freight.candidates)
}

/// Leaves the `keep` steps that matter most, in their order: the one that failed first, then whatever ended badly or
/// runs, then those with an output, then the rest from the first on.
fn cut_steps(promotion: &mut PromotionFacts, failing: Option<&str>, keep: usize) -> bool {
    if promotion.steps.len() <= keep {
        return false;
    }
    let weight = |step: &StepFacts| match step.status.as_deref() {
        _ if failing == Some(step.alias.as_str()) => 0,
        Some("Failed" | "Errored" | "Aborted" | "Running") => 1,
        Some(_) | None if step.output.is_some() => 2,
        Some(_) => 3,
        None => 4,
    };
    let mut order: Vec<(u32, u32)> = promotion.steps.iter().map(|step| (weight(step), step.index)).collect();
    order.sort_unstable();
    let kept: std::collections::BTreeSet<u32> =
        order.into_iter().take(keep).map(|(_, index)| index).collect();
    promotion.steps.retain(|step| kept.contains(&step.index));
    true
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
                was_cut |= shorten(&mut measurement.value, max_bytes);
            }
        }
    }
    was_cut |= shorten(&mut context.failure.summary, max_bytes);
    was_cut |= shorten(&mut context.classification.text, max_bytes);
    for target in &mut context.freight.targets {
        was_cut |= shorten(&mut target.because, max_bytes);
    }
    was_cut |= extra::shorten_values(context, max_bytes);
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
