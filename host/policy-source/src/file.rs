//! Components in files.
//!
//! In: a path. Out: bytes, at most as many as allowed, or an error that says what the path is instead.
//! Never reads more than the limit, whatever the file's size claims to be, and never opens a pipe or a device.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::{Component, SourceError, digest};

pub(crate) fn read(path: &Path, limit: u64) -> Result<Component, SourceError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => SourceError::FileMissing { path: path.to_owned() },
        _ => SourceError::ReadFile { path: path.to_owned(), source },
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(SourceError::Folder { path: path.to_owned() });
    }
    if !metadata.is_file() {
        return Err(SourceError::NotRegular { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let n_read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    let from = path.display().to_string();
    if n_read == 0 {
        return Err(SourceError::Empty { from });
    }
    if u64::try_from(n_read).unwrap_or(u64::MAX) > limit {
        return Err(SourceError::TooLarge { from, limit });
    }
    Ok(Component { digest: digest(&bytes), bytes })
}
