//! The catalogue: what each text that a failed step can carry means.
//!
//! In: the kind of step and its unwrapped message. Out: the row that decides. Rows are data, in the files of the
//! folder beside this one, one folder per Kargo minor, and in files that a platform team adds ([`Catalogue::with`]).
//! Two lists, each tried from its top: rows on Kargo's own words say where it happened and often why; where they do
//! not, nested rows read what Kargo only passed on. Never looks at Kargo's Failed and Errored.

mod document;
mod negated;
mod quoted;
mod status;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::unwrap::Unwrapped;
use crate::failure::{Class, Effect, FaultDomain, Retryability};

pub use document::BadRules;

/// The Kargo minor whose texts the built-in rows were read from and tested on.
pub const KARGO: &str = "v1.11";

/// In the order in which they are tried.
const BUILT_IN: [(&str, &str); 11] = [
    ("engine.yaml", include_str!("catalogue/v1_11/engine.yaml")),
    ("git.yaml", include_str!("catalogue/v1_11/git.yaml")),
    ("pull-requests.yaml", include_str!("catalogue/v1_11/pull-requests.yaml")),
    ("argocd.yaml", include_str!("catalogue/v1_11/argocd.yaml")),
    ("http.yaml", include_str!("catalogue/v1_11/http.yaml")),
    ("registry.yaml", include_str!("catalogue/v1_11/registry.yaml")),
    ("charts.yaml", include_str!("catalogue/v1_11/charts.yaml")),
    ("files.yaml", include_str!("catalogue/v1_11/files.yaml")),
    ("objects.yaml", include_str!("catalogue/v1_11/objects.yaml")),
    ("results.yaml", include_str!("catalogue/v1_11/results.yaml")),
    ("nested.yaml", include_str!("catalogue/v1_11/nested.yaml")),
];

/// Class, retryability, fault domain, and how sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What kind of failure.
    pub class: Class,
    /// Whether repeating may help.
    pub retry: Retryability,
    /// Who or what is to blame.
    pub fault: FaultDomain,
    /// 0 to 100.
    pub confidence: u8,
}

/// One text and what it means. All conditions that are given have to hold.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name in records.
    pub id: String,
    /// The file of Kargo that writes the text; `-` or nothing for texts that Kargo passes on.
    pub source: String,
    /// Step kinds that it applies to; empty means all.
    pub steps: Vec<String>,
    line: u64,
    begins: Option<Regex>,
    text: Option<Regex>,
    without: Option<Regex>,
    status: Vec<(u16, u16)>,
    /// Whether it counts only where words of Kargo's before it say that an operation of the step failed, or only where
    /// none do; `None` in both places.
    behind_kargo: Option<bool>,
    repeated: bool,
    answered: Answered,
    /// What it means.
    pub verdict: Verdict,
    /// What the text itself says about changes outside; `Unknown` when it says nothing.
    pub effect: Effect,
}

/// Who says what a row means.
#[derive(Clone, Copy, Debug)]
enum Answered {
    /// The row.
    Here,
    /// The nested rows, and the row when they say nothing. `here` is who is to blame where they blame the
    /// environment: Kargo's own API server is no foreign one.
    ByNested { here: Option<FaultDomain> },
}

/// What a text was found to mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The row, or both rows joined by `/`.
    pub(super) rule: String,
    /// What they say.
    pub(super) verdict: Verdict,
    /// What the text says about changes outside.
    pub(super) effect: Effect,
}

/// All rows, in order. A copy shares them: what their patterns remember of matching is dear to make.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    rows: Vec<Arc<Row>>,
    nested: Vec<Arc<Row>>,
    /// SHA-256 over the files that were added, each with what it was added to, in hexadecimal digits.
    added: Option<String>,
}

/// How many hexadecimal digits of the digest are shown: enough to tell files apart, few enough to compare by eye.
const SHOWN_DIGITS: usize = 12;

static SHARED: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read_built_in().unwrap_or_default());

