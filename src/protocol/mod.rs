//! How systems are talked to: one folder for each protocol.
//!
//! Each implements the traits of `connector` and knows neither mappings nor
//! plans. Every family has the same file names (`config`, `describe`, `read`,
//! `write`), so that who knows one knows all.

pub mod files;
pub mod http;
pub mod sql;

use std::path::Path;

/// True where a file or a folder, or the disk it lies on, can only be read.
///
/// A file is not opened for that: closing it again would take away every lock
/// that this process has on it, those of a database's connections too.
#[cfg(unix)]
fn is_locked_away(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    use rustix::io::Errno;
    access(path, Access::WRITE_OK).is_err_and(|error| [Errno::ACCESS, Errno::PERM, Errno::ROFS].contains(&error))
}

#[cfg(not(unix))]
fn is_locked_away(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().readonly())
}
