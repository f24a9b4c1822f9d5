//! What can be typed: the subcommands and their flags, with the texts of `--help`.
//!
//! In: the command line, which [`crate::command_line`] reads. Out: a [`Command`]. Validated, but nothing is looked up here:
//! no file is opened, no network is asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use policy_source::Module;

use crate::input::Place;
use crate::rules;

/// Answers failures in Kargo with policies that are sandboxed WebAssembly components.
///
/// Exit codes: 0 as expected, 1 differs from what was expected, 2 could not run.
#[derive(Debug, Parser)]
#[command(name = "refloat", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One subcommand with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play six incidents from beginning to end, in virtual time and without a cluster.
    #[command(after_help = "Example:\n  refloat demo --scenario bad-freight")]
    Demo(DemoArgs),
    /// Play a scenario against a model of Kargo, in virtual time.
    #[command(after_help = "Example:\n  refloat simulate scenario.yaml --seed 7 --policy policy.yaml")]
    Simulate(SimulateArgs),
    /// Ask policies for their decision on a context, without a cluster.
    #[command(
        after_help = "Example:\n  refloat decide --module builtin:retry-transient --context context.yaml"
    )]
    Decide(DecideArgs),
    /// Show what a policy component is: contract, imports, exports, manifest and cost.
    #[command(after_help = "Example:\n  refloat inspect builtin:rollback-last-verified")]
    Inspect(InspectArgs),
    /// Make a recorded decision again and compare it byte for byte.
    #[command(
        after_help = "Example:\n  kubectl get decisionrecord -n shop NAME -o yaml > record.yaml\n  refloat replay record.yaml"
    )]
    Replay(ReplayArgs),
    /// Write the context of a failure, from a cluster or exported objects, for `decide`.
    #[command(
        after_help = "Examples:\n  refloat record --project shop --stage prod > context.yaml\n  kubectl get stages,promotions,freights -n shop -o yaml | refloat record --stage prod --from - > context.yaml"
    )]
    Record(RecordArgs),
    /// Tell the story of a failure: what failed and why, the way back, what was done.
    #[command(after_help = "Example:\n  refloat explain --project shop prod-0f3c5a9b1d")]
    Explain(ExplainArgs),
    /// Say what kind of failure a Promotion or a step's message is.
    #[command(after_help = "Example:\n  kubectl get promotion -n shop NAME -o yaml | refloat classify -")]
    Classify(ClassifyArgs),
    /// Print the CustomResourceDefinitions and the rules that go with them.
    #[command(after_help = "Example:\n  refloat crds | kubectl apply -f -")]
    Crds(CrdsArgs),
    /// Print what a Project needs so that policies may act in it.
    #[command(after_help = "Example:\n  refloat enable shop --stage prod | kubectl apply -f -")]
    Enable(EnableArgs),
    /// Print what has to be applied to run the controller: account, rights, Deployment.
    #[command(after_help = "Example:\n  refloat install | kubectl apply -f -")]
    Install(InstallArgs),
    /// Run the controller against a cluster.
    #[command(after_help = "Example:\n  refloat controller --namespace refloat-system")]
    Controller(ControllerArgs),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  refloat completion bash > ~/.local/share/bash-completion/completions/refloat"
    )]
    Completion(CompletionArgs),
    /// Compile one component in this process: the engine's own child, not for people.
    #[command(hide = true)]
    CompileComponent(CompileComponentArgs),
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Sentences.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Where compiled components are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    /// Folder for compiled components [default: refloat/components in the user's cache folder]
    #[arg(long, alias = "cache-dir", env = "REFLOAT_CACHE", value_name = "FOLDER", hide_env_values = true)]
    pub(crate) cache: Option<PathBuf>,
}

