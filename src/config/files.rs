//! Which files a project is made of, and where its folders begin.
//!
//! Owns the walk over the folders and the reading of bytes. Knows nothing of
//! what the files say.

use super::secrets::Secrets;
use super::{overlay, yaml};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// The folder that is the state's, and marks a project.
pub const STATE_FOLDER: &str = ".engine";

/// Where the state of a project lies in one of its environments.
pub fn state_folder(root: &Path, env: Option<&str>) -> PathBuf {
    let folder = root.join(STATE_FOLDER);
    env.map_or(folder.clone(), |env| folder.join(env))
}

/// A file of a project.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// As the user would write it.
    pub(super) path: PathBuf,
    /// The folder below the root, with slashes; empty at the top.
    pub(super) namespace: String,
    /// False for a file above or beside the path that was asked for: only
    /// its connections count.
    pub(super) inside: bool,
}

/// A project's folder: `path` itself, or the nearest folder above that has a
/// state. With it the folders from there down to `path`, outermost first.
pub(super) fn root(path: &Path) -> (PathBuf, Vec<String>) {
    let own = if path.is_file() { parent(path) } else { path.to_owned() };
    let Ok(absolute) = std::path::absolute(&own).map(|path| normal(&path)) else { return (own, Vec::new()) };
    let Some(steps) = absolute.ancestors().position(|folder| folder.join(STATE_FOLDER).is_dir()) else {
        return (own, Vec::new());
    };
    let names: Vec<String> =
        absolute.components().rev().take(steps).map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
    let mut root = own;
    for _ in 0..steps {
        root = above(&root);
    }
    (root, names.into_iter().rev().collect())
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The folder above, written as briefly as the path allows.
fn above(path: &Path) -> PathBuf {
    match path.components().next_back() {
        Some(Component::Normal(_)) => parent(path),
        Some(Component::CurDir) if path == Path::new(".") => PathBuf::from(".."),
        _ => path.join(".."),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

/// The YAML files of a project: those below `path`, and those that lie in the
/// folders from the root down to it; for a file also those beside it. Sorted by path within a folder, files of
/// a folder before those of its sub-folders. What cannot be listed is reported.
pub(super) fn find(path: &Path, root: &Path, below_root: &[String], diagnostics: &mut Diagnostics) -> Vec<Found> {
    let mut found = Vec::new();
    let mut folder = root.to_owned();
    for depth in 0..below_root.len() {
        let namespace = below_root[..depth].join("/");
        let (files, _) = list(&folder, diagnostics);
        found.extend(files.into_iter().map(|path| Found { path, namespace: namespace.clone(), inside: false }));
        folder.push(&below_root[depth]);
    }
    let namespace = below_root.join("/");
    if path.is_file() {
        let own = parent(path);
        let beside = list(&own, diagnostics).0.into_iter().filter(|other| other.file_name() != path.file_name());
        found.extend(beside.map(|path| Found { path, namespace: namespace.clone(), inside: false }));
        found.push(Found { path: path.to_owned(), namespace, inside: true });
        return found;
    }
    walk(path, &namespace, &mut HashSet::new(), &mut found, diagnostics);
    found
}

fn walk(
    folder: &Path,
    namespace: &str,
    visited: &mut HashSet<PathBuf>,
    found: &mut Vec<Found>,
    diagnostics: &mut Diagnostics,
) {
    // A folder may be reached twice through links, or lie in itself.
    if !visited.insert(folder.canonicalize().unwrap_or_else(|_| folder.to_owned())) {
        return;
    }
    let (files, folders) = list(folder, diagnostics);
    found.extend(files.into_iter().map(|path| Found { path, namespace: namespace.to_owned(), inside: true }));
    for (name, path) in folders {
        let inner = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
        walk(&path, &inner, visited, found, diagnostics);
    }
}

/// The YAML files and the sub-folders of a folder, sorted, without hidden ones.
fn list(folder: &Path, diagnostics: &mut Diagnostics) -> (Vec<PathBuf>, Vec<(String, PathBuf)>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot read the folder `{}`: {error}", folder.display());
            diagnostics.push(Diagnostic::nowhere(Code::FILE_REFUSED, message));
            return (files, folders);
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = if folder == Path::new(".") { PathBuf::from(&name) } else { folder.join(&name) };
        // Only a link has to be followed to know.
        let is_folder = entry
            .file_type()
            .map_or_else(|_| path.is_dir(), |kind| kind.is_dir() || kind.is_symlink() && path.is_dir());
        if is_folder {
            folders.push((name, path));
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml")) {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    (files, folders)
}

/// What tells that a file was changed: when, and how long it is.
pub type FileStamp = (PathBuf, Option<std::time::SystemTime>, u64);

/// The files that a project is made of as they are now, `.env` and the secrets
/// among them, and those of an environment.
pub fn stamps(path: &Path, environment: Option<&str>) -> Vec<FileStamp> {
    let (root, below_root) = root(path);
    let found = find(path, &root, &below_root, &mut Diagnostics::new()).into_iter().map(|found| found.path);
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        (path, modified, metadata.map_or(0, |metadata| metadata.len()))
    };
    let beside = root.parent().map(|parent| parent.join(".env"));
    let overlay = environment.and_then(|name| overlay::file(&root, name));
    let secrets = Secrets::path(&root, environment);
    found.chain([root.join(".env"), secrets]).chain(beside).chain(overlay).map(stamp).collect()
}

/// The bytes of a file that is not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let limit = yaml::MAX_BYTES;
    let refused = |error: std::io::Error| format!("cannot read the file: {error}");
    // Opening a pipe would wait for somebody to write to it.
    if !std::fs::metadata(path).map_err(refused)?.is_file() {
        return Err("cannot read the file: it is none, but a pipe, a socket or a device".to_owned());
    }
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > limit {
        return Err(format!("the file is larger than {} MiB, which is more than is read", limit >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<(&str, &str, bool)> {
        found.iter().map(|f| (f.path.to_str().unwrap(), f.namespace.as_str(), f.inside)).collect()
    }

    #[test]
    fn folders_are_namespaces_from_the_root_down() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".engine", "acme/deep", "other", ".hidden"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in
            ["c.yaml", "acme/b.yml", "acme/a.yaml", "acme/deep/d.yaml", "other/o.yaml", ".hidden/h.yaml", "n.txt"]
        {
            std::fs::write(at(name), "").unwrap();
        }
        let mut diagnostics = Diagnostics::new();
        let path = at("acme");
        let (root, below) = root(&path);
        assert_eq!((root.as_path(), below.as_slice()), (folder.path(), ["acme".to_owned()].as_slice()));
        let found = find(&path, &root, &below, &mut diagnostics);
        let (c, a, b, d) = (at("c.yaml"), at("acme/a.yaml"), at("acme/b.yml"), at("acme/deep/d.yaml"));
        assert_eq!(
            names(&found),
            [
                (c.to_str().unwrap(), "", false),
                (a.to_str().unwrap(), "acme", true),
                (b.to_str().unwrap(), "acme", true),
                (d.to_str().unwrap(), "acme/deep", true),
            ]
        );
        assert!(diagnostics.is_empty());
    }

    #[test]
    fn a_folder_above_is_written_as_the_user_would() {
        assert_eq!(above(Path::new("mappings/acme")), Path::new("mappings"));
        assert_eq!(above(Path::new("mappings")), Path::new("."));
        assert_eq!(above(Path::new(".")), Path::new(".."));
        assert_eq!(above(Path::new("..")), Path::new("../.."));
    }
}
