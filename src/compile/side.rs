//! One side of a mapping: its slots, its key, how its changes are known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::compile::expression::{Expression, Resolve};
use crate::compile::program::{DeletePolicy, DeletedWhen, SideProgram};
use crate::config::model;
use crate::config::model::{Cursor, Deleted, Mapping, Operation, SideSpec};
use crate::config::tree::{At, Node};
use crate::connector::{Access, Description};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::record::zone::instant;
use crate::record::{Field, Kind, Misfit, Shape, Side, Value};

/// Records in one batch of a reading.
const BATCH: usize = 4_000;

/// The slots of a side, allotted as its fields are first mentioned.
pub(super) struct Slots<'a> {
    pub side: Side,
    described: Option<&'a Description>,
    shape: Shape,
    /// Slots of fields that the object does not have: it was said where each
    /// was mentioned, and what depends on them is checked all the same.
    unknown: BTreeSet<usize>,
    /// How often a rule or expression asked for a field.
    pub asked: usize,
}

impl<'a> Slots<'a> {
    pub(super) fn new(side: Side, described: Option<&'a Description>) -> Slots<'a> {
        Slots { side, described, shape: Shape::default(), unknown: BTreeSet::new(), asked: 0 }
    }

    /// The slot of a field that the user wrote down. One that is not there is
    /// reported, and has a slot that may hold anything.
    pub(super) fn field(&mut self, name: &At<String>, diagnostics: &mut Diagnostics) -> usize {
        let near = match self.find(name) {
            Ok(slot) => return slot,
            Err(near) => near,
        };
        diagnostics.push(if is_path(name) {
            let message = format!("`{}` is a path into a value, which comes in a later version", name.value);
            Diagnostic::error(Code::NOT_YET, &name.place, message).help("name a field of the object")
        } else {
            let object = self.described.map_or("", |described| described.name.as_str());
            let message = format!("`{object}` has no field `{}`", name.value);
            let error = Diagnostic::error(Code::NO_SUCH_FIELD, &name.place, message);
            match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help("`engine discover` lists its fields"),
            }
        });
        let slot = self.shape.slot(name).unwrap_or_else(|| {
            self.shape.fields.push(Field::new(name.as_str(), Kind::Any));
            self.shape.len() - 1
        });
        self.unknown.insert(slot);
        slot
    }

    /// By its exact name, else the only field that has it in other case.
    fn find(&mut self, name: &str) -> Result<usize, Option<String>> {
        if let Some(slot) = self.shape.slot(name).filter(|slot| !self.unknown.contains(slot)) {
            return Ok(slot);
        }
        let field = match self.described {
            None if is_path(name) => return Err(None),
            None => Field::new(name, Kind::Any),
            Some(described) => {
                let fields = &described.shape.fields;
                let exact = fields.iter().find(|field| field.name == name);
                let mut alike = fields.iter().filter(|field| field.name.to_lowercase() == name.to_lowercase());
                match (exact, alike.next(), alike.next()) {
                    (Some(field), ..) | (None, Some(field), None) => field.clone(),
                    _ => {
                        let near = nearest(name, fields.iter().map(|field| field.name.as_str()));
                        return Err(near.map(str::to_owned));
                    }
                }
            }
        };
        if let Some(slot) = self.shape.slot(&field.name) {
            return Ok(slot);
        }
        self.shape.fields.push(field);
        Ok(self.shape.len() - 1)
    }

    pub(super) fn kind(&self, slot: usize) -> &Kind {
        &self.shape.fields[slot].kind
    }

    /// What was mentioned so far.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shape.fields.iter().map(|field| field.name.as_str())
    }

    pub(super) fn name(&self, slot: usize) -> &str {
        &self.shape.fields[slot].name
    }

    pub(super) fn shape_field(&self, slot: usize) -> &Field {
        &self.shape.fields[slot]
    }
}

/// `$.billing.email`, `variants[0].price`
fn is_path(name: &str) -> bool {
    name.starts_with("$.") || name.starts_with("$[") || name.contains('[')
}

impl Resolve for Slots<'_> {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        self.asked += 1;
        self.find(name)
    }
}