/// A platform's own rules.
#[derive(Debug, clap::Args)]
pub(crate) struct RulesArgs {
    /// A file of rules for what failures mean, tried before the built-in ones; may be repeated, the first is tried first
    #[arg(long, env = rules::VARIABLE, value_name = "FILE", value_delimiter = ',', hide_env_values = true)]
    pub(crate) rules: Vec<Place>,
}

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Play only this one: push-race, bad-freight, step-hint, never-answers, exhausted or person
    #[arg(long, value_name = "NAME", conflicts_with = "captured")]
    pub(crate) scenario: Option<String>,
    /// Show five failures captured from a running Kargo instead, and what would be done about each
    #[arg(long)]
    pub(crate) captured: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// The scenario as YAML or JSON, `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) scenario: Option<Place>,
    /// Print the JSON Schema of scenarios, for editors, and play nothing
    #[arg(long, conflicts_with_all = ["scenario", "seed", "policy", "rules", "captures"])]
    pub(crate) schema: bool,
    /// Where ids come from; above 0 it also disturbs the controller's requests. The same seed gives the same bytes
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// A FailurePolicy, or its spec, to play instead of those of the scenario
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<Place>,
    /// A file of rules for what failures mean, to play instead of those of the scenario
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<Place>,
    /// Folder of captured step failures that the scenario names as `captured: FOLDER`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) captures: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Arguments of `decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct DecideArgs {
    /// A component file or `builtin:NAME`; give it several times for a chain, in order
    #[arg(long = "module", short, value_name = "MODULE", required = true, value_parser = module)]
    pub(crate) modules: Vec<Module>,
    /// The failure's context as YAML or JSON, `-` for standard input
    #[arg(long, short, value_name = "FILE")]
    pub(crate) context: Place,
    /// Settings of the module as YAML or JSON; give it once per module, in the same order [default: the context's]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) settings: Vec<Place>,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// A component file or `builtin:NAME`
    #[arg(value_parser = module)]
    pub(crate) module: Module,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// A DecisionRecord as YAML or JSON, `-` for standard input
    pub(crate) record: Place,
    /// The component that decided, for records of modules that are not built in; once per chain entry, in order
    #[arg(long = "module", short, value_name = "MODULE", value_parser = module)]
    pub(crate) modules: Vec<Module>,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Where objects come from: files, or else a cluster, which is only read.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The Project; a cluster needs it, files only when they hold several
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// The Stage [default: that of the failure, or the only one in the files]
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Exported objects instead of a cluster, as `kubectl get -o yaml` prints Stages, Promotions, Freight,
    /// ProjectConfig, AnalysisRuns, and Refloat's own; `-` for standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["kubeconfig", "context"])]
    pub(crate) from: Vec<Place>,
    /// A kubeconfig file [default: KUBECONFIG, or the Pod's own account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// How a context is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextFormat {
    /// YAML.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Name of an Incident or a Promotion, or id of a failure or a verification [default: the newest failure]
    #[arg(long, value_name = "NAME")]
    pub(crate) failure: Option<String>,
    /// Policy of the FailurePolicy's chain whose settings the context carries [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// How the context is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: ContextFormat,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// Name of an Incident or a Promotion, or id of a failure or a verification [default: the newest failure]
    #[arg(value_name = "FAILURE")]
    pub(crate) failure: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Arguments of `classify`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClassifyArgs {
    /// A Promotion as YAML or JSON, or a plain text such as a step's message; `-` for standard input
    pub(crate) file: Place,
    /// The kind of step (`uses`) that a plain text comes from, such as `git-push`
    #[arg(long, value_name = "KIND")]
    pub(crate) step_kind: Option<String>,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Arguments of `crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {}

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// Namespace of the controller; not that of Kargo, which would take its account for one of its own
    #[arg(long, default_value = "refloat-system", value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// Name of the ServiceAccount that is impersonated in each Project
    #[arg(long, default_value = "refloat", value_name = "NAME")]
    pub(crate) project_account: String,
    /// The controller's image [default: the one of this version]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// A ConfigMap in the controller's namespace whose key `rules.yaml` holds the platform's own rules for what failures
    /// mean
    #[arg(long, value_name = "NAME")]
    pub(crate) rules_config_map: Option<String>,
    /// Namespace of Argo CD: the controller may read Applications there, and policies see what Argo CD says of a Stage
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) argocd_namespace: Option<String>,
}

/// Arguments of `enable`.
#[derive(Debug, clap::Args)]
pub(crate) struct EnableArgs {
    /// The Project
    pub(crate) project: String,
    /// A Stage that policies may promote to; give it several times. None means that policies can only observe
    #[arg(long = "stage", value_name = "STAGE")]
    pub(crate) stages: Vec<String>,
    /// Name of the ServiceAccount that is impersonated in each Project, as the controller was told
    #[arg(long, default_value = "refloat", value_name = "NAME")]
    pub(crate) project_account: String,
}

/// Arguments of `controller`. The cluster is that of `KUBECONFIG`, or the one that this runs in.
#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {
    /// Namespace that this runs in: its Lease and the platform's objects are there
    #[arg(
        long,
        env = "POD_NAMESPACE",
        hide_env_values = true,
        default_value = "refloat-system",
        value_name = "NAMESPACE"
    )]
    pub(crate) namespace: String,
    /// Name of the ServiceAccount that is impersonated in each Project; policies can do what it may do
    #[arg(
        long,
        alias = "account",
        env = "REFLOAT_PROJECT_ACCOUNT",
        hide_env_values = true,
        default_value = "refloat",
        value_name = "NAME"
    )]
    pub(crate) project_account: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are served
    #[arg(
        long,
        env = "REFLOAT_LISTEN",
        hide_env_values = true,
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    pub(crate) listen: SocketAddr,
    /// Name of the Lease that says which replica leads
    #[arg(
        long,
        env = "REFLOAT_LEASE",
        hide_env_values = true,
        default_value = "refloat",
        value_name = "NAME"
    )]
    pub(crate) lease: String,
    /// Seconds after which a leader that does not renew its Lease is replaced
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=300))]
    pub(crate) lease_seconds: u32,
    /// Name of this replica in the Lease [default: the host's name and the process id]
    #[arg(long, env = "REFLOAT_IDENTITY", value_name = "NAME", hide_env_values = true)]
    pub(crate) identity: Option<String>,
    /// A kubeconfig file [default: KUBECONFIG, or the Pod's own account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespace of Argo CD, whose Applications policies then see in the context of Stages that may change them; this
    /// account needs `get` on Applications there [default: none is read]
    #[arg(long, env = "REFLOAT_ARGOCD_NAMESPACE", hide_env_values = true, value_name = "NAMESPACE")]
    pub(crate) argocd_namespace: Option<String>,
    /// Look at this Project only; may be repeated [default: all Projects]
    #[arg(long = "project", value_name = "PROJECT")]
    pub(crate) projects: Vec<String>,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
    /// Kill switch: see, decide and record, but write nothing to Kargo anywhere
    #[arg(long, env = "REFLOAT_STOPPED", value_parser = BoolishValueParser::new())]
    pub(crate) stopped: bool,
    /// End this process with SIGKILL after a step of handling a failure: for crash tests
    #[arg(long, hide = true, value_name = "STEP")]
    pub(crate) kill_after: Option<policy_controller::steps::Step>,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `compile-component`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompileComponentArgs {
    /// Bytes of memory and seconds of processor time
    pub(crate) limits: Vec<String>,
}

/// Every text names a module: what it stands for is looked up later.
fn module(text: &str) -> Result<Module, std::convert::Infallible> {
    Ok(Module::parse(text))
}
