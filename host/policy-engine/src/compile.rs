//! Compiling in a child process under resource limits, because compiling is outside of wasmtime's promise of safety.
//!
//! In: a checked component. Out: machine code, or why not. A component of 35 KB can make the compiler want 3.8 GB or
//! minutes; then the child dies and nothing else does. The child gets none of our environment and reads only its stdin.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::engine;
use crate::load_error::LoadError;

/// Exit status of a child whose component was refused; its stdout says why.
const REFUSED: u8 = 3;

/// The most machine code that is accepted. CPython's is 34 MB.
const CODE_BYTES: u64 = 512 << 20;

/// What one compilation may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child in bytes.
    pub memory_bytes: u64,
    /// Processor time of the child, all threads together, in seconds.
    pub cpu_seconds: u64,
    /// Wall-clock time in seconds.
    pub wall_seconds: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_bytes: memory_for_a_child(), cpu_seconds: 30, wall_seconds: 60 }
    }
}

impl CompileLimits {
    /// The form in which they are handed to the child.
    fn arguments(self) -> [String; 2] {
        [self.memory_bytes.to_string(), self.cpu_seconds.to_string()]
    }

    /// What the child was given: two numbers.
    pub fn from_arguments(arguments: &[String]) -> Option<Self> {
        let [memory, cpu] = arguments else {
            return None;
        };
        Some(Self { memory_bytes: memory.parse().ok()?, cpu_seconds: cpu.parse().ok()?, ..Self::default() })
    }
}

/// Half of what the container may still use, at most 1 GiB, at least 256 MiB.
///
/// A child that the kernel's memory controller kills may take the whole container with it, so the child's own limit
/// must bite first. Half leaves room for the controller beside it. 1 GiB compiles CPython and StarlingMonkey; a
/// Rust policy needs 60 MiB, so below 256 MiB nothing but refusing would be left.
fn memory_for_a_child() -> u64 {
    const MOST: u64 = 1 << 30;
    const LEAST: u64 = 256 << 20;
    let read = |name: &str| {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    match (read("memory.max"), read("memory.current")) {
        (Some(limit), Some(used)) => (limit.saturating_sub(used) / 2).clamp(LEAST, MOST),
        _ => MOST,
    }
}

/// How to start the child that compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program: the binary itself, usually.
    pub program: PathBuf,
    /// Its arguments before the two numbers that the host adds.
    pub args: Vec<String>,
    /// What one compilation may use.
    pub limits: CompileLimits,
}

impl Compiler {
    /// A compiler with default limits.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = String>) -> Self {
        Self { program: program.into(), args: args.into_iter().collect(), limits: CompileLimits::default() }
    }

    /// Compiles in a child. Blocks until it ends, at most for the wall-clock limit.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
        let failed = |error: std::io::Error| LoadError::Compiler { because: error.to_string() };
        let mut child = self.spawn().map_err(failed)?;
        let (sender, receiver) = mpsc::channel();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let read = move || {
            let code = stdout.map(|pipe| drain(pipe, CODE_BYTES)).unwrap_or_default();
            // The receiver is gone only when the wall-clock limit was hit.
            let _ = sender.send(code);
        };
        std::thread::Builder::new().name("compile-output".to_owned()).spawn(read).map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that died has closed its end; its status says why.
            let _ = stdin.write_all(wasm);
        }
        let code = receiver.recv_timeout(Duration::from_secs(self.limits.wall_seconds));
        if code.is_err() {
            let _ = child.kill();
        }
        let complaint = stderr.map(|pipe| drain(pipe, 16 << 10)).unwrap_or_default();
        let status = child.wait().map_err(failed)?;
        match code {
            Ok(code) if status.success() && !code.is_empty() => Ok(code),
            Ok(message) if status.code() == Some(i32::from(REFUSED)) => {
                Err(LoadError::Compile { because: String::from_utf8_lossy(&message).into_owned() })
            }
            Ok(_) => Err(self.death(status, &complaint)),
            Err(_) => Err(LoadError::CompileUnfinished { seconds: self.limits.wall_seconds }),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        // Each thread of the compiler costs address space, of which the child has little.
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        Command::new(&self.program)
            .args(&self.args)
            .args(self.limits.arguments())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            // So does a gigabyte that mimalloc, if the program has it, reserves when it starts.
            .env("MIMALLOC_ARENA_RESERVE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Why a child died that did not say so itself.
    fn death(&self, status: std::process::ExitStatus, complaint: &[u8]) -> LoadError {
        use std::os::unix::process::ExitStatusExt as _;
        let memory = LoadError::CompileMemory { mebibytes: self.limits.memory_bytes >> 20 };
        let complaint = String::from_utf8_lossy(complaint);
        match status.signal() {
            // SIGXCPU, and SIGKILL when the grace second is over, too.
            Some(24) => LoadError::CompileTimeout { seconds: self.limits.cpu_seconds },
            Some(9) => memory,
            // Rust aborts when an allocation fails; threads that cannot be mapped panic.
            Some(6 | 11) => memory,
            _ if complaint.contains("memory") || complaint.contains("Resource temporarily unavailable") => {
                memory
            }
            signal => LoadError::Compiler {
                because: format!(
                    "the child ended with status {:?}, signal {signal:?}: {}",
                    status.code(),
                    crate::sandbox::clean(&complaint, 300)
                ),
            },
        }
    }
}

fn drain(pipe: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read is judged by the child's status.
    let _ = pipe.take(most).read_to_end(&mut bytes);
    bytes
}

/// The child's whole program: limits itself, reads a component from `input`, writes machine code to `output`.
///
/// Called by the hidden subcommand of the binary and by `refloat-compile`. Exit status 3 means that the component
/// was refused and `output` says why.
pub fn compile_worker(mut input: impl Read, mut output: impl Write, limits: CompileLimits) -> ExitCode {
    if restrict(limits).is_err() {
        return ExitCode::FAILURE;
    }
    let mut wasm = Vec::new();
    if input.read_to_end(&mut wasm).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(engine) = engine::compiling() else {
        return ExitCode::FAILURE;
    };
    let (bytes, code) = match engine.precompile_component(&wasm) {
        Ok(code) => (code, ExitCode::SUCCESS),
        Err(error) => (refusal(&error).into_bytes(), ExitCode::from(REFUSED)),
    };
    if output.write_all(&bytes).and_then(|()| output.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    code
}

fn refusal(error: &wasmtime::Error) -> String {
    crate::sandbox::clean(&format!("{error:#}"), 1 << 10)
}

fn restrict(limits: CompileLimits) -> rustix::io::Result<()> {
    let hard = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, hard(0))?;
    setrlimit(Resource::As, hard(limits.memory_bytes))?;
    // The soft limit's signal says that it was the processor time; the hard one cannot be caught.
    let cpu =
        Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds.saturating_add(1)) };
    setrlimit(Resource::Cpu, cpu)
}
