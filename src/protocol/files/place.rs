//! A file where it lies: whether it stands still, a copy of it, and another one
//! in its place.

use std::fs::{File, Metadata};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Which content a file has, as far as its folder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    changed: Option<SystemTime>,
    number: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let number = 0;
        Stamp { length: metadata.len(), changed: metadata.modified().ok(), number }
    }

    /// The file's now; `None` where there is none.
    pub(super) fn now(path: &Path) -> std::io::Result<Option<Stamp>> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How long it has to stand still yet before it counts as written.
    pub(super) fn waits(&self, settle: Duration) -> Option<Duration> {
        // A time that has not come yet says nothing.
        let age = self.changed?.elapsed().ok()?;
        settle.checked_sub(age).filter(|waits| !waits.is_zero())
    }
}

/// Whether a program has the file open for somebody who edits it: spreadsheets
/// leave a file beside it meanwhile.
pub(super) fn editor(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    let beside = [format!(".~lock.{name}#"), format!("~${name}")];
    beside.iter().map(|beside| path.with_file_name(beside)).find(|beside| beside.exists())
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// Copies what a file holds, unpacked. Answers with the stamp it had all the
/// while; `None` where it changed under the copying, or is not there.
pub(super) fn copy(path: &Path, to: &Path) -> std::io::Result<Option<Stamp>> {
    let mut from = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let stamp = Stamp::of(&from.metadata()?);
    let mut copy = File::create(to)?;
    if is_packed(path) {
        std::io::copy(&mut MultiGzDecoder::new(BufReader::new(from)), &mut copy)?;
    } else {
        std::io::copy(&mut from, &mut copy)?;
    }
    Ok((Stamp::now(path)? == Some(stamp.clone())).then_some(stamp))
}

/// What a file holds, unpacked, from its beginning.
pub(super) fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(if is_packed(path) { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
}

/// A file that is to take the place of another. Dropped, it goes away.
pub(super) struct Draft {
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Fills a file beside the target, and has it last.
    pub(super) fn fill(
        target: &Path,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> std::io::Result<Draft> {
        static DRAFTS: AtomicU32 = AtomicU32::new(0);
        // A link stays one, and leads to the new content.
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft =
            Draft { path: target.with_file_name(format!(".{name}.{}-{number}.new", std::process::id())), target };
        let file = File::create(&draft.path)?;
        if let Ok(metadata) = std::fs::metadata(&draft.target) {
            file.set_permissions(metadata.permissions())?;
        }
        let mut file = BufWriter::with_capacity(1 << 16, file);
        if is_packed(&draft.target) {
            let mut packed = GzEncoder::new(&mut file, Compression::default());
            fill(&mut packed)?;
            packed.finish()?;
        } else {
            fill(&mut file)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(draft)
    }

    /// Takes the target's place, where that still is what it was. Answers with
    /// the stamp it has there; `None` where the target is another one by now,
    /// which stays.
    pub(super) fn put_in_place(self, before: Option<&Stamp>) -> std::io::Result<Option<Stamp>> {
        if Stamp::now(&self.target)?.as_ref() != before || !self.swap(before)? {
            return Ok(None);
        }
        if let Some(folder) = self.target.parent() {
            // The name lasts as well, where the system can say so.
            drop(File::open(folder).and_then(|folder| folder.sync_all()));
        }
        Stamp::now(&self.target)
    }

    /// False where somebody was quicker.
    #[cfg(target_os = "linux")]
    fn swap(&self, before: Option<&Stamp>) -> std::io::Result<bool> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        let swap = |flags: RenameFlags| renameat_with(CWD, &self.path, CWD, &self.target, flags);
        let Some(before) = before else {
            return match swap(RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(&self.path, &self.target).map(|()| true),
                Err(error) => Err(error.into()),
            };
        };
        match swap(RenameFlags::EXCHANGE) {
            Ok(()) => {
                // What was there lies where the draft was: nobody may have written to it meanwhile.
                if Stamp::now(&self.path)?.as_ref() == Some(before) {
                    return Ok(true);
                }
                swap(RenameFlags::EXCHANGE)?;
                Ok(false)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(&self.path, &self.target).map(|()| true),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn swap(&self, _: Option<&Stamp>) -> std::io::Result<bool> {
        std::fs::rename(&self.path, &self.target).map(|()| true)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}
