//! Cuts values of `extra`: those that are lists by whole lines, the others like every text.
//!
//! In: a context. Out: the same with shorter values. A list that lost lines is named `RECORD.extra.KEY` in
//! `truncated`; no value is left with half a line of a list.

use super::{mark, shorten};
use crate::context::{Context, Extra};

/// Lines of one value, at most.
pub(super) const MAX_LINES: usize = 32;

/// Leaves at most `max_lines` lines of each value, at least one.
pub(super) fn to_lines(context: &mut Context, max_lines: usize) {
    let max_lines = max_lines.max(1);
    let mut marks = Vec::new();
    each(context, |record, extra| {
        for (key, value) in extra {
            if let Some((end, _)) = value.match_indices('\n').nth(max_lines - 1) {
                value.truncate(end);
                marks.push(format!("{record}.extra.{key}"));
            }
        }
    });
    marks.iter().for_each(|path| mark(context, path));
}

/// Cuts values of one line; says whether any was longer.
pub(super) fn shorten_values(context: &mut Context, max_bytes: usize) -> bool {
    let mut was_cut = false;
    each(context, |_, extra| {
        for (_, value) in extra.iter_mut().filter(|(_, value)| !value.contains('\n')) {
            was_cut |= shorten(value, max_bytes);
        }
    });
    was_cut
}

/// Every `extra` of the host's own facts, with the name of its record.
fn each(context: &mut Context, mut f: impl FnMut(&'static str, &mut Extra)) {
    f("context", &mut context.extra);
    f("project", &mut context.project.extra);
    f("stage", &mut context.stage.extra);
    if let Some(promotion) = &mut context.promotion {
        f("promotion", &mut promotion.extra);
        promotion.steps.iter_mut().for_each(|step| f("step", &mut step.extra));
    }
    if let Some(verification) = &mut context.verification {
        f("verification", &mut verification.extra);
        verification.metrics.iter_mut().for_each(|metric| f("metric", &mut metric.extra));
    }
    super::pieces(context).for_each(|piece| f("freight", &mut piece.extra));
}
