//! The one place that writes to standard output and standard error.
//!
//! In: text. Out: the answer on standard output, talk on standard error. Control characters are taken out, because
//! texts come from steps, guests and files. A reader that goes away (a closed pipe) is no error.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::exit::{CannotRun, Ended, Exit};

/// How long something may take without a word.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is said how far it is.
const EVERY: Duration = Duration::from_millis(500);
/// To the beginning of the terminal's line, which is emptied (ECMA-48, `EL`).
const EMPTY_LINE: &str = "\r\u{1b}[K";

/// Does `work`. When it takes more than a moment, and a person looks at standard error, a line there says how far it is
/// and goes away in the end.
pub(crate) fn accompanied<T>(so_far: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    std::thread::scope(|scope| {
        let (doing, done) = channel::<()>();
        scope.spawn(move || {
            let mut pause = PATIENCE;
            while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(pause) {
                // Whoever closes standard error does not want to know.
                let _ = write!(io::stderr(), "{EMPTY_LINE}{}", so_far()).and_then(|()| io::stderr().flush());
                pause = EVERY;
            }
            if pause == EVERY {
                let _ = write!(io::stderr(), "{EMPTY_LINE}");
            }
        });
        let result = work();
        drop(doing);
        result
    })
}

/// Standard output and standard error.
pub(crate) struct Printer {
    answer: Box<dyn Write>,
    talk: Box<dyn Write>,
    broken: Option<io::Error>,
}

impl Printer {
    /// The real ones. Not locked: the controller's log goes to standard error from every thread, and would wait for
    /// ever.
    pub(crate) fn standard() -> Self {
        Self { answer: Box::new(io::stdout()), talk: Box::new(io::stderr()), broken: None }
    }

    /// One line, or several, of what was asked for.
    pub(crate) fn answer(&mut self, text: &str) {
        let written = write_line(&mut self.answer, text);
        self.keep(written);
    }

    /// Something beside the answer.
    pub(crate) fn talk(&mut self, text: &str) {
        let written = write_line(&mut self.talk, text);
        self.keep(written);
    }

    /// Says how it ended and turns it into a code.
    pub(crate) fn finish(&mut self, ended: Ended) -> Exit {
        let exit = match ended {
            Ok(exit) => exit,
            Err(reason) => {
                self.complain(&reason);
                Exit::CouldNotRun
            }
        };
        let flushed = self.answer.flush();
        self.keep(flushed);
        match self.broken.take() {
            Some(error) => {
                self.complain(&CannotRun::new(
                    format!("cannot write the answer: {error}"),
                    "is the disk full?",
                ));
                Exit::CouldNotRun
            }
            None => exit,
        }
    }

    fn complain(&mut self, reason: &CannotRun) {
        self.talk(&format!("error: {}", one_line(&reason.line)));
        if !reason.help.is_empty() {
            self.talk(&format!("help: {}", one_line(&reason.help)));
        }
    }

    fn keep(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.broken.get_or_insert(error);
        }
    }
}

fn write_line(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    stream.write_all(shown.as_bytes())?;
    if shown.ends_with('\n') { Ok(()) } else { stream.write_all(b"\n") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
