//! A mapping as it runs: names have become slots, rules have become steps.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;

use crate::compile::expression::{Expression, Input, Template};
use crate::compile::rule::Chain;
use crate::compile::{Misfitting, Rejection, Trouble};
use crate::config::model::{Drift, Limit, Policy};
use crate::connector::Access;
use crate::diagnostic::{Code, Place};
use crate::record::zone::instant;
use crate::record::{Both, Key, Kind, Side, Value, json, same};

/// One compiled mapping. Only to be had through the checks of `compile`.
#[derive(Debug)]
pub struct Program {
    /// The full name, `acme/customers`.
    pub name: Arc<str>,
    pub place: Place,
    pub sides: Both<SideProgram>,
    pub fields: Vec<FieldProgram>,
    /// `match`: alternatives in order, each a set of fields (indexes) that
    /// identify a record without a link.
    pub matching: Vec<Vec<usize>>,
    /// What decides between two values that differ on adoption, whatever a
    /// field's own policy is.
    pub first: Option<Policy>,
    /// The same for two-way fields where `first` is silent: the mapping's default
    /// policy, where it can decide without a base.
    pub default: Option<Policy>,
    /// How a record in conflict as a whole (deleted here, changed there) is
    /// decided.
    pub record_policy: Policy,
    /// Whether links keep both sides' values, or only digests (a mapping of
    /// one direction).
    pub bases: BaseKind,
    pub limits: Limits,
    /// Stamps of both sides that lie closer together than this are a tie.
    pub grain_nanos: u64,
}

impl Program {
    /// True where a field's conflicts are decided by when its records were
    /// changed.
    pub fn asks_who_was_newer(&self) -> bool {
        self.fields.iter().any(|field| field.is_two_way() && field.policy == Policy::Newest)
    }

    /// The alternatives by which a record without a link is found on a side:
    /// its key where the key says which it is, else `match`.
    pub fn alternatives(&self, side: Side) -> Cow<'_, [Vec<usize>]> {
        match self.key_that_matches(side) {
            Some(key) => Cow::Owned(vec![key]),
            None => Cow::Borrowed(&self.matching),
        }
    }

    /// True where a side's records are found by their key alone.
    pub fn matches_by_key(&self, side: Side) -> bool {
        self.key_that_matches(side).is_some()
    }

    fn key_that_matches(&self, side: Side) -> Option<Vec<usize>> {
        let key: Vec<usize> = self.sides[side].key_fields.iter().flatten().copied().collect();
        let same_fields = |alternative: &Vec<usize>| {
            alternative.len() == key.len()
                && alternative.iter().all(|field| key.contains(field) && self.fields[*field].equal.is_empty())
        };
        let alone = match self.matching.as_slice() {
            [] => true,
            [alternative] => same_fields(alternative),
            _ => false,
        };
        (alone && self.sides[side].key_is_mapped()).then_some(key)
    }
}

/// What a link stores of each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseKind {
    /// Both sides' values.
    Values,
    /// A digest of the value in the representation of the side that is
    /// written.
    Digests { written: Side },
}

/// One side of a compiled mapping.
#[derive(Debug)]
pub struct SideProgram {
    pub connection: String,
    pub access: Access,
    /// Read again from this far before the low mark.
    pub overlap: Duration,
    /// When the record last changed.
    pub modified: Option<usize>,
    /// The zone of the side's times without one.
    pub zone: Tz,
    pub deleted: DeletedWhen,
    /// Records of this side for which it is false are skipped.
    pub when: Option<Expression>,
    /// Whether changes are read from this side.
    pub read: bool,
    pub may_create: bool,
    pub may_update: bool,
    /// What happens here when the counterpart was deleted.
    pub deletes: DeletePolicy,
    /// For each key slot, the field that fills it; `None` where a key slot is
    /// given by the system.
    pub key_fields: Vec<Option<usize>>,
    /// The system has no two records of one key.
    pub key_is_unique: bool,
}

impl SideProgram {
    /// The key of a row of this side; `None` where a part of it is null.
    pub fn key(&self, row: &[Value]) -> Option<Key> {
        Key::new(self.access.key.iter().map(|slot| &row[*slot]))
    }

    /// The values of the key slots of a row.
    pub fn key_values(&self, row: &[Value]) -> Vec<Value> {
        self.access.key.iter().map(|slot| row[*slot].clone()).collect()
    }

    /// When a row of this side last changed, as a point in time.
    pub fn stamp(&self, row: &[Value]) -> Option<DateTime<Utc>> {
        match &row[self.modified?] {
            Value::Instant(time) => Some(*time),
            Value::LocalTime(time) => Some(instant(*time, self.zone)),
            Value::Date(date) => Some(instant(date.and_time(NaiveTime::MIN), self.zone)),
            Value::Text(text) => DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.to_utc()),
            _ => None,
        }
    }

    /// True where records may stand on this side that no reading shows.
    pub fn hides(&self) -> bool {
        let Access { filter, start, marked, .. } = &self.access;
        let is_marked = matches!(self.deleted, DeletedWhen::Mark { .. } | DeletedWhen::When(_));
        filter.is_some() || start.is_some() || marked.is_some() || self.when.is_some() || is_marked
    }

    /// True where every key slot is filled by a field, so that the key of a
    /// record that is not there yet is known.
    pub fn key_is_mapped(&self) -> bool {
        !self.key_fields.is_empty() && self.key_fields.iter().all(Option::is_some)
    }
}

