//! Where the state of a project lies, and what is asked of it without reading
//! the project.
//!
//! Conflicts, parked records and runs are looked at by their mapping's name:
//! the commands for them work also while the YAML is being edited.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use url::Url;

use super::keys::KeyNames;
use super::{Common, Context, Failure};
use crate::config::{environments, project_root, state_folder};
use crate::protocol::sql::settle_tls;
use crate::run::{SystemWorld, World};
use crate::state::{MemoryStore, PostgresStore, SqliteStore, Store};

/// The file of the state in its folder.
const FILE: &str = "state.db";

/// Where a state lies.
pub(super) enum Place {
    /// In a file of its own, or it will.
    File(PathBuf),
    /// On a PostgreSQL server, at an address that may hold a password.
    Server(Url),
}

/// Where the state of a project lies.
pub(super) fn state_place(common: &Common, path: &Path) -> Result<Place, Failure> {
    let root = project_root(path);
    refuse_unknown_environment(common, &root)?;
    let Some(address) = &common.state else {
        return Ok(Place::File(state_folder(&root, common.env.as_deref()).join(FILE)));
    };
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        // What the parser would repeat of it may be the password.
        let url = Url::parse(address).map_err(|problem| {
            let form = "it has the form `postgres://user:password@host:5432/database`";
            Failure::wrong(format!("the address of the state cannot be read: {problem}")).help(form)
        })?;
        return Ok(Place::Server(settle_tls(url, Path::new("."))?));
    }
    let place = address.strip_prefix("sqlite://").unwrap_or(address);
    if let Some((scheme, _)) = place.split_once("://") {
        return Err(Failure::not_yet(
            &format!("a state at `{scheme}://`"),
            "name a folder, `sqlite://` and a folder, or `postgres://` and a database",
        ));
    }
    if place.is_empty() {
        return Err(Failure::wrong("`--state` names no folder"));
    }
    let place = PathBuf::from(place);
    let is_file = place.is_file() || (!place.is_dir() && place.extension().is_some_and(|end| end == "db"));
    Ok(Place::File(if is_file { place } else { place.join(FILE) }))
}

/// Refuses an environment that the project has no file of.
pub(super) fn refuse_unknown_environment(common: &Common, root: &Path) -> Result<(), Failure> {
    let Some(env) = &common.env else { return Ok(()) };
    let known = environments(root);
    if known.contains(env) {
        return Ok(());
    }
    Err(Failure::unknown("environment", env, known.iter().map(String::as_str)))
}

/// The states that a command has opened, to be closed when it is done,
/// however it ends.
#[derive(Default)]
pub(super) struct OpenStates(Mutex<Vec<Arc<dyn Store>>>);

impl OpenStates {
    fn keep(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.0.lock().expect("nothing panics while it holds the lock").push(store.clone());
        store
    }

    pub(super) async fn close(&self) {
        let open = std::mem::take(&mut *self.0.lock().expect("nothing panics while it holds the lock"));
        for store in open {
            // What was answered is on the disk already.
            if let Err(error) = store.close().await {
                tracing::warn!("the state was not closed: {error}");
            }
        }
    }
}

/// The state to run on; made where there is none yet.
pub(super) async fn open_for_run(context: Context<'_>, path: &Path) -> Result<Arc<dyn Store>, Failure> {
    Ok(match state_place(context.common, path)? {
        Place::File(file) => context.states.keep(Arc::new(SqliteStore::open_for_run(&file, SystemWorld.now()).await?)),
        // Whether another engine is at work there is asked for each mapping.
        Place::Server(url) => context.states.keep(Arc::new(PostgresStore::open(&url).await?)),
    })
}

/// The state to look at or to leave a decision in. Where there is none, an
/// empty one that is forgotten at the end: looking makes no state.
pub(super) async fn open(context: Context<'_>, path: &Path) -> Result<Arc<dyn Store>, Failure> {
    if !path.exists() {
        return Err(Failure::wrong(format!("there is no folder or file `{}`", path.display())));
    }
    match state_place(context.common, path)? {
        Place::File(file) if file.is_file() => {
            return Ok(context.states.keep(Arc::new(SqliteStore::open(&file).await?)));
        }
        Place::File(_) => {}
        Place::Server(url) => {
            if let Some(store) = PostgresStore::open_there(&url).await? {
                return Ok(context.states.keep(Arc::new(store)));
            }
        }
    }
    Ok(Arc::new(MemoryStore::default()))
}

/// The state's mappings that fit a name, as its user writes it: the full name,
/// or the part behind the namespace where that is the only one.
pub(super) async fn mapping_named(store: &dyn Store, name: &str) -> Result<String, Failure> {
    let known = store.mappings().await?;
    if known.is_empty() {
        let help = "nothing ran here yet: is the path the project's, and the state where `--state` says?";
        return Err(Failure::wrong(format!("the state knows no mapping `{name}`")).help(help));
    }
    pick(name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// The one of `known` that is meant.
pub(super) fn pick<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Result<&'a str, Failure> {
    let known: Vec<&str> = known.collect();
    if let Some(exact) = known.iter().find(|known| **known == name) {
        return Ok(exact);
    }
    let ending: Vec<&str> =
        known.iter().copied().filter(|known| known.rsplit_once('/').is_some_and(|(_, last)| last == name)).collect();
    match ending.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::unknown("mapping", name, known)),
        several => Err(Failure::wrong(format!("`{name}` may be one of {}", crate::diagnostic::quoted(several)))
            .help("write the name with its folder")),
    }
}

/// The names of the key fields of a stored mapping, as its links know them.
pub(super) async fn key_names(store: &dyn Store, mapping: &str) -> Result<KeyNames, Failure> {
    let stored = store.mapping(mapping).await?;
    Ok(stored.map(|stored| KeyNames::of_fingerprints(&stored.fingerprints)).unwrap_or_default())
}
