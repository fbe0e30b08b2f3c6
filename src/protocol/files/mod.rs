//! Files: the records of a folder's files as objects.
//!
//! A file has no order, no index, no conditions and no transactions. So its
//! records are taken over into a passing database (`stage`), where the SQLite
//! connector reads and changes them; and what was changed becomes a new file
//! that takes the place of the old one, whole or not at all (`place`), unless
//! somebody was quicker. `records` knows which bytes each record has (`lines`,
//! `elements`), `layout` what they say, `cell` what that means; `render` writes the
//! new file. `arrivals` reads each file of a pattern once. Start reading at
//! [`connect_files`].

mod arrivals;
mod cell;
mod config;
mod describe;
mod element;
mod elements;
mod layout;
mod lines;
mod place;
mod read;
mod records;
mod render;
mod stage;
mod write;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

pub use cell::is_format;
pub use config::{CellKind, Encoding, FieldSettings, FileSettings, FilesSettings, Format};

use crate::connector::{Access, Connector, Description, Fault, Object, ObjectSummary};
use place::Stamp;

/// What the engine itself has put in place: it is whole.
type Own = Arc<Mutex<HashMap<PathBuf, Stamp>>>;

/// A folder of files. Nothing is opened before the first use.
pub fn connect_files(settings: &FilesSettings) -> Arc<dyn Connector> {
    Arc::new(Folder { settings: Arc::new(settings.clone()), own: Own::default() })
}

struct Folder {
    settings: Arc<FilesSettings>,
    own: Own,
}

impl Folder {
    fn refuse(&self, doing: &str, error: &std::io::Error) -> Fault {
        Fault::user(doing, "", format!("the folder `{}` cannot be read: {error}", self.settings.folder.display()))
    }

    fn list(&self, doing: &str) -> Result<Vec<ObjectSummary>, Fault> {
        describe::list(&self.settings).map_err(|error| self.refuse(doing, &error))
    }
}

impl Connector for Folder {
    fn check(&self) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(async move {
            let count = self.list("opening the folder")?.len();
            Ok(if count == 1 { "a folder of 1 file".into() } else { format!("a folder of {count} files") })
        })
    }

    fn objects(&self) -> BoxFuture<'_, Result<Vec<ObjectSummary>, Fault>> {
        Box::pin(async move { self.list("listing the files") })
    }

    fn describe<'a>(&'a self, object: &'a str) -> BoxFuture<'a, Result<Option<Description>, Fault>> {
        Box::pin(async move {
            let doing = format!("describing `{object}`");
            std::fs::read_dir(&self.settings.folder).map_err(|error| self.refuse(&doing, &error))?;
            let Some(found) = describe::find(&self.settings, object) else { return Ok(None) };
            found.describe(&self.settings, &doing).map(Some)
        })
    }

    fn open(&self, access: Access) -> BoxFuture<'_, Result<Arc<dyn Object>, Fault>> {
        Box::pin(async move {
            let doing = format!("opening `{}`", access.object);
            let found = describe::find(&self.settings, &access.object)
                .ok_or_else(|| Fault::user(doing, "", "there is no such file"))?;
            Ok(match found.pattern() {
                Some(_) => Arc::new(arrivals::Arrivals::new(self.settings.clone(), found, access)) as Arc<dyn Object>,
                None => Arc::new(read::Opened::new(self.settings.clone(), self.own.clone(), found, access)),
            })
        })
    }
}
