//! The error texts in Kargo's Go source, for the test that holds them against the catalogue.
//!
//! In: the folder of the Kargo module. Out: each format string with its place and the step kinds that can write it.
//! Reads what is quoted behind the calls that make errors, and understands no other Go. Keeps nothing.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

/// One format string.
#[derive(Clone, Debug)]
pub struct GoError {
    /// Name of its file.
    pub file: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// The string, with Go's verbs.
    pub text: String,
    /// Step kinds that its file implements; all of Kargo's for a file that several share; none for the engine.
    pub kinds: Vec<String>,
}

impl GoError {
    /// A text that Go could make of it. What is wrapped is left empty.
    pub fn sample(&self) -> String {
        let mut sample = String::new();
        let mut characters = self.text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                sample.push(character);
                continue;
            }
            let verb = characters.by_ref().find(|next| next.is_ascii_alphabetic() || *next == '%');
            match verb {
                Some('w') | None => {}
                Some('q') => sample.push_str("\"x\""),
                Some('d') => sample.push('7'),
                Some('%') => sample.push('%'),
                Some(_) => sample.push('x'),
            }
        }
        sample
    }
}

/// Folders below `pkg` whose errors end up in a Promotion.
const FOLDERS: [&str; 2] = ["pkg/promotion", STEPS];
const STEPS: &str = "pkg/promotion/runner/builtin";

/// All errors of the engine and of the steps.
///
/// # Errors
/// When the folders cannot be read.
pub fn of_steps(module: &Path) -> anyhow::Result<Vec<GoError>> {
    let all: Vec<String> = step_kinds(module)?.into_iter().collect();
    let mut errors = Vec::new();
    for folder in FOLDERS {
        for (file, source) in sources(&module.join(folder))? {
            let own: Vec<String> = kinds(&source).into_iter().collect();
            let kinds = match (folder == STEPS, own.is_empty()) {
                (true, true) => all.clone(),
                (true, false) => own,
                (false, _) => Vec::new(),
            };
            let found = formats(&source).into_iter();
            errors.extend(found.map(|(line, text)| GoError {
                file: file.clone(),
                line,
                text,
                kinds: kinds.clone(),
            }));
        }
    }
    Ok(errors)
}

/// The step kinds that Kargo registers.
///
/// # Errors
/// When the folder cannot be read.
pub fn step_kinds(module: &Path) -> anyhow::Result<BTreeSet<String>> {
    let sources = sources(&module.join(STEPS))?;
    Ok(sources.iter().flat_map(|(_, source)| kinds(source)).collect())
}

fn sources(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_tested = name.ends_with(".go") && !name.ends_with("_test.go") && !name.starts_with("mock_");
        if is_tested {
            sources.push((name, std::fs::read_to_string(&path)?));
        }
    }
    sources.sort();
    Ok(sources)
}

/// `stepKindGitPush = "git-push"`.
fn kinds(source: &str) -> BTreeSet<String> {
    let lines = source.lines().filter_map(|line| line.split_once("stepKind")?.1.split_once("= \""));
    lines.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// Behind which words an error's text stands.
const OPENERS: [&str; 5] =
    ["fmt.Errorf(", "errors.New(", "Err: ", "Message: fmt.Sprintf(", "errorMessage := "];

fn formats(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for opener in OPENERS {
        for (at, _) in source.match_indices(opener) {
            let rest = source.get(at + opener.len()..).unwrap_or_default();
            if let Some(text) = literal(rest) {
                let line = source.get(..at).unwrap_or_default().matches('\n').count() + 1;
                found.push((line, text));
            }
        }
    }
    found.sort();
    found
}

/// The string literal that the text begins with: quoted, in several parts joined by `+`, or raw.
fn literal(text: &str) -> Option<String> {
    let mut rest = text.trim_start();
    if let Some(raw) = rest.strip_prefix('`') {
        return Some(raw.split_once('`')?.0.to_owned());
    }
    let mut whole = None;
    while let Some(quoted) = rest.strip_prefix('"') {
        let (part, behind) = quoted_part(quoted)?;
        whole.get_or_insert_with(String::new).push_str(&part);
        match behind.trim_start().strip_prefix('+') {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    whole
}

fn quoted_part(quoted: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((part, quoted.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => part.push('\n'),
                't' => part.push('\t'),
                other => part.push(other),
            },
            other => part.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read() {
        let source = "x := fmt.Errorf(\n\t\"a %q \"+\n\t\t\"b: %w\", y)\nerrors.New(`raw \"x\"`)\nfmt.Errorf(name, y)\n";
        assert_eq!(formats(source), [(1, "a %q b: %w".to_owned()), (4, "raw \"x\"".to_owned())]);
        let error = GoError { file: String::new(), line: 1, text: "a %q %+v %d%%: %w".into(), kinds: vec![] };
        assert_eq!(error.sample(), "a \"x\" x 7%: ");
        assert_eq!(kinds("const stepKindHTTP = \"http\"\n").into_iter().collect::<Vec<_>>(), ["http"]);
    }
}