impl Catalogue {
    /// What this host knows by itself.
    pub fn built_in() -> &'static Self {
        &SHARED
    }

    /// A catalogue that knows nothing is a safe one: everything is unknown. A test makes sure that it never happens.
    fn read_built_in() -> Result<Self, BadRules> {
        let mut all = Self::default();
        for (_, text) in BUILT_IN {
            let (rows, nested) = document::read(text)?;
            all.rows.extend(rows.into_iter().map(Arc::new));
            all.nested.extend(nested.into_iter().map(Arc::new));
        }
        Ok(all)
    }

    /// The catalogue with a file of rules before its own, so that they are tried first.
    ///
    /// # Errors
    /// What is wrong with the file, with its line; an id that exists already counts as wrong.
    pub fn with(&self, text: &str) -> Result<Self, BadRules> {
        let (rows, nested) = document::read(text)?;
        let mut ids: BTreeSet<&str> = self.ids().collect();
        for row in rows.iter().chain(&nested) {
            if !ids.insert(&row.id) {
                let problem = format!("there is a row `{}` already", row.id);
                return Err(BadRules { line: row.line, problem });
            }
        }
        let before_own = |rows: Vec<Row>, own: &[Arc<Row>]| -> Vec<Arc<Row>> {
            rows.into_iter().map(Arc::new).chain(own.iter().cloned()).collect()
        };
        let (rows, nested) = (before_own(rows, &self.rows), before_own(nested, &self.nested));
        let before = self.added.as_deref().unwrap_or_default();
        let added = hex::encode(Sha256::digest(format!("{before}\n{text}")));
        Ok(Self { rows, nested, added: Some(added) })
    }

    /// Which rules these are, for contexts and records: the Kargo minor of the built-in ones, and the beginning of the
    /// digest of what a platform team added, such as `v1.11+sha256:0f3c5a9b1d22`.
    pub fn version(&self) -> String {
        match &self.added {
            Some(digest) => {
                let shown: String = digest.chars().take(SHOWN_DIGITS).collect();
                format!("{KARGO}+sha256:{shown}")
            }
            None => KARGO.to_owned(),
        }
    }

    /// All rows, those on Kargo's own words first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain(&self.nested).map(Arc::as_ref)
    }

    /// Ids of all rows.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rows().map(|row| row.id.as_str())
    }

    /// What a message means; `None` when no row knows it.
    ///
    /// Nested rows do not see the words of the row that asks them: `error determining if pull request already
    /// exists: ` is no duplicate.
    pub(super) fn find(&self, step_kind: Option<&str>, message: &Unwrapped<'_>) -> Option<Found> {
        let status = status::find(message.text);
        let asked = Asked { step_kind, text: message.text, attempts: message.attempts, status, behind: true };
        let Some(row) = self.rows.iter().map(Arc::as_ref).find(|row| row.matches(&asked)) else {
            // What a Stage says about its health is Kargo's own word, whatever it begins with.
            let behind = step_kind == Some(super::HEALTH);
            let nested = self.nested_row(step_kind, message.text, message.attempts, behind)?;
            return Some(Found { rule: nested.id.clone(), verdict: nested.verdict, effect: nested.effect });
        };
        let own = Found { rule: row.id.clone(), verdict: row.verdict, effect: row.effect };
        let Answered::ByNested { here } = row.answered else { return Some(own) };
        let Some(nested) = self.nested_row(step_kind, row.behind(message.text), message.attempts, true)
        else {
            return Some(own);
        };
        // A nested row that only knows what it is not leaves the word to the row that asks, unless that is a milder one.
        let is_silent = nested.verdict.class == Class::Unknown && row.verdict.retry >= nested.verdict.retry;
        Some(Found {
            rule: format!("{}/{}", row.id, nested.id),
            verdict: if is_silent { row.verdict } else { nested.verdict.at(here) },
            effect: if row.effect == Effect::Unknown { nested.effect } else { row.effect },
        })
    }

    /// `behind` says whether words of Kargo's stand before the text.
    fn nested_row(
        &self,
        step_kind: Option<&str>,
        text: &str,
        attempts: Option<u32>,
        behind: bool,
    ) -> Option<&Row> {
        let words = quoted::words(text);
        let words = if behind { words } else { negated::to_the_point(&words).into_owned().into() };
        let text = &negated::left_out(&words);
        let asked = Asked { step_kind, text, attempts, status: status::find(text), behind };
        self.nested.iter().map(Arc::as_ref).find(|row| row.matches(&asked))
    }

    /// What a text means that somebody else than a step passed on, by the nested rows alone.
    pub(super) fn quoted(&self, text: &str) -> Option<Verdict> {
        self.nested_row(None, text, None, true).map(|row| row.verdict)
    }

    /// The row that is about texts of Kargo that begin like this one, whatever it says about them and however often
    /// the step was tried. Rows about all texts of a step kind claim none. For the test that holds Kargo's source
    /// against the rows.
    pub fn claims(&self, step_kind: Option<&str>, text: &str) -> Option<&str> {
        let asked = Asked { step_kind, text, attempts: Some(2), status: None, behind: true };
        let mut rows = self.rows.iter().filter(|row| row.begins.is_some() || row.text.is_some());
        rows.find(|row| row.matches(&asked)).map(|row| row.id.as_str())
    }
}

