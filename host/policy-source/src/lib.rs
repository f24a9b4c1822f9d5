//! Where component bytes come from: built in, a file, bytes that somebody else fetched.
//!
//! In: a reference as people write it (`builtin:NAME` or a path). Out: bytes with their digest, or an error that says
//! what to do. Nothing here looks into the bytes, caches them or uses the network.

mod builtin;
mod file;

use std::fmt;
use std::path::PathBuf;

use policy_core::name::Digest;
use sha2::{Digest as _, Sha256};

pub use builtin::{builtin, builtins, example};

/// Largest component that is read. The largest known guest, CPython, is about 20 MiB.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

const BUILTIN: &str = "builtin:";

/// A reference to a component as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// A policy that ships with this program.
    Builtin(String),
    /// A file.
    File(PathBuf),
}

impl Module {
    /// Reads `builtin:NAME` or a path. Every text is one or the other.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix(BUILTIN) {
            Some(name) => Self::Builtin(name.to_owned()),
            None => Self::File(PathBuf::from(text)),
        }
    }

    /// The bytes that it stands for.
    ///
    /// # Errors
    /// When there is no such policy or file, or it is not something that could be a component; the message has a line
    /// `help:` that says what to do.
    pub fn load(&self) -> Result<Component, SourceError> {
        match self {
            Self::Builtin(name) => builtin(name),
            Self::File(path) => file::read(path, MAX_BYTES),
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "{BUILTIN}{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Bytes that may be a component, and their digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Component {
    /// SHA-256 over the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Component {
    /// Takes bytes that somebody else has fetched, such as those of a ConfigMap. `from` is for messages.
    ///
    /// # Errors
    /// When there are none or too many.
    pub fn from_bytes(from: &str, bytes: Vec<u8>) -> Result<Self, SourceError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size == 0 {
            return Err(SourceError::Empty { from: from.to_owned() });
        }
        if size > MAX_BYTES {
            return Err(SourceError::TooLarge { from: from.to_owned(), limit: MAX_BYTES });
        }
        Ok(Self { digest: digest(&bytes), bytes })
    }

    /// Whether these are the bytes of a pinned digest.
    ///
    /// # Errors
    /// When they are not.
    pub fn expect(self, from: &str, pinned: &Digest) -> Result<Self, SourceError> {
        if self.digest == *pinned {
            return Ok(self);
        }
        let (found, pinned) = (self.digest, pinned.clone());
        Err(SourceError::OtherDigest { from: from.to_owned(), found, pinned })
    }
}

impl fmt::Debug for Component {
    /// Megabytes of numbers help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({}, {} bytes)", self.digest, self.bytes.len())
    }
}

/// SHA-256 over `bytes`, as `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::new(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
}

/// Why there are no bytes. The first line says what is wrong with what; `help:` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing at the path.
    #[error("there is no file `{}`\nhelp: give the path of a component (`.wasm`), or `builtin:NAME`", path.display())]
    FileMissing {
        /// The path.
        path: PathBuf,
    },
    /// The path is no file.
    #[error("`{}` is a folder, not a component\nhelp: name the `.wasm` file in it", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// The path is a device, a pipe or the like.
    #[error("`{}` is no regular file\nhelp: name a `.wasm` file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// There are no bytes.
    #[error("`{from}` is empty\nhelp: a component has at least 8 bytes; was the build interrupted?")]
    Empty {
        /// Where the bytes should have been.
        from: String,
    },
    /// There are too many bytes.
    #[error(
        "`{from}` is larger than {limit} bytes\nhelp: build it in release mode and strip debug information"
    )]
    TooLarge {
        /// Where they are.
        from: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file is there and cannot be read.
    #[error("failed to read `{}`\nhelp: check that the file is readable for this user", path.display())]
    ReadFile {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No policy of that name ships with this program.
    #[error("there is no built-in policy `{name}`\nhelp: the built-in policies are {known}")]
    BuiltinUnknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The SDK has no example of that name.
    #[error("there is no example `{name}`\nhelp: the examples are {known}")]
    ExampleUnknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// This program was built without any policy.
    #[error(
        "`builtin:{name}` is not in this build, which has no built-in policies\nhelp: run `make builtins` and build again"
    )]
    NoBuiltins {
        /// The name.
        name: String,
    },
    /// The bytes are not those that were pinned.
    #[error(
        "`{from}` has digest `{found}`, and `{pinned}` is pinned\nhelp: pin the new digest if the change is wanted"
    )]
    OtherDigest {
        /// Where they came from.
        from: String,
        /// What they are.
        found: Digest,
        /// What they should be.
        pinned: Digest,
    },
}

#[cfg(test)]
mod tests;
