//! Every mistake we can think of, and what is said of it.

use super::harness::{Mistake, load, mistake, told};
use std::collections::HashSet;

const CONNECTIONS: &str = "connections.yaml";
const CUSTOMERS: &str = "customers.yaml";
const SELLERS: &str = "sellers.yaml";
const ORDERS: &str = "acme/orders.yml";
const NEW: &str = "new.yaml";

const DOCUMENTS: &[Mistake] = &[
    mistake("a tab for indentation", CUSTOMERS, "  object: SA1\n", "\tobject: SA1\n"),
    mistake("a tab below a name", CUSTOMERS, "source:\n  connection", "source:\n\tconnection"),
    mistake("a quote that is not closed", CUSTOMERS, "\"A1_TIPO = 'F'\"", "\"A1_TIPO = 'F'"),
    mistake("a single quote that is not closed", NEW, "", "mapping: 'x\n"),
    mistake("a bracket that is not closed", CUSTOMERS, "copy: [email, notes]", "copy: [email, notes"),
    mistake(
        "a brace that is not closed",
        CUSTOMERS,
        "conflicts: { default: newest, first: source }",
        "conflicts: { default: newest",
    ),
    mistake("brackets crossed", NEW, "", "mapping: { a: [1 } ]\n"),
    mistake("no blank after a colon", CUSTOMERS, "direction: bidirectional", "direction:bidirectional"),
    mistake("two colons in a line", NEW, "", "mapping: a: b\n"),
    mistake("indentation that does not fit", CUSTOMERS, "  key: [A1_COD, A1_LOJA]", "   key: [A1_COD, A1_LOJA]"),
    mistake("an unquoted template", CUSTOMERS, "\"{{ A1_END | trim }}, {{ A1_MUN | trim }}\"", "{{ A1_END }}"),
    mistake("two unquoted templates", NEW, "", "mapping: n\nfields:\n  - { target: a, template: {{ A }}, {{ B }} }\n"),
    mistake(
        "an unquoted template and text",
        NEW,
        "",
        "mapping: n\nfields:\n  - target: a\n    template: {{ A }} - {{ B }}\n",
    ),
    mistake("text after a quote", NEW, "", "mapping: n\nsource:\n  where: \"a\" = 'b'\n"),
    mistake("forgotten braces", NEW, "", "mapping: n\nfields:\n  - source: a, target: b\n"),
    mistake("an item beside settings", NEW, "", "mapping: n\nfields:\n- source: a\n target: b\n"),
    mistake("a dash without a blank", NEW, "", "mapping: n\nfields:\n  -source: a\n  -target: b\n"),
    mistake("a percent sign", NEW, "", "mapping: %n\n"),
    mistake("a key of a list", NEW, "", "mapping: n\n? [a, b]\n: c\n"),
    mistake("an at sign", NEW, "", "mapping: @customers\n"),
    mistake("an unknown alias", SELLERS, "<<: *code", "<<: *cods"),
    mistake("an escape that does not exist", NEW, "", "mapping: \"C:\\data\"\n"),
    mistake("a duplicate key", CUSTOMERS, "direction: bidirectional", "direction: bidirectional\nlimits: {}"),
    mistake("a duplicate key in quotes", CUSTOMERS, "\"2\": true, \"1\": false", "2: true, \"2\": false"),
    mistake("a tag", CUSTOMERS, "description: ERP", "description: !secret ERP"),
    mistake("a merge of a text", SELLERS, "<<: *code", "<<: code"),
    mistake("neither connections nor a mapping", NEW, "", "version: 2\nservices: {}\n"),
    mistake("a misspelt connector", NEW, "", "connections:\n  x: { conector: sqlite, url: 'sqlite://x.db' }\n"),
    mistake("a misspelt document", NEW, "", "conections: {}\n"),
    mistake("a list for a document", NEW, "", "- mapping: a\n"),
    mistake("a text for a document", NEW, "", "customers\n"),
    mistake("both in one document", NEW, "", "connections: {}\nmapping: x\n"),
    mistake("lookups", NEW, "", "lookups: { depots: { file: depots.csv } }\n"),
    mistake(
        "values that nothing can read",
        NEW,
        "",
        "vars: { company: 19, a b: 1, other: '${var.company}', none: }\nconnections:\n  x: { connector: sqlite, url: 'sqlite://${var.compny}.db' }\n  y: { connector: sqlite, url: 'sqlite://${var.company' }\n---\nvars: { company: 20 }\n",
    ),
    mistake("a manifest", "connectors/own/connector.yaml", "", "connector: own\n"),
];

