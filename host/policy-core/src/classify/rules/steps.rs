//! Rows of all other steps: Argo CD, HTTP, OCI, Helm, kustomize, files, metadata.
//!
//! In and out: data for [`super::find`]. Paths are below `pkg/promotion/runner/builtin`; `-` stands for texts of
//! libraries that Kargo passes on without words of its own.

use super::{
    ARTIFACT, AUTH, CAPABILITY, CONFIG, DENIED, DUPLICATE, NO_ARTIFACT, NOT_FOUND, PLATFORM, QUOTA, Rule,
    TRANSIENT, UNKNOWN, is, nested, verdict,
};
use crate::failure::{Class, FaultDomain, Retryability};

const FILES: &[&str] = &[
    "copy",
    "delete",
    "tar",
    "untar",
    "file-write",
    "json-parse",
    "json-update",
    "toml-parse",
    "toml-update",
    "yaml-merge",
    "yaml-parse",
    "yaml-update",
    "hcl-update",
];
const HELM: &[&str] = &["helm-template", "helm-update-chart"];
const OCI: &[&str] = &["oci-download", "oci-push"];
const HTTP: &[&str] = &["http", "http-download"];

/// What came was not what was asked for, such as a login page: worth one more try.
const GARBLED: super::Verdict =
    verdict(Class::Artifact, Retryability::AfterDelay, FaultDomain::Environment, 70);

