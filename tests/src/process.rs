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

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the supervisor has noted the program's id.
    fn pid_of(folder: &Path) -> String {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let text = std::fs::read_to_string(folder.join("it.pid")).unwrap_or_default();
            if text.ends_with('\n') {
                return text.trim().to_owned();
            }
            assert!(std::time::Instant::now() < deadline, "the supervisor does not start its program");
            std::thread::yield_now();
        }
    }

    fn runs(pid: &str) -> bool {
        Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
    }

    #[test]
    fn dropping_ends_the_program_and_removes_its_folder() {
        let folder = tempfile::tempdir().unwrap().keep();
        let program = Supervised::start(&folder, "it", Path::new("sleep"), &["1000".to_owned()]).unwrap();
        let pid = pid_of(&folder);
        assert!(runs(&pid) && !program.ended());
        drop(program);
        assert!(!runs(&pid));
        assert!(!folder.exists());
    }

    #[test]
    fn a_program_that_ends_by_itself_is_seen_with_its_words() {
        let folder = tempfile::tempdir().unwrap().keep();
        let words = ["-c".to_owned(), "echo one; echo two >&2; exit 3".to_owned()];
        let program = Supervised::start(&folder, "it", Path::new("sh"), &words).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !program.ended() {
            assert!(std::time::Instant::now() < deadline, "the end is not noticed");
            std::thread::yield_now();
        }
        assert_eq!(program.tail(1), "it| two\n");
        assert_eq!(program.log(), "one\ntwo\n");
    }
}
