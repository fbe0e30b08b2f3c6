//! One pair of records by itself, decided until it is at rest: what a test of a
//! mapping asks for.

use super::decision::{ConflictOutcome, Decision, Verdict};
use super::link::{Bases, Link, LinkStatus};
use super::record::{Pair, decide};
use super::seen::Seen;
use crate::compile::{BaseKind, DeletePolicy, FieldProgram, Program, Reading, Rejection};
use crate::connector::Action;
use crate::record::{Both, Key, Side, Value};

/// A decision may ask for another one; more than this would be a circle.
const ROUNDS: usize = 4;

/// For each slot of a side its value, where one is given.
pub type Given = Vec<Option<Value>>;

/// A pair of records to try a mapping on.
#[derive(Debug)]
pub struct Trial {
    /// What both sides showed when they last agreed; `None` before they met.
    pub base: Option<Both<Given>>,
    pub now: Both<Stands>,
}

/// What stands on a side now.
#[derive(Debug)]
pub enum Stands {
    /// What stood there at the base, and nothing where there was none.
    AsBefore,
    /// It was deleted.
    Gone,
    /// These values, and those of the base in all other slots.
    Shows(Given),
}

/// What became of a trial.
#[derive(Debug, PartialEq)]
pub struct Tried {
    /// The rows of both sides afterwards; `None` where there is none.
    pub rows: Both<Option<Vec<Value>>>,
    pub outcome: Outcome,
    /// The fields both sides had changed to values that do not mean the same;
    /// `*` is the record as a whole.
    pub conflicts: Vec<String>,
    /// Why the record was parked or skipped.
    pub why: Option<String>,
}

/// What a run would count the record as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    Deleted,
    Unchanged,
    Skipped,
    Parked,
}

/// A two-way field whose value does not come back from the other side.
#[derive(Debug, PartialEq)]
pub struct BrokenLaw {
    pub field: usize,
    /// The target's value.
    pub value: Value,
    /// What the source is given of it, and what the target would be given of
    /// that; or why one of them is none.
    pub comes_back: Result<(Value, Value), String>,
}

/// Decides a pair until there is nothing more to decide.
pub fn attempt(program: &Program, trial: &Trial) -> Tried {
    let mut tried = Tried { rows: Both::default(), outcome: Outcome::Unchanged, conflicts: Vec::new(), why: None };
    if let Err(rejection) = try_it(program, trial, &mut tried) {
        tried.outcome = Outcome::Parked;
        tried.why = Some(rejection.message.clone());
    }
    tried
}

fn try_it(program: &Program, trial: &Trial, tried: &mut Tried) -> Result<(), Rejection> {
    let base = trial.base.as_ref().map(|given| complete(program, given)).transpose()?;
    let base_of = |side: Side| base.as_ref().map(|rows| &rows[side]);
    tried.rows = Both::from_fn(|side| match &trial.now[side] {
        Stands::AsBefore => base_of(side).cloned(),
        Stands::Gone => None,
        Stands::Shows(given) => {
            let below = |slot: usize| base_of(side).map_or(Value::Null, |row| row[slot].clone());
            Some(given.iter().enumerate().map(|(slot, value)| value.clone().unwrap_or_else(|| below(slot))).collect())
        }
    });
    let mut link = base.as_ref().map(|rows| linked(program, rows)).transpose()?;
    for _ in 0..ROUNDS {
        let stands = |side: Side| match &tried.rows[side] {
            Some(row) => Seen::of(program, side, row, true),
            None if link.is_some() => Ok(Seen::Gone),
            None => Ok(Seen::Nobody),
        };
        let seen = Both::new(stands(Side::Source)?, stands(Side::Target)?);
        let pair = Pair { link: link.as_ref(), seen: Both::new(&seen.source, &seen.target), open: &[], stale: &[] };
        let decision = decide(program, &pair);
        let is_left_out =
            |side: Side| matches!(seen[side], Seen::Outside) || matches!(seen[side], Seen::Marked) && link.is_none();
        if decision.verdict == Verdict::Keep && Side::BOTH.into_iter().any(is_left_out) {
            tried.outcome = Outcome::Skipped;
            tried.why = Some("`when` or a mark leaves it out".to_owned());
        }
        if !take_up(program, &decision, tried) {
            return Ok(());
        }
        let mut next = link.take().unwrap_or_else(|| bare(program));
        move_bases(program, &decision, tried, &mut next.bases)?;
        link = Some(next);
    }
    Ok(())
}

