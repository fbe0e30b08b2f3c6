//! The types of PostgreSQL that are carried as what they are; every other
//! type is carried as the text the server prints for it.

use crate::record::Kind;

/// How a column's values travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// `text`, `varchar`, `name`, and `char` with its padding.
    Text,
    Char,
    Bytea,
    Uuid,
    Json,
    Jsonb,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Array(Box<Type>),
    /// Selected as text: enums, and types we do not know.
    Printed,
}

/// A type as the catalog has it, domains resolved.
#[derive(Debug, Clone)]
pub(super) struct Native {
    pub(super) base: Type,
    pub(super) kind: Kind,
    /// The base type's name without its sizes, as a cast takes it: a cast to
    /// `varchar(3)` would silently cut what an assignment refuses.
    pub(super) cast: String,
    /// How equality is asked for, where the type has none of its own.
    pub(super) compare: Compare,
    /// What is stored may be shown otherwise than it was sent, or be cut: of a
    /// type that is carried as text, one value has several; and an interval of
    /// few fields or digits drops what it cannot hold.
    pub(super) restates: bool,
}

/// How a column's value is compared with an expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Plain,
    /// `json` has no equality; `jsonb` has.
    Json,
    /// As printed.
    Text,
}

/// What the catalog says of one type.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) oid: i64,
    pub(super) name: String,
    /// `b` base, `e` enum, `d` domain, …
    pub(super) class: String,
    /// The type a domain is made of.
    pub(super) base: i64,
    pub(super) base_modifier: i32,
    /// The type of an array's elements.
    pub(super) element: i64,
    pub(super) is_array: bool,
    pub(super) cast: String,
    pub(super) labels: Vec<String>,
}

/// Resolves a type by its oid and modifier (its sizes).
pub(super) fn resolve(types: &[Entry], oid: i64, modifier: i32) -> Option<Native> {
    let entry = types.iter().find(|entry| entry.oid == oid)?;
    if entry.class == "d" {
        let modifier = if modifier >= 0 { modifier } else { entry.base_modifier };
        return resolve(types, entry.base, modifier);
    }
    let (base, kind) = if entry.class == "e" {
        (Type::Printed, Kind::Enum { labels: entry.labels.clone() })
    } else if entry.is_array {
        let element = resolve(types, entry.element, modifier)?;
        match (element.base, element.kind) {
            (_, Kind::Other(_)) => (Type::Printed, Kind::Other(entry.cast.clone())),
            (Type::Printed, kind) => (Type::Array(Box::new(Type::Text)), Kind::List(Box::new(kind))),
            (base, kind) => (Type::Array(Box::new(base)), Kind::List(Box::new(kind))),
        }
    } else {
        plain(entry, modifier)
    };
    let compare = match (&base, &kind) {
        (Type::Json | Type::Jsonb, _) => Compare::Json,
        (Type::Array(element), _) if **element == Type::Json => Compare::Text,
        (Type::Printed, Kind::Other(_)) => Compare::Text,
        _ => Compare::Plain,
    };
    let is_interval = matches!(base, Type::Interval) || base == Type::Array(Box::new(Type::Interval));
    let restates = matches!(kind, Kind::Other(_)) || is_interval && modifier >= 0;
    Some(Native { base, kind, cast: entry.cast.clone(), compare, restates })
}

