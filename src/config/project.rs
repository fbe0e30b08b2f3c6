//! A project: the files below a folder, read and checked.
//!
//! Owns which document is what, namespaces, and the lookup of names. What a
//! user wrote wrongly is collected; what could be read is there beside it.
//! Opens no connection. Start reading at [`Project::load`].

use super::decode::{Table, entries, given_name, not_yet};
use super::files::{self, Found};
use super::model::{Connection, Mapping};
use super::overlay::{self, Overlay, environments};
use super::tree::{At, Content, Node};
use super::vars::{Entry, Vars, given};
use super::{check, order, yaml};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, Position, Span, nearest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything below a folder, or in one file, that a user wrote.
#[derive(Default)]
pub struct Project {
    /// What was asked for, as the user wrote it.
    pub path: PathBuf,
    /// The project's folder: `path`, or a folder above it that has a state.
    pub root: PathBuf,
    /// The mappings below `path`, in the order of files and documents.
    pub mappings: Vec<Mapping>,
    /// The connections that these mappings can see, and others below `path`.
    pub connections: Vec<Connection>,
    sources: BTreeMap<Arc<Path>, Arc<str>>,
    /// Every connection that is written, also where it could not be read.
    pub(super) declared: Vec<Declared>,
    /// The texts of files below `path` of which something could not be told for
    /// what it is.
    unread: Vec<Arc<str>>,
    /// True where a file below `path` could not be read at all.
    illegible: bool,
    declared_names: HashSet<String>,
    connection_index: HashMap<String, usize>,
    /// By full name, and by the name that a mapping with `for_each` is written with.
    mapping_index: HashMap<String, Vec<usize>>,
}

/// A document of connections and values, or of a mapping.
pub(super) struct Written {
    document: Node,
    /// The folder below the project, with slashes; empty at the top.
    namespace: String,
    /// False where it stands above or beside the path that was asked for.
    inside: bool,
}

impl Written {
    /// The connections that stand in it, by their full names.
    pub(super) fn connections_mut(&mut self) -> impl Iterator<Item = (String, &mut Node)> {
        let is_connections = matches!(kind(&self.document), Kind::Connections);
        let settings = match &mut self.document.content {
            Content::Map(settings) if is_connections => settings.as_mut_slice(),
            _ => &mut [],
        };
        let named = settings.iter_mut().filter(|(key, _)| key.text() == Some("connections"));
        let entries = named.filter_map(|(_, value)| match &mut value.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        });
        let namespace = &self.namespace;
        entries.flatten().filter_map(move |(key, value)| Some((join(namespace, key.text()?), value)))
    }
}

/// The name of a connection that is written somewhere.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: At<String>,
    pub(super) namespace: String,
    /// False where it stands above the path that was asked for.
    pub(super) inside: bool,
}

/// Folders of a project that hold something else than connections and mappings.
const LATER_FOLDERS: &[&str] = &["connectors"];

impl Project {
    /// Reads and checks a folder, or one file. Always a project: what could
    /// not be read is missing in it, and reported. `environment` names the one
    /// that is laid over it.
    pub fn load(path: &Path, environment: Option<&str>, diagnostics: &mut Diagnostics) -> Project {
        if !path.exists() {
            let message = format!("there is no folder or file `{}`", path.display());
            diagnostics.push(Diagnostic::nowhere(Code::FILE_REFUSED, message));
            return Project { path: path.to_owned(), root: path.to_owned(), ..Project::default() };
        }
        let (root, below_root) = files::root(path);
        let mut project = Project { path: path.to_owned(), root, ..Project::default() };
        let mut written = Vec::new();
        for found in files::find(path, &project.root, &below_root, diagnostics) {
            project.read(&found, &mut written, diagnostics);
        }
        let overlay = environment.map(|name| project.overlay(name, diagnostics)).unwrap_or_default();
        project.take_in(written, &overlay, diagnostics);
        project.index(diagnostics);
        check::project(&project, diagnostics);
        project
    }

