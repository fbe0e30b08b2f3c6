//! What was seen of a record on one side.

use chrono::{DateTime, Utc};

use crate::compile::expression::{Expression, Input};
use crate::compile::{DeletedWhen, Program, Rejection};
use crate::record::{Side, Value, same};

/// A side's record as the run saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// There is no counterpart (and never was, as far as links know).
    Nobody,
    Live(Record),
    /// Linked, and verified gone.
    Gone,
    /// Its side marks it as deleted: that is gone, and may come back.
    Marked,
    /// There, but outside `where`, `start` or `when`.
    Outside,
}

/// A record's fields, one for each field of the program, as its side shows
/// them.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub fields: Vec<Value>,
    /// When it last changed, by its `modified`.
    pub stamp: Option<DateTime<Utc>>,
}

impl Record {
    /// A row of `side`, field by field.
    ///
    /// # Errors
    /// A [`Rejection`] where a template or rule cannot be evaluated.
    pub fn of(program: &Program, side: Side, row: &[Value]) -> Result<Record, Rejection> {
        Ok(Record { fields: program.read(side, row)?, stamp: program.sides[side].stamp(row) })
    }
}

impl Seen {
    /// What a row of `side` shows. `within` is false where the side's own filters
    /// leave it out.
    ///
    /// # Errors
    /// A [`Rejection`] where an expression, template or rule cannot be evaluated.
    pub fn of(program: &Program, side: Side, row: &[Value], within: bool) -> Result<Seen, Rejection> {
        let own = &program.sides[side];
        let test = |expression: &Expression| {
            expression.test(Input::new(row)).map_err(|trouble| trouble.into_rejection("*", &program.place))
        };
        match &own.deleted {
            DeletedWhen::Mark { slot, equals } if same(&row[*slot], equals) => return Ok(Seen::Marked),
            DeletedWhen::When(expression) if test(expression)? => return Ok(Seen::Marked),
            _ => {}
        }
        if !within {
            return Ok(Seen::Outside);
        }
        if let Some(when) = &own.when
            && !test(when)?
        {
            return Ok(Seen::Outside);
        }
        Record::of(program, side, row).map(Seen::Live)
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Seen::Gone | Seen::Marked)
    }

    pub fn live_mut(&mut self) -> Option<&mut Record> {
        match self {
            Seen::Live(record) => Some(record),
            _ => None,
        }
    }

    pub fn live(&self) -> Option<&Record> {
        match self {
            Seen::Live(record) => Some(record),
            _ => None,
        }
    }
}
