//! Passing copies of databases that do not exist yet.
//!
//! A plan writes nothing, not even the database that a run would make from SQL
//! text; and without that database it could not say what the run would do.

use std::path::PathBuf;

use crate::connector::Fault;
use crate::protocol::sql::SqlSettings;
use crate::run::{SystemWorld, World};

/// A folder that goes away with this, and what was put into it.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    folder: Option<PathBuf>,
    names: Vec<String>,
}

impl Drafts {
    /// Makes the settings lead to a copy instead.
    pub(super) fn divert(&mut self, connection: &str, settings: &mut SqlSettings) -> Result<(), Fault> {
        let unmade = |error: std::io::Error| Fault::user("making a passing copy", "", error.to_string());
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => self.folder.insert(make().map_err(unmade)?).clone(),
        };
        settings.create_from = settings.create_from.take().map(|script| settings.folder.join(script));
        let script = settings.create_from.as_ref().map(std::path::absolute).transpose().map_err(unmade)?;
        settings.create_from = script;
        settings.database = Some(folder.join(format!("{}.db", self.names.len())).to_string_lossy().into_owned());
        self.names.push(connection.to_owned());
        Ok(())
    }

    /// The connections whose copies these are.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// A folder of its own that only its owner reads.
fn make() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("engine-{}", SystemWorld.id()));
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}

impl Drop for Drafts {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _left = std::fs::remove_dir_all(folder);
        }
    }
}