/// A scalar as a value: null, a truth, else its text as it stands.
pub(super) fn literal(node: &Node) -> Option<Value> {
    let scalar = node.as_scalar()?;
    Some(if scalar.is_null() {
        Value::Null
    } else if let Some(truth) = scalar.as_bool() {
        Value::Boolean(truth)
    } else {
        Value::text(&scalar.text)
    })
}

/// A scalar as a value of this kind.
pub(super) fn typed_literal(node: &Node, kind: &Kind, diagnostics: &mut Diagnostics) -> Option<Value> {
    let Some(value) = literal(node) else {
        diagnostics.push(Diagnostic::error(Code::WRONG_TYPE, &node.place, "a single value is expected here"));
        return None;
    };
    match kind.fit(value) {
        Ok(value) => Some(value),
        Err(misfit) => {
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, misfit.message));
            None
        }
    }
}

/// Compiles a side once all fields have their slots. What is wrong is said, and
/// left out.
pub(super) fn compile(
    mapping: &Mapping,
    mut slots: Slots,
    key_fields: impl Fn(usize) -> Option<usize>,
    writes: bool,
    watched: bool,
    diagnostics: &mut Diagnostics,
) -> SideProgram {
    let side = slots.side;
    let spec = mapping.side(side);
    let key = key(spec, &mut slots, diagnostics);
    let cursor = spec.cursor.as_ref().map(|cursor| slots.field(&cursor.field, diagnostics));
    let modified = match &spec.modified {
        Some(name) => Some(slots.field(name, diagnostics)),
        None => cursor.filter(|slot| slots.kind(*slot).is_time()),
    };
    let zone = slots.described.map_or(Tz::UTC, |described| described.timezone);
    let start = spec.start.as_ref().and_then(|start| {
        // Where there is neither, that was reported before.
        let slot = modified.or(cursor)?;
        match fit_start(&start.value, slots.kind(slot), zone) {
            Ok(value) => Some((slot, value)),
            Err(misfit) => {
                diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &start.place, misfit.message));
                None
            }
        }
    });
    // What is no text was reported before.
    let filter = spec.filter.as_ref().and_then(Node::text).map(str::to_owned);
    let deleted = deleted(spec, &mut slots, diagnostics);
    let when = mapping.when.as_ref().and_then(|when| {
        let text = match side {
            Side::Source => when.source.as_ref().or(when.both.as_ref()),
            Side::Target => when.target.as_ref(),
        };
        text.and_then(|text| Expression::compile(text, &mut slots, diagnostics))
    });
    let deletes = deletes(mapping, side, &key, &mut slots, diagnostics);
    if let (Some(slot), Some(overlap)) = (cursor, spec.cursor.as_ref().and_then(|cursor| cursor.overlap.as_ref()))
        && !has_distances(slots.kind(slot))
    {
        let message = format!(
            "an `overlap` needs a cursor of times or numbers, and `{}` is of kind {}",
            slots.name(slot),
            slots.kind(slot).name()
        );
        let help = "take it out, or read by a column that holds a time or a number";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &overlap.place, message).help(help));
    }
    let overlap = match spec.cursor.as_ref().and_then(|cursor| cursor.overlap.as_ref()) {
        Some(overlap) => overlap.value.0,
        None if slots.described.is_some_and(|described| described.sees_open_transactions) => Duration::ZERO,
        None => Cursor::DEFAULT_OVERLAP.0,
    };
    let operations = mapping.allow.as_ref().and_then(|allow| match side {
        Side::Target => allow.to_target.as_ref(),
        Side::Source => allow.to_source.as_ref(),
    });
    let allows = |operation| operations.is_none_or(|allowed| allowed.iter().any(|allowed| allowed.value == operation));
    let reads = watched
        || match side {
            Side::Source => mapping.direction().writes_target(),
            Side::Target => mapping.direction().writes_source(),
        };
    let writes = writes
        && match side {
            Side::Source => mapping.direction().writes_source(),
            Side::Target => mapping.direction().writes_target(),
        };
    let key_fields = key.iter().map(|slot| key_fields(*slot)).collect();
    let names: BTreeSet<&str> = key.iter().map(|slot| slots.name(*slot)).collect();
    let is_of_key = |unique: &Vec<String>| {
        !unique.is_empty() && unique.iter().map(String::as_str).collect::<BTreeSet<_>>() == names
    };
    let key_is_unique =
        slots.described.is_some_and(|described| is_of_key(&described.key) || described.unique.iter().any(is_of_key));
    SideProgram {
        connection: spec.connection.value.clone(),
        access: Access {
            object: spec.object.value.clone(),
            shape: Arc::new(slots.shape),
            key,
            cursor,
            filter,
            start,
            marked: match &deleted {
                DeletedWhen::Mark { slot, equals } => Some((*slot, equals.clone())),
                _ => None,
            },
            batch: BATCH,
        },
        overlap,
        modified,
        zone,
        deleted,
        when,
        read: reads,
        may_create: writes && allows(Operation::Create),
        may_update: writes && allows(Operation::Update),
        deletes,
        key_fields,
        key_is_unique,
    }
}

