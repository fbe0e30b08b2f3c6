//! Checks that need more than one setting, and no knowledge of rules.
//!
//! What a single setting may hold is checked where it is read, in
//! [`model`](super::model); what rules, expressions and systems allow is
//! checked by `compile`. Start reading at [`project`].

mod connection;
mod files;
mod field;
mod mapping;
mod notify;

use super::model::Mapping;
use super::project::{Project, join, levels};
use super::tree::At;
use super::{model::Connection, order};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest, quoted};
use std::collections::{HashMap, HashSet};

/// Checks everything in a project.
///
/// Names that are not found and may stand in a document that could not be read
/// are not spoken of, nor are then names that nothing uses.
pub(super) fn project(project: &Project, diagnostics: &mut Diagnostics) {
    for connection in &project.connections {
        connection::check(connection, diagnostics);
    }
    let mut used = HashSet::new();
    for mapping in &project.mappings {
        let mut find = |name: &At<String>, diagnostics: &mut Diagnostics| {
            let declared = |name: &str| project.declared_name(&mapping.namespace, name);
            // One that a misspelt name means is used.
            used.extend(declared(name).or_else(|| nearest(name, visible(project, mapping)).and_then(declared)));
            connection_of(project, mapping, name, diagnostics)
        };
        let source = find(&mapping.source.connection, diagnostics);
        let target = find(&mapping.target.connection, diagnostics);
        mapping::check(mapping, source, target, diagnostics);
        field::check(mapping, diagnostics);
        notify::check(mapping, diagnostics);
    }
    if project.is_whole() && project.mappings.iter().all(|known| !known.mapping.is_empty()) {
        unknown_after(project, diagnostics);
    }
    circles(project, diagnostics);
    former_names(project, diagnostics);
    if project.is_complete() && project.path.is_dir() {
        unused(project, &used, diagnostics);
    }
}

/// The names of the connections that a mapping can name.
fn visible<'a>(project: &'a Project, mapping: &Mapping) -> Vec<&'a str> {
    let seen = |namespace: &str| levels(&mapping.namespace).any(|level| level == namespace);
    let declared = project.declared.iter().filter(|known| seen(&known.namespace));
    let mut names: Vec<&str> = declared.map(|known| known.name.value.as_str()).collect();
    names.dedup();
    names
}

/// The connection a side names; what is not there is reported.
fn connection_of<'a>(
    project: &'a Project,
    mapping: &Mapping,
    name: &At<String>,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Connection> {
    if name.is_empty() || super::environment::has_references(name) {
        return None;
    }
    if project.declared_name(&mapping.namespace, name).is_some() {
        return project.connection(&mapping.namespace, name);
    }
    if project.may_hold(name) {
        return None;
    }
    let visible = visible(project, mapping);
    let elsewhere = project.declared.iter().find(|known| known.name.value == name.value);
    let help = if let Some(near) = nearest(name, visible.iter().copied()) {
        format!("did you mean `{near}`?")
    } else if let Some(known) = elsewhere {
        let folder = &known.namespace;
        format!("the one in `{folder}` is seen only there; move it to a folder above both")
    } else if visible.is_empty() {
        "there are no connections here; declare it under `connections:`".to_owned()
    } else {
        format!("known here: {}", quoted(&visible))
    };
    let message = format!("there is no connection `{}`", name.value);
    diagnostics.push(Diagnostic::error(Code::UNKNOWN_CONNECTION, &name.place, message).help(help));
    None
}

fn unused(project: &Project, used: &HashSet<String>, diagnostics: &mut Diagnostics) {
    for known in project.declared.iter().filter(|known| known.inside) {
        let full_name = join(&known.namespace, &known.name);
        if !used.contains(&full_name) && project.connection(&known.namespace, &known.name).is_some() {
            let message = format!("no mapping uses the connection `{}`", known.name.value);
            diagnostics.push(Diagnostic::warning(Code::UNUSED_NAME, &known.name.place, message));
        }
    }
}

