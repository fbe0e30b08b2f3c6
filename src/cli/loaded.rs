//! A project that was read and checked, before any system is asked.
//!
//! Owns what is found out offline: every mistake of every file, where the
//! connections lead, and which mappings are meant. Opens nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::Failure;
use super::home::pick;
use super::settings::cell_kind;
use crate::compile::compile;
use crate::config::model::{Connection, Mapping, System};
use crate::config::tree::At;
use crate::config::{Environment, Project, environment};
use crate::connector::Fault;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::protocol::files::is_format;
use crate::record::{Both, Side};

/// A project that was read and checked, with its environment.
pub(super) struct Loaded {
    pub project: Project,
    pub environment: Environment,
    pub diagnostics: Diagnostics,
}

/// Reads a project, in one of its environments, checks it and compiles every
/// mapping offline.
pub(super) fn load(path: &Path, env: Option<&str>) -> Loaded {
    let mut diagnostics = Diagnostics::new();
    let project = Project::load(path, env, &mut diagnostics);
    let environment = Environment::load(&project.root, env, &mut diagnostics);
    if path.exists() && project.files().next().is_none() && !diagnostics.has_errors() {
        let message = format!("there is no YAML file in `{}`", path.display());
        let help = "name the folder that your connections and mappings are in; their files end with `.yaml` or `.yml`";
        diagnostics.push(Diagnostic::nowhere(Code::NOTHING_THERE, message).help(help));
    }
    for (name, object) in project.connections.iter().flat_map(Connection::queries) {
        let message = format!("the query `{}` as an object comes in a later version", name.value);
        let help = "make it a view in the database, and name that in `object:`";
        diagnostics.push(Diagnostic::error(Code::NOT_YET, &object.place, message).help(help));
    }
    for connection in &project.connections {
        check_formats(connection, &mut diagnostics);
    }
    for mapping in &project.mappings {
        compile(mapping, Both::new(None, None), &mut diagnostics);
    }
    Loaded { project, environment, diagnostics }
}

/// Forms of dates that the files' protocol cannot read by.
fn check_formats(connection: &Connection, diagnostics: &mut Diagnostics) {
    let System::Files(files) = &connection.system else { return };
    for (_, field) in files.objects.iter().flat_map(|(_, object)| &object.fields) {
        let Some(format) = &field.format else { continue };
        if !is_format(cell_kind(field.kind()), format) {
            let message = format!("by `{}` no {} can be written and read again", format.value, field.kind().as_str());
            let help = "only dates and times have a form, in the letters of strftime: `%d/%m/%Y`, `%Y-%m-%d %H:%M:%S`";
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &format.place, message).help(help));
        }
    }
}

impl Loaded {
    /// What was found, in the order of files and lines.
    pub(super) fn sorted(&self) -> Vec<Diagnostic> {
        let mut all = Diagnostics::new();
        all.extend(self.diagnostics.iter().cloned());
        all.into_sorted()
    }

    /// The connection of a mapping's side.
    pub(super) fn connection(&self, mapping: &Mapping, side: Side) -> Option<&Connection> {
        self.project.connection(&mapping.namespace, &mapping.side(side).connection)
    }

    /// Where a connection leads.
    pub(super) fn lead(&self, connection: &Connection) -> Lead {
        let read = |text: Option<&At<String>>| {
            text.and_then(|text| environment::resolve(text, &self.environment, &mut Diagnostics::new()))
        };
        let (server, address) = match &connection.system {
            System::Sqlite(sqlite) => (None, Some(&sqlite.url)),
            System::Files(files) => (None, Some(&files.path)),
            System::Postgres(postgres) => {
                let url = read(postgres.url.as_ref()).and_then(|url| url.parse::<url::Url>().ok());
                // As the driver reads it: what stands behind the `?` counts more than what stands before.
                let given = |name: &str| {
                    let mut pairs = url.as_ref()?.query_pairs();
                    pairs.find(|(given, _)| given == name).map(|(_, value)| value.into_owned())
                };
                let host = || url.as_ref()?.host_str().filter(|host| !host.is_empty()).map(str::to_owned);
                let host = read(postgres.host.as_ref()).or_else(|| given("host")).or_else(host);
                let port = || url.as_ref()?.port().map(|port| port.to_string());
                let port = read(postgres.port.as_ref()).or_else(|| given("port")).or_else(port);
                let address = postgres.url.as_ref().or(postgres.host.as_ref()).or(postgres.database.as_ref());
                let unread = postgres.url.is_some() && url.is_none() || postgres.host.is_some() && host.is_none();
                let (host, port) = (host.unwrap_or_else(|| "localhost".into()), port.unwrap_or_else(|| "5432".into()));
                ((!unread).then(|| format!("{host}:{port}")), address)
            }
        };
        let place = address.map_or(&connection.name.place, |address| &address.place);
        Lead { name: connection.full_name(), server, place: place.clone() }
    }

    /// What switches a mapping off, in words; `None` where nothing does.
    pub(super) fn switched_off(&self, mapping: &Mapping) -> Option<String> {
        if !mapping.is_enabled() {
            return Some(format!("`{}` is switched off by its `enabled: false`", mapping.full_name));
        }
        let off = |side: &Side| self.connection(mapping, *side).filter(|connection| !connection.is_enabled());
        let connection = Side::BOTH.iter().find_map(off)?;
        Some(format!(
            "`{}` is switched off by the `enabled: false` of its connection `{}`",
            mapping.full_name,
            connection.full_name()
        ))
    }

    /// The mappings of these names, all where none is given, each after those
    /// it waits for. Names are full, or the part behind the namespace.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<&Mapping>, Failure> {
        let mappings = || self.project.mappings.iter();
        // Several of the same name are those of a `for_each`.
        let known: BTreeSet<&str> =
            mappings().flat_map(|mapping| [mapping.written_name(), mapping.full_name.as_str()]).collect();
        let mut wanted = BTreeSet::new();
        for name in names {
            let meant = self.project.mappings_named(pick(name, known.iter().copied())?);
            wanted.extend(meant.map(|mapping| mapping.full_name.as_str()));
        }
        let all = self.project.in_order().into_iter();
        Ok(all.filter(|mapping| names.is_empty() || wanted.contains(mapping.full_name.as_str())).collect())
    }

    /// The one mapping of this name.
    pub(super) fn one(&self, name: &str) -> Result<&Mapping, Failure> {
        let full_name = pick(name, self.project.mappings.iter().map(|mapping| mapping.full_name.as_str()))?;
        self.project.mapping(full_name).ok_or_else(|| Failure::unknown("mapping", name, []))
    }
}

/// Where a connection leads, told without any secret.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    pub name: String,
    /// Host and port, where the system is a server and its address can be read.
    pub server: Option<String>,
    /// Where the address is written.
    pub place: Place,
}

impl Lead {
    /// What a system did to us, and which one it was.
    pub(super) fn words(&self, fault: &Fault) -> String {
        match &self.server {
            Some(server) => format!("connection `{}` ({server}): {fault}", self.name),
            None => format!("connection `{}`: {fault}", self.name),
        }
    }
}
