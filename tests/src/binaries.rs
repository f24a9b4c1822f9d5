//! Where the programs and definitions are that tests need from other projects.
//! In: nothing but `scripts/test-binaries`, which builds or fetches what is missing. Out: two folders.
//! Must not know how they are made, and must not look anywhere else.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What `scripts/test-binaries` provides.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Folder with `etcd` and `kube-apiserver`.
    pub programs: PathBuf,
    /// Folder with one folder of CRD files per project: `kargo`, `argo-rollouts`.
    pub crds: PathBuf,
}

/// Why they cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// The script could not be started.
    #[error("cannot run `{script}`")]
    Run {
        /// Path of the script.
        script: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The script ended with an error, which it has printed.
    #[error("`{script}` failed with {status}")]
    Failed {
        /// Path of the script.
        script: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The script's answer lacks a line.
    #[error("`{script}` did not say `{key}=`")]
    Answer {
        /// Path of the script.
        script: PathBuf,
        /// The line that is missing.
        key: &'static str,
    },
}

/// The root of the checkout.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

impl Binaries {
    /// Finds them, building what is missing (minutes the first time on a machine, milliseconds later).
    ///
    /// # Errors
    /// When the script cannot run or fails; its own message is on stderr.
    pub fn provide() -> Result<Self, BinariesError> {
        let script = repository().join("scripts/test-binaries");
        let output = Command::new(&script)
            .arg("--print")
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|source| BinariesError::Run { script: script.clone(), source })?;
        if !output.status.success() {
            return Err(BinariesError::Failed { script, status: output.status });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let folder = |key: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(PathBuf::from)
                .ok_or(BinariesError::Answer { script: script.clone(), key })
        };
        Ok(Self { programs: folder("bin")?, crds: folder("crds")? })
    }

    /// The CRDs that Kargo v1.11.2 publishes.
    pub fn kargo_crds(&self) -> PathBuf {
        self.crds.join("kargo")
    }

    /// The AnalysisRun and AnalysisTemplate CRDs. They have no status subresource: `status` is an ordinary field.
    pub fn analysis_crds(&self) -> PathBuf {
        self.crds.join("argo-rollouts")
    }
}