fn plain(entry: &Entry, modifier: i32) -> (Type, Kind) {
    let length = (modifier >= 4).then(|| u32::try_from(modifier - 4).unwrap_or(0));
    let digits = u8::try_from(modifier).unwrap_or(6);
    match entry.oid {
        16 => (Type::Bool, Kind::Boolean),
        17 => (Type::Bytea, Kind::Bytes),
        19 => (Type::Text, Kind::Text { max: Some(63), padded: false }),
        20 => (Type::Int8, Kind::Integer { bits: 64 }),
        21 => (Type::Int2, Kind::Integer { bits: 16 }),
        23 => (Type::Int4, Kind::Integer { bits: 32 }),
        25 => (Type::Text, Kind::Text { max: None, padded: false }),
        26 => (Type::Oid, Kind::Integer { bits: 64 }),
        114 => (Type::Json, Kind::Json),
        700 => (Type::Float4, Kind::Float { bits: 32 }),
        701 => (Type::Float8, Kind::Float { bits: 64 }),
        1042 => (Type::Char, Kind::Text { max: length, padded: true }),
        1043 => (Type::Text, Kind::Text { max: length, padded: false }),
        1082 => (Type::Date, Kind::Date),
        1083 => (Type::Time, Kind::Time { digits }),
        1114 => (Type::Timestamp, Kind::LocalTime { digits }),
        1184 => (Type::Timestamptz, Kind::Instant { digits }),
        1186 => (Type::Interval, Kind::Interval),
        1700 => (Type::Numeric, numeric(modifier)),
        2950 => (Type::Uuid, Kind::Uuid),
        3802 => (Type::Jsonb, Kind::Json),
        _ if entry.name == "citext" => (Type::Printed, Kind::Text { max: None, padded: false }),
        _ => (Type::Printed, Kind::Other(entry.cast.clone())),
    }
}

/// Precision in the upper half, scale in the lower eleven bits, signed
/// (`numeric_typmod_precision` and `…_scale` in the server's numeric.c).
fn numeric(modifier: i32) -> Kind {
    if modifier < 4 {
        return Kind::Decimal { precision: None, scale: None };
    }
    let packed = modifier - 4;
    let precision = u16::try_from((packed >> 16) & 0xffff).unwrap_or(0);
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // A negative scale rounds to tens: whole numbers, with that many more digits.
    let extra = u16::try_from(-scale).unwrap_or(0);
    Kind::Decimal { precision: Some(precision + extra), scale: Some(u16::try_from(scale).unwrap_or(0)) }
}

impl Native {
    /// The one text that is printed: it compares without case.
    pub(super) fn is_citext(&self) -> bool {
        matches!((&self.base, &self.kind), (Type::Printed, Kind::Text { .. }))
    }

    /// The same type, carried as the text the server prints for it.
    pub(super) fn printed(self) -> Native {
        let kind = Kind::Other(self.cast.clone());
        Native { base: Type::Printed, kind, compare: Compare::Text, cast: self.cast, restates: true }
    }

    /// How a column is selected: as it is where its binary form is known.
    pub(super) fn selected(&self, column: &str) -> String {
        match (&self.base, &self.kind) {
            // As the type itself prints it: a cast to text may show more (`inet`).
            (Type::Printed, Kind::Other(_)) => {
                format!("CASE WHEN {column} IS NOT NULL THEN format('%s', {column}) END")
            }
            (Type::Printed, _) => format!("{column}::text"),
            (Type::Array(element), Kind::List(kind)) if **element == Type::Text && **kind != TEXT => {
                format!("{column}::text[]")
            }
            _ => column.to_owned(),
        }
    }

    /// The condition that `column` holds what `expected`, a value of the
    /// type, holds.
    pub(super) fn unchanged(&self, column: &str, expected: &str) -> String {
        match self.compare {
            Compare::Plain => format!("{column} IS NOT DISTINCT FROM {expected}"),
            Compare::Text => format!("{column}::text IS NOT DISTINCT FROM {expected}::text"),
            Compare::Json => format!("{column}::jsonb IS NOT DISTINCT FROM {expected}::jsonb"),
        }
    }
}

const TEXT: Kind = Kind::Text { max: None, padded: false };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_modifiers() {
        assert_eq!(numeric(-1), Kind::Decimal { precision: None, scale: None });
        assert_eq!(numeric((10 << 16 | 2) + 4), Kind::Decimal { precision: Some(10), scale: Some(2) });
        assert_eq!(numeric((3 << 16 | (-2 & 0x7ff)) + 4), Kind::Decimal { precision: Some(5), scale: Some(0) });
    }
}
