//! One configured system: how it is reached, and what its values mean.

use super::files::Files;
use super::scalar::{Duration, Timezone};
use crate::config::decode::{Choice, Reader, Table, boolean, choice, count, entries, name, text};
use crate::config::tree::{At, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// A document of connections.
///
/// With `--env NAME`, `environments/NAME.yaml` is laid over the project: it names
/// values under `vars` and connections under `connections` by their full names
/// (`acme/erp` is the one of the folder `acme`), with the settings that are
/// others there. A setting without a value takes it away; with a `connector` of
/// its own a connection is another one altogether. The state is one of its own.
#[derive(JsonSchema)]
#[schemars(title = "Connections", deny_unknown_fields)]
pub(crate) struct ConnectionsDocument {
    /// The systems that mappings read and write, by the names they are given.
    #[expect(dead_code, reason = "for the schema: a project reads the entries one by one")]
    #[schemars(default)]
    connections: std::collections::BTreeMap<String, Connection>,
    /// Values by name. Every text of connections and mappings in this folder and
    /// those below it reads them as `${var.NAME}`; a folder's own outrank those
    /// above. A number or a truth is one where it is used as one.
    #[expect(dead_code, reason = "for the schema: a project takes them in before anything else")]
    #[schemars(default)]
    vars: std::collections::BTreeMap<String, String>,
}

/// One configured system.
///
/// Texts may hold `${NAME}` and `${NAME:-default}`, which read the environment
/// or the `.env` file beside the project, `${var.NAME}`, which reads
/// `vars`, `${file:PATH}`, which reads a mounted file, and `${secret:NAME}`,
/// which reads what `engine secrets` keeps encrypted: what those two hold is
/// never shown or logged.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(transform = by_connector)]
pub struct Connection {
    /// The name under `connections:`.
    #[schemars(skip)]
    pub name: At<String>,
    /// The folder below the project, with slashes; empty at the top.
    #[schemars(skip)]
    pub namespace: String,
    /// The whole block.
    #[schemars(skip)]
    pub place: Place,
    /// Whether the connection is used. Mappings of one that is switched off do
    /// not run. Default: `true`.
    pub enabled: Option<At<bool>>,
    /// The zone of the system's times that carry none, by its IANA name.
    /// Default: `UTC`; `PostgreSQL` goes on stamping what is written in its own.
    #[schemars(example = &"America/Sao_Paulo")]
    pub timezone: Option<At<Timezone>>,
    /// How long one request may take: in `PostgreSQL` a statement, each batch
    /// of a reading, and a lock that another holds, each by itself; in `SQLite`
    /// the wait for another's lock. Default: `30s`.
    #[schemars(example = &"30s")]
    pub timeout: Option<At<Duration>>,
    /// What is done when the system cannot be reached or is busy.
    pub retry: Option<Retry>,
    /// Which system it is, with what that one needs.
    #[schemars(flatten)]
    pub system: System,
}

/// The settings of each kind of system.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(tag = "connector", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there are a handful of connections")]
pub enum System {
    /// A `SQLite` database file.
    Sqlite(Sqlite),
    /// A `PostgreSQL` database.
    Postgres(Postgres),
    /// A folder of files.
    Files(Files),
}

/// The kinds of system this version can talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connector {
    Sqlite,
    Postgres,
    Files,
}

impl Connector {
    pub fn as_str(self) -> &'static str {
        match self {
            Connector::Sqlite => "sqlite",
            Connector::Postgres => "postgres",
            Connector::Files => "files",
        }
    }
}

impl Choice for Connector {
    const WHAT: &'static str = "a connector";
    const WORDS: &'static [(&'static str, Connector)] =
        &[("sqlite", Connector::Sqlite), ("postgres", Connector::Postgres), ("files", Connector::Files)];
}

/// Connectors of the language that this version does not carry out.
const LATER_CONNECTORS: &[&str] =
    &["graphql", "mssql", "mysql", "odbc", "odoo", "protheus", "rest", "shopify", "soap", "woocommerce", "xmlrpc"];

