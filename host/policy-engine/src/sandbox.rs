//! What one call of a guest sees and leaves: clock, randomness, log, and the meter of its limits.
//!
//! In: the context's time and seed. Out: [`Sandbox`], the data of one store, made for one call and dropped with it.
//! Nothing in here reads the machine's clock or randomness, and nothing waits.

use crate::limits::{Limits, Meter};

/// Data of one store.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) meter: Meter,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) log: Log,
    pub(crate) pollables: Pollables,
}

/// What a call is told about time and chance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ambient {
    pub(crate) now_unix_seconds: u32,
    pub(crate) seed: [u32; 4],
}

impl Sandbox {
    pub(crate) fn new(limits: &Limits, ambient: Ambient) -> Self {
        Self {
            meter: Meter::new(limits),
            clock: Clock { base_seconds: u64::from(ambient.now_unix_seconds), elapsed_nanos: 0 },
            random: Random::new(ambient.seed),
            log: Log::new(limits),
            pollables: Pollables::default(),
        }
    }
}

/// A clock that moves only when the guest looks at it or sleeps.
#[derive(Debug)]
pub(crate) struct Clock {
    base_seconds: u64,
    elapsed_nanos: u64,
}

impl Clock {
    /// Nanoseconds since the call began. Each look costs a microsecond, so that a guest that spins sees it move.
    pub(crate) fn look(&mut self) -> u64 {
        self.elapsed_nanos = self.elapsed_nanos.saturating_add(1_000);
        self.elapsed_nanos
    }

    pub(crate) fn elapsed(&self) -> u64 {
        self.elapsed_nanos
    }

    /// Sleeps: the clock jumps, nobody waits.
    pub(crate) fn advance_to(&mut self, nanos: u64) {
        self.elapsed_nanos = self.elapsed_nanos.max(nanos);
    }

    /// Wall-clock seconds and nanoseconds.
    pub(crate) fn wall(&mut self) -> (u64, u32) {
        let elapsed = self.look();
        let nanos = u32::try_from(elapsed % 1_000_000_000).unwrap_or(0);
        (self.base_seconds.saturating_add(elapsed / 1_000_000_000), nanos)
    }
}

/// splitmix64 over the context's seed: good enough for hash tables and jitter, the same on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: [u32; 4]) -> Self {
        let [a, b, c, d] = seed.map(u64::from);
        let mut random = Self((a << 32 | b) ^ (c << 32 | d).rotate_left(17));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count.saturating_add(8));
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Deadlines of live pollables in virtual nanoseconds; 0 is always ready.
#[derive(Debug, Default)]
pub(crate) struct Pollables {
    deadlines: Vec<u64>,
    free: Vec<u32>,
}

impl Pollables {
    pub(crate) fn add(&mut self, deadline: u64) -> u32 {
        if let Some(rep) = self.free.pop()
            && let Some(slot) = self.deadlines.get_mut(rep as usize)
        {
            *slot = deadline;
            return rep;
        }
        self.deadlines.push(deadline);
        u32::try_from(self.deadlines.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn deadline(&self, rep: u32) -> u64 {
        self.deadlines.get(rep as usize).copied().unwrap_or(0)
    }

    pub(crate) fn remove(&mut self, rep: u32) {
        self.free.push(rep);
    }
}

/// How important a line is, as the contract has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// The log of one call: lines that are clean, short and bounded whatever the guest does.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Vec<String>,
    bytes: usize,
    dropped: u64,
    limits: [usize; 3],
    fatal: Option<String>,
    /// What was printed after the last line break, per stream: stdout, stderr.
    partial: [Vec<u8>; 2],
    /// The newest lines of stderr, kept although the log is full: a runtime's last words.
    stderr_tail: Vec<String>,
}

/// Where a guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Lines of stderr that are remembered for a fault.
const STDERR_TAIL: usize = 8;

impl Log {
    fn new(limits: &Limits) -> Self {
        Self {
            lines: Vec::new(),
            bytes: 0,
            dropped: 0,
            limits: [limits.log_bytes, limits.log_line_bytes, limits.log_lines],
            fatal: None,
            partial: [Vec::new(), Vec::new()],
            stderr_tail: Vec::new(),
        }
    }

    /// One line from the guest.
    pub(crate) fn write(&mut self, level: Level, message: &str) {
        let [_, line_bytes, _] = self.limits;
        let text = clean(message, line_bytes);
        if level == Level::Fatal {
            self.fatal = Some(text.clone());
        }
        self.push(format!("{}: {text}", level.text()));
    }

    /// Bytes that the guest printed.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line(stream);
                continue;
            }
            let [_, line_bytes, _] = self.limits;
            let partial = self.partial_of(stream);
            if partial.len() < line_bytes {
                partial.push(byte);
            }
        }
    }

    fn partial_of(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.partial;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let bytes = std::mem::take(self.partial_of(stream));
        let [_, line_bytes, _] = self.limits;
        let text = clean(&String::from_utf8_lossy(&bytes), line_bytes);
        if text.is_empty() {
            return;
        }
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => {
                if self.stderr_tail.len() == STDERR_TAIL {
                    self.stderr_tail.remove(0);
                }
                self.stderr_tail.push(text.clone());
                "stderr"
            }
        };
        self.push(format!("{name}: {text}"));
    }

    fn push(&mut self, line: String) {
        let [log_bytes, _, log_lines] = self.limits;
        if self.lines.len() >= log_lines || self.bytes.saturating_add(line.len()) > log_bytes {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push(line);
    }

    /// What the guest said last before it ended itself: its `fatal` line, else what its runtime printed.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        self.end_line(Stream::Stderr);
        if let Some(fatal) = &self.fatal {
            return Some(fatal.clone());
        }
        let tail = &self.stderr_tail;
        // Rust prints the place on one line and the text on the next; others end with what matters.
        match tail.iter().rposition(|line| line.contains("panicked at")) {
            Some(at) => Some(tail.iter().skip(at).take(2).cloned().collect::<Vec<_>>().join(" ")),
            None => tail.last().cloned(),
        }
    }

    /// The lines, with a note about those that did not fit.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.end_line(Stream::Stdout);
        self.end_line(Stream::Stderr);
        if self.dropped > 0 {
            self.lines.push(format!("host: {} further lines did not fit", self.dropped));
        }
        self.lines
    }
}

/// Text from a guest as people may see it: without control characters, at most `max_bytes`, cut at a character.
pub(crate) fn clean(text: &str, max_bytes: usize) -> String {
    let text = text.trim_end();
    // Almost every text is this plain, and is taken as a whole.
    if text.len() <= max_bytes && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        let shown = match character {
            '\n' | '\t' | '\r' => ' ',
            other if other.is_control() || is_invisible(other) => '\u{FFFD}',
            other => other,
        };
        if clean.len() + shown.len_utf8() > max_bytes {
            break;
        }
        clean.push(shown);
    }
    clean
}

/// Characters that change how the text around them reads: bidirectional overrides and the like.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}
