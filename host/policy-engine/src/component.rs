//! From bytes to a checked component: what it is, what it exports and imports, and that it is of sane size.
//!
//! In: bytes from anybody. Out: [`Inspection`], or a [`LoadError`] that names what is wrong. Nothing is compiled or
//! run here, and nothing here takes longer than reading the bytes once.

use sha2::{Digest as _, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use policy_core::name::Digest;

use crate::imports;
use crate::limits::Limits;
use crate::load_error::LoadError;
use crate::wit::Track;

/// The deepest nesting of components. Runtimes that are linked from several components need 3.
const DEPTH: usize = 8;
/// Core modules in one component. CPython has 38.
const MODULES: u64 = 128;
/// Functions in one component.
const FUNCTIONS: u64 = 200_000;
/// The largest function body. CPython's has 427 KB.
const BODY_BYTES: u64 = 1 << 20;
/// Locals of one function. Compile time grows with locals times blocks.
const LOCALS: u64 = 20_000;
/// Imports of one component. The runtimes of CPython and JavaScript drag in some 25.
const IMPORTS: usize = 200;
/// Declarations of types, imports and exports of one component.
const DECLARATIONS: u64 = 100_000;

/// What is known about a component without compiling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The track it speaks, when this host speaks it, too.
    pub track: Option<Track>,
    /// What it imports, by name, in its own order.
    pub imports: Vec<String>,
    /// What it exports, by name, in its own order.
    pub exports: Vec<String>,
    /// Its size in bytes.
    pub size: usize,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Inspection {
    /// Whether this host can use it as a policy.
    ///
    /// # Errors
    /// [`LoadError::NewerTrack`], [`LoadError::NotAPolicy`], [`LoadError::ForbiddenImport`].
    pub fn check(&self) -> Result<Track, LoadError> {
        let track = self.track.ok_or_else(|| self.no_track())?;
        match self.imports.iter().find(|name| !imports::is_admitted(name)) {
            Some(import) => Err(LoadError::ForbiddenImport { import: import.clone() }),
            None => Ok(track),
        }
    }

    fn no_track(&self) -> LoadError {
        let ours = |name: &&String| imports::split(name).0 == format!("{}/policy", imports::PACKAGE);
        match self.exports.iter().find(ours) {
            Some(export) => LoadError::NewerTrack { export: export.clone(), spoken: Track::SPOKEN },
            None if self.exports.is_empty() => LoadError::NotAPolicy { exports: "nothing".to_owned() },
            None => {
                let names: Vec<String> =
                    self.exports.iter().take(5).map(|name| format!("`{name}`")).collect();
                LoadError::NotAPolicy { exports: names.join(", ") }
            }
        }
    }
}

/// Reads what a component is, without compiling it.
///
/// # Errors
/// Bytes that are no component, or one that is larger in some way than any policy needs to be.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Inspection, LoadError> {
    envelope(bytes, limits)?;
    let mut walk = Walk::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| LoadError::Invalid { because: error.to_string() })?;
        walk.visit(payload, limits).map_err(|error| match error {
            Stop::Invalid(error) => LoadError::Invalid { because: error.to_string() },
            Stop::Bounds(error) => error,
        })?;
    }
    Ok(Inspection {
        track: walk.exports.iter().find_map(|name| Track::of_export(name)),
        imports: walk.imports,
        exports: walk.exports,
        size: bytes.len(),
        digest: digest(bytes),
    })
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::new(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
}