impl Verdict {
    /// The verdict where the environment is `here`: a lost race stays one.
    fn at(self, here: Option<FaultDomain>) -> Self {
        match here {
            Some(fault) if self.fault == FaultDomain::Environment && self.class != Class::Conflict => {
                Self { fault, ..self }
            }
            Some(_) | None => self,
        }
    }
}

/// What the rows are asked about.
struct Asked<'a> {
    step_kind: Option<&'a str>,
    text: &'a str,
    attempts: Option<u32>,
    status: Option<u16>,
    behind: bool,
}

impl Row {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let text = asked.text;
        let found = |pattern: &Option<Regex>| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        let of_kind = self.steps.is_empty()
            || asked.step_kind.is_some_and(|kind| self.steps.iter().any(|step| step == kind));
        let often_enough = !self.repeated || asked.attempts.is_some_and(|attempts| attempts > 1);
        let in_range = |status: u16| self.status.iter().any(|(low, high)| (*low..=*high).contains(&status));
        of_kind
            && often_enough
            && self.behind_kargo.is_none_or(|behind| behind == asked.behind)
            && (self.status.is_empty() || asked.status.is_some_and(in_range))
            && found(&self.begins)
            && found(&self.text)
            && self.without.as_ref().is_none_or(|pattern| !pattern.is_match(text))
    }

    /// What stands behind the words that the row begins with.
    fn behind<'a>(&self, text: &'a str) -> &'a str {
        let end = self.begins.as_ref().and_then(|begins| begins.find(text)).map_or(0, |found| found.end());
        text.get(end..).unwrap_or(text)
    }
}

/// What a class means for repeating when nothing else is said.
pub(super) fn retryability_of(class: Class) -> Retryability {
    match class {
        Class::Transient | Class::Quota | Class::Timeout => Retryability::AfterDelay,
        Class::Conflict | Class::MergeConflict | Class::Stalled => Retryability::WholeOnly,
        Class::Auth
        | Class::Config
        | Class::NotFound
        | Class::Artifact
        | Class::PolicyDenied
        | Class::Capability => Retryability::NeedsChange,
        Class::DeployFailed
        | Class::Unhealthy
        | Class::VerificationFailed
        | Class::UnhealthyAfterSuccess
        | Class::HumanRejected
        | Class::HumanTimeout
        | Class::UserAbort
        | Class::RollbackFailed => Retryability::Never,
        Class::VerificationInconclusive | Class::VerificationError | Class::Internal | Class::Unknown => {
            Retryability::Unknown
        }
    }
}

