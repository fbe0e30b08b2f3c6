//! Records in batches: a shared shape, and rows of slots.

use std::sync::Arc;

use super::{Shape, Value};

/// What a row of a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A record as it stands.
    Live,
    /// A record its system marks as deleted, or tells us is gone.
    Deleted,
    /// A record that could not be read; the text says why.
    Malformed(Box<str>),
}

/// Rows of one shape. Values lie row after row, `shape.len()` slots each.
#[derive(Debug, Clone)]
pub struct Batch {
    pub shape: Arc<Shape>,
    values: Vec<Value>,
    marks: Vec<Mark>,
    /// Where the cursor stands when every row of this batch is dealt with.
    /// `None` for readings that move no cursor.
    pub reached: Option<Value>,
}

impl Batch {
    pub fn new(shape: Arc<Shape>) -> Batch {
        Batch { shape, values: Vec::new(), marks: Vec::new(), reached: None }
    }

    pub fn with_capacity(shape: Arc<Shape>, rows: usize) -> Batch {
        let width = shape.len();
        Batch { shape, values: Vec::with_capacity(rows * width), marks: Vec::with_capacity(rows), reached: None }
    }

    pub fn len(&self) -> usize {
        self.marks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The slots of row `index`, in the order of the shape.
    pub fn row(&self, index: usize) -> &[Value] {
        let width = self.shape.len();
        &self.values[index * width..(index + 1) * width]
    }

    pub fn mark(&self, index: usize) -> &Mark {
        &self.marks[index]
    }

    /// Adds a row.
    ///
    /// # Panics
    /// Where the row has not one value for each slot of the shape.
    pub fn push(&mut self, mark: Mark, row: impl IntoIterator<Item = Value>) {
        let pushed: Result<(), std::convert::Infallible> = self.push_with(|values| {
            values.extend(row);
            Ok(mark)
        });
        let Ok(()) = pushed;
    }

    /// Adds a row whose values `fill` appends to those of the rows before.
    ///
    /// # Errors
    /// Those of `fill`; the batch is then as it was.
    ///
    /// # Panics
    /// As [`Batch::push`].
    pub fn push_with<E>(&mut self, fill: impl FnOnce(&mut Vec<Value>) -> Result<Mark, E>) -> Result<(), E> {
        let before = self.values.len();
        let mark = fill(&mut self.values).inspect_err(|_| self.values.truncate(before))?;
        assert_eq!(self.values.len() - before, self.shape.len(), "a row has one value for each slot of its shape");
        self.marks.push(mark);
        Ok(())
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Mark, &[Value])> {
        (0..self.len()).map(|index| (self.mark(index), self.row(index)))
    }
}
