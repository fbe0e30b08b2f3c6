//! Kinds: the types of fields. What fits them is in `fit`.

use compact_str::CompactString;

/// The type of a field, as far as its system tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not known (offline), or of a system without types: everything fits.
    Any,
    Boolean,
    /// Whole numbers of this many bits (16, 32, 64).
    Integer {
        bits: u8,
    },
    /// Exact numbers; `None` where any number of digits fits.
    Decimal {
        precision: Option<u16>,
        scale: Option<u16>,
    },
    /// Binary floating point of 32 or 64 bits.
    Float {
        bits: u8,
    },
    /// Text of at most `max` characters; `padded` where the system fills a
    /// CHAR with blanks to its length and ignores them when it compares.
    Text {
        max: Option<u32>,
        padded: bool,
    },
    Bytes,
    Uuid,
    /// One of the listed texts.
    Enum {
        labels: Vec<String>,
    },
    Date,
    /// Times keep this many digits of a second (0 to 9).
    Time {
        digits: u8,
    },
    LocalTime {
        digits: u8,
    },
    Instant {
        digits: u8,
    },
    Interval,
    Json,
    List(Box<Kind>),
    /// A type this engine does not know: carried as the text the system prints
    /// for it. The name is the system's own.
    Other(String),
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: CompactString,
    pub kind: Kind,
    pub nullable: bool,
    /// Given by the system when a record is created without it (a sequence, an
    /// identity, a default).
    pub generated: bool,
    /// `generated`, by nothing but a default value of its own.
    pub has_default: bool,
    /// Cannot be written (a computed column, a column of a view).
    pub read_only: bool,
    /// The system may take texts for equal that are not the same, of another
    /// case for example.
    pub loose: bool,
    /// The system makes no difference between an empty text and no value.
    pub empty_is_null: bool,
    /// The system's own name of the type, for people.
    pub native: CompactString,
}

impl Field {
    /// A plain nullable, writable field, for systems that tell no more.
    pub fn new(name: &str, kind: Kind) -> Field {
        Field {
            name: name.into(),
            kind,
            nullable: true,
            generated: false,
            has_default: false,
            read_only: false,
            loose: false,
            empty_is_null: false,
            native: CompactString::default(),
        }
    }
}

/// The fields of the rows of a batch, in slot order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    pub fields: Vec<Field>,
}

impl Shape {
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The slot of a field by its exact name. For load time only.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

/// Why a value does not fit a kind. Printed as `… does not fit …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub message: String,
    /// The value, as text.
    pub value: String,
}

impl Kind {
    /// The word diagnostics use.
    pub fn name(&self) -> String {
        match self {
            Kind::Any => "any".into(),
            Kind::Boolean => "boolean".into(),
            Kind::Integer { bits } => format!("{bits}-bit integer"),
            Kind::Decimal { precision: Some(p), scale } => format!("decimal({p},{})", scale.unwrap_or(0)),
            Kind::Decimal { .. } => "decimal".into(),
            Kind::Float { bits } => format!("{bits}-bit float"),
            Kind::Text { max: Some(max), .. } => format!("text of {max}"),
            Kind::Text { .. } => "text".into(),
            Kind::Bytes => "bytes".into(),
            Kind::Uuid => "uuid".into(),
            Kind::Enum { labels } => format!("one of {}", labels.join(", ")),
            Kind::Date => "date".into(),
            Kind::Time { .. } => "time".into(),
            Kind::LocalTime { .. } => "time without zone".into(),
            Kind::Instant { .. } => "time with zone".into(),
            Kind::Interval => "interval".into(),
            Kind::Json => "json".into(),
            Kind::List(item) => format!("list of {}", item.name()),
            Kind::Other(native) => native.clone(),
        }
    }

    /// True where the field holds a point in time or a date, so that it can be
    /// a stamp.
    pub fn is_time(&self) -> bool {
        matches!(self, Kind::Any | Kind::Date | Kind::LocalTime { .. } | Kind::Instant { .. })
    }
}
