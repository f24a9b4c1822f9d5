//! Why a component cannot be used: one line that names the thing, and one that helps.
//!
//! In: what loading found. Out: [`LoadError`]. Shown as condition, by `lint` and by `inspect` with the same words.

use crate::wit::Track;

/// A component cannot be used. `Display` is one line; [`LoadError::help`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No bytes at all.
    #[error("the component is empty")]
    Empty,
    /// Larger than the limit.
    #[error("the component has {size} bytes, {limit} is the most")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The text format.
    #[error("this is WebAssembly as text, not a component")]
    Text,
    /// A component that somebody compiled already.
    #[error("this is compiled machine code, not a component")]
    Precompiled,
    /// Something else.
    #[error("this is not WebAssembly: it begins with `{begins}`")]
    NotWasm {
        /// The first bytes, in hexadecimal.
        begins: String,
    },
    /// A core module.
    #[error("this is a core module, not a component")]
    CoreModule,
    /// The end is missing.
    #[error("the component is cut off after {size} bytes")]
    Truncated {
        /// What there is.
        size: usize,
    },
    /// Not valid.
    #[error("the component is not valid: {because}")]
    Invalid {
        /// What the validator says.
        because: String,
    },
    /// Valid, and more than a policy needs.
    #[error("the component has {what}, {limit} is the most")]
    OutOfBounds {
        /// What and how much.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// It speaks a track that this version does not know.
    #[error("the component exports `{export}`, and this version of the host speaks {spoken}")]
    NewerTrack {
        /// The export.
        export: String,
        /// Tracks that this host has.
        spoken: &'static str,
    },
    /// It does not export a policy.
    #[error("the component does not export a policy: it exports {exports}")]
    NotAPolicy {
        /// What it exports.
        exports: String,
    },
    /// It wants something that policies do not get.
    #[error("the component imports `{import}`, which policies do not get")]
    ForbiddenImport {
        /// The import.
        import: String,
    },
    /// It exports the interface with other types.
    #[error("the component does not fit the contract: {because}")]
    Mismatch {
        /// What does not fit.
        because: String,
    },
    /// The compiler refused it.
    #[error("the component does not compile: {because}")]
    Compile {
        /// What the compiler says.
        because: String,
    },
    /// The compiler took too long.
    #[error("compiling the component takes longer than {seconds} s of processor time")]
    CompileTimeout {
        /// The limit.
        seconds: u64,
    },
    /// The compiler was still at it by the clock on the wall: a busy machine, or a component that is too much for it.
    #[error("compiling the component did not end within {seconds} s")]
    CompileUnfinished {
        /// The limit.
        seconds: u64,
    },
    /// The compiler needed too much memory.
    #[error("compiling the component needs more than {mebibytes} MiB of memory")]
    CompileMemory {
        /// The limit.
        mebibytes: u64,
    },
    /// The compiler could not be run: the host's fault.
    #[error("cannot run the compiler: {because}")]
    Compiler {
        /// Why.
        because: String,
    },
    /// `describe` ended with a fault.
    #[error("the policy cannot describe itself: {because}")]
    Describe {
        /// The fault's message.
        because: String,
        /// Whether it would end so again. False when it was the wall clock that ended it.
        reproducible: bool,
    },
    /// `describe` answered something that is no manifest.
    #[error("the policy's manifest is not acceptable: {because}")]
    Manifest {
        /// What is wrong with it.
        because: String,
    },
}

impl LoadError {
    /// What to do about it: one line without a final dot, to be printed after `help: `.
    pub fn help(&self) -> String {
        match self {
            Self::Empty | Self::Truncated { .. } => "fetch or build it again".to_owned(),
            Self::TooLarge { .. } => "strip it: `wasm-tools strip -a`".to_owned(),
            Self::Text => "turn it into binary form: `wasm-tools parse`".to_owned(),
            Self::Precompiled => "give the `.wasm` file that it was made from".to_owned(),
            Self::NotWasm { .. } => {
                "a policy is a component in a `.wasm` file; `docs/writing-a-policy.md` makes one".to_owned()
            }
            Self::CoreModule => {
                "make a component of it: build for `wasm32-wasip2`, or use `wasm-tools component new`"
                    .to_owned()
            }
            Self::Invalid { .. } | Self::Mismatch { .. } => {
                format!("build it again with an SDK for {}", Track::SPOKEN)
            }
            Self::OutOfBounds { .. } => "make the policy smaller".to_owned(),
            Self::NewerTrack { .. } => "update the host, or build the policy for an older track".to_owned(),
            Self::NotAPolicy { .. } => format!("export `{}`", Track::V0_1.export()),
            Self::ForbiddenImport { .. } => {
                "a policy gets its facts in the context; it has no network, files or processes".to_owned()
            }
            Self::Compile { .. } => "check it with `wasm-tools validate`".to_owned(),
            Self::CompileTimeout { .. } | Self::CompileMemory { .. } => {
                "split very large functions, or leave out what is not needed".to_owned()
            }
            Self::CompileUnfinished { .. } => "try again when the machine has less to do".to_owned(),
            Self::Compiler { .. } => "this is no fault of the policy; see the host's log".to_owned(),
            Self::Describe { .. } => "`describe` must not depend on anything".to_owned(),
            Self::Manifest { .. } => "see `manifest` in the contract, `wit/v0.1/policy.wit`".to_owned(),
        }
    }

    /// Whether the host's machine may be to blame, so that trying again may help.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Compiler { .. }
                | Self::CompileUnfinished { .. }
                | Self::Describe { reproducible: false, .. }
        )
    }
}
