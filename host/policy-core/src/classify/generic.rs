//! Rules on texts that Kargo only passes on: what git, forges, registries, Helm and Go's network code say.
//!
//! In: the nested text. Out: the first rule that matches. Ordered data; third-party texts may change, so none of
//! these is as sure as a row of [`super::rules`]. Numbers count only where they stand for an HTTP status: commit
//! hashes, ports and sizes are full of them.

use std::sync::LazyLock;

use regex::Regex;

use super::rules::Verdict;
use crate::failure::{Class, FaultDomain, Retryability};

/// One rule: it matches when its pattern is found or the HTTP status in the text lies in a range.
#[derive(Debug)]
pub struct Generic {
    /// Its name in records.
    pub id: &'static str,
    /// What it means.
    pub verdict: &'static Verdict,
}

struct Row {
    rule: Generic,
    pattern: &'static str,
    statuses: &'static [(u16, u16)],
}

const fn row(
    id: &'static str,
    pattern: &'static str,
    statuses: &'static [(u16, u16)],
    verdict: &'static Verdict,
) -> Row {
    Row { rule: Generic { id, verdict }, pattern, statuses }
}

const fn verdict(class: Class, retry: Retryability, fault: FaultDomain, confidence: u8) -> Verdict {
    Verdict { class, retry, fault, confidence }
}

const QUOTA: Verdict = verdict(Class::Quota, Retryability::AfterDelay, FaultDomain::Environment, 80);
const DEPLOY_FAILED: Verdict =
    verdict(Class::DeployFailed, Retryability::NeedsChange, FaultDomain::Freight, 70);
const DENIED: Verdict =
    verdict(Class::PolicyDenied, Retryability::NeedsChange, FaultDomain::Configuration, 85);
const AUTH: Verdict = verdict(Class::Auth, Retryability::NeedsChange, FaultDomain::Configuration, 80);
const CONFIG: Verdict = verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Configuration, 70);
const MERGE: Verdict = verdict(Class::MergeConflict, Retryability::WholeOnly, FaultDomain::Environment, 80);
const CONFLICT: Verdict = verdict(Class::Conflict, Retryability::WholeOnly, FaultDomain::Environment, 75);
const DUPLICATE: Verdict =
    verdict(Class::Conflict, Retryability::NeedsChange, FaultDomain::Configuration, 75);
const EXPIRED: Verdict = verdict(Class::Config, Retryability::AfterDelay, FaultDomain::Environment, 70);
const TIMEOUT: Verdict = verdict(Class::Timeout, Retryability::AfterDelay, FaultDomain::Environment, 75);
const TRANSIENT: Verdict = verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Environment, 75);
const PLATFORM: Verdict = verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Platform, 75);
const NOT_FOUND: Verdict =
    verdict(Class::NotFound, Retryability::NeedsChange, FaultDomain::Configuration, 70);
const NO_ARTIFACT: Verdict = verdict(Class::NotFound, Retryability::NeedsChange, FaultDomain::Freight, 70);
const ARTIFACT: Verdict = verdict(Class::Artifact, Retryability::NeedsChange, FaultDomain::Freight, 70);
const CAPABILITY: Verdict = verdict(Class::Capability, Retryability::NeedsChange, FaultDomain::Platform, 85);
const HTML: Verdict = verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Environment, 50);

