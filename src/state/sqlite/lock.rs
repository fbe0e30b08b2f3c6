//! One engine runs on a state; the others are told which.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};

use super::StoreError;
use crate::config::private;

/// Held as long as it lives. The operating system releases it with the
/// process, however that ends.
#[derive(Debug)]
pub(super) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock, and writes down who has it since when.
    pub(super) fn take(path: &Path, started: DateTime<Utc>) -> Result<RunLock, StoreError> {
        let broken = |error: std::io::Error| StoreError::Broken(format!("`{}`: {error}", path.display()));
        let mut file = private::file(path).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Where a lock keeps others from reading, its holder stays unnamed.
                let told = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                return Err(StoreError::Held(if told { holder.trim().to_owned() } else { "another process".into() }));
            }
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        let since = started.to_rfc3339_opts(SecondsFormat::Secs, true);
        let holder = format!("process {}, since {since}\n", std::process::id());
        file.set_len(0).map_err(broken)?;
        file.rewind().map_err(broken)?;
        file.write_all(holder.as_bytes()).map_err(broken)?;
        Ok(RunLock { _file: file })
    }
}
