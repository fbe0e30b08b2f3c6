//! One entry of `fields:` becomes a field of the program.

use crate::compile::expression::{Resolve, Template};
use crate::compile::program::{Document, FieldProgram, Reading, Way};
use crate::compile::rule::Chain;
use crate::compile::side::{Slots, literal};
use crate::config::model::{Direction, Drift, FieldSpec, Mapping, RuleSpec};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::record::{Both, Field, Kind, Side, Value, json};

/// Compiles one field entry. `None` where something is wrong, which is said.
pub(super) fn compile(
    mapping: &Mapping,
    spec: &FieldSpec,
    slots: &mut Both<Slots>,
    diagnostics: &mut Diagnostics,
) -> Option<FieldProgram> {
    let direction = spec.direction(mapping);
    let name = spec.target.as_ref().or(spec.source.as_ref())?.value.clone();
    // Every part is looked at before anything is given up, so that all problems are told.
    let source = spec.source.as_ref().map(|name| slots.source.field(name, diagnostics));
    let target = spec.target.as_ref().map(|name| slots.target.field(name, diagnostics));
    // `rules` go with the direction; towards the target where there are two.
    let onward = if direction.writes_target() { Side::Target } else { Side::Source };
    let from = onward.other();
    let (rules, looks) = chain(&spec.rules, &mut slots[from], diagnostics);
    let reverse = spec.reverse.as_ref().map(|reverse| chain(reverse, &mut slots[onward], diagnostics));
    let equal = chain(&spec.equal, &mut slots.target, diagnostics);
    let template = spec.template.as_ref().map(|text| Template::compile(text, &mut slots[from], diagnostics));
    let value = spec.value.as_ref().map(|node| {
        let value = literal(node);
        if value.is_none() {
            diagnostics.push(Diagnostic::error(Code::WRONG_TYPE, &node.place, "a single value is expected here"));
        }
        value
    });
    let two_way = direction == Direction::Bidirectional && source.is_some() && target.is_some();
    let back = match (two_way, &rules, reverse) {
        (false, ..) => None,
        (true, ahead, Some((reverse, _))) => {
            let ahead = ahead.as_ref();
            reverse.map(|reverse| ahead.map_or(reverse.clone(), |ahead| reverse.turned(ahead)))
        }
        (true, Some(rules), None) => match rules.invert() {
            Ok(inverse) => Some(inverse),
            Err(lossy) => {
                diagnostics.extend(lossy.iter().map(crate::compile::rule::Lossy::diagnostic));
                None
            }
        },
        (true, None, None) => None,
    };
    if two_way && looks {
        let place = spec.rules.first().map_or(&spec.place, |rule| &rule.place);
        let message = "rules that look at other fields of the record go one way";
        let help = "give the field a `direction`, or write a `reverse` and rules that look at `value` only";
        diagnostics.push(Diagnostic::error(Code::LOSSY_RULE, place, message).help(help));
    }
    // From here on the parts are needed.
    let slot = Both::new(source, target);
    let reads_itself = template.is_none() && value.is_none();
    let read = |side: Side| -> Option<Reading> {
        if side == onward {
            return Some(slot[side].map_or(Reading::Nothing, Reading::Slot));
        }
        if let Some(template) = &template {
            return template.clone().map(Reading::Template);
        }
        if let Some(value) = &value {
            return value.clone().map(Reading::Constant);
        }
        match slot[side] {
            Some(slot) if looks => Some(Reading::Computed { slot: Some(slot), rules: rules.clone()? }),
            Some(slot) => Some(Reading::Slot(slot)),
            None => rules.clone().map(|rules| Reading::Computed { slot: None, rules }),
        }
    };
    let read = Both::new(read(Side::Source)?, read(Side::Target)?);
    let mut toward = Both::default();
    let onward_slot = slot[onward]?;
    let ahead = if looks || !reads_itself || slot[from].is_none() { Chain::default() } else { rules.clone()? };
    toward[onward] = Some(way(&slots[onward], onward_slot, ahead));
    if two_way {
        toward[from] = Some(way(&slots[from], slot[from]?, back?));
    }
    let own = spec.rules.last().map_or(&spec.place, |rule| &rule.place);
    let places = Both::from_fn(|side| if side == onward { own } else { &spec.place });
    meets(&read, &mut toward, slots, places, diagnostics);
    let mut normal = Both::new(Chain::default(), Chain::default());
    for side in Side::BOTH {
        if let Some(way) = &toward[side.other()] {
            normal[side] = way.rules.normalising_prefix();
        }
    }
    Some(FieldProgram {
        name,
        place: spec.place.clone(),
        read,
        toward,
        normal,
        equal: equal.0?,
        policy: spec.policy(mapping),
        drift: spec.drift(),
        required: spec.required.as_ref().is_some_and(|required| required.value),
        create_only: spec.write.is_some(),
    })
}

