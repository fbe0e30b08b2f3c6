//! A file opened for one mapping: its records as it is now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_stream::try_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::Mutex;

use super::Own;
use super::cell::normal;
use super::config::FilesSettings;
use super::describe::Found;
use super::place::{self, Stamp};
use super::stage::{Passing, Source, Stage};
use super::write;
use crate::connector::{self, Access, Fault, Horizon, Listing, Object, Retry, Scope, Settled, Writing};
use crate::record::{Batch, Value};

/// A file, opened for one mapping.
pub(super) struct Opened {
    settings: Arc<FilesSettings>,
    own: Own,
    pub(super) found: Found,
    pub(super) access: Access,
    /// The file's records as they were when it was last looked at.
    stage: Mutex<Option<Arc<Stage>>>,
    /// What was prepared is gone, and whoever finishes it is still to be told.
    is_lost: AtomicBool,
}

impl Opened {
    pub(super) fn new(settings: Arc<FilesSettings>, own: Own, found: Found, access: Access) -> Opened {
        Opened { settings, own, found, access, stage: Mutex::default(), is_lost: AtomicBool::new(false) }
    }

    pub(super) fn doing(&self, verb: &str) -> String {
        format!("{verb} `{}`", self.access.object)
    }

    /// The file's records as it is now.
    pub(super) async fn stage(&self, doing: &str) -> Result<Arc<Stage>, Fault> {
        let unread = unread_by(doing);
        let mut slot = self.stage.lock().await;
        let now = Stamp::now(&self.found.path).map_err(&unread)?;
        match slot.as_ref() {
            // What is prepared is not let go of: whoever finishes it is told that the file is another one.
            Some(stage) if stage.is_ahead() || stage.stamp() == now => return Ok(stage.clone()),
            _ => *slot = None,
        }
        let is_own = || self.own.lock().expect("nothing panics while it looks").get(&self.found.path) == now.as_ref();
        if let Some(waits) = now.as_ref().and_then(|now| now.waits(self.settings.settle)).filter(|_| !is_own()) {
            let message = "it changed a moment ago, and may still be written";
            return Err(Fault { retry: Retry::Later(waits), ..Fault::external(doing, "", message) });
        }
        let passing = Passing::new().map_err(unread)?;
        let (found, settings, copy) = (self.found.clone(), self.settings.clone(), passing.copy());
        let told = doing.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let stamp = place::copy(&found.path, &copy).map_err(unread_by(&told))?;
            let content = if stamp.is_some() { place::open(&copy).map_err(unread_by(&told))? } else { None };
            Ok((stamp, found.form(&settings, content, &told)?))
        });
        let (stamp, form) = read.await.map_err(|error| Fault::internal(doing, "", error.to_string()))??;
        if stamp != now {
            return Err(Fault::external(doing, "", "it changed while it was read"));
        }
        let (name, copy) = (self.access.object.clone(), passing.copy());
        let source = stamp.is_some().then(|| Source { name, copy, form: Ok(form.clone()) });
        let sources = source.into_iter().collect();
        let stage = Arc::new(Stage::load(passing, stamp, form, sources, &self.access, doing).await?);
        *slot = Some(stage.clone());
        Ok(stage)
    }

    /// What was staged is not what stands in the file.
    pub(super) async fn forget(&self) {
        let mut slot = self.stage.lock().await;
        if slot.as_ref().is_some_and(|stage| stage.is_ahead()) {
            self.is_lost.store(true, Ordering::Release);
        }
        *slot = None;
    }

    /// Told once.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.swap(false, Ordering::AcqRel)
    }

    /// What is staged and not in the file yet; `None` where nothing is.
    pub(super) async fn prepared(&self) -> Option<Arc<Stage>> {
        self.stage.lock().await.clone().filter(|stage| stage.is_ahead())
    }

    /// The file is what was staged.
    pub(super) fn is_in_place(&self, stage: &Stage, stamp: Stamp) {
        self.own.lock().expect("nothing panics while it notes").insert(self.found.path.clone(), stamp.clone());
        stage.is_in_place(stamp);
    }

    fn listing(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        Box::pin(try_stream! {
            let doing = self.doing("reading");
            let stage = self.stage(&doing).await?;
            let is_keys = listing == Listing::Keys;
            let mut batches = stage.records.read(listing);
            while let Some(batch) = batches.next().await {
                yield stage.outward(&batch?, &self.access.shape, |_| true);
            }
            drop(batches);
            if is_keys {
                // Records whose key nobody can tell: the listing of keys is without them.
                let mut batch = Batch::new(self.access.shape.clone());
                for mark in stage.broken(&doing).await? {
                    batch.push(mark, vec![Value::Missing; self.access.shape.len()]);
                }
                if !batch.is_empty() {
                    yield batch;
                }
            }
        })
    }
}

pub(super) fn unread_by(doing: &str) -> impl Fn(std::io::Error) -> Fault {
    move |error| Fault::external(doing, "", format!("the file cannot be read: {error}"))
}

impl Opened {
    pub(super) fn inward(&self, slot: usize, value: &Value) -> Value {
        inward(&self.access, slot, value)
    }
}

/// The value of a slot in the one form in which a stage has it.
pub(super) fn inward(access: &Access, slot: usize, value: &Value) -> Value {
    match value {
        Value::Text(text) if text.is_empty() && access.shape.fields[slot].empty_is_null => Value::Null,
        other => normal(other.clone()),
    }
}

impl Object for Opened {
    fn horizon(&self) -> BoxFuture<'_, Result<Horizon, Fault>> {
        Box::pin(async move { self.stage(&self.doing("reading")).await?.records.horizon().await })
    }

    fn understand(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let refuse =
            || Fault::user(self.doing("reading"), "", "a file has no filter language; `when` leaves records out");
        Box::pin(std::future::ready(self.access.filter.as_ref().map_or(Ok(()), |_| Err(refuse()))))
    }

    fn read(&self, listing: Listing) -> BoxStream<'_, Result<Batch, Fault>> {
        self.listing(listing)
    }

    fn fetch<'a>(
        &'a self,
        by: &'a [usize],
        probes: &'a [Vec<Value>],
        scope: Scope,
    ) -> BoxFuture<'a, Result<connector::Found, Fault>> {
        Box::pin(async move {
            let stage = self.stage(&self.doing("reading")).await?;
            let inward =
                |probe: &Vec<Value>| by.iter().zip(probe).map(|(slot, value)| self.inward(*slot, value)).collect();
            let probes: Vec<Vec<Value>> = probes.iter().map(inward).collect();
            let found = stage.records.fetch(by, &probes, scope).await?;
            Ok(connector::Found { batch: stage.outward(&found.batch, &self.access.shape, |_| true), ..found })
        })
    }

    fn begin(&self, _: usize) -> BoxFuture<'_, Result<Box<dyn Writing + '_>, Fault>> {
        Box::pin(std::future::ready(Ok(Box::new(write::Batch { object: self }) as Box<dyn Writing + '_>)))
    }

    fn holds_back(&self) -> bool {
        true
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(write::finish(self))
    }

    /// A new file takes the place of the old one in one step: whoever asks is
    /// before it or after it.
    fn settle<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Settled, Fault>> {
        Box::pin(std::future::ready(Ok(Settled::Look)))
    }
}