const NAMES: &[Mistake] = &[
    mistake("a misspelt setting", CUSTOMERS, "direction: bidirectional", "dirction: bidirectional"),
    mistake("a setting of nowhere", CUSTOMERS, "direction: bidirectional", "frequency: 5"),
    mistake("a misspelt setting of a side", CUSTOMERS, "  object: SA1\n", "  objekt: SA1\n"),
    mistake("a misspelt setting of a field", CUSTOMERS, "required: true", "requierd: true"),
    mistake("a misspelt setting of a cursor", CUSTOMERS, "overlap: 10m", "ovrlap: 10m"),
    mistake("a misspelt setting of a schedule", CUSTOMERS, "every: 5m", "evry: 5m"),
    mistake(
        "a misspelt setting of `allow`",
        CUSTOMERS,
        "{ to_target: [create, update], to",
        "{ to_traget: [create, update], to",
    ),
    mistake("a misspelt setting of `conflicts`", CUSTOMERS, "{ default: newest", "{ defualt: newest"),
    mistake("a misspelt setting of `deletes`", CUSTOMERS, "{ to_target: propagate", "{ totarget: propagate"),
    mistake("a misspelt setting of `limits`", CUSTOMERS, "limits: { create: 500", "limits: { crete: 500"),
    mistake("a misspelt setting of `retry`", CONNECTIONS, "attempts: 5", "atempts: 5"),
    mistake("a misspelt setting of a connection", CONNECTIONS, "timeout: 30s", "tiemout: 30s"),
    mistake("a misspelt setting of an object", CONNECTIONS, "query: |", "sql: |"),
    mistake("a setting of another connector", CONNECTIONS, "create_from: erp.sql", "host: localhost"),
    mistake(
        "a setting beside `copy`",
        CUSTOMERS,
        "- copy: [email, notes]",
        "- { copy: [email, notes], rules: [trim] }",
    ),
    mistake("a missing object", CUSTOMERS, "  object: SA1\n", ""),
    mistake(
        "a missing source",
        SELLERS,
        "source: { connection: erp, object: SA3, deleted: { when: \"D_E_L_E_T_ == '*'\" } }\n",
        "",
    ),
    mistake("a missing connector", CONNECTIONS, "    connector: sqlite\n", ""),
    mistake("a missing address", CONNECTIONS, "    url: \"sqlite://data/erp.db\"\n", ""),
    mistake("a missing name", CUSTOMERS, "mapping: customers\n", ""),
    mistake(
        "missing fields",
        NEW,
        "",
        "mapping: n\nsource: { connection: erp, object: a }\ntarget: { connection: erp, object: b }\n",
    ),
    mistake("a setting without a value", CUSTOMERS, "direction: bidirectional", "direction:"),
    mistake("a name with a slash", CUSTOMERS, "mapping: customers", "mapping: acme/customers"),
    mistake("an empty name", CUSTOMERS, "mapping: customers", "mapping: \"\""),
    mistake("a mapping twice", SELLERS, "mapping: orders", "mapping: sellers"),
    mistake("a connection twice", CONNECTIONS, "  archive:", "  crm:"),
    mistake("an unknown connection", CUSTOMERS, "  connection: crm", "  connection: cmr"),
    mistake("a connection of a folder below", SELLERS, "target: { connection: archive", "target: { connection: shop"),
    mistake(
        "a connection nothing uses",
        CONNECTIONS,
        "  archive:",
        "  spare: { connector: sqlite, url: 'sqlite://s' }\n  archive:",
    ),
    mistake(
        "a form of a later version",
        CUSTOMERS,
        "direction: bidirectional",
        "direction: bidirectional\nrequires: [sellers]\nthen: []",
    ),
    mistake(
        "a field form of a later version",
        CUSTOMERS,
        "- copy: [email, notes]",
        "- { source: L, target: l, each: {} }\n  - { source: [a, b], target: c }",
    ),
    mistake("a side form of a later version", CUSTOMERS, "  key: [id]", "  children: {}"),
    mistake("a connection form of a later version", CONNECTIONS, "timeout: 30s", "rate_limit: { concurrency: 2 }"),
];

