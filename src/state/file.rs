//! Which file a database is, whatever its name.

use std::path::Path;

/// Tells one file from another that took its name.
pub(crate) type FileIdentity = (u64, u64);

/// `None` where there is none, and on systems where a file that is open cannot
/// be taken away.
#[cfg(unix)]
pub(crate) fn file_identity(file: &Path) -> Option<FileIdentity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(file).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(crate) fn file_identity(_: &Path) -> Option<FileIdentity> {
    None
}
