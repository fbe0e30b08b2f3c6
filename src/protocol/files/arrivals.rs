//! Files by a pattern of names, each of which is read once, by what it holds.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_stream::try_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::Mutex;
use xxhash_rust::xxh3::Xxh3;

use super::config::FilesSettings;
use super::describe::{Found, alike};
use super::place::{self, Stamp};
use super::read::{inward, unread_by};
use super::stage::{Passing, Source, Stage};
use crate::connector::{self, Access, Fault, Horizon, Listing, Object, Retry, Scope, Settled, Writing};
use crate::record::Batch;

/// The files of a pattern, opened for one mapping.
pub(super) struct Arrivals {
    settings: Arc<FilesSettings>,
    found: Found,
    access: Access,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The files that were there when the run began, in the order of their names.
    files: Vec<Arrived>,
    /// What they held, as long as they stay as they are.
    digests: HashMap<PathBuf, (Stamp, String)>,
    /// Some of them, by name, and their records.
    staged: Option<(BTreeSet<String>, Arc<Stage>)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Arrived {
    name: String,
    path: PathBuf,
    stamp: Stamp,
    /// What it holds, as a word.
    digest: String,
}

impl Arrivals {
    pub(super) fn new(settings: Arc<FilesSettings>, found: Found, access: Access) -> Arrivals {
        Arrivals { settings, found, access, seen: Mutex::default() }
    }

    fn doing(&self) -> String {
        format!("reading `{}`", self.access.object)
    }

    /// Looks which files there are now. Those that may still be written are left
    /// for a later run.
    async fn look(&self, seen: &mut Seen) -> Result<(), Fault> {
        let doing = self.doing();
        let (settings, known) = (self.settings.clone(), std::mem::take(&mut seen.digests));
        let pattern = self.found.pattern().unwrap_or_default().to_owned();
        let looked = tokio::task::spawn_blocking(move || {
            let mut files = Vec::new();
            for name in alike(&settings.folder, &pattern)? {
                let path = settings.folder.join(&name);
                let Some(stamp) = Stamp::now(&path)? else { continue };
                if stamp.waits(settings.settle).is_some() {
                    continue;
                }
                let digest = match known.get(&path) {
                    Some((of, digest)) if *of == stamp => digest.clone(),
                    _ => digest(&path)?,
                };
                if Stamp::now(&path)?.as_ref() == Some(&stamp) {
                    files.push(Arrived { name, path, stamp, digest });
                }
            }
            Ok(files)
        });
        let files = looked.await.map_err(|error| Fault::internal(&doing, "", error.to_string()))?;
        let files: Vec<Arrived> = files.map_err(unread_by(&doing))?;
        seen.digests =
            files.iter().map(|file| (file.path.clone(), (file.stamp.clone(), file.digest.clone()))).collect();
        if seen.files != files {
            (seen.files, seen.staged) = (files, None);
        }
        Ok(())
    }

    /// The records of these files at least.
    async fn stage(&self, seen: &mut Seen, names: BTreeSet<String>) -> Result<Arc<Stage>, Fault> {
        let doing = self.doing();
        if let Some((staged, stage)) = &seen.staged
            && names.is_subset(staged)
        {
            return Ok(stage.clone());
        }
        let passing = Passing::new().map_err(unread_by(&doing))?;
        let wanted: Vec<Arrived> = seen.files.iter().filter(|file| names.contains(&file.name)).cloned().collect();
        let (found, settings, copy, told) = (self.found.clone(), self.settings.clone(), passing.copy(), doing.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut sources = Vec::new();
            for (index, file) in wanted.into_iter().enumerate() {
                let copy = copy.with_extension(index.to_string());
                if place::copy(&file.path, &copy).map_err(unread_by(&told))? != Some(file.stamp) {
                    return Err(Fault::external(&told, "", format!("`{}` changed while it was read", file.name)));
                }
                let content = place::open(&copy).map_err(unread_by(&told))?;
                let form = found.of(file.path).form(&settings, content, &told).map_err(|fault| fault.message);
                sources.push(Source { name: file.name, copy, form });
            }
            // Without a file, as the settings have it.
            let columns = sources.iter().rev().find_map(|source| source.form.clone().ok());
            let form = columns.map_or_else(|| found.form(&settings, None, &told), Ok)?;
            Ok((sources, form))
        });
        let (sources, form) = read.await.map_err(|error| Fault::internal(&doing, "", error.to_string()))??;
        let stage = Arc::new(Stage::load(passing, None, form, sources, &self.access, &doing).await?);
        seen.staged = Some((names, stage.clone()));
        Ok(stage)
    }

