//! The shapes of secrets, as tables.
//!
//! In: nothing. Out: patterns, each with what replaces it, in the order of their application. What a name announces
//! (`password=`, `Authorization:`) is a table here, too; how far its value reaches is decided in `named`. A pattern has
//! to accept [`MARK`] where a secret was, or a second pass would eat what follows it.

use super::MARK;

/// Tokens that begin with the name of their maker.
const TOKENS: &[&str] = &[
    // Forges: GitHub, GitLab (the prefixes that it lists; `gl` alone begins too many names), Bitbucket, Atlassian.
    r"gh[pousr]_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{16,}",
    r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct|wt)-[A-Za-z0-9_.-]{16,}",
    r"ATBB[A-Za-z0-9]{24,}",
    r"AT[AC]TT3[A-Za-z0-9_=-]{16,}",
    // Registries: npm, Docker, PyPI.
    r"npm_[A-Za-z0-9]{20,}",
    r"dckr_[a-z]{3}_[A-Za-z0-9_-]{16,}",
    r"pypi-AgE[A-Za-z0-9_-]{16,}",
    // Clouds: AWS, EKS, Google, DigitalOcean, Pulumi, Terraform, Vault.
    r"(?:AKIA|ASIA|AGPA|AROA|AIDA|ANPA)[0-9A-Z]{16}\b",
    r"k8s-aws-v1\.[A-Za-z0-9_-]{16,}",
    r"AIza[0-9A-Za-z_-]{35,}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"GOCSPX-[0-9A-Za-z_-]{20,}",
    r"do[opr]_v1_[a-f0-9]{32,}",
    r"pul-[a-f0-9]{40,}",
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    // Messages and watching: Slack, SendGrid, Grafana, Sentry, Linear.
    r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"gl(?:sa|c)_[A-Za-z0-9_+/=-]{16,}",
    r"sntry[su]_[A-Za-z0-9_+/=-]{16,}",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{16,}",
    // Payments and models: Stripe, Anthropic, OpenAI, Hugging Face. `sk-` alone begins names, so it has to be long.
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"whsec_[A-Za-z0-9+/=]{16,}",
    r"sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{16,}",
    r"sk-[A-Za-z0-9]{32,}",
    r"hf_[A-Za-z0-9]{30,}",
    // Keys and what holds them: age, PEM in base64 (certificates stay), Docker's configuration in base64, JWT.
    r"AGE-SECRET-KEY-1[0-9A-Za-z]{20,}",
    r"LS0tLS1CRUdJTi(?:BQUklW|BSU0Eg|BFQyBQ|BPUEVO|BFTkNS|BEU0Eg|BQR1AgUFJ)(?:[A-Za-z0-9+/]|\s+[A-Za-z0-9+/]{60})*={0,2}",
    r"eyJhdXRocyI6[A-Za-z0-9+/]{16,}=*",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*",
];

/// Words that make what follows a name with them a secret.
const WORDS: &str = "password|passwd|passphrase|secret[_-]?key|secret|token|api[_-]?key|access[_-]?key|\
                     private[_-]?key|account[_-]?key|client-key-data|credentials?|signature";

/// Names of HTTP headers, whose values may have spaces.
const HEADERS: &str = "[a-z0-9_.-]*(?:authorization|cookie)|private-token|job-token|deploy-token|\
                       x-[a-z-]*(?:key|token|secret|api)";

/// What follows a scheme of `Authorization` is the secret.
pub(super) const SCHEMES: &str = "basic|bearer|token|negotiate|digest|geniekey|api-?key|ssws|splunk|aws4-hmac-sha256|\
                                  aws|hawk|oauth|ntlm|key|bot|dpop|sharedkey(?:lite)?|signature|privatetoken";

/// What follows a word in a name that is about the secret and not the secret: `secretName`, `token_type`.
pub(super) const ABOUT: &str = "name ref namespace type kind count ttl exp url uri endpoint path file policy len version limit usage \
    budget mount store provider issuer audience scope arn algorithm enabled required exists missing \
    review request keyref iz less smanager";

/// What follows a word in a name and leaves it a secret: `tokens`, `password2`, `secretValue`.
pub(super) const STILL: &str = "s value data base64 b64 hash plain";

/// Values that say that there is none.
pub(super) const NONE: &str = "nil <nil> null none true false undefined ok yes no passed failed skipped";

/// Words that go on with a sentence: "--token is required", `"password": "cannot be empty"`.
pub(super) const PROSE: &str = "and are can can't cannot contains could denied does doesn't either error expired failed flag flags \
    for from has if in invalid is isn't may missing must needs not option or refused rejected required \
    requires should to too via was were when with without";