/// Compiles one name of `copy:`.
pub(super) fn copy(
    mapping: &Mapping,
    name: &At<String>,
    slots: &mut Both<Slots>,
    diagnostics: &mut Diagnostics,
) -> FieldProgram {
    let slot = Both::new(slots.source.field(name, diagnostics), slots.target.field(name, diagnostics));
    let direction = mapping.direction();
    let writes = Both::new(direction.writes_source(), direction.writes_target());
    let read = slot.map(Reading::Slot);
    let mut toward = Both::from_fn(|side| writes[side].then(|| way(&slots[side], slot[side], Chain::default())));
    meets(&read, &mut toward, slots, Both::new(&name.place, &name.place), diagnostics);
    FieldProgram {
        name: name.value.clone(),
        place: name.place.clone(),
        read,
        toward,
        normal: Both::default(),
        equal: Chain::default(),
        policy: mapping.default_policy(),
        drift: Drift::default(),
        required: false,
        create_only: false,
    }
}

fn way(slots: &Slots, slot: usize, rules: Chain) -> Way {
    let Field { kind, empty_is_null, .. } = slots.shape_field(slot);
    Way { rules, kind: kind.clone(), slot, document: Document::Kept, empty_is_null: *empty_is_null }
}

/// Rules over the fields of one side, and whether they look at any but the
/// value itself.
fn chain(specs: &[RuleSpec], slots: &mut Slots, diagnostics: &mut Diagnostics) -> (Option<Chain>, bool) {
    let before = slots.asked;
    let chain = Chain::compile(specs, &mut OfField(slots), diagnostics);
    (chain, slots.asked > before)
}

/// Inside a rule, `value` is the field's own value.
struct OfField<'a, 'b>(&'a mut Slots<'b>);

impl Resolve for OfField<'_, '_> {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        self.0.slot(name)
    }

    fn has_value(&self) -> bool {
        true
    }
}

/// What arrives has to be of a kind that can be written, as far as kinds are
/// known. Where one of them is a document, it is settled how they meet.
fn meets(
    read: &Both<Reading>,
    toward: &mut Both<Option<Way>>,
    slots: &Both<Slots>,
    places: Both<&Place>,
    diagnostics: &mut Diagnostics,
) {
    for side in Side::BOTH {
        let Some(way) = &mut toward[side] else { continue };
        let kind = match &read[side.other()] {
            Reading::Slot(slot) => slots[side.other()].kind(*slot).clone(),
            Reading::Template(_) => Kind::Text { max: None, padded: false },
            Reading::Constant(Value::Text(text)) if text.starts_with(['{', '[']) => {
                Kind::Text { max: None, padded: false }
            }
            _ => Kind::Any,
        };
        let arrives = way.rules.output_kind(&kind, diagnostics);
        let place = places[side];
        way.document = match (&arrives, &way.kind) {
            (Kind::Json, Kind::Text { .. }) => Document::Written,
            (Kind::Text { .. }, Kind::Json) => Document::Read,
            _ => Document::Kept,
        };
        let field = slots[side].shape_field(way.slot);
        if field.read_only {
            let message = format!("`{}` of the {side} cannot be written", slots[side].name(way.slot));
            let help = "give the field the other direction, or leave it out";
            diagnostics.push(Diagnostic::error(Code::FIELD_READ_ONLY, place, message).help(help));
        }
        if !can_meet(&arrives, &way.kind) {
            let message = format!(
                "{} arrives at `{}` of the {side}, which holds {}",
                arrives.name(),
                slots[side].name(way.slot),
                way.kind.name()
            );
            let help = help_between(&arrives, &way.kind);
            diagnostics.push(Diagnostic::error(Code::KINDS_DO_NOT_MEET, place, message).help(help));
        } else if way.document == Document::Kept {
            for (place, misfit) in way.rules.misfits(&way.kind) {
                let at = slots[side].name(way.slot);
                let message = format!("{}, and this goes to `{at}` of the {side}", misfit.message);
                diagnostics.push(Diagnostic::error(Code::KINDS_DO_NOT_MEET, &place, message));
            }
        }
        if let Reading::Constant(value) = &read[side.other()] {
            let message = match (way.document, value) {
                (Document::Read, Value::Text(text)) => {
                    json::document(text).is_none().then(|| format!("`{text}` is not JSON"))
                }
                (_, value) => way.kind.fit(value.clone()).err().map(|misfit| misfit.message),
            };
            if let Some(message) = message {
                diagnostics.push(Diagnostic::error(Code::KINDS_DO_NOT_MEET, place, message));
            }
        }
    }
}

