//! The file itself: made for its owner's eyes only, and never another program's.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::{StoreError, layout};
use crate::config::private;

/// Sees to it that the file is there and nobody else's.
///
/// # Errors
/// [`StoreError::Broken`] for another program's file, or one that cannot be
/// read or made; [`StoreError::Newer`] for the state of a newer engine.
pub(super) async fn prepare(path: &Path) -> Result<(), StoreError> {
    refuse_foreign(path).await?;
    make(path).map_err(|error| broken(path, &error.to_string()))
}

fn broken(path: &Path, words: &str) -> StoreError {
    StoreError::Broken(format!("`{}`: {words}", path.display()))
}

/// Makes the file and the folder it lies in where they are missing, readable
/// by their owner only. SQLite gives the files beside it the same mode, but
/// for those that lie there already.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private::folder(folder)?;
        // A folder that holds other things too is its owner's to open and close.
        if folder.file_name().is_some_and(|name| name == crate::config::STATE_FOLDER) {
            private::close_to_others(folder, 0o700)?;
        }
    }
    private::file(path)?;
    for beside in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{beside}", path.display()));
        match private::close_to_others(&beside, 0o600) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a file of somebody else's before anything of it is changed: its
/// permissions, the way its changes are journalled.
async fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(20).read_to_end(&mut head)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(broken(path, &error.to_string())),
        Ok(0) => return Ok(()),
        Ok(_) => {}
    }
    if !head.starts_with(b"SQLite format 3\0") {
        return Err(broken(path, "the file is no database"));
    }
    // A state is journalled ahead (the file format's version for writing is 2), unless a tool has copied it.
    if head.get(18) == Some(&2) {
        return Ok(());
    }
    let mut probe = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let another = layout::belongs_to_another(&mut probe).await?;
    let found = layout::found(&mut probe).await?;
    probe.close().await?;
    if another {
        return Err(broken(path, "the file is a database of another program"));
    }
    layout::refuse_unknown(found)
}
