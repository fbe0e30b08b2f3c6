//! The only shape that crosses borders: values, records in batches, keys, kinds.
//!
//! Owns what a value *is*: its type, its meaning-preserving comparison
//! ([`same`]), its canonical text in keys and its digest. Never knows where a
//! value came from or where it goes; depends on nothing else of ours. Start
//! reading at [`Value`].

mod batch;
mod codec;
mod compare;
mod digest;
mod fit;
pub(crate) mod json;
mod key;
mod kind;
mod number;
mod value;
pub(crate) mod zone;

pub use batch::{Batch, Mark};
pub use codec::{CodecError, decode_value, decode_values, encode_values};
pub use compare::{order, same};
pub use digest::{digest, short_digest, short_digest_of};
pub(crate) use fit::single;
pub use key::Key;
pub use kind::{Field, Kind, Misfit, Shape};
pub use number::{Number, parse_number};
pub use value::{Interval, Value};

/// One of the two sides of a mapping. A side is a value, never a copy of the
/// code with the names swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Source,
    Target,
}

impl Side {
    /// Both sides, source first.
    pub const BOTH: [Side; 2] = [Side::Source, Side::Target];

    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }

    /// The word the YAML, the log and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Target => "target",
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing for each side, indexed by [`Side`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Both<T> {
    pub source: T,
    pub target: T,
}

impl<T> Both<T> {
    pub fn new(source: T, target: T) -> Self {
        Both { source, target }
    }

    /// Builds each half from its side.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Both { source: make(Side::Source), target: make(Side::Target) }
    }

    pub fn as_ref(&self) -> Both<&T> {
        Both { source: &self.source, target: &self.target }
    }

    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Both<U> {
        Both { source: f(self.source), target: f(self.target) }
    }

    /// The same pair with its halves exchanged.
    pub fn swap(self) -> Both<T> {
        Both { source: self.target, target: self.source }
    }
}

impl<T> std::ops::Index<Side> for Both<T> {
    type Output = T;
    fn index(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl<T> std::ops::IndexMut<Side> for Both<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}