/// Carries out what was decided; true where it is to be decided once more.
fn take_up(program: &Program, decision: &Decision, tried: &mut Tried) -> bool {
    for step in &decision.conflicts {
        if matches!(step.outcome, ConflictOutcome::Opened | ConflictOutcome::Moved | ConflictOutcome::Decided) {
            let name = step.field.map_or("*", |field| program.fields[field].name.as_str());
            if !tried.conflicts.iter().any(|known| known == name) {
                tried.conflicts.push(name.to_owned());
            }
        }
    }
    match &decision.verdict {
        Verdict::Reject { rejection, .. } => {
            tried.outcome = Outcome::Parked;
            tried.why = Some(rejection.message.clone());
            return false;
        }
        Verdict::NotAllowed => {
            tried.outcome = Outcome::Skipped;
            tried.why = Some("`allow` lets no record be created there".to_owned());
            return false;
        }
        Verdict::Delete { on } => {
            tried.outcome = Outcome::Deleted;
            match (&program.sides[*on].deletes, &mut tried.rows[*on]) {
                (DeletePolicy::Set(values), Some(row)) => {
                    for (slot, value) in values {
                        row[*slot] = value.clone();
                    }
                }
                (_, row) => *row = None,
            }
            return false;
        }
        Verdict::Keep | Verdict::Link | Verdict::Sever { .. } | Verdict::Forget => {}
    }
    for side in Side::BOTH {
        let Some(write) = &decision.writes[side] else { continue };
        let slots = program.sides[side].access.shape.len();
        let row = tried.rows[side].get_or_insert_with(|| vec![Value::Null; slots]);
        for field in &write.fields {
            row[way(&program.fields[field.field], side)] = field.value.clone();
        }
        tried.outcome = match write.action {
            Action::Create => Outcome::Created,
            _ if tried.outcome == Outcome::Created => Outcome::Created,
            _ => Outcome::Updated,
        };
    }
    decision.again
}

fn move_bases(program: &Program, decision: &Decision, tried: &Tried, bases: &mut Bases) -> Result<(), Rejection> {
    for side in Side::BOTH {
        for write in decision.writes[side].iter().flat_map(|write| &write.fields) {
            let field = &program.fields[write.field];
            let shown = |side: Side| match &tried.rows[side] {
                Some(row) => field.read(side, row),
                None => Ok(Value::Null),
            };
            let values = match &write.against {
                Some(against) => against.bases.clone(),
                None => Both::new(shown(Side::Source)?, shown(Side::Target)?),
            };
            bases.set(write.field, values, written(program));
        }
    }
    for (field, values) in &decision.settled {
        bases.set(*field, values.clone(), written(program));
    }
    Ok(())
}

/// Rows in which each side shows what the other's values come to, where nothing
/// is given of its own.
fn complete(program: &Program, given: &Both<Given>) -> Result<Both<Vec<Value>>, Rejection> {
    let mut rows = Both::from_fn(|side| {
        given[side].iter().map(|value| value.clone().unwrap_or(Value::Null)).collect::<Vec<Value>>()
    });
    for field in &program.fields {
        for side in Side::BOTH {
            let Some(way) = &field.toward[side] else { continue };
            let from = side.other();
            let has_its_own = given[side][way.slot].is_some();
            let other_is_given = match &field.read[from] {
                Reading::Slot(slot) | Reading::Computed { slot: Some(slot), .. } => given[from][*slot].is_some(),
                _ => true,
            };
            if !has_its_own && other_is_given {
                let value = field.convert(side, &field.read(from, &rows[from])?)?;
                rows[side][way.slot] = value;
            }
        }
    }
    Ok(rows)
}

/// A link of two rows that agree.
fn linked(program: &Program, rows: &Both<Vec<Value>>) -> Result<Link, Rejection> {
    let mut link = bare(program);
    for (index, field) in program.fields.iter().enumerate() {
        let values = Both::new(field.read(Side::Source, &rows.source)?, field.read(Side::Target, &rows.target)?);
        link.bases.set(index, values, written(program));
    }
    Ok(link)
}

fn bare(program: &Program) -> Link {
    let key = || Key::new([&Value::text("1")]).expect("a text is a key");
    Link {
        id: 1,
        keys: Both::new(key(), key()),
        revision: 0,
        status: LinkStatus::Linked,
        outside: false,
        bases: Bases::none(program.fields.len(), program.keeps_digests()),
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout: 0,
    }
}

fn written(program: &Program) -> Side {
    match program.bases {
        BaseKind::Values => Side::Target,
        BaseKind::Digests { written } => written,
    }
}

fn way(field: &FieldProgram, side: Side) -> usize {
    field.toward[side].as_ref().expect("what is written has a slot").slot
}

/// Sends the values that both sides show of each two-way field there and back:
/// what the target shows has to come back to it as it was.
pub fn round_trips(program: &Program, rows: &Both<Option<Vec<Value>>>) -> Vec<BrokenLaw> {
    let mut broken: Vec<BrokenLaw> = Vec::new();
    let two_way = program.fields.iter().enumerate().filter(|(_, field)| field.is_two_way());
    for (index, field) in two_way {
        let own = rows.target.as_ref().and_then(|row| field.read(Side::Target, row).ok());
        let other = rows.source.as_ref().and_then(|row| field.read(Side::Source, row).ok());
        let arrived = other.and_then(|value| field.convert(Side::Target, &value).ok());
        for value in [own, arrived].into_iter().flatten().filter(|value| !value.is_blank()) {
            let comes_back = field.convert(Side::Source, &value).and_then(|back| {
                let again = field.convert(Side::Target, &back)?;
                Ok((back, again))
            });
            let holds = |again: &Value| field.same(Side::Target, again, &value) || field.equal_by_rules(again, &value);
            if comes_back.as_ref().is_ok_and(|(_, again)| holds(again)) {
                continue;
            }
            let law = BrokenLaw { field: index, value, comes_back: comes_back.map_err(|why| why.message.clone()) };
            if !broken.contains(&law) {
                broken.push(law);
            }
        }
    }
    broken
}
