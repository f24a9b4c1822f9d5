//! How one piece of Freight differs from another, artifact by artifact.
//!
//! In: the artifacts of both. Out: a line per artifact that is not the same, and the largest step between versions by
//! SemVer (semver.org 2.0.0), read leniently: a leading `v` and missing minor and patch numbers are fine, because tags
//! are written so. A text that is no version has no step, and none is made up for it.

use crate::context::Artifact;

/// How far apart two versions are, from nearest to farthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bump {
    /// The same.
    None,
    /// Another patch number, pre-release or build.
    Patch,
    /// Another minor number.
    Minor,
    /// Another major number.
    Major,
}

impl Bump {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }
}

/// The difference between two pieces of Freight.
pub(super) struct Difference {
    /// `KIND REPOSITORY FROM -> TO BUMP`, `... added TO` or `... removed FROM`, in the order of the artifacts.
    pub(super) lines: Vec<String>,
    /// The largest step over all artifacts whose versions are SemVer; `None` when something changed and no step is
    /// known.
    pub(super) bump: Option<Bump>,
}

/// What changed from `good` to `failing`.
pub(super) fn between(good: &[Artifact], failing: &[Artifact]) -> Difference {
    let mut rest: Vec<&Artifact> = good.iter().collect();
    let mut lines = Vec::new();
    let mut bumps = Vec::new();
    for to in failing {
        let is_same = |from: &&Artifact| from.kind == to.kind && from.repository == to.repository;
        let what = format!("{} {}", to.kind, to.repository);
        let Some(from) = rest.iter().position(is_same).map(|at| rest.remove(at)) else {
            lines.push(format!("{what} added {}", to.version));
            continue;
        };
        if from.version == to.version {
            continue;
        }
        let step = bump(&from.version, &to.version);
        bumps.extend(step);
        let step = step.map_or("unknown", Bump::text);
        lines.push(format!("{what} {} -> {} {step}", from.version, to.version));
    }
    lines.extend(
        rest.iter().map(|from| format!("{} {} removed {}", from.kind, from.repository, from.version)),
    );
    let bump = if lines.is_empty() { Some(Bump::None) } else { bumps.into_iter().max() };
    Difference { lines, bump }
}

/// The step between two versions; `None` when one of them is no version.
fn bump(from: &str, to: &str) -> Option<Bump> {
    let (from, to) = (Version::parse(from)?, Version::parse(to)?);
    Some(if from.major != to.major {
        Bump::Major
    } else if from.minor != to.minor {
        Bump::Minor
    } else if from == to {
        Bump::None
    } else {
        Bump::Patch
    })
}

#[derive(PartialEq, Eq)]
struct Version<'a> {
    major: u32,
    minor: u32,
    patch: u32,
    rest: &'a str,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut numbers = core.split('.');
        let major = number(numbers.next()?)?;
        let minor = numbers.next();
        let patch = numbers.next();
        // A number alone may be a build number or a date; with more than three there is no saying what they mean.
        if numbers.next().is_some() || minor.is_none() {
            return None;
        }
        Some(Self { major, minor: number(minor?)?, patch: patch.map_or(Some(0), number)?, rest })
    }
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_semver() {
        for (from, to, expected) in [
            ("v1.2.3", "v2.0.0", Some(Bump::Major)),
            ("2.0.0", "v1.9.9", Some(Bump::Major)),
            ("1.2.3", "1.3.0", Some(Bump::Minor)),
            ("1.2", "1.2.1", Some(Bump::Patch)),
            ("1.2.3-rc.1", "1.2.3", Some(Bump::Patch)),
            ("1.2.3+a", "1.2.3+b", Some(Bump::Patch)),
            ("v1.2.3", "1.2.3", Some(Bump::None)),
            ("1.2", "1.2.0", Some(Bump::None)),
            ("17", "18", None),
            ("1.2.3.4", "1.2.3.5", None),
            ("20260101.1", "20260102.1", Some(Bump::Major)),
            ("main", "1.0.0", None),
            ("1.x.0", "1.2.0", None),
            ("", "", None),
            ("99999999999.0.0", "1.0.0", None),
            ("sha256:32ed", "sha256:33ed", None),
        ] {
            assert_eq!(bump(from, to), expected, "{from:?} {to:?}");
        }
    }
}