pub(super) static RULES: &[Rule] = &[
    is("D1", "-", r"(?i)no space left on device|read-only file system", PLATFORM).of(FILES),
    is("D2", "-", r"(?i): write \S+: no space left on device", PLATFORM),
    // http and http-download
    is("H2q", "http_requester.go:149", r"\AHTTP \(429\) response met failure criteria", QUOTA),
    is("H2t", "http_requester.go:149", r"\AHTTP \((408|425|5\d\d)\) response met failure criteria", verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Environment, 70)),
    is("H2a", "http_requester.go:149", r"\AHTTP \((401|403)\) response met failure criteria", AUTH),
    is("H2n", "http_requester.go:149", r"\AHTTP \((404|410)\) response met failure criteria", verdict(Class::NotFound, Retryability::NeedsChange, FaultDomain::Environment, 70)),
    is("H2", "http_requester.go:149", r"\AHTTP \(\d+\) response met failure criteria", verdict(Class::DeployFailed, Retryability::Unknown, FaultDomain::Unknown, 40)),
    is("H6q", "http_downloader.go:220", r"\AHTTP request failed with status 429", QUOTA),
    is("H6t", "http_downloader.go:220", r"\AHTTP request failed with status (408|425|5\d\d)", TRANSIENT),
    is("H6a", "http_downloader.go:220", r"\AHTTP request failed with status (401|403|407)", AUTH),
    is("H6n", "http_downloader.go:220", r"\AHTTP request failed with status (404|410)", NO_ARTIFACT),
    is("H6", "http_downloader.go:220", r"\AHTTP request failed with status ", CONFIG),
    is("H1l", "http_requester.go:113", r"connections to link-local addresses are not permitted", verdict(Class::PolicyDenied, Retryability::Never, FaultDomain::Configuration, 90)).of(HTTP),
    nested("H1", "http_requester.go:113", r"\Aerror sending HTTP request: ", UNKNOWN),
    is("H3", "http_requester.go:217", r"error compiling \w+ expression", CONFIG).of(HTTP),
    is("H4", "http_requester.go:209", r"did not evaluate to a boolean|error evaluating \w+ expression", CONFIG).of(HTTP),
    is("H5", "http_requester.go:388", r"response body size \d+ exceeds limit", CONFIG),
    is("H5h", "http_requester.go:439", r"failed to parse JSON response: ", verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Environment, 55)).of(HTTP),
    is("H8", "http_downloader.go:152", r"\Aerror building HTTP request: ", CONFIG),
    is("H7", "http_downloader.go:141", r"\A(file already exists at .* and overwrite is not allowed|download exceeds limit|layer size \d+ exceeds maximum allowed size of )", CONFIG),
    nested("H9", "http_downloader.go:226", r"\A(failed to read response body: |error building expression context from HTTP response: )", UNKNOWN),
    // OCI
    is("O1", "oci_common.go:60", r"\Afailed to parse (image|source|destination) reference", CONFIG),
    is("O3q", "oci_pusher.go:292", r"DENIED: Quota exceeded", verdict(Class::Quota, Retryability::NeedsChange, FaultDomain::Environment, 85)).of(OCI),
    is("O3i", "oci_pusher.go:292", r"TAG_INVALID|tag is immutable", DUPLICATE).of(OCI),
    is("O4p", "oci_pusher.go:241", r"cross-repository push is disabled", DENIED),
    is("O4", "oci_pusher.go:269", r"\Acompressed artifact size .* exceeds ", CONFIG),
    is("O4m", "oci_pusher.go:260", r"\Aunsupported media type ", ARTIFACT),
    is("O5", "oci_downloader.go:191", r"image has no layers|no layer found with media type", ARTIFACT),
    is("O2b", "oci_downloader.go:204", r"BLOB_UNKNOWN|error verifying sha256 checksum", ARTIFACT).of(OCI),
    nested("O6", "oci_common.go:94", r"\Aerror obtaining credentials for image repo ", verdict(Class::Auth, Retryability::NeedsChange, FaultDomain::Platform, 60)),
    nested("O2", "oci_downloader.go:157", r"\A(failed to resolve image |failed to get source artifact |failed to get layer content|failed to copy layer content|failed to get manifest)", UNKNOWN),
    nested("O3", "oci_pusher.go:292", r"\Afailed to push image ", UNKNOWN),
    // Helm
    is("R3", "helm_template_runner.go:115", r"\A(missing chart dependencies|failed to compose values: |failed to initialize Helm action config: )", CONFIG),
    is("R1c", "helm_template_runner.go:151", r"\Afailed to render chart: .*(execution error at |nil pointer evaluating|incompatible with Kubernetes|don't meet the specifications|invalid release name)", CONFIG),
    is("R1l", "helm_template_runner.go:128", r#"\Afailed to load chart from ".*?": (stat|lstat|open) "#, CONFIG),
    is("R1", "helm_template_runner.go:128", r"\A(failed to render chart: |failed to load chart from )", ARTIFACT),
    is("R2c", "pkg/helm/dependency_manager.go:233", r"(validate dependencies: |no dependency in Chart\.yaml matches|\Aget chart dependencies: )", CONFIG).of(HELM),
    is("R2g", "pkg/helm/dependency_manager.go:308", r"download repository index for .*(error unmarshaling JSON|error converting YAML to JSON)", GARBLED).of(HELM),
    is("R2n", "pkg/helm/dependency_manager.go:558", r#"can't get a valid version|chart not found in repo|could not download .*(404 Not Found|FetchReference" on source: \S+: not found)"#, NO_ARTIFACT).of(HELM),
    nested("R2", "pkg/helm/dependency_manager.go:308", r"\A(failed to build chart dependencies: |fetch repository indexes: |process dependency updates: |update chart dependencies: )", UNKNOWN),
    // kustomize
    is("R4c", "kustomize_builder.go:92", r"\A(unable to find one of 'kustomization|Found multiple kustomization files|must build at directory: not a valid directory: evalsymlink failure)", CONFIG).of(&["kustomize-build"]),
    is("R4h", "kustomize_builder.go:92", r"executable file not found in \$PATH", CAPABILITY).of(&["kustomize-build"]),
    is("R4g", "kustomize_builder.go:92", r"(?s)missing Resource metadata'?: failed to run ", GARBLED).of(&["kustomize-build"]),
    nested("R4r", "kustomize_builder.go:92", r"(?s)failed to run '|hit \d+s timeout running|accumulating resources from 'https?://", UNKNOWN).of(&["kustomize-build"]),
    is("R4", "kustomize_builder.go:92", r"", ARTIFACT).of(&["kustomize-build"]),
    is("R5", "kustomize_image_setter.go:95", r"\A(manual configuration required due to ambiguous result|could not discover kustomization file|could not unmarshal Kustomization file|could not decode images field)", CONFIG),
    // Argo CD
    is("A1", "argocd_updater.go:159", r"Argo CD integration is disabled on this controller", CAPABILITY),
    is("A2", "argocd_updater.go:844", r"unable to find Argo CD Application|no Argo CD Applications found matching", verdict(Class::NotFound, Retryability::AfterDelay, FaultDomain::Configuration, 70)),
    is("A3", "argocd_updater.go:878", r"Argo CD Application.*(is not authorized|none are authorized for Stage|does not permit mutation by Kargo Stage)", AUTH),
    is("A4", "argocd_updater.go:438", r"no source of Argo CD Application .* matched|selected Applications must have compatible sources", CONFIG),
    nested("A5", "argocd_updater.go:350", r"\AArgo CD Application .* failed with: ", verdict(Class::DeployFailed, Retryability::Never, FaultDomain::Freight, 75)),
    is("A10", "argocd_waiter.go:311", r"health has regressed from \S+ to Degraded", verdict(Class::Unhealthy, Retryability::Never, FaultDomain::Freight, 85)),
    nested("A9", "argocd_waiter.go:247", r#"has "?(ComparisonError|InvalidSpecError)"? condition"#, verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Freight, 70)),
    is("A11", "argocd_updater.go:237", r"could not determine promotion step status from operation phases", verdict(Class::Internal, Retryability::AfterDelay, FaultDomain::Platform, 60)),
    nested("A6", "argocd_updater.go:822", r"\A(error (listing|finding|getting|patching|syncing) Argo CD Application)", PLATFORM),
    // files
    is("F3h", "untar.go:150", r"archive/tar: invalid tar header", GARBLED).of(&["untar"]),
    is("F3a", "untar.go:150", r"failed to read file header: |gzip: invalid header|exceeds size limit|unexpected EOF", ARTIFACT).of(&["untar"]),
    is("F2", "file_writer.go:71", r"must be relative|attempts to traverse outside|writing to the \.git directory is forbidden|\Ainvalid glob pattern|symlink", CONFIG).of(FILES),
    is("F1", "yaml_parser.go:98", r"\A(could not parse |error reading |(values|TOML|JSON|YAML) file update failed|error merging YAML files|input file |failed to extract outputs: |value for key )", CONFIG).of(FILES),
    is("F3", "-", r"", verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Configuration, 70)).of(FILES),
    // metadata
    is("M2w", "set_freight_alias.go:87", r"failed calling webhook", PLATFORM).of(&["set-metadata", "set-freight-alias"]),
    is("M2a", "set_freight_alias.go:114", r"\Afailed to patch alias for Freight .*already used by another", DUPLICATE),
    is("M1n", "metadata_setter.go:88", r#"\A(error getting (Stage|Freight): .* not found|freight ".*" not found in project)"#, NOT_FOUND),
    is("M2c", "set_freight_alias.go:114", r"(?s)\Afailed to patch alias for Freight .* is invalid: ", CONFIG),
    nested("M1", "metadata_setter.go:107", r"\A(error patching status of (Stage|Freight)|error getting (Stage|Freight)|failed to patch alias for Freight)", PLATFORM),
];