    /// Reads a file's documents.
    fn read(&mut self, found: &Found, written: &mut Vec<Written>, diagnostics: &mut Diagnostics) {
        let file: Arc<Path> = Arc::from(found.path.as_path());
        let folder = found.namespace.split('/').next().unwrap_or_default();
        if LATER_FOLDERS.contains(&folder) {
            diagnostics.push(not_yet(&top(&file), &format!("a file in the folder `{folder}`")));
            return;
        }
        if folder == overlay::FOLDER {
            if found.namespace != folder {
                let message = "an environment is a file in the folder `environments`, not below it";
                diagnostics.push(Diagnostic::error(Code::FILE_REFUSED, &top(&file), message));
            }
            return;
        }
        let Some(bytes) = bytes(&file, diagnostics) else {
            self.illegible = true;
            return;
        };
        // Above the path that was asked for only connections are of interest.
        let mut unheard = Diagnostics::new();
        let heard = if found.inside { &mut *diagnostics } else { &mut unheard };
        let before = heard.len();
        let Some(text) = yaml::text_of(&file, bytes, heard) else {
            self.illegible |= found.inside;
            return;
        };
        let documents = yaml::parse(&file, &text, heard);
        let mut is_told = heard.len() == before;
        let text: Arc<str> = text.into();
        self.sources.insert(file, text.clone());
        for document in documents {
            match kind(&document) {
                Kind::Mapping if !found.inside => continue,
                Kind::Refused(diagnostic) => {
                    if found.inside {
                        is_told = false;
                        diagnostics.push(*diagnostic);
                    }
                    continue;
                }
                Kind::Connections => is_told &= may_be_known(&document),
                Kind::Mapping => {}
            }
            written.push(Written { document, namespace: found.namespace.clone(), inside: found.inside });
        }
        if !is_told && found.inside {
            self.unread.push(text);
        }
    }

    /// Reads what an environment says.
    fn overlay(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Overlay {
        let Some(path) = overlay::file(&self.root, name) else {
            let message = format!("there is no environment `{name}`");
            let known = environments(&self.root);
            let help = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write `{}`", self.root.join(overlay::FOLDER).join(format!("{name}.yaml")).display()),
            };
            diagnostics.push(Diagnostic::nowhere(Code::UNKNOWN_NAME, message).help(help));
            return Overlay::default();
        };
        let file: Arc<Path> = Arc::from(path.as_path());
        let text = bytes(&file, diagnostics).and_then(|bytes| yaml::text_of(&file, bytes, diagnostics));
        let Some(text) = text else { return Overlay::default() };
        let documents = yaml::parse(&file, &text, diagnostics);
        self.sources.insert(file, text.into());
        Overlay::new(documents)
    }

    /// Makes connections and mappings of the documents, once all values that
    /// they read are known.
    fn take_in(&mut self, mut written: Vec<Written>, overlay: &Overlay, diagnostics: &mut Diagnostics) {
        let mut vars = Vars::default();
        for Written { document, namespace, .. } in &written {
            let named = document.as_map().into_iter().flatten().find(|(key, _)| key.text() == Some("vars"));
            if let (Some((_, values)), Kind::Connections) = (named, kind(document)) {
                vars.add(values, namespace, diagnostics);
            }
        }
        overlay.lay(&mut written, &mut vars, self.is_whole() && self.is_complete(), diagnostics);
        for Written { mut document, namespace, inside } in written {
            let is_mapping = matches!(kind(&document), Kind::Mapping);
            if is_mapping && let Some(entries) = for_each(&document, diagnostics) {
                for entry in entries {
                    let mut document = document.clone();
                    vars.fill_document(&mut document, Some(&entry), &namespace, diagnostics);
                    self.mappings.extend(Mapping::decode(&document, &namespace, Some(entry.name), diagnostics));
                }
                continue;
            }
            vars.fill_document(&mut document, None, &namespace, diagnostics);
            if is_mapping {
                self.mappings.extend(Mapping::decode(&document, &namespace, None, diagnostics));
            } else {
                self.add_connections(&document, &namespace, inside, diagnostics);
            }
        }
    }

    fn add_connections(&mut self, document: &Node, namespace: &str, inside: bool, diagnostics: &mut Diagnostics) {
        let Some(mut table) = Table::open(document, "a document of connections", diagnostics) else { return };
        table.later(&["lookups"]);
        // Taken in before.
        table.node("vars");
        let connections = table.node("connections");
        table.finish();
        let Some(entries) = connections.and_then(|node| entries(node, "`connections`", diagnostics)) else {
            return;
        };
        for (key, value) in entries {
            let Some(name) = given_name(key, diagnostics) else { continue };
            self.declared.push(Declared { name: name.clone(), namespace: namespace.to_owned(), inside });
            self.connections.extend(Connection::decode(name, value, namespace, diagnostics));
        }
    }

    /// True where each document below `path` could be told for what it is.
    pub(super) fn is_complete(&self) -> bool {
        !self.illegible && self.unread.is_empty()
    }