/// What the first bytes and the sections' lengths say.
fn envelope(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let limit = limits.component_bytes;
    match bytes {
        [] => Err(LoadError::Empty),
        _ if bytes.len() > limit => Err(LoadError::TooLarge { size: bytes.len(), limit }),
        [0x7F, b'E', b'L', b'F', ..] => Err(LoadError::Precompiled),
        [0, b'a', b's', b'm', _, _, 1, 0, sections @ ..] => whole_sections(sections, bytes.len()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [0, b'a', b's', b'm', ..] | [0] | [0, b'a'] | [0, b'a', b's'] => {
            Err(LoadError::Truncated { size: bytes.len() })
        }
        _ if is_text(bytes) => Err(LoadError::Text),
        _ => Err(LoadError::NotWasm { begins: hex::encode(bytes.get(..8).unwrap_or(bytes)) }),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = std::str::from_utf8(bytes.get(..bytes.len().min(64)).unwrap_or_default()).unwrap_or_default();
    let start = start.trim_start();
    start.starts_with("(component") || start.starts_with("(module") || start.starts_with(";;")
}

/// Walks the outermost sections by their lengths, which tells a file that was cut off from one that is wrong.
fn whole_sections(mut rest: &[u8], size: usize) -> Result<(), LoadError> {
    let truncated = LoadError::Truncated { size };
    while let [_id, tail @ ..] = rest {
        let mut length: u64 = 0;
        let mut used = 0;
        loop {
            let byte = *tail.get(used).ok_or_else(|| truncated.clone())?;
            length |= u64::from(byte & 0x7F) << (7 * used).min(56);
            used += 1;
            if byte & 0x80 == 0 || used == 5 {
                break;
            }
        }
        let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(used);
        rest = tail.get(end..).ok_or_else(|| truncated.clone())?;
    }
    Ok(())
}

enum Stop {
    Invalid(wasmparser::BinaryReaderError),
    Bounds(LoadError),
}

impl From<wasmparser::BinaryReaderError> for Stop {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid(error)
    }
}

fn bound(what: &str, amount: u64, limit: u64) -> Result<(), Stop> {
    if amount > limit {
        return Err(Stop::Bounds(LoadError::OutOfBounds { what: format!("{amount} {what}"), limit }));
    }
    Ok(())
}

/// Counts while the parser walks the component and everything inside it.
#[derive(Default)]
struct Walk {
    depth: usize,
    modules: u64,
    functions: u64,
    declarations: u64,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Walk {
    fn visit(&mut self, payload: Payload<'_>, limits: &Limits) -> Result<(), Stop> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                self.modules += u64::from(encoding == Encoding::Module);
                bound("levels of nesting", imports::amount(self.depth), imports::amount(DEPTH))?;
                bound("core modules", self.modules, MODULES)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            Payload::ComponentImportSection(section) => self.component_imports(section),
            Payload::ComponentExportSection(section) => self.component_exports(section),
            Payload::ComponentTypeSection(section) => self.declare(section.count()),
            Payload::CoreTypeSection(section) => self.declare(section.count()),
            Payload::ComponentCanonicalSection(section) => self.declare(section.count()),
            Payload::TypeSection(section) => self.declare(section.count()),
            Payload::ImportSection(section) => self.declare(section.count()),
            Payload::ExportSection(section) => self.declare(section.count()),
            Payload::ComponentInstanceSection(section) => self.declare(section.count()),
            Payload::ComponentAliasSection(section) => self.declare(section.count()),
            Payload::MemorySection(section) => section.into_iter().try_for_each(|memory| {
                let pages = memory?.initial;
                bound("pages of initial memory", pages, imports::amount(limits.memory_bytes) >> 16)
            }),
            Payload::TableSection(section) => section.into_iter().try_for_each(|table| {
                let elements = table?.ty.initial;
                bound("elements in a table", elements, imports::amount(limits.table_elements))
            }),
            Payload::CodeSectionStart { count, .. } => {
                self.functions += u64::from(count);
                bound("functions", self.functions, FUNCTIONS)
            }
            Payload::CodeSectionEntry(body) => {
                bound("bytes in one function", imports::amount(body.range().len()), BODY_BYTES)?;
                let mut locals: u64 = 0;
                for group in body.get_locals_reader()? {
                    locals = locals.saturating_add(u64::from(group?.0));
                }
                bound("locals in one function", locals, LOCALS)
            }
            // What is left has nothing to count before the validator in the child sees it.
            _ => Ok(()),
        }
    }

    fn declare(&mut self, count: u32) -> Result<(), Stop> {
        self.declarations += u64::from(count);
        bound("declarations", self.declarations, DECLARATIONS)
    }

    fn component_imports(
        &mut self,
        section: wasmparser::ComponentImportSectionReader<'_>,
    ) -> Result<(), Stop> {
        self.declare(section.count())?;
        for import in section {
            let import = import?;
            if self.depth == 1 {
                self.imports.push(import.name.name.to_owned());
            }
        }
        bound("imports", imports::amount(self.imports.len()), imports::amount(IMPORTS))
    }

    fn component_exports(
        &mut self,
        section: wasmparser::ComponentExportSectionReader<'_>,
    ) -> Result<(), Stop> {
        self.declare(section.count())?;
        for export in section {
            let export = export?;
            if self.depth == 1 {
                self.exports.push(export.name.name.to_owned());
            }
        }
        Ok(())
    }
}
