//! One child program of the tests that never outlives them.
//! In: a folder, a name and a command. Out: a handle that kills on drop, and the tail of the program's log.
//! Must not leave anything behind, whichever way the test process ends: see `supervise.sh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SUPERVISOR: &str = include_str!("supervise.sh");

/// A running program. Dropping it kills the program (SIGKILL) and removes its folder.
#[derive(Debug)]
pub struct Supervised {
    supervisor: Child,
    folder: PathBuf,
    name: String,
}

impl Supervised {
    /// Starts `program` with `arguments`; its output goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When no shell can be started. A program that cannot be started shows as [`Supervised::ended`].
    pub fn start(folder: &Path, name: &str, program: &Path, arguments: &[String]) -> std::io::Result<Self> {
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervise"])
            .arg(folder)
            .arg(name)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { supervisor, folder: folder.to_owned(), name: name.to_owned() })
    }

    /// Whether the program ended by itself.
    pub fn ended(&self) -> bool {
        self.folder.join(format!("{}.exit", self.name)).exists()
    }

    /// The whole log so far, or an empty text.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join(format!("{}.log", self.name))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the log, each marked with the program's name.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.iter().skip(from).map(|line| format!("{}| {line}\n", self.name)).collect()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // Only fails when there is nothing left to wait for.
        let _ = self.supervisor.wait();
    }
}