/// Whether a value of the kind, less an overlap, is one again.
fn has_distances(kind: &Kind) -> bool {
    kind.is_time() || matches!(kind, Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Float { .. })
}

/// A start without a zone is in the connection's.
fn fit_start(text: &str, kind: &Kind, zone: Tz) -> Result<Value, Misfit> {
    let fitted = kind.fit(Value::text(text));
    match (kind, &fitted) {
        (Kind::Instant { digits }, Err(_)) => match (Kind::LocalTime { digits: *digits }).fit(Value::text(text)) {
            Ok(Value::LocalTime(local)) => Ok(Value::Instant(instant(local, zone))),
            _ => fitted,
        },
        _ => fitted,
    }
}

fn key(spec: &SideSpec, slots: &mut Slots, diagnostics: &mut Diagnostics) -> Vec<usize> {
    if !spec.key.is_empty() {
        return spec.key.iter().map(|name| slots.field(name, diagnostics)).collect();
    }
    let Some(described) = slots.described else { return Vec::new() };
    if described.key.is_empty() {
        let message = format!("`{}` has no primary key", described.name);
        let help = "write `key:` with the fields that identify a record";
        diagnostics.push(Diagnostic::error(Code::NO_KEY, &spec.object.place, message).help(help));
    }
    described.key.iter().filter_map(|name| slots.find(name).ok()).collect()
}

fn deleted(spec: &SideSpec, slots: &mut Slots, diagnostics: &mut Diagnostics) -> DeletedWhen {
    let compiled = spec.deleted.as_ref().and_then(|deleted| match deleted {
        Deleted::Mark { field, equals } => {
            let slot = slots.field(field, diagnostics);
            let kind = slots.kind(slot).clone();
            Some(DeletedWhen::Mark { slot, equals: typed_literal(equals, &kind, diagnostics)? })
        }
        Deleted::When { when } => Expression::compile(when, slots, diagnostics).map(DeletedWhen::When),
        Deleted::Sweep { sweep } => Some(DeletedWhen::Sweep(sweep.value.0)),
    });
    compiled.unwrap_or(DeletedWhen::Unknown)
}

/// What happens on this side when the other side's record is gone.
fn deletes(
    mapping: &Mapping,
    side: Side,
    key: &[usize],
    slots: &mut Slots,
    diagnostics: &mut Diagnostics,
) -> DeletePolicy {
    let policy = mapping.deletes.as_ref().and_then(|deletes| match side {
        Side::Target => deletes.to_target.as_ref(),
        Side::Source => deletes.to_source.as_ref(),
    });
    match policy.map(|policy| &policy.value) {
        None | Some(model::DeletePolicy::Ignore) => DeletePolicy::Ignore,
        Some(model::DeletePolicy::Propagate) => DeletePolicy::Propagate,
        Some(model::DeletePolicy::Set(values)) => DeletePolicy::Set(
            values
                .iter()
                .filter_map(|(name, node)| {
                    let slot = slots.field(name, diagnostics);
                    if key.contains(&slot) {
                        let message = format!("`set` gives `{}`, a part of the key, another value", name.value);
                        let help = "set a field that marks a record as deleted: each would become the same record";
                        diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, &name.place, message).help(help));
                    }
                    let kind = slots.kind(slot).clone();
                    Some((slot, typed_literal(node, &kind, diagnostics)?))
                })
                .collect(),
        ),
    }
}
