//! An environment of a project: what is otherwise there than elsewhere.
//!
//! `environments/NAME.yaml` names values and connections of the project by
//! their full names, and is laid over them before anything is read from them:
//! what it gives is as if it had been written in their place.

use std::path::{Path, PathBuf};

use super::decode::{Table, entries, name};
use super::project::Written;
use super::tree::{Content, Node, Scalar};
use super::vars::Vars;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};

/// The folder of a project whose files are its environments.
pub(super) const FOLDER: &str = "environments";

/// The names of a project's environments, sorted.
pub fn environments(root: &Path) -> Vec<String> {
    let names = std::fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten().filter_map(|entry| {
        let path = entry.path();
        let is_yaml = matches!(path.extension()?.to_str()?, "yaml" | "yml") && path.is_file();
        let name = path.file_stem()?.to_str()?.to_owned();
        (is_yaml && !name.starts_with('.')).then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// The file of an environment; `None` where the project has none of this name.
pub(super) fn file(root: &Path, name: &str) -> Option<PathBuf> {
    ["yaml", "yml"].into_iter().map(|end| root.join(FOLDER).join(format!("{name}.{end}"))).find(|path| path.is_file())
}

/// What an environment says.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    documents: Vec<Node>,
}

impl Overlay {
    pub(super) fn new(documents: Vec<Node>) -> Overlay {
        Overlay { documents }
    }

    /// Lays it over the project's values and connections. Of a part of a
    /// project nobody can tell which names there are: those it lacks are left
    /// out then.
    pub(super) fn lay(&self, written: &mut [Written], vars: &mut Vars, whole: bool, diagnostics: &mut Diagnostics) {
        for document in &self.documents {
            let Some(mut table) = Table::open(document, "an environment", diagnostics) else { continue };
            let (values, connections) = (table.node("vars"), table.node("connections"));
            table.finish();
            if let Some(values) = values {
                vars.replace(values, whole, diagnostics);
            }
            let connections = connections.and_then(|node| entries(node, "`connections`", diagnostics));
            for (key, settings) in connections.into_iter().flatten() {
                let Some(name) = name(key, diagnostics) else { continue };
                let mut known = Vec::new();
                let mut laid = false;
                for connection in written.iter_mut().flat_map(Written::connections_mut) {
                    let (full_name, node) = connection;
                    laid |= full_name == name.value;
                    if full_name == name.value {
                        put_over(node, settings);
                    }
                    known.push(full_name);
                }
                if whole && !laid {
                    let message = format!("there is no connection `{}` to lay this over", name.value);
                    let help = match nearest(&name, known.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "an environment changes connections of the project, named with their folders".into(),
                    };
                    diagnostics.push(Diagnostic::error(Code::UNKNOWN_NAME, &name.place, message).help(help));
                }
            }
        }
    }
}

/// Lays the settings of a connection over what is written of it. Another
/// connector has other settings: it takes the whole place.
fn put_over(node: &mut Node, settings: &Node) {
    let has_connector =
        |node: &Node| node.as_map().into_iter().flatten().any(|(key, _)| key.text() == Some("connector"));
    if has_connector(settings) { *node = settings.clone() } else { merge(node, settings) }
}

/// Mappings are merged, whatever else takes the place of what stood there. A
/// setting without a value takes it away.
fn merge(node: &mut Node, over: &Node) {
    let (Content::Map(entries), Content::Map(given)) = (&mut node.content, &over.content) else {
        *node = over.clone();
        return;
    };
    for (key, value) in given {
        let there = entries.iter().position(|(known, _)| known.text() == key.text());
        match there {
            Some(position) if value.as_scalar().is_some_and(Scalar::is_null) => drop(entries.remove(position)),
            Some(position) => merge(&mut entries[position].1, value),
            None => entries.push((key.clone(), value.clone())),
        }
    }
}