/// Who is to blame for a class when nothing else is said.
pub(super) fn fault_of(class: Class) -> FaultDomain {
    match class {
        Class::Transient | Class::Conflict | Class::MergeConflict | Class::Quota | Class::Timeout => {
            FaultDomain::Environment
        }
        Class::Auth | Class::Config | Class::NotFound | Class::PolicyDenied => FaultDomain::Configuration,
        Class::HumanRejected | Class::HumanTimeout | Class::UserAbort => FaultDomain::Human,
        Class::Capability | Class::Internal => FaultDomain::Platform,
        // A step may raise suspicion against the Freight; it proves nothing.
        Class::Artifact
        | Class::DeployFailed
        | Class::Unhealthy
        | Class::VerificationFailed
        | Class::VerificationInconclusive
        | Class::VerificationError
        | Class::UnhealthyAfterSuccess
        | Class::Stalled
        | Class::RollbackFailed
        | Class::Unknown => FaultDomain::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_be_read() {
        for (name, text) in BUILT_IN {
            assert_eq!(document::read(text).map(|_| ()), Ok(()), "{name}");
        }
        let mut ids = BTreeSet::new();
        for row in Catalogue::built_in().rows() {
            assert!(ids.insert(&row.id), "{} twice", row.id);
        }
        assert!(ids.len() > 150, "only {}", ids.len());
        let rows = Catalogue::built_in().rows.iter();
        let without_source: Vec<_> = rows.filter(|row| row.source.is_empty()).map(|row| &row.id).collect();
        assert!(without_source.is_empty(), "{without_source:?}");
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        for (text, line, problem) in [
            ("rows:\n- id: T1\n  text: ['a(']\n  class: config", 3, "bad pattern"),
            ("rows:\n- id: T1\n  text: [a]\n  class: nonsense", 4, "nonsense"),
            ("rows:\n- id: T1\n  words: [a]\n  class: config", 3, "words"),
            ("rows:\n- id: T1\n  class: config", 2, "matches everything"),
            ("rows:\n- id: T1\n  text: [a]", 2, "says nothing"),
            ("rows:\n- id: G7\n  text: [a]\n  class: config", 2, "already"),
            ("rows:\n- id: a b\n  text: [a]\n  class: config", 2, "`id`"),
            ("rows:\n- id: T1\n  status: [4o4]\n  class: config", 3, "`status`"),
            ("rows:\n- id: T1\n  text: [a]\n  class: config\n  confidence: 101", 5, "at most 100"),
            ("nested:\n- id: T1\n  text: [a]\n  nested: true", 2, "nested"),
            ("rows:\n- id: T1\n  text: [a]\n  class: config\n  behindKargo: true", 2, "`behindKargo`"),
            ("rows: [", 1, ""),
            ("- a", 1, ""),
        ] {
            let refused = Catalogue::built_in().with(text).map(|_| ()).expect_err(text);
            assert_eq!(refused.line, line, "{text}: {refused}");
            assert!(refused.problem.contains(problem), "{text}: {refused}");
        }
    }

    #[test]
    fn the_version_says_what_was_added() {
        let one = "rows:\n- id: T1\n  text: [a]\n  class: config";
        let two = "rows:\n- id: T2\n  text: [b]\n  class: config";
        let with = |texts: &[&str]| {
            let mut all = Catalogue::built_in().clone();
            for text in texts {
                all = all.with(text).expect("a good file");
            }
            all.version()
        };
        let versions = [with(&[]), with(&[one]), with(&[two]), with(&[one, two]), with(&[two, one])];
        assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), versions.len(), "{versions:?}");
        assert_eq!(with(&[one]), with(&[one]));
        assert_eq!(versions[0], KARGO);
    }

    #[test]
    fn added_rows_come_first() {
        let text = "rows:\n- id: T1\n  steps: [acme-deploy]\n  text: ['canary score \\d+ is below']\n  \
                    class: verification-failed\n  faultDomain: freight";
        let catalogue = Catalogue::built_in().with(text).expect("a good file");
        let message = Unwrapped { text: "canary score 61 is below 75", attempts: None, is_terminal: false };
        let found = catalogue.find(Some("acme-deploy"), &message).expect("a row");
        assert_eq!((found.rule.as_str(), found.verdict.fault), ("T1", FaultDomain::Freight));
        assert_ne!(catalogue.find(Some("http"), &message).map(|found| found.rule), Some("T1".to_owned()));
    }
}