/// Where a `SQLite` database lies.
#[derive(Clone, PartialEq, JsonSchema)]
#[schemars(inline)]
pub struct Sqlite {
    /// The database file, relative to the file this is written in.
    #[schemars(example = &"sqlite://data/demo.db")]
    pub url: At<String>,
    /// A file of SQL from which the database is made when it does not exist,
    /// relative to the file this is written in. Default: none; a database that
    /// does not exist is an error.
    #[schemars(example = &"demo.sql")]
    pub create_from: Option<At<String>>,
    /// Objects of your own, by name, beside the tables and views. Default: none.
    #[schemars(with = "Option<std::collections::BTreeMap<String, ObjectSpec>>")]
    pub objects: Vec<(At<String>, ObjectSpec)>,
}

/// Where a `PostgreSQL` database lies: `url`, or the parts of it.
#[derive(Clone, Default, PartialEq, JsonSchema)]
#[schemars(inline)]
pub struct Postgres {
    /// The whole address, in place of the settings below. `sslmode` says how
    /// it is encrypted: `prefer` (the default), `require`, or `verify-full`,
    /// which also checks that the server is the one named. Authorities are the
    /// public ones, and the one whose certificate the file in `sslrootcert`
    /// holds, relative to the file this is written in.
    #[schemars(example = &"${DATABASE_URL:-postgres://localhost/crm}")]
    pub url: Option<At<String>>,
    /// The server's name or address, or the folder of its socket. Default:
    /// `localhost`, where `database` is written.
    #[schemars(example = &"db.example.com")]
    pub host: Option<At<String>>,
    /// The server's port. Default: `5432`.
    #[schemars(example = 5432)]
    pub port: Option<At<String>>,
    /// The database on that server. Default: as the user, where `host` is written.
    #[schemars(example = &"crm")]
    pub database: Option<At<String>>,
    /// Who connects. Default: the user the engine runs as.
    #[schemars(example = &"${CRM_USERNAME}")]
    pub username: Option<At<String>>,
    /// The password. It is never printed, logged or stored. Default: none.
    #[schemars(example = &"${CRM_PASSWORD}")]
    pub password: Option<At<String>>,
    /// Objects of your own, by name, beside the tables and views. Default: none.
    #[schemars(with = "Option<std::collections::BTreeMap<String, ObjectSpec>>")]
    pub objects: Vec<(At<String>, ObjectSpec)>,
}

/// Addresses may carry a password: nothing of them is printed.
impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads one entry under `connections:`.
    pub(crate) fn decode(
        name: At<String>,
        node: &Node,
        namespace: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Connection> {
        let mut table = Table::open(node, "a connection", diagnostics)?;
        table.later(&["rate_limit"]);
        if !table.has("connector")
            && let Some(key) = table.meant("connector")
        {
            let message = format!("a connection has no setting `{}`", key.text().unwrap_or_default());
            let help = "did you mean `connector`?";
            table.report(Diagnostic::error(Code::UNKNOWN_NAME, &key.place, message).help(help));
            return None;
        }
        let connector = table.required("connector", connector);
        let enabled = table.optional("enabled", boolean);
        let timezone = table.optional("timezone", Timezone::decode);
        let timeout = table.optional("timeout", Duration::decode_positive);
        let retry = table.optional("retry", Retry::decode);
        // Without its connector no other name can be told right or wrong.
        let system = match connector?.value {
            Connector::Sqlite => Sqlite::read(&mut table).map(System::Sqlite),
            Connector::Postgres => Some(System::Postgres(Postgres::read(&mut table))),
            Connector::Files => Files::read(&mut table).map(System::Files),
        };
        table.finish();
        Some(Connection {
            name,
            namespace: namespace.to_owned(),
            place: node.place.clone(),
            enabled,
            timezone,
            timeout,
            retry,
            system: system?,
        })
    }

    pub fn connector(&self) -> Connector {
        match self.system {
            System::Sqlite(_) => Connector::Sqlite,
            System::Postgres(_) => Connector::Postgres,
            System::Files(_) => Connector::Files,
        }
    }

    /// The queries that are objects of it.
    pub fn queries(&self) -> &[(At<String>, ObjectSpec)] {
        match &self.system {
            System::Sqlite(sqlite) => &sqlite.objects,
            System::Postgres(postgres) => &postgres.objects,
            System::Files(_) => &[],
        }
    }

    /// The name with its namespace: `acme/erp`.
    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.value.clone()
        } else {
            format!("{}/{}", self.namespace, self.name.value)
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled.as_ref().is_none_or(|enabled| enabled.value)
    }
}

