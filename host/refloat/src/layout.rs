//! Lines for people: a label in the left margin, text wrapped beside it.
//!
//! In: labels and sentences. Out: text of at most [`WIDTH`] columns that is clear without colour. Long names are
//! never broken, so that they can be copied.

/// Columns of a line: fits the usual terminal and most pages.
const WIDTH: usize = 96;
/// Where the text beside a label begins.
const MARGIN: usize = 14;

/// Text that grows line by line.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    text: String,
}

impl Layout {
    /// A line on its own, wrapped.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.wrapped("", 0, text);
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// `label` in the margin, `text` beside it.
    pub(crate) fn labelled(&mut self, label: &str, text: &str) {
        self.wrapped(&format!("  {label}"), MARGIN, text);
    }

    /// Several texts under one label, each on its own line.
    pub(crate) fn list(&mut self, label: &str, texts: impl IntoIterator<Item = String>) {
        let mut label = label;
        for text in texts {
            self.labelled(label, &text);
            label = "";
        }
    }

    /// The whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn wrapped(&mut self, start: &str, margin: usize, text: &str) {
        let mut line = format!("{start:margin$}");
        let mut is_fresh = true;
        for word in text.split_whitespace() {
            if !is_fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.end_line(&line);
                line = " ".repeat(margin);
                // What follows on the next lines is set in, so that the eye sees where the next text begins.
                line.push_str(if margin > 0 { "  " } else { "" });
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(word);
            is_fresh = false;
        }
        self.end_line(&line);
    }

    fn end_line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}
