//! One side of a mapping: which object, and how its changes are known.

use super::or_text;
use super::scalar::Duration;
use crate::config::decode::{Table, any, name, names, text};
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use schemars::JsonSchema;

/// One side of a mapping.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SideSpec {
    #[schemars(skip)]
    pub place: Place,
    /// False where a part of it was reported and left out.
    #[schemars(skip)]
    pub complete: bool,
    // Empty where it is missing, which is reported; so is `object`.
    /// The connection the object lies in, by its name under `connections:`.
    #[schemars(example = &"erp")]
    pub connection: At<String>,
    /// The object that is read and written: a table, a view or a named query.
    /// A dot separates schema and table; a part in double quotes is taken whole.
    #[schemars(example = &"public.customers")]
    pub object: At<String>,
    /// The fields that identify a record. Default: the object's primary key.
    #[schemars(default, length(min = 1), example = ["A1_COD", "A1_LOJA"])]
    pub key: Vec<At<String>>,
    /// The field that grows with every change, by which only what is new is
    /// read. Default: none, so that every run reads the whole object.
    #[schemars(example = &"updated_at")]
    pub cursor: Option<Cursor>,
    /// The field that says when the record was last changed, for the policy
    /// `newest`. Default: the cursor, where that is a time.
    #[schemars(example = &"updated_at")]
    pub modified: Option<At<String>>,
    /// Which records belong to the mapping, in the connector's own filter
    /// language: a condition of SQL for databases. Default: all of them.
    #[schemars(rename = "where", example = &"A1_TIPO = 'F'")]
    pub filter: Option<Node>,
    /// The date or time of the last change before which records are left
    /// alone; compared with `modified`. Default: none.
    #[schemars(example = &"2026-03-01")]
    pub start: Option<At<String>>,
    /// How a deleted record is known. Default: not at all where there is a
    /// cursor; without one, by its absence from the full listing.
    pub deleted: Option<Deleted>,
}

impl SideSpec {
    /// Always a side, so that the rest of the mapping can be checked: what is
    /// missing is reported and left empty.
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<SideSpec> {
        let mut table = Table::open(node, "a side of a mapping", diagnostics)?;
        table.later(&["children", "explode", "group", "document", "write"]);
        let empty = || At::new(String::new(), node.place.clone());
        let mut side = SideSpec {
            place: node.place.clone(),
            complete: true,
            connection: table.required("connection", name).unwrap_or_else(empty),
            object: table.required("object", name).unwrap_or_else(empty),
            key: table.optional("key", names).unwrap_or_default(),
            cursor: table.optional("cursor", Cursor::decode),
            modified: table.optional("modified", name),
            filter: table.optional("where", any),
            start: table.optional("start", name),
            deleted: table.optional("deleted", Deleted::decode),
        };
        side.complete = table.finish();
        Some(side)
    }

    /// What stands in for a side that is not there at all.
    pub(crate) fn absent(place: &Place) -> SideSpec {
        let empty = At::new(String::new(), place.clone());
        SideSpec {
            place: place.clone(),
            complete: false,
            connection: empty.clone(),
            object: empty,
            key: Vec::new(),
            cursor: None,
            modified: None,
            filter: None,
            start: None,
            deleted: None,
        }
    }
}

/// The field by which only what is new is read.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, transform = or_text)]
pub struct Cursor {
    #[schemars(skip)]
    pub place: Place,
    /// A time of last change, or a number that grows with every change.
    #[schemars(example = &"updated_at")]
    pub field: At<String>,
    /// How far before the last reading the next one starts, so that what was
    /// written meanwhile and committed late is not missed. For a number, a
    /// second of it is one number; a text takes none. Default: none where the
    /// system tells which transactions are still open, else `1m`; `engine
    /// validate --online` says where it does not.
    #[schemars(example = &"10m")]
    pub overlap: Option<At<Duration>>,
}

impl Cursor {
    /// The overlap of a cursor that names none, where the system does not tell
    /// which transactions are open.
    pub const DEFAULT_OVERLAP: Duration = Duration::seconds(60);

    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Cursor> {
        let place = node.place.clone();
        if let Content::Scalar(_) = &node.content {
            return Some(Cursor { place, field: name(node, diagnostics)?, overlap: None });
        }
        let mut table = Table::open(node, "a cursor", diagnostics)?;
        let field = table.required("field", name);
        let overlap = table.optional("overlap", Duration::decode);
        table.finish();
        Some(Cursor { place, field: field?, overlap })
    }
}

/// How a deleted record is known: one of the three forms.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum Deleted {
    /// A field marks it. A row that goes without its mark is not noticed.
    Mark {
        /// The field that carries the mark.
        field: At<String>,
        /// The value it has in a deleted record.
        equals: Node,
    },
    /// An expression over its fields tells it. A row that goes before it is true
    /// is not noticed.
    When {
        /// An expression that is true for a deleted record.
        when: At<String>,
    },
    /// Its absence from a complete listing of the keys, looked up one by one.
    Sweep {
        /// The least time between two listings, such as `24h`.
        sweep: At<Duration>,
    },
}

impl Deleted {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Deleted> {
        let mut table = Table::open(node, "`deleted`", diagnostics)?;
        let forms = ["field", "when", "sweep"].into_iter().filter(|name| table.has(name)).count();
        let field = table.optional("field", name);
        let equals = if table.has("field") {
            table.required("equals", any_scalar)
        } else {
            table.optional("equals", any_scalar)
        };
        let when = table.optional("when", text);
        let sweep = table.optional("sweep", Duration::decode_positive);
        if forms != 1 {
            let message = "`deleted` takes exactly one of `field`, `when` and `sweep`";
            let help = "write `{ field: …, equals: … }`, `{ when: … }` or `{ sweep: 24h }`";
            table.report(Diagnostic::error(Code::BAD_VALUE, &node.place, message).help(help));
        }
        table.finish();
        match (forms, field, equals, when, sweep) {
            (1, Some(field), Some(equals), _, _) => Some(Deleted::Mark { field, equals }),
            (1, _, _, Some(when), _) => Some(Deleted::When { when }),
            (1, _, _, _, Some(sweep)) => Some(Deleted::Sweep { sweep }),
            _ => None,
        }
    }
}

fn any_scalar(node: &Node, diagnostics: &mut Diagnostics) -> Option<Node> {
    text(node, diagnostics).map(|_| node.clone())
}