const VALUES: &[Mistake] = &[
    mistake("a direction that is none", CUSTOMERS, "direction: bidirectional", "direction: both"),
    mistake("a misspelt direction", CUSTOMERS, "direction: bidirectional", "direction: bidirectionnal"),
    mistake("a misspelt policy", CUSTOMERS, "conflict: target", "conflict: taget"),
    mistake("a misspelt drift", CUSTOMERS, "drift: restore", "drift: resotre"),
    mistake("a misspelt operation", CUSTOMERS, "to_source: [update]", "to_source: [updaet]"),
    mistake("a moment that is none", CUSTOMERS, "write: create", "write: update"),
    mistake("a list for a text", CUSTOMERS, "description: ERP customers <-> CRM customers", "description: [a]"),
    mistake("a text for a list", CUSTOMERS, "key: [id]", "key: id"),
    mistake("a text for rules", CUSTOMERS, "equal: [digits]", "equal: digits"),
    mistake("a mapping for rules", SELLERS, "      - trim\n      - map:", "      map:"),
    mistake("a list for a mapping", CUSTOMERS, "schedule: { every: 5m, after: [sellers] }", "schedule: [5m]"),
    mistake(
        "a text for a side",
        SELLERS,
        "target: { connection: archive, object: '\"Sales People\"' }",
        "target: archive",
    ),
    mistake("a list for a rule", CUSTOMERS, "rules: [trim, title_case]", "rules: [[trim]]"),
    mistake("a rule of nothing", CUSTOMERS, "rules: [trim, title_case]", "rules: [{}]"),
    mistake("a text for a field entry", CUSTOMERS, "- copy: [email, notes]", "- email"),
    mistake("a text for a connection", CONNECTIONS, "  archive:\n", "  old: postgres\n  archive:\n"),
    mistake("a list of connections", NEW, "", "connections: [erp]\n"),
    mistake("yes for true", CUSTOMERS, "required: true", "required: yes"),
    mistake("true in quotes", CUSTOMERS, "required: true", "required: 'true'"),
    mistake("an interval without a unit", CUSTOMERS, "every: 5m", "every: 300"),
    mistake("an interval that is none", CUSTOMERS, "every: 5m", "every: 5 minutes"),
    mistake("an interval of nothing", CUSTOMERS, "every: 5m", "every: 0s"),
    mistake("a cron that is none", SELLERS, "\"0 6,12,18 * * *\"", "\"0 25 * * *\""),
    mistake("a cron that never comes", SELLERS, "\"0 6,12,18 * * *\"", "\"0 0 31 2 *\""),
    mistake("a cron with too few parts", SELLERS, "\"0 6,12,18 * * *\"", "\"0 6\""),
    mistake("a misspelt zone", CONNECTIONS, "America/Sao_Paulo", "America/São_Paulo"),
    mistake("a zone that is none", CONNECTIONS, "America/Sao_Paulo", "BRT-3"),
    mistake("a limit that is none", CUSTOMERS, "update: 50%", "update: half"),
    mistake("a limit above everything", CUSTOMERS, "update: 50%", "update: 150%"),
    mistake("a negative limit", CUSTOMERS, "create: 500", "create: -1"),
    mistake("a limit of nothing", CUSTOMERS, "delete: 0.5%", "delete: 0"),
    mistake("a delete policy that is none", CUSTOMERS, "to_target: propagate", "to_target: delete"),
    mistake("a delete that sets nothing", CUSTOMERS, "set: { A1_MSBLQL: \"1\" }", "set: {}"),
    mistake("a delete of an unknown shape", CUSTOMERS, "set: { A1_MSBLQL: \"1\" }", "update: { A1_MSBLQL: \"1\" }"),
    mistake("a mark without a value", CUSTOMERS, "field: D_E_L_E_T_, equals: \"*\"", "field: D_E_L_E_T_"),
    mistake("two forms of `deleted`", CUSTOMERS, "deleted: { sweep: 24h }", "deleted: { sweep: 24h, when: gone }"),
    mistake("no form of `deleted`", CUSTOMERS, "deleted: { sweep: 24h }", "deleted: {}"),
    mistake("attempts that are none", CONNECTIONS, "attempts: 5", "attempts: 0"),
    mistake("attempts that are no number", CONNECTIONS, "attempts: 5", "attempts: five"),
    mistake("waits upside down", CONNECTIONS, "backoff: 2s", "backoff: 2m"),
    mistake("an unknown connector", CONNECTIONS, "connector: sqlite", "connector: sqllite"),
    mistake("a connector of a later version", CONNECTIONS, "connector: sqlite", "connector: mysql"),
    mistake("a misspelt connector of a later version", CONNECTIONS, "connector: sqlite", "connector: protheuss"),
    mistake("an address of another system", CONNECTIONS, "\"sqlite://data/erp.db\"", "mysql://erp"),
    mistake(
        "an address and its parts",
        CONNECTIONS,
        "    host: db.example.com",
        "    url: postgres://db.example.com\n    host: db.example.com",
    ),
    mistake("no address at all", CONNECTIONS, "    host: db.example.com\n    port: 5432\n    database: archive\n", ""),
    mistake("a port that is none", CONNECTIONS, "port: 5432", "port: 54321234"),
    mistake("a script that does not exist", CONNECTIONS, "create_from: erp.sql", "create_from: epr.sql"),
    mistake("a variable that is not closed", CONNECTIONS, "${ARCHIVE_USERNAME}", "${ARCHIVE_USERNAME"),
    mistake("a variable with a bad name", CONNECTIONS, "${ARCHIVE_USERNAME}", "${ARCHIVE-USERNAME}"),
    mistake("a secret", CONNECTIONS, "${ARCHIVE_PASSWORD}", "${secret:archive password}"),
    mistake("a variable in a value", CUSTOMERS, "value: protheus", "value: '${ORIGIN}'"),
    mistake("a variable in a mapping", SELLERS, "target: { connection: archive", "target: { connection: \"${TO}\""),
];