    fn listing(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        Box::pin(try_stream! {
            let mut seen = self.seen.lock().await;
            if seen.files.is_empty() {
                self.look(&mut seen).await?;
            }
            let (known, listing) = match listing {
                Listing::Changes { known, .. } => (known, Listing::Full),
                other => (None, other),
            };
            let known: BTreeSet<&str> = known.iter().flat_map(|known| known.split(' ')).collect();
            let is_new = |file: &&Arrived| !known.contains(file.digest.as_str());
            let names: BTreeSet<String> = seen.files.iter().filter(is_new).map(|file| file.name.clone()).collect();
            if names.is_empty() {
                return;
            }
            let stage = self.stage(&mut seen, names.clone()).await?;
            drop(seen);
            let mut batches = stage.records.read(listing);
            while let Some(batch) = batches.next().await {
                let batch = stage.outward(&batch?, &self.access.shape, |file| names.contains(file));
                if !batch.is_empty() {
                    yield batch;
                }
            }
        })
    }
}

/// What a file holds, as a word.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut buffer) = (Xxh3::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", hasher.digest128())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

impl Object for Arrivals {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        Box::pin(async move {
            let mut seen = self.seen.lock().await;
            self.look(&mut seen).await?;
            let words: Vec<&str> = seen.files.iter().map(|file| file.digest.as_str()).collect();
            Ok(Horizon { known: Some(words.join(" ")), ..Horizon::default() })
        })
    }

    fn shows_once(&self) -> bool {
        true
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        self.listing(listing)
    }

    /// Looks in the files that are new first, and in all that are there where one
    /// of the probes finds nothing.
    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<crate::record::Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<connector::Found, Fault>> {
        Box::pin(async move {
            let inward =
                |probe: &Vec<_>| by.iter().zip(probe).map(|(slot, value)| inward(&self.access, *slot, value)).collect();
            let probes: Vec<Vec<_>> = probes.iter().map(inward).collect();
            let mut seen = self.seen.lock().await;
            if seen.files.is_empty() {
                self.look(&mut seen).await?;
            }
            let all: BTreeSet<String> = seen.files.iter().map(|file| file.name.clone()).collect();
            if let Some((_, stage)) = seen.staged.clone().filter(|(staged, _)| *staged != all) {
                let found = stage.records.fetch(by, &probes, scope).await?;
                let answered: BTreeSet<usize> = found.probes.iter().copied().collect();
                if answered.len() == probes.len() {
                    let batch = stage.outward(&found.batch, &self.access.shape, |_| true);
                    return Ok(connector::Found { batch, ..found });
                }
            }
            let stage = self.stage(&mut seen, all).await?;
            let found = stage.records.fetch(by, &probes, scope).await?;
            Ok(connector::Found { batch: stage.outward(&found.batch, &self.access.shape, |_| true), ..found })
        })
    }

    fn begin(&self, _: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        let fault = Fault::user(format!("writing `{}`", self.access.object), "", "files of a pattern are only read");
        Box::pin(std::future::ready(Err(Fault { retry: Retry::Never, ..fault })))
    }

    fn settle<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        Box::pin(std::future::ready(Ok(Settled::NotApplied)))
    }
}