/// How a deletion on a side is known.
#[derive(Debug)]
pub enum DeletedWhen {
    /// It is not.
    Unknown,
    /// A slot holds this value.
    Mark { slot: usize, equals: Value },
    /// An expression over the record is true.
    When(Expression),
    /// A complete listing of the keys, at most this often.
    Sweep(Duration),
}

/// What to do on one side when the record was deleted on the other.
#[derive(Debug, Clone)]
pub enum DeletePolicy {
    Ignore,
    Propagate,
    /// Set these slots.
    Set(Vec<(usize, Value)>),
}

/// A bound on what one run may do, `None` where there is none.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub create: Option<Limit>,
    pub update: Option<Limit>,
    /// Over a rolling day.
    pub delete: Option<Limit>,
}

/// One field of a mapping. Each side shows it in a representation of its own:
/// the value of a slot, or what is computed from the record.
#[derive(Debug)]
pub struct FieldProgram {
    /// The target path, or the source path where nothing is written to the
    /// target; what conflicts and logs call it.
    pub name: String,
    pub place: Place,
    /// How the field is read from a row of each side.
    pub read: Both<Reading>,
    /// How the other side's value is brought into this side's representation;
    /// `None` where the field is not written here.
    pub toward: Both<Option<Way>>,
    /// What is applied before two values of one side are compared: the rules
    /// that drop only what carries no meaning.
    pub normal: Both<Chain>,
    /// Applied to both values, in the target's representation (the source's
    /// where the target is not written), before they are compared.
    pub equal: Chain,
    /// `None` in a field of one direction.
    pub policy: Policy,
    pub drift: Drift,
    pub required: bool,
    /// Written when the record is created, then left alone.
    pub create_only: bool,
}

/// How a field is read from a row.
#[derive(Debug)]
pub enum Reading {
    /// Not read from this side.
    Nothing,
    Slot(usize),
    Constant(Value),
    Template(Template),
    /// The slot (null where there is none), then rules that look at other
    /// fields of the record.
    Computed {
        slot: Option<usize>,
        rules: Chain,
    },
}

/// A field's way from the other side's representation to this side's.
#[derive(Debug)]
pub struct Way {
    pub rules: Chain,
    /// The kind of the slot it fills.
    pub kind: Kind,
    pub slot: usize,
    /// What becomes of a document on the way, after the rules.
    pub document: Document,
    /// An empty text that arrives is no value there.
    pub empty_is_null: bool,
}

/// How a document of JSON and its text meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Document {
    /// What arrives is taken as it is.
    #[default]
    Kept,
    /// JSON goes where text is held: as its one canonical text.
    Written,
    /// Text goes where JSON is held: it is read as JSON.
    Read,
}

impl FieldProgram {
    /// The directions the field flows in: to which sides it is written.
    pub fn writes(&self, side: Side) -> bool {
        self.toward[side].is_some()
    }

    /// True where it is written on both sides.
    pub fn is_two_way(&self) -> bool {
        self.writes(Side::Source) && self.writes(Side::Target)
    }

    /// The field's value as `side` shows it.
    ///
    /// # Errors
    /// A [`Rejection`] where a template or rule cannot be evaluated.
    pub fn read(&self, side: Side, row: &[Value]) -> Result<Value, Rejection> {
        match &self.read[side] {
            Reading::Nothing => Ok(Value::Missing),
            Reading::Slot(slot) => Ok(row[*slot].clone()),
            Reading::Constant(value) => Ok(value.clone()),
            Reading::Template(template) => {
                template.render(Input::new(row)).map(Value::Text).map_err(|trouble| self.reject(*trouble))
            }
            Reading::Computed { slot, rules } => {
                let value = slot.map_or(&Value::Null, |slot| &row[slot]);
                rules.apply(value, row).map_err(|trouble| self.reject(*trouble))
            }
        }
    }

    /// Brings the other side's value into the representation of `side`.
    ///
    /// # Errors
    /// A [`Rejection`] where a rule refuses the value, it does not fit the
    /// field, or is required and blank.
    ///
    /// # Panics
    /// Where the field is not written on `side`.
    pub fn convert(&self, side: Side, value: &Value) -> Result<Value, Rejection> {
        self.bring_over(side, Cow::Borrowed(value))
    }