const MEANING: &[Mistake] = &[
    mistake(
        "messages that nobody gets",
        CUSTOMERS,
        "direction: bidirectional",
        "direction: bidirectional
notify:
  - { events: [failure, fail, failure], url: 'mailto:me@example.com' }
  - { events: [], url: '${ALERT URL}', method: get }
  - { events: [success], url: 'https://a b/', methods: POST, headers: { 'X Key': '${' } }
  - { events: [success], url: 'https://example.com', method: GET, body: '{{ mapping }}', stale_after: 1h }
  - { events: success }
  - x",
    ),
    mistake(
        "a field written twice",
        CUSTOMERS,
        "- copy: [email, notes]",
        "- copy: [email, notes]\n  - { source: X, target: email, direction: source_to_target }",
    ),
    mistake(
        "a field written back twice",
        CUSTOMERS,
        "- copy: [email, notes]",
        "- copy: [email, notes]\n  - { source: A1_NOME, target: nick }",
    ),
    mistake("a field copied twice", CUSTOMERS, "- copy: [email, notes]", "- copy: [email, email]"),
    mistake("an entry of nothing", CUSTOMERS, "- copy: [email, notes]", "- { rules: [trim] }"),
    mistake("an entry without a target", CUSTOMERS, "- copy: [email, notes]", "- { source: email }"),
    mistake("an entry without a source", CUSTOMERS, "- copy: [email, notes]", "- { target: email }"),
    mistake("a value without a field", CUSTOMERS, "target: origin, value", "value"),
    mistake("a value and a template", CUSTOMERS, "value: protheus", "value: protheus, template: x"),
    mistake("a value and two fields", CUSTOMERS, "target: origin, value", "source: ORIGIN, target: origin, value"),
    mistake("rules of a template", CUSTOMERS, "| trim }}\" }", "| trim }}\", rules: [trim] }"),
    mistake("a value that goes back", CUSTOMERS, "value: protheus", "value: protheus, direction: bidirectional"),
    mistake("a way back of a one-way field", CUSTOMERS, "drift: restore", "reverse: [trim]"),
    mistake("a conflict of a one-way field", CUSTOMERS, "drift: restore", "conflict: source"),
    mistake("drift of a two-way field", CUSTOMERS, "conflict: target", "drift: keep"),
    mistake("drift of what is written once", CUSTOMERS, "write: create", "write: create, drift: restore"),
    mistake(
        "required without a target",
        CUSTOMERS,
        "- copy: [email, notes]",
        "- { source: A1_X, value: 1, required: true }",
    ),
    mistake("two ways in a one-way mapping", SELLERS, "target: email", "target: email, direction: bidirectional"),
    mistake(
        "a value the mapping never writes",
        SELLERS,
        "match: [code]",
        "  - { source: A3_ORIGEM, value: crm }\nmatch: [code]",
    ),
    mistake(
        "created once, where nothing is created",
        CUSTOMERS,
        "allow: { to_target: [create, update]",
        "allow: { to_target: [update]",
    ),
    mistake("a match nothing fills", SELLERS, "match: [code]", "match: [cod]"),
    mistake("a match of a fixed value", CUSTOMERS, "match: [[tax_id], [name, email]]", "match: [origin]"),
    mistake("a match of nothing", SELLERS, "match: [code]", "match: []"),
    mistake("an alternative of nothing", CUSTOMERS, "[name, email]]", "[]]"),
    mistake("a match of both forms", CUSTOMERS, "match: [[tax_id], [name, email]]", "match: [[tax_id], name]"),
    mistake("a match with a field twice", CUSTOMERS, "[name, email]]", "[name, name]]"),
    mistake("a key with a field twice", CUSTOMERS, "key: [A1_COD, A1_LOJA]", "key: [A1_COD, A1_COD]"),
    mistake(
        "no fields",
        SELLERS,
        "  - { source: C5_CLIENTE, target: customer, equal: &steps [trim] }\n  - <<: [{ target: number }, { target: nothing, required: true }]\n    source: C5_NUM\n    equal: *steps\n",
        "  []\n",
    ),
    mistake(
        "conflicts of a one-way mapping",
        SELLERS,
        "match: [code]",
        "match: [code]\nconflicts: { default: source }",
    ),
    mistake("deltas at a first meeting", CUSTOMERS, "first: source", "first: sum_deltas"),
    mistake("the newest, of what has no time", CUSTOMERS, "  cursor: updated_at\n", ""),
    mistake(
        "writes to a side that is never written",
        SELLERS,
        "match: [code]",
        "match: [code]\nallow: { to_source: [update] }",
    ),
    mistake(
        "deletes of a side that is never written",
        SELLERS,
        "match: [code]",
        "match: [code]\ndeletes: { to_source: propagate }",
    ),
    mistake("deletes that are not noticed", CUSTOMERS, "  deleted: { field: D_E_L_E_T_, equals: \"*\" }\n", ""),
    mistake(
        "rows deleted where a mark is expected",
        CUSTOMERS,
        "to_source: { set: { A1_MSBLQL: \"1\" } }",
        "to_source: propagate",
    ),
    mistake("a condition of a side that is not read", SELLERS, "when: A3_NOME != ''", "when: { target: active }"),
    mistake("a condition that says nothing", SELLERS, "when: A3_NOME != ''", "when: {}"),
    mistake("a start without a time", SELLERS, "object: SA3,", "object: SA3, start: 2026-01-01,"),
    mistake("a filter that is no text", CUSTOMERS, "where: \"A1_TIPO = 'F'\"", "where: { A1_TIPO: F }"),
    mistake("an empty filter", CUSTOMERS, "where: \"A1_TIPO = 'F'\"", "where: \"\""),
    mistake(
        "an address that cannot be read",
        CONNECTIONS,
        "${DATABASE_URL:-postgres://localhost/crm}",
        "postgres://u:p@localhost:99999/crm",
    ),
    mistake(
        "what an address does not say",
        CONNECTIONS,
        "${DATABASE_URL:-postgres://localhost/crm}",
        "postgres://localhost/crm?sslmode=sometimes&sslrotcert=x&port=0&channel_binding=require&options[search_path]=a",
    ),
    mistake(
        "a query that is written",
        SELLERS,
        "match: [code]",
        "match: [code]\ndirection: bidirectional\n---\nmapping: q\nsource: { connection: crm, object: q }\ntarget: { connection: erp, object: open_orders }\nfields: [{ copy: [a] }]",
    ),
    mistake(
        "both sides the same",
        NEW,
        "",
        "mapping: n\nsource: { connection: erp, object: a }\ntarget: { connection: erp, object: a }\nfields: [{ copy: [a] }]\n",
    ),
    mistake("a former name that is the present one", CUSTOMERS, "was: clientes", "was: customers"),
    mistake("a former name another mapping has", CUSTOMERS, "was: clientes", "was: sellers"),
    mistake("a former name twice", SELLERS, "mapping: sellers\n", "mapping: sellers\nwas: clientes\n"),
    mistake("a copy of nothing", CUSTOMERS, "copy: [email, notes]", "copy: []"),
    mistake("a key of nothing", CUSTOMERS, "key: [id]", "key: []"),
    mistake("two schedules", CUSTOMERS, "every: 5m", "every: 5m, cron: '* * * * *'"),
    mistake("a schedule of nothing", CUSTOMERS, "schedule: { every: 5m, after: [sellers] }", "schedule: {}"),
    mistake("a zone without a cron", CUSTOMERS, "every: 5m", "every: 5m, timezone: UTC"),
    mistake("after a mapping that does not exist", CUSTOMERS, "after: [sellers]", "after: [seller]"),
    mistake("after itself", CUSTOMERS, "after: [sellers]", "after: [customers]"),
    mistake("after each other", SELLERS, "schedule:\n", "schedule:\n  after: [orders]\n"),
    mistake("after a namespace that does not exist", ORDERS, "acme/products", "acne/products"),
    mistake(
        "many at once",
        ORDERS,
        "mapping: products\nsource: { connection: shop, object: products }\n",
        "mapping: products\nsource: { conection: shop, object: products, cursor: {} }\ndirection: up\nlimits: { delete: 101% }\n",
    ),
];