/// In order; the first match wins (failure-strategies.md 4.5 as corrected by kargo-step-failures.md 3).
static ROWS: &[Row] = &[
    // A limit often comes as 403, and Kargo's webhook clients wrap refusals: both before anything about 403.
    row(
        "g-quota",
        r"(?i)rate limit|secondary rate|too many requests|TOOMANYREQUESTS|RESOURCE_EXHAUSTED|quota exceeded",
        &[(429, 429)],
        &QUOTA,
    ),
    row("g-webhook-down", r"failed calling webhook|failed to call webhook", &[], &PLATFORM),
    row(
        "g-admission",
        r"(?i)denied the request|field is immutable|invalid value|exceeded quota: |spec\.\S*: required",
        &[],
        &DEPLOY_FAILED,
    ),
    row(
        "g-policy",
        r"(?i)protected branch|\bGH006\b|\bGH013\b|hook declined|rule violations|pack exceeds maximum allowed size|not allowed to push",
        &[],
        &DENIED,
    ),
    row("g-capability", r"executable file not found in \$PATH", &[], &CAPABILITY),
    row("g-tls-expired", r"(?i)certificate has expired", &[], &EXPIRED),
    row(
        "g-tls",
        r"(?i)x509|certificate|SSL routines|SSL: |does not look like a TLS handshake|server gave HTTP response to HTTPS client",
        &[],
        &CONFIG,
    ),
    row(
        "g-ssh-setup",
        r"\.ssh/config: No such file or directory|(?i)host key verification failed",
        &[],
        &CONFIG,
    ),
    row("g-html", r"invalid character '<'", &[], &HTML),
    row(
        "g-authn",
        r"(?i)authentication failed|could not read username|could not read password|invalid credentials|invalid username|\bUNAUTHORIZED\b|bad credentials|token .{0,20}expired|permission denied \(publickey|authentication required",
        &[(401, 401), (407, 407)],
        &AUTH,
    ),
    row(
        "g-authz",
        r"\bDENIED\b|(?i:\bforbidden\b|resource not accessible|not authorized|is not permitted|should have permission|archived so it is read-only|permission to .{1,80} denied)",
        &[(403, 403)],
        &AUTH,
    ),
    row(
        "g-merge-conflict",
        r"CONFLICT \(|(?i:merge conflict|has conflicts|unresolved conflict|unmerged files)",
        &[],
        &MERGE,
    ),
    row("g-ref-blocked", r"(?i)' exists; cannot create|unable to create '\S+\.lock'", &[], &CONFIG),
    row("g-duplicate", r"(?i)already exists([^:]|\z)", &[(409, 409)], &DUPLICATE),
    row(
        "g-conflict",
        r"(?i)non-fast-forward|fetch first|is at [0-9a-f]{7,64} but expected|incorrect old value|the object has been modified|base branch was modified|head branch was modified|have diverged",
        &[],
        &CONFLICT,
    ),
    row("g-disk-remote", r"(?is)remote: .*no space left on device", &[], &TRANSIENT),
    row(
        "g-disk",
        r"(?i)no space left on device|read-only file system|failed to write new configuration file|unable to write file|could not reset index file|cannot allocate memory|OOMKilled|died of signal|signal: killed",
        &[],
        &PLATFORM,
    ),
    row(
        "g-timeout",
        r"(?i)operation too slow|context deadline exceeded|Client\.Timeout|hit \d+s timeout|TLS handshake timeout",
        &[],
        &TIMEOUT,
    ),
    row(
        "g-bad-request",
        r"(?i)malformed HTTP|stopped after \d+ redirects|unsupported protocol|is not a git command|remote helper|invalid refspec|invalid URL|validation failed|invalid reference format|no commits between",
        &[(400, 400), (405, 406), (411, 422)],
        &CONFIG,
    ),
    row(
        "g-network",
        r"(?i)no such host|could not resolve host|couldn't connect to server|connection (refused|reset|timed out)|i/o timeout|empty reply from server|unexpected disconnect|hung up unexpectedly|broken pipe|network is unreachable|no route to host|RPC failed|early EOF|unexpected EOF|: EOF\b|server misbehaving|service unavailable|bad gateway|gateway time-?out|internal server error|etcdserver|leader changed|try again|temporarily unavailable",
        &[(408, 408), (425, 425), (500, 599)],
        &TRANSIENT,
    ),
    row(
        "g-artifact",
        r"(?i)not our ref|did not contain [0-9a-f]{40}|BLOB_UNKNOWN|error verifying sha256",
        &[],
        &ARTIFACT,
    ),
    row(
        "g-no-artifact",
        r"(?i)MANIFEST_UNKNOWN|NAME_UNKNOWN|invalid reference: |can't get a valid version|chart not found in repo|could not download .*not found",
        &[],
        &NO_ARTIFACT,
    ),
    row(
        "g-not-found",
        r"(?i)repository not found|not found|couldn't find remote ref|could not find remote branch|does not exist|no matches for kind|does not appear to be a git repository",
        &[(404, 404), (410, 410)],
        &NOT_FOUND,
    ),
    // git killed by the system leaves nothing but what it said at the beginning.
    row("g-killed", r"Cloning into (bare repository )?'[^']*'\.\.\.\s*\z", &[], &PLATFORM),
];

static PATTERNS: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| ROWS.iter().map(|row| Regex::new(row.pattern).ok()).collect());

/// Where forges, registries, Helm, curl and Go clients put the number of an HTTP answer.
static STATUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:https?://[^\s"]+"? ?: |returned error: |status code:? |returned status |api error: |with status |response status |HTTP )(\d{3})\b"#,
    )
    .ok()
});

/// The first rule that matches.
pub fn find(step_kind: Option<&str>, text: &str) -> Option<&'static Generic> {
    let status = status(text);
    let mut rows = ROWS.iter().zip(PATTERNS.iter());
    let (row, _) = rows.find(|(row, pattern)| {
        let in_range = status
            .is_some_and(|status| row.statuses.iter().any(|(low, high)| (*low..=*high).contains(&status)));
        in_range || pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    })?;
    // What a registry or a download does not have is what was to be delivered.
    let fetches_artifacts = matches!(step_kind, Some("oci-download" | "oci-push" | "http-download"));
    Some(if fetches_artifacts && row.rule.id == "g-not-found" { &FETCHED } else { &row.rule })
}

static FETCHED: Generic = Generic { id: "g-no-artifact", verdict: &NO_ARTIFACT };

fn status(text: &str) -> Option<u16> {
    STATUS.as_ref()?.captures(text)?.get(1)?.as_str().parse().ok()
}

/// Ids of all generic rules, for tests and documentation.
pub fn ids() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.rule.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for (row, pattern) in ROWS.iter().zip(PATTERNS.iter()) {
            assert!(pattern.is_some(), "{}", row.rule.id);
        }
        assert!(STATUS.is_some());
    }
}