    fn bring_over(&self, side: Side, value: Cow<'_, Value>) -> Result<Value, Rejection> {
        let way = self.toward[side].as_ref().expect("only a field that is written on a side is converted towards it");
        let value = if way.rules.is_empty() {
            value.into_owned()
        } else {
            way.rules.apply(&value, &[]).map_err(|trouble| self.reject(*trouble))?
        };
        let is_empty = matches!(&value, Value::Text(text) if text.is_empty());
        let value = if way.empty_is_null && is_empty { Value::Null } else { value };
        if self.required && side == Side::Target && value.is_blank() {
            return Err(Rejection::from(Misfitting {
                code: Code::REQUIRED_BLANK,
                field: self.name.clone(),
                value: None,
                rule: None,
                message: format!("`{}` is required and has no value", self.name),
                place: self.place.clone(),
            }));
        }
        if way.document == Document::Kept && way.kind.holds(&value) {
            return Ok(value);
        }
        self.fit(side, self.bring(way.document, value)?)
    }

    fn bring(&self, document: Document, value: Value) -> Result<Value, Rejection> {
        match (document, value) {
            (_, value @ (Value::Missing | Value::Null)) | (Document::Kept, value) => Ok(value),
            (Document::Written, value) => Ok(Value::text(json::canonical(&value))),
            (Document::Read, Value::Text(text)) => json::document(&text).ok_or_else(|| {
                let trouble = Trouble::with(Code::DOES_NOT_FIT, &Value::Text(text.clone()), "");
                let message = format!("{} is not JSON", crate::compile::trouble::shown(&Value::Text(text)));
                self.reject(Trouble { message, ..*trouble })
            }),
            (Document::Read, value) => Ok(value),
        }
    }

    fn reject(&self, trouble: Trouble) -> Rejection {
        trouble.into_rejection(self.name.as_str(), &self.place)
    }

    /// Brings a value of the representation of `side` into what its slot can
    /// hold.
    ///
    /// # Errors
    /// A [`Rejection`] where it does not fit.
    pub fn fit(&self, side: Side, value: Value) -> Result<Value, Rejection> {
        let way = self.toward[side].as_ref().expect("only a field that is written on a side has a kind there");
        way.kind.fit(value).map_err(|misfit| {
            Rejection::from(Misfitting {
                code: Code::DOES_NOT_FIT,
                field: self.name.clone(),
                value: Some(misfit.value),
                rule: None,
                message: misfit.message,
                place: self.place.clone(),
            })
        })
    }

    /// Two values of one side mean the same: compared after the rules that
    /// drop only what carries no meaning.
    pub fn same(&self, side: Side, a: &Value, b: &Value) -> bool {
        if same(a, b) {
            return true;
        }
        let normal = &self.normal[side];
        if normal.is_empty() {
            return false;
        }
        same_after(normal, a, b)
    }

    /// A value of `side` in the form in which it is compared for matching: after
    /// the rules that drop only what carries no meaning, and after `equal`.
    pub fn comparable(&self, side: Side, value: Value) -> Value {
        let after = |rules: &Chain, value: Value| {
            if rules.is_empty() { value } else { rules.apply(&value, &[]).unwrap_or(value) }
        };
        after(&self.equal, after(&self.normal[side], value))
    }

    /// Two values are equal by the field's `equal` rules; false where it has
    /// none.
    pub fn equal_by_rules(&self, a: &Value, b: &Value) -> bool {
        !self.equal.is_empty() && same_after(&self.equal, a, b)
    }
}

fn same_after(rules: &Chain, a: &Value, b: &Value) -> bool {
    match (rules.apply(a, &[]), rules.apply(b, &[])) {
        (Ok(a), Ok(b)) => same(&a, &b),
        _ => false,
    }
}

impl Program {
    /// Maps one row of `side` to the other: `out` holds a value for every slot
    /// of the other side's shape, and those that a field fills are set.
    ///
    /// # Errors
    /// The first [`Rejection`] of a field.
    pub fn map(&self, side: Side, row: &[Value], out: &mut [Value]) -> Result<(), Rejection> {
        let to = side.other();
        for field in &self.fields {
            if let Some(way) = &field.toward[to] {
                let value = match &field.read[side] {
                    Reading::Slot(slot) => Cow::Borrowed(&row[*slot]),
                    _ => Cow::Owned(field.read(side, row)?),
                };
                out[way.slot] = field.bring_over(to, value)?;
            }
        }
        Ok(())
    }

    /// Every field as `side` shows it.
    ///
    /// # Errors
    /// The first [`Rejection`] of a field.
    pub fn read(&self, side: Side, row: &[Value]) -> Result<Vec<Value>, Rejection> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            fields.push(field.read(side, row)?);
        }
        Ok(fields)
    }

    /// True where a record that was created on `side` shows nothing there that
    /// was not sent: every field that flows on from it was filled.
    pub fn creates_whole(&self, side: Side) -> bool {
        self.fields.iter().all(|field| field.writes(side) || !field.writes(side.other()))
    }

    /// Links keep digests, not both sides' values.
    pub fn keeps_digests(&self) -> bool {
        matches!(self.bases, BaseKind::Digests { .. })
    }

    /// True where anything is written on `side`.
    pub fn writes(&self, side: Side) -> bool {
        self.fields.iter().any(|field| field.writes(side))
    }
}