impl Sqlite {
    fn read(table: &mut Table<'_, '_>) -> Option<Sqlite> {
        let url = table.required("url", text);
        let create_from = table.optional("create_from", text);
        let objects = table.optional("objects", queries).unwrap_or_default();
        Some(Sqlite { url: url?, create_from, objects })
    }
}

impl Postgres {
    fn read(table: &mut Table<'_, '_>) -> Postgres {
        Postgres {
            url: table.optional("url", text),
            host: table.optional("host", text),
            port: table.optional("port", text),
            database: table.optional("database", text),
            username: table.optional("username", text),
            password: table.optional("password", text),
            objects: table.optional("objects", queries).unwrap_or_default(),
        }
    }
}

fn connector(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Connector>> {
    if let Some(name) = node.text().filter(|name| LATER_CONNECTORS.contains(name)) {
        diagnostics.push(crate::config::decode::not_yet(&node.place, &format!("the connector `{name}`")));
        return None;
    }
    if let Some(text) = node.text()
        && let Some(near) = nearest(text, LATER_CONNECTORS.iter().copied())
        && nearest(text, Connector::WORDS.iter().map(|(word, _)| *word)).is_none()
    {
        let message = format!("`{text}` is not a connector");
        let help = format!("did you mean `{near}`?");
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, message).help(help));
        return None;
    }
    choice(node, diagnostics)
}

fn queries(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<(At<String>, ObjectSpec)>> {
    objects_of(node, diagnostics, ObjectSpec::decode)
}

/// Objects by their names.
pub(super) fn objects_of<T>(
    node: &Node,
    diagnostics: &mut Diagnostics,
    decode: Reader<T>,
) -> Option<Vec<(At<String>, T)>> {
    let entries = entries(node, "`objects`", diagnostics)?;
    let read = |(key, value): &(Node, Node)| {
        let name = name(key, diagnostics);
        let object = decode(value, diagnostics);
        Some((name?, object?))
    };
    Some(entries.iter().filter_map(read).collect())
}

/// An object of your own.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ObjectSpec {
    #[schemars(skip)]
    pub place: Place,
    /// A query of SQL whose rows are the object's records. It is only read. Not built
    /// yet, and refused (E0107).
    #[schemars(example = &"SELECT id, name FROM customers JOIN addresses USING (id)")]
    pub query: At<String>,
}

impl ObjectSpec {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<ObjectSpec> {
        let mut table = Table::open(node, "an object", diagnostics)?;
        table.later(&["fields", "key"]);
        let query = table.required("query", name);
        table.finish();
        Some(ObjectSpec { place: node.place.clone(), query: query? })
    }
}

/// What is done when the system cannot be reached or is busy, in `run`, `plan`
/// and whatever else reads records. `check`, `discover`, `validate --online`
/// and `conflicts resolve` look once and tell at once what they found.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retry {
    #[schemars(skip)]
    pub place: Place,
    /// How often a request is made before it counts as failed. Default: 5.
    #[schemars(example = 5)]
    pub attempts: Option<At<u32>>,
    /// The wait before the second attempt; it doubles with each further one.
    /// Default: `500ms`.
    #[schemars(example = &"2s")]
    pub backoff: Option<At<Duration>>,
    /// The longest wait between two attempts. Default: `30s`.
    #[schemars(example = &"60s")]
    pub max: Option<At<Duration>>,
}

impl Retry {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Retry> {
        let mut table = Table::open(node, "`retry`", diagnostics)?;
        let retry = Retry {
            place: node.place.clone(),
            attempts: table.optional("attempts", count),
            backoff: table.optional("backoff", Duration::decode),
            max: table.optional("max", Duration::decode),
        };
        table.finish();
        Some(retry)
    }
}

/// Makes of one schema with a union inside a union of closed schemas, one for
/// each connector: what editors complete from and explain best.
fn by_connector(schema: &mut Schema) {
    let Some(mut common) = schema.remove("properties") else { return };
    let Some(Value::Array(mut kinds)) = schema.remove("oneOf") else { return };
    let Some(common) = common.as_object_mut() else { return };
    for kind in &mut kinds {
        let Some(kind) = kind.as_object_mut() else { continue };
        let own = kind.get_mut("properties").and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default();
        let mut all = Map::new();
        all.extend(own);
        all.extend(common.clone());
        kind.insert("properties".into(), Value::Object(all));
        kind.insert("additionalProperties".into(), json!(false));
    }
    schema.insert("anyOf".into(), Value::Array(kinds));
    schema.remove("required");
}
