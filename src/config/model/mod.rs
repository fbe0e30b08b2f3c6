//! What a user wrote, as plain structs: a place for every value, no meaning.
//!
//! Each struct reads itself from a [`Node`] and derives the
//! JSON Schema an editor completes from; the comments on its fields are the
//! user manual. A name that is written and not known is reported, and so is a
//! name of the language that this version does not carry out. Checks that need
//! more than one setting are in `check`; what a rule or an
//! expression means is none of this module's business.
//!
//! Start reading at [`Mapping`] and [`Connection`].

mod case;
mod connection;
mod field;
mod files;
mod mapping;
mod notify;
mod policy;
mod rule;
mod scalar;
mod schedule;
mod side;

pub use case::{CaseBase, CaseOutcome, CaseRecord, TestCase};
pub(crate) use connection::ConnectionsDocument;
pub use connection::{Connection, Connector, ObjectSpec, Postgres, Retry, Sqlite, System};
pub use field::{CopySpec, FieldEntry, FieldSpec, WriteMoment};
pub use files::{DecimalMark, FileEncoding, FileField, FileFieldType, FileFormat, FileObject, Files};
pub use mapping::{Mapping, When};
pub use notify::{Notify, NotifyBody, NotifyEvent, NotifyMethod};
pub use policy::{Allow, Conflicts, DeletePolicy, Deletes, Direction, Drift, Limit, Limits, Operation, Policy};
pub use rule::RuleSpec;
pub use scalar::{Cron, Duration, Moment, Timezone};
pub use schedule::{Missed, Schedule};
pub use side::{Cursor, Deleted, SideSpec};

use super::tree::{At, Node};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A value with a place looks like the value.
impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A node that is kept as written may be anything.
impl JsonSchema for Node {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// Adds to a struct's schema the short form that is a single text.
fn or_text(schema: &mut Schema) {
    let long = std::mem::take(schema);
    *schema = json_schema!({ "anyOf": [{ "type": "string" }, long] });
}