    /// True where something of this name may stand in what could not be read.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        let last = name.rsplit('/').next().unwrap_or(name);
        self.illegible || self.unread.iter().any(|text| text.contains(last))
    }

    /// Fills the indexes and reports names that stand twice.
    fn index(&mut self, diagnostics: &mut Diagnostics) {
        let mut first: HashMap<String, &Place> = HashMap::new();
        for declared in &self.declared {
            let full_name = join(&declared.namespace, &declared.name);
            same_name("connection", &full_name, &declared.name.place, &mut first, diagnostics);
        }
        self.declared_names = std::mem::take(&mut first).into_keys().collect();
        for mapping in self.mappings.iter().filter(|mapping| !mapping.mapping.is_empty()) {
            let place = &mapping.mapping.place;
            if first.get(mapping.written_name()).is_none_or(|earlier| **earlier != *place) {
                same_name("mapping", mapping.written_name(), place, &mut first, diagnostics);
            }
        }
        for (index, connection) in self.connections.iter().enumerate() {
            self.connection_index.entry(connection.full_name()).or_insert(index);
        }
        for (index, mapping) in self.mappings.iter().enumerate() {
            let named = self.mapping_index.entry(mapping.full_name.clone());
            named.or_insert_with(|| vec![index]);
            if mapping.for_each.is_some() {
                self.mapping_index.entry(mapping.written_name().to_owned()).or_default().push(index);
            }
        }
    }

    /// The connection of this name as seen from a namespace: its own first,
    /// then those above.
    pub fn connection(&self, namespace: &str, name: &str) -> Option<&Connection> {
        let index = levels(namespace).find_map(|level| self.connection_index.get(&join(level, name)))?;
        self.connections.get(*index)
    }

    /// The full name of a connection as seen from a namespace, also of one that
    /// could not be read.
    pub(super) fn declared_name(&self, namespace: &str, name: &str) -> Option<String> {
        levels(namespace).map(|level| join(level, name)).find(|full_name| self.declared_names.contains(full_name))
    }

    /// The mapping of this full name.
    pub fn mapping(&self, full_name: &str) -> Option<&Mapping> {
        self.mappings_named(full_name).find(|mapping| mapping.full_name == full_name)
    }

    /// The mappings of this full name: those of all entries of its `for_each`,
    /// where it has one.
    pub fn mappings_named(&self, full_name: &str) -> impl Iterator<Item = &Mapping> {
        self.mapping_index.get(full_name).into_iter().flatten().map(|index| &self.mappings[*index])
    }

    /// The indexes in `mappings` of those that a name means as seen from a
    /// namespace; several where it has a `for_each`.
    pub(super) fn find_mappings(&self, namespace: &str, name: &str) -> &[usize] {
        let found = levels(namespace).find_map(|level| self.mapping_index.get(&join(level, name)));
        found.map_or(&[], Vec::as_slice)
    }

    /// The full names of the mappings that a name means in a folder.
    pub fn seen_from(&self, namespace: &str, name: &str) -> impl Iterator<Item = String> {
        self.find_mappings(namespace, name).iter().map(|index| self.mappings[*index].full_name.clone())
    }

    /// The mappings in an order in which each comes after those it names under
    /// `schedule.after`; otherwise as they stand in `mappings`.
    pub fn in_order(&self) -> Vec<&Mapping> {
        let edges = check::after_edges(self);
        order::sort(&edges).0.into_iter().map(|index| &self.mappings[index]).collect()
    }

    /// The text of a file that was read, without a byte order mark: what the
    /// byte offsets of its places count in.
    pub fn source_text(&self, file: &Path) -> Option<&str> {
        self.sources.get(file).map(|text| &**text)
    }

    /// Takes over the texts of files that another reading of the project has
    /// read, to show its problems in.
    pub fn add_sources(&mut self, other: Project) {
        self.sources.extend(other.sources);
    }

    /// The files that were read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.keys().map(|file| &**file)
    }

    /// True where all mappings of the project were read, not a part of them.
    pub(super) fn is_whole(&self) -> bool {
        self.root == self.path
    }
}

/// Texts of files may hold passwords: nothing of them is printed.
impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project").field("path", &self.path).field("root", &self.root).finish_non_exhaustive()
    }
}

/// The folder of the project that a path belongs to: where its state lies.
pub fn project_root(path: &Path) -> PathBuf {
    files::root(path).0
}

/// A path written in a file, which is relative to that file's folder.
pub fn relative_to(place: &Place, path: &str) -> PathBuf {
    match place.file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.join(path),
        _ => PathBuf::from(path),
    }
}

/// A namespace, then the one around it, up to the project's own.
pub(super) fn levels(namespace: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(namespace), |level| {
        if level.is_empty() { None } else { Some(level.rsplit_once('/').map_or("", |(above, _)| above)) }
    })
}

/// A name in a namespace.
pub(super) fn join(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn same_name<'a>(
    what: &str,
    full_name: &str,
    place: &'a Place,
    first: &mut HashMap<String, &'a Place>,
    diagnostics: &mut Diagnostics,
) {
    if let Some(first) = first.get(full_name) {
        let message = format!("a second {what} `{full_name}`");
        let diagnostic = Diagnostic::error(Code::SAME_NAME, place, message);
        diagnostics.push(diagnostic.help("give it another name").related(first, "the first one stands here"));
    } else {
        first.insert(full_name.to_owned(), place);
    }
}

