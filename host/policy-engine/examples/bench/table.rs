//! The table that `make bench` prints: what was measured, what is to be reached, and how far it is.
//!
//! In: rows in the order in which they are to stand. Out: text. The last column is above 1 where the figure is missed.

use std::fmt;

/// Rows under headings.
#[derive(Default)]
pub(crate) struct Table(Vec<Line>);

enum Line {
    Section(String),
    Row { what: &'static str, unit: &'static str, here: f64, to_reach: f64, times: f64 },
    Note { what: &'static str, here: f64 },
}

impl Table {
    pub(crate) fn section(&mut self, title: &str) {
        self.0.push(Line::Section(title.to_owned()));
    }

    /// A figure that should not be higher than `to_reach`.
    pub(crate) fn row(&mut self, what: &'static str, unit: &'static str, here: f64, to_reach: f64) {
        self.0.push(Line::Row { what, unit, here, to_reach, times: here / to_reach });
    }

    /// A ratio that should not be lower than `to_reach`.
    pub(crate) fn row_of_more(&mut self, what: &'static str, here: f64, to_reach: f64) {
        self.0.push(Line::Row { what, unit: "", here, to_reach, times: to_reach / here });
    }

    /// A figure for which nothing is to be reached.
    pub(crate) fn note(&mut self, what: &'static str, here: f64) {
        self.0.push(Line::Note { what, here });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:38}{:>9}{:>10}      {:>6}", "", "here", "to reach", "times")?;
        for line in &self.0 {
            match line {
                Line::Section(title) => writeln!(f, "{title}")?,
                Line::Row { what, unit, here, to_reach, times } => {
                    writeln!(f, "  {what:36}{here:9.2}{to_reach:10.2} {unit:4} {times:6.2}")?;
                }
                Line::Note { what, here } => writeln!(f, "  {what:36}{here:9.0}")?,
            }
        }
        Ok(())
    }
}
