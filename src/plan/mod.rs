//! Pure deciding: what is known of a pair of records goes in, what shall be
//! done comes out.
//!
//! Owns the link with its bases, the table of section "How a run decides", and
//! every policy. Has no IO, no clock, no randomness, sees no connector and no
//! store: the same input always gives the same [`Decision`]. Start reading at
//! [`decide`]; `field` decides one field, `record` a pair as a whole.

mod conflict;
mod decision;
mod field;
mod link;
mod record;
mod seen;
mod trial;

pub use conflict::{IN_DOUBT, OpenConflict, Resolution, stands};
pub use decision::{Against, ConflictOutcome, ConflictStep, Decision, FieldWrite, RecordWrite, Verdict};
pub use link::{Bases, Contest, Link, LinkId, LinkStatus, OwnStamp};
pub use record::{Pair, decide};
pub use seen::{Record, Seen};
pub use trial::{BrokenLaw, Given, Outcome, Stands, Trial, Tried, attempt, round_trips};