/// The entries of a mapping's `for_each`, each with its values.
fn for_each(document: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Entry>> {
    let node = &document.as_map()?.iter().find(|(key, _)| key.text() == Some("for_each"))?.1;
    let entries = entries(node, "`for_each`", diagnostics)?;
    if entries.is_empty() {
        let message = "`for_each` has no entry, so that there is no mapping";
        let help = "write `for_each: { NAME: { KEY: VALUE } }`, and `${var.KEY}` where the value belongs";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, message).help(help));
    }
    let entry = |(key, values): &(Node, Node)| {
        let name = given_name(key, diagnostics)?;
        let known = given(values, "an entry of `for_each`", diagnostics);
        values.as_map().map(|_| Entry { name, values: known })
    };
    Some(entries.iter().filter_map(entry).collect())
}

/// What a file holds, where it can be read.
fn bytes(file: &Arc<Path>, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
    let refused = |message| diagnostics.push(Diagnostic::error(Code::FILE_REFUSED, &top(file), message));
    files::read(file).map_err(refused).ok()
}

/// The beginning of a file.
fn top(file: &Arc<Path>) -> Place {
    let start = Position { line: 1, column: 1, byte: 0 };
    Place::new(file.clone(), Span { start, end: start })
}

/// False where nobody can tell which connections a document declares.
fn may_be_known(document: &Node) -> bool {
    let entries = document.as_map().into_iter().flatten();
    entries.filter(|(key, _)| key.text() == Some("connections")).all(|(_, value)| value.as_map().is_some())
}

enum Kind {
    /// Connections, values, or both.
    Connections,
    Mapping,
    Refused(Box<Diagnostic>),
}

/// What a document is, by the settings at its top.
fn kind(document: &Node) -> Kind {
    let refused = |diagnostic: Diagnostic| Kind::Refused(Box::new(diagnostic));
    let expected = "a document starts with `connections:` or with `mapping:` and its name";
    let Some(entries) = document.as_map() else {
        let message = format!("the document is neither connections nor a mapping, but {}", document.kind());
        return refused(Diagnostic::error(Code::WRONG_TYPE, &document.place, message).help(expected));
    };
    let key = |name: &str| entries.iter().map(|(key, _)| key).find(|key| key.text() == Some(name));
    if let (Some(connections), Some(mapping)) = (key("connections"), key("mapping")) {
        let (first, second) =
            if connections.place.span < mapping.place.span { (connections, mapping) } else { (mapping, connections) };
        let message = "one document holds connections or a mapping, not both";
        let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &second.place, message);
        let help = "put a line with `---` between the two, or use two files";
        return refused(diagnostic.help(help).related(&first.place, "the other one starts here"));
    }
    if key("connections").is_some() {
        return Kind::Connections;
    }
    if key("vars").is_some() && key("mapping").is_none() {
        return Kind::Connections;
    }
    if ["mapping", "source", "target", "fields"].iter().any(|name| key(name).is_some()) {
        return Kind::Mapping;
    }
    let (first, name) = entries.first().map_or((document, ""), |(key, _)| (key, key.text().unwrap_or_default()));
    if name == "lookups" {
        return refused(not_yet(&first.place, &format!("`{name}`")));
    }
    let names = entries.iter().filter_map(|(key, _)| Some((key, key.text()?)));
    for (key, name) in names {
        if let Some(near) = nearest(name, ["connections", "mapping"]) {
            let message = format!("a document has no setting `{name}`");
            let diagnostic = Diagnostic::error(Code::UNKNOWN_NAME, &key.place, message);
            return refused(diagnostic.help(format!("did you mean `{near}`?")));
        }
    }
    let message = "the document is neither connections nor a mapping";
    refused(Diagnostic::error(Code::MISSING_NAME, &document.place, message).help(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_left_step_by_step() {
        assert_eq!(levels("a/b/c").collect::<Vec<_>>(), ["a/b/c", "a/b", "a", ""]);
        assert_eq!(levels("").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn paths_are_relative_to_the_file_they_stand_in() {
        let place = |file: &str| Place::new(Arc::from(Path::new(file)), Span::default());
        assert_eq!(relative_to(&place("mappings/acme/c.yaml"), "demo.sql"), Path::new("mappings/acme/demo.sql"));
        assert_eq!(relative_to(&place("c.yaml"), "data/demo.db"), Path::new("data/demo.db"));
        assert_eq!(relative_to(&place("m/c.yaml"), "/var/x.db"), Path::new("/var/x.db"));
    }
}