/// The characters that a value of this kind has at least, where that is known.
fn written(kind: &Kind) -> Option<u32> {
    Some(match kind {
        // 2026-03-01, alone or before a time
        Kind::Date | Kind::LocalTime { .. } | Kind::Instant { .. } => 10,
        // 12:30
        Kind::Time { .. } => 5,
        Kind::Uuid => 32,
        _ => return None,
    })
}

/// True unless no value of the one kind ever fits the other.
fn can_meet(from: &Kind, to: &Kind) -> bool {
    use Kind::{
        Any, Boolean, Bytes, Date, Decimal, Enum, Float, Instant, Integer, Interval, Json, List, LocalTime, Other,
        Text, Time, Uuid,
    };
    match (from, to) {
        (Any | Json | Other(_), _) | (_, Any | Json | Other(_)) => true,
        (List(from), List(to)) => can_meet(from, to),
        (List(_), _) | (_, List(_)) => false,
        (Bytes, to) => matches!(to, Bytes),
        (from, Bytes) => matches!(from, Bytes),
        // Text may hold anything that is written as text, and be read as it, where it is long enough.
        (Enum { .. } | Uuid, Interval) => false,
        (Text { max: Some(max), .. }, to) if written(to).is_some_and(|least| *max < least) => false,
        (from, Text { max: Some(max), .. }) if written(from).is_some_and(|least| *max < least) => false,
        (Uuid, to) => matches!(to, Uuid | Text { .. } | Enum { .. }),
        (Enum { labels }, to) if !matches!(to, Text { .. } | Enum { .. }) => {
            labels.iter().any(|label| to.fit(Value::text(label)).is_ok())
        }
        (Text { .. } | Enum { .. }, _) | (_, Text { .. } | Enum { .. }) => true,
        (
            Boolean | Integer { .. } | Decimal { .. } | Float { .. },
            Boolean | Integer { .. } | Decimal { .. } | Float { .. },
        )
        | (Date | LocalTime { .. }, Date | LocalTime { .. })
        | (Instant { .. }, Instant { .. })
        | (Time { .. }, Time { .. })
        | (Interval, Interval) => true,
        _ => false,
    }
}

/// What leads from one kind to the other.
fn help_between(arrives: &Kind, holds: &Kind) -> &'static str {
    match (arrives, holds) {
        (Kind::List(_), _) => {
            "an `expression` or a `template` makes one value of a list; `join` comes in a later version"
        }
        (_, Kind::List(_)) => "an `expression` makes a list; `split` comes in a later version",
        (Kind::Instant { .. }, Kind::LocalTime { .. } | Kind::Date)
        | (Kind::LocalTime { .. }, Kind::Instant { .. }) => "`datetime` with a zone, or `date`, brings it there",
        _ => "a rule such as `date`, `datetime`, `decimal`, `boolean` or `map` brings it there",
    }
}