/// For each mapping the mappings it runs after, as far as they are known.
pub(super) fn after_edges(project: &Project) -> Vec<Vec<usize>> {
    let edge = |mapping: &Mapping| {
        let names = mapping.schedule.iter().flat_map(|schedule| &schedule.after);
        names.flat_map(|name| project.find_mappings(&mapping.namespace, name)).copied().collect()
    };
    project.mappings.iter().map(edge).collect()
}

/// Reports names under `after` that nothing has.
fn unknown_after(project: &Project, diagnostics: &mut Diagnostics) {
    for mapping in &project.mappings {
        for name in mapping.schedule.iter().flat_map(|schedule| &schedule.after) {
            if !project.find_mappings(&mapping.namespace, name).is_empty() || project.may_hold(name) {
                continue;
            }
            let known = project.mappings.iter().flat_map(|known| [known.full_name.as_str(), known.mapping.as_str()]);
            let message = format!("there is no mapping `{}` to run after", name.value);
            let mut diagnostic = Diagnostic::error(Code::UNKNOWN_AFTER, &name.place, message);
            if let Some(near) = nearest(name, known.filter(|known| *known != mapping.mapping.value)) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
            diagnostics.push(diagnostic);
        }
    }
}

/// Reports former names that another mapping has, or had as well: both would
/// claim the same links.
fn former_names(project: &Project, diagnostics: &mut Diagnostics) {
    let mut claimed: HashMap<String, &At<String>> = HashMap::new();
    for mapping in &project.mappings {
        let (Some(was), Some(full_name)) = (&mapping.was, mapping.former_name()) else { continue };
        if full_name == mapping.full_name {
            let diagnostic = Diagnostic::error(Code::BAD_VALUE, &was.place, "`was` is the name the mapping has now");
            diagnostics.push(diagnostic.help("leave it out"));
            continue;
        }
        let other = project.mapping(&full_name).map(|other| &other.mapping);
        if let Some(other) = other.or_else(|| claimed.get(&full_name).copied()) {
            let message = format!("`{full_name}` is the name of another mapping");
            let diagnostic = Diagnostic::error(Code::SAME_NAME, &was.place, message);
            let help = "its links can be taken over by one mapping only";
            diagnostics.push(diagnostic.help(help).related(&other.place, "the other mapping"));
        } else {
            claimed.insert(full_name, was);
        }
    }
}

/// Reports mappings that wait for each other.
fn circles(project: &Project, diagnostics: &mut Diagnostics) {
    for circle in order::sort(&after_edges(project)).1 {
        let mappings: Vec<&Mapping> = circle.iter().map(|index| &project.mappings[*index]).collect();
        // Where each names the next one; the last names the first.
        let mut steps = mappings.iter().enumerate().filter_map(|(at, mapping)| {
            let next = mappings[(at + 1) % mappings.len()];
            let names = mapping.schedule.iter().flat_map(|schedule| &schedule.after);
            let name = names.into_iter().find(|name| {
                let meant = project.find_mappings(&mapping.namespace, name).iter();
                meant.copied().any(|index| std::ptr::eq(&raw const project.mappings[index], next))
            })?;
            Some((*mapping, next, name))
        });
        let Some((first, next, name)) = steps.next() else { continue };
        let message = if mappings.len() == 1 {
            format!("`{}` would run after itself", first.full_name)
        } else {
            format!("`{}` and `{}` would run after each other", first.full_name, next.full_name)
        };
        let mut diagnostic = Diagnostic::error(Code::AFTER_CYCLE, &name.place, message).help("remove one `after`");
        for (mapping, next, name) in steps {
            let word = format!("`{}` runs after `{}`", mapping.full_name, next.full_name);
            diagnostic = diagnostic.related(&name.place, word);
        }
        diagnostics.push(diagnostic);
    }
}