/// Shapes that show themselves, and what replaces them.
pub(super) fn shapes() -> Vec<(String, &'static str)> {
    let rule = |pattern: &str, with| (pattern.to_owned(), with);
    vec![
        // Private keys in PEM, of SSH2 and of PuTTY, whole or cut off.
        rule(
            r"(?s)-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}.*?(?:-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}|\z)|PuTTY-User-Key-File-[0-9]: .*?(?:Private-MAC: [0-9a-f]*|\z)",
            MARK,
        ),
        // A user name alone may be a token; `git` is only ever the name that SSH wants.
        rule(r#"\b([A-Za-z][A-Za-z0-9+.-]*://)(git@)?(?:[^/\s?#"]+@)?"#, "${1}${2}\u{0}"),
        (format!(r"(?-u:\b)(?:{})", TOKENS.join("|")), MARK),
        // Client secrets and personal access tokens of Azure.
        rule(r"[0-9A-Za-z_~.-]{3}[0-9]Q~[0-9A-Za-z_~.-]{31,}", MARK),
        rule(r"\b[0-9A-Za-z]{76}AZDO[0-9A-Za-z]{4}\b", MARK),
        // Secrets within a URL.
        rule(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9_/-]+", "${1}***"),
        rule(r#"(?i)([?&]sig=)(?:\*\*\*|[^\s&"'<>]+)"#, "${1}***"),
        // Commands that take a password in a short flag.
        rule(
            r#"((?:\bcurl\b[^\n]*?[\s"'](?:-[a-zA-Z]*[uU]|--user)|--proxy-user)[\s=,"'\\]*)(?:\*\*\*|[^\s"':\\]+:/?[^\s"'\\\]/][^\s"'\\\]]*)"#,
            "${1}***",
        ),
        rule(
            r#"(\b(?:(?:docker|podman|nerdctl|buildah|skopeo|oras|helm|az|crane|cosign|regctl)\b[^\n]*?\blogin\b[^\n]*?[\s"']-p|sshpass[\s"',]+-p|redis-cli\b[^\n]*?[\s"']-a)[\s=,"'\\]+)(?:\*\*\*|[^\s"'\\\],-][^\s"'\\\],]*)"#,
            "${1}***",
        ),
        rule(
            r#"(\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n]*?[\s"']-p)(?:\*\*\*|[^\s"'\\\]]+)"#,
            "${1}***",
        ),
    ]
}

/// A name that announces a secret, how it is quoted, and what separates it from its value. A separator that is blank or
/// a comma is one only for a flag (`--token x`, `"--token","x"`); `member` is the value of a variable that is an object.
pub(super) fn names() -> String {
    format!(
        r#"(?i-u)\b(?:(?P<header>{HEADERS})|(?P<name>[a-z0-9_.-]*(?:{WORDS}))(?P<suffix>[a-z0-9_]*)|(?P<weak>(?:[a-z0-9_.-]*[_.-])?(?:pass|pwd)|[a-z0-9_.-]+(?-i:Pass|Pwd))|(?P<auth>auth))(?P<close>\\*["']?)(?:(?P<member>\s*,\s*\\*["']value\\*["']\s*:\s*|(?:\n|\\+n)[ \t]*value:[ \t]*|(?-i: Value:))|(?P<separator>\s*(?::=|=>|=|:)\s*|,\s*|[ \t]+))"#
    )
}

/// What opens a value: a list of JSON, YAML or Go, a quote with any number of backslashes.
pub(super) const OPENER: &str =
    r#"\A(?P<list>(?:\[\](?:string|any|interface ?\{\})?\{|[\[{])\s*)?(?P<quote>\\*["'])?"#;

/// `Bearer` and a word: a secret only if it does not look like prose ("bearer authentication required").
pub(super) const BEARER: &str = r"(?i-u:\b((?:bearer|basic)\s+))([A-Za-z0-9._~+/=$!@#%^&*-]{8,})";

/// The value of `Authorization` after what opens it: perhaps a scheme, a word, parameters.
pub(super) fn authorization() -> String {
    let word = r#"[^\s"',;\\\]}]+"#;
    let parameter = r#"[A-Za-z_-]+=\\*"[^"\\]*\\*""#;
    format!(
        r#"\A(?:(?P<scheme>(?i:{SCHEMES}))[ \t]+)?(?P<first>{parameter}|{word})(?:[ \t]+(?P<second>{word}))?(?P<more>(?:[ \t]*,[ \t]*(?:{parameter}|[A-Za-z_-]+=(?:{word};?)+))*)"#
    )
}
