//! A file where it lies: whether it stands still, a copy of it, and another one
//! in its place.

use std::fs::{File, Metadata};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
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

/// What a file holds, unpacked, from its beginning; `None` where there is none.
pub(super) fn open(path: &Path) -> std::io::Result<Option<Box<dyn Read>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    Ok(Some(if is_packed(path) { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) }))
}

/// Gives a file to whom another belongs, as far as we may.
#[cfg(unix)]
fn belong_as(file: &File, other: &Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    let _refused = fchown(file, Some(other.uid()), Some(other.gid()));
}

#[cfg(not(unix))]
fn belong_as(_: &File, _: &Metadata) {}

/// A folder for what passes, which only its owner reads, and its lock: once that
/// is gone, so may the folder be.
pub(super) fn passing_folder() -> std::io::Result<(PathBuf, File)> {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    static FIRST: Once = Once::new();
    FIRST.call_once(clear_passing);
    loop {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("{PASSING}{}-{number}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&folder) {
            // One that an earlier process of the same number has left.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        return Ok((folder, lock));
    }
}

const PASSING: &str = "engine-files-";

/// What engines have left that died goes away.
fn clear_passing() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_left = || File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if entry.file_name().to_string_lossy().starts_with(PASSING) && is_left() {
            let _gone = std::fs::remove_dir_all(entry.path());
        }
    }
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
        draft.clear_others();
        let file = File::create(&draft.path)?;
        // Whoever finds it locked knows that somebody is at it.
        let _locked = file.try_lock();
        if let Ok(metadata) = std::fs::metadata(&draft.target) {
            belong_as(&file, &metadata);
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

    /// Drafts of engines that died go away.
    fn clear_others(&self) {
        let (Some(folder), Some(name)) = (self.target.parent(), self.target.file_name()) else { return };
        let begin = format!(".{}.", name.to_string_lossy());
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(".new"));
            let is_draft =
                number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
            if is_draft && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                let _gone = std::fs::remove_file(entry.path());
            }
        }
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