#[test]
fn documents() {
    insta::assert_snapshot!(told(DOCUMENTS));
}

#[test]
fn names() {
    insta::assert_snapshot!(told(NAMES));
}

#[test]
fn values() {
    insta::assert_snapshot!(told(VALUES));
}

#[test]
fn meaning() {
    insta::assert_snapshot!(told(MEANING));
}

#[test]
fn every_mistake_stands_once() {
    let all = [DOCUMENTS, NAMES, VALUES, MEANING].concat();
    let distinct: HashSet<_> = all.iter().map(|mistake| mistake.what).collect();
    assert_eq!(distinct.len(), all.len());
}

/// Issue 2: a word that was misspelt in a field hid what was wrong with `match`,
/// and a file that is no YAML hid connections that stand nowhere.
#[test]
fn a_mistake_hides_no_other() {
    let connections = "connections:\n  office: { connector: sqlite, url: 'sqlite://a.db' }\n";
    let mapping = |name: &str, connection: &str| {
        format!(
            "mapping: {name}
source: {{ connection: {connection}, object: items, key: [code] }}
target: {{ connection: office, object: goods, key: [id] }}
match: [skuu]
fields: [{{ source: code, target: sku, conflict: newst }}]
"
        )
    };
    let broken = "connections:\n  shop: { connector: sqlite\n";
    let (here, there) = (mapping("here", "offce"), mapping("there", "shop"));
    let files =
        [("connections.yaml", connections), ("here.yaml", &here), ("there.yaml", &there), ("broken.yaml", broken)];
    let (_, diagnostics, _folder) = load(files);
    let mut told: Vec<(String, &str)> = diagnostics
        .iter()
        .map(|one| {
            let file = &one.place.as_ref().unwrap().file;
            (file.file_name().unwrap().to_string_lossy().into_owned(), one.code.as_str())
        })
        .collect();
    told.sort();
    let expected = [
        ("broken.yaml", "E0101"),
        ("here.yaml", "E0106"),
        ("here.yaml", "E0201"),
        ("here.yaml", "E0303"),
        ("there.yaml", "E0106"),
        ("there.yaml", "E0303"),
    ];
    assert_eq!(told, expected.map(|(file, code)| (file.to_owned(), code)));
}
