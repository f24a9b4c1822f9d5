//! Rows of git steps and pull request steps.
//!
//! In and out: data for [`super::find`]. Paths are below `pkg/promotion/runner/builtin` and `pkg/controller/git`.

use super::{
    AUTH, CONFIG, CONFLICT, DENIED, DUPLICATE, MERGE, NO_ARTIFACT, PLATFORM, REJECTED, Rule, TRANSIENT,
    UNKNOWN, is, nested, verdict,
};
use crate::failure::{Class, Effect, FaultDomain, Retryability};

pub(super) static RULES: &[Rule] = &[
    // credentials
    is(
        "G1a",
        "git_cloner.go:117",
        r"(?s)\Aerror getting credentials for .*GitHub API returned status (401|403|404|422)",
        AUTH,
    ),
    is(
        "G1b",
        "git_cloner.go:117",
        r"(?is)\Aerror getting credentials for .*(parsing installation ID|invalid key|PEM encoded)",
        CONFIG,
    ),
    nested(
        "G1",
        "git_cloner.go:117",
        r"\Aerror getting credentials for ",
        verdict(Class::Auth, Retryability::NeedsChange, FaultDomain::Platform, 60),
    ),
    is(
        "G14",
        "github_pusher.go:203",
        r"\A(no credentials found for |found SSH key for |credentials for .* are missing a )",
        AUTH,
    ),
    // cloning and work trees
    is(
        "G6",
        "git_cloner.go:138",
        r"(?s)error resolving system git user|error importing gpg key|no valid OpenPGP data",
        CONFIG,
    ),
    is(
        "G3",
        "git_cloner.go:243",
        r"(?s)\A(error ensuring existence of remote branch .*?: )?remote branch .* does not exist; set create=true",
        CONFIG,
    ),
    is(
        "G4r",
        "git_cloner.go:192",
        r"(?s)\Aerror adding work tree .*' already exists",
        verdict(Class::Unknown, Retryability::NeedsChange, FaultDomain::Unknown, 40),
    )
    .when_repeated(),
    is(
        "G4d",
        "git_cloner.go:192",
        r"(?s)\Aerror adding work tree .*(unable to write file|Could not reset index file|No space left)",
        PLATFORM,
    ),
    is("G4a", "git_cloner.go:192", r"(?s)\Aerror adding work tree .*invalid reference: ", NO_ARTIFACT),
    is("G4", "git_cloner.go:192", r"(?s)\Aerror adding work tree ", CONFIG),
    is(
        "G5a",
        "git_cloner.go:199",
        r"(?s)\Aerror updating submodules for worktree .*(not our ref|did not contain [0-9a-f]{40})",
        verdict(Class::Artifact, Retryability::NeedsChange, FaultDomain::Freight, 85),
    ),
    is(
        "G5b",
        "git_cloner.go:199",
        r"(?s)\Aerror updating submodules for worktree .*' not found",
        NO_ARTIFACT,
    ),
    nested("G5", "git_cloner.go:199", r"\Aerror updating submodules for worktree ", UNKNOWN),
    is("G12", "git_pusher.go:131", r"\Aerror loading working tree from ", CONFIG),
    nested(
        "G13",
        "git_commiter.go:83",
        r"\A(error committing to working tree|error adding all changes)",
        verdict(Class::Internal, Retryability::WholeOnly, FaultDomain::Unknown, 40),
    ),
    is(
        "P1a",
        "git_pr_opener.go:137",
        r"(?s)\Aerror cloning .*Remote branch .* not found in upstream origin",
        CONFIG,
    )
    .of(&["git-open-pr"]),
    nested(
        "G2",
        "git_cloner.go:157",
        r"\A(error cloning |error ensuring existence of remote branch )",
        UNKNOWN,
    ),
    // pushing
    is("G8", "git/errors.go:21", r"\Amerge conflict\z", MERGE),
    is("G9", "git/errors.go:10", r"\Arebase is unsafe and policy prohibits merge fallback", DENIED),
    is(
        "G8a",
        "git/work_tree.go:513",
        r"(?s)\Aerror pushing commits to remote: error pulling and rebasing branch: .*(CONFLICT \(|unresolved conflict|unmerged files|Could not apply )",
        MERGE,
    ),
    is(
        "G8b",
        "git/work_tree.go:513",
        r"(?s)\Aerror pushing commits to remote: error pushing branch: .*invalid refspec 'HEAD:'",
        MERGE,
    )
    .when_repeated(),
    is(
        "G10a",
        "git/work_tree.go:850",
        r"(?s)\Aerror pushing commits to remote: error pushing branch: .*invalid refspec ",
        CONFIG,
    ),
    is(
        "G7",
        "git/work_tree.go:848",
        r"\Aerror pushing commits to remote: error pushing branch: non-fast-forward",
        verdict(Class::Conflict, Retryability::WholeOnly, FaultDomain::Environment, 75),
    ),
    is(
        "G11",
        "git/work_tree.go:821",
        r"(?s)\A(error pushing commits to remote: error pushing tag: .*(already exists|does not match any)|error creating tag .*(not a valid tag name|already exists))",
        CONFIG,
    ),
    is(
        "G15p",
        "github_pusher.go:769",
        r"(?is)\Aerror pushing commits to remote: error updating .*(rule violations|protected)",
        DENIED,
    ),
    is(
        "G15",
        "github_pusher.go:524",
        r"(?s)\Aerror pushing commits to remote: (.*\(not a fast forward\)|source branch is behind|source and target branches have diverged)",
        CONFLICT,
    ),
    is("G16", "github_pusher.go:546", r"commit range .* exceeds the configured maximum", CONFIG),
    nested("G10", "git/work_tree.go:850", r"\Aerror pushing commits to remote: ", UNKNOWN),
    nested("G11n", "git_tagger.go:83", r"\Aerror creating tag ", CONFIG),
    // pull requests
    is(
        "P0",
        "git_pr_opener.go:112",
        r"\Aerror creating git provider service: no registered providers for ",
        CONFIG,
    ),
    is("P1", "git_pr_opener.go:203", r#"\Atarget branch ".*" does not exist"#, CONFIG),
    is("P2l", "git_pr_opener.go:275", r"\Aerror creating pull request: .*/labels: \d{3} ", CONFIG)
        .with_effect(Effect::Partial),
    is(
        "P2e",
        "git_pr_opener.go:275",
        r"(?is)\Aerror creating pull request: .*(pull|merge) request already exists",
        DUPLICATE,
    ),
    is(
        "P2m",
        "git_pr_opener.go:275",
        r"\A(error creating pull request|error getting pull request \d+): \s*\z",
        verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Environment, 40),
    ),
    nested(
        "P2",
        "git_pr_opener.go:166",
        r"\A(error creating pull request: |error determining if pull request already exists: |error creating git provider service: )",
        UNKNOWN,
    ),
    is("P3", "git_pr_waiter.go:144", r"\Apull request \d+ was closed without being merged", REJECTED),
    nested("P4", "git_pr_waiter.go:123", r"\Aerror getting pull request \d+: ", UNKNOWN),
    // Merged already, only the answer was lost: repeating would find a merged pull request.
    is(
        "P8a",
        "git_pr_merger.go:138",
        r"\Aerror merging pull request \d+: error getting pull request \d+ after merge: ",
        verdict(Class::Transient, Retryability::Unknown, FaultDomain::Environment, 70),
    )
    .with_effect(Effect::Complete),
    is(
        "P6",
        "gitprovider/github/github.go:351",
        r"\Aerror merging pull request \d+: .*(is closed but not merged|is abandoned)",
        REJECTED,
    ),
    is(
        "P6a",
        "gitprovider/github/github.go:351",
        r"(?i)\Aerror merging pull request \d+: error getting pull request \d+: .*\b(404 )?not found",
        verdict(Class::NotFound, Retryability::Never, FaultDomain::Human, 85),
    ),
    is(
        "P5",
        "gitprovider/github/github.go:377",
        r"\Aerror merging pull request \d+: .*has conflicts and cannot be merged",
        MERGE,
    ),
    is(
        "P7c",
        "gitprovider/github/github.go:434",
        r"(?i)\Aerror merging pull request \d+: .*(unsupported merge method|merges are not allowed)",
        CONFIG,
    ),
    is(
        "P7m",
        "gitprovider/gitlab/gitlab.go:249",
        r"(?i)\Aerror merging pull request \d+: .*method not allowed",
        verdict(Class::PolicyDenied, Retryability::AfterDelay, FaultDomain::Configuration, 60),
    ),
    is(
        "P7",
        "gitprovider/github/github.go:434",
        r"\Aerror merging pull request \d+: merge rejected",
        verdict(Class::PolicyDenied, Retryability::NeedsChange, FaultDomain::Configuration, 70),
    ),
    nested("P8", "git_pr_merger.go:138", r"\Aerror merging pull request \d+: ", UNKNOWN),
    is(
        "P9",
        "git_pr_merger.go:157",
        r"\Apull request \d+ is not ready to merge and wait is disabled",
        verdict(Class::PolicyDenied, Retryability::AfterDelay, FaultDomain::Configuration, 70),
    ),
    nested(
        "G17",
        "github_pusher.go:600",
        r"\A(error comparing commits |error creating commit|error getting ref )",
        TRANSIENT,
    ),
];
