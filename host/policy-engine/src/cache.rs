//! Compiled components on disk: content-addressed, private, and authenticated before they are mapped.
//!
//! In: a digest, and machine code from our own child. Out: a loaded component. Machine code is run as it is, so only
//! what this cache wrote itself is ever loaded; anything else is compiled again. Must not be shared between users.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use wasmtime::component::Component;

use policy_core::name::Digest;

type Tag = Hmac<Sha256>;

/// One directory of compiled components, for one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
    engine_id: String,
}

impl Cache {
    /// Opens or makes the cache below `root`. The key is made with the directory and never leaves it.
    pub(crate) fn open(root: &Path, engine_id: &str) -> std::io::Result<Self> {
        let directory = root.join(engine_id);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        for path in [root, &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { key: key(root)?, directory, engine_id: engine_id.to_owned() })
    }

    fn path(&self, digest: &Digest, ending: &str) -> PathBuf {
        let name = digest.as_str().trim_start_matches("sha256:");
        self.directory.join(format!("{name}.{ending}"))
    }

    /// The component of that digest, when it is here and ours.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest, "cwasm");
        let file = File::open(&path).ok()?;
        let expected = fs::read(self.path(digest, "tag")).ok()?;
        if self.tag(digest, file).ok()?.verify_slice(&expected).is_err() {
            tracing::warn!(
                digest = digest.as_str(),
                "a compiled component was damaged or foreign, compiling it again"
            );
            return None;
        }
        match map(engine, &path) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(digest = digest.as_str(), %error, "a compiled component does not fit, compiling it again");
                None
            }
        }
    }

    /// Keeps machine code. Files appear whole or not at all; the tag comes first, so code is never without one.
    pub(crate) fn store(&self, digest: &Digest, code: &[u8]) -> std::io::Result<()> {
        let tag = self.tag(digest, code)?.finalize().into_bytes();
        for (ending, bytes) in [("tag", tag.as_slice()), ("cwasm", code)] {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(bytes)?;
            file.persist(self.path(digest, ending)).map_err(|error| error.error)?;
        }
        Ok(())
    }

    /// The tag binds the code to this cache, this engine and this component.
    fn tag(&self, digest: &Digest, mut code: impl Read) -> std::io::Result<Tag> {
        let mut tag = Tag::new_from_slice(&self.key).map_err(std::io::Error::other)?;
        for text in [self.engine_id.as_str(), digest.as_str()] {
            tag.update(text.as_bytes());
            tag.update(&[0]);
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = code.read(&mut buffer)?;
            if read == 0 {
                return Ok(tag);
            }
            tag.update(buffer.get(..read).unwrap_or_default());
        }
    }
}

/// Maps machine code into this process.
#[allow(unsafe_code, reason = "wasmtime cannot check machine code, so it asks the caller to vouch for it")]
fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be unchanged output of wasmtime's compiler. Its bytes were just authenticated with a key
    // that only this user can read and that only `store` uses, and `store` is only given what our own child printed
    // after it compiled a component. The file lies in a directory that only this user can write to (0700), is put
    // there by a rename, and is never written in place, so what was authenticated is what is mapped; somebody who
    // could change it in between runs as this user already. wasmtime itself checks version, flags and target.
    unsafe { Component::deserialize_file(engine, path) }
}

/// The cache's key, made on first use from the system's randomness.
fn key(root: &Path) -> std::io::Result<[u8; 32]> {
    let path = root.join("key");
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    let mut fresh = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut fresh)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let temporary = root.join(format!("key.{}", std::process::id()));
    options.open(&temporary)?.write_all(&fresh)?;
    // A link fails when another process was first; then its key counts.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(fresh),
        Err(error) => read_key(&path)?.ok_or(error),
    }
}

fn read_key(path: &Path) -> std::io::Result<Option<[u8; 32]>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.try_into().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
