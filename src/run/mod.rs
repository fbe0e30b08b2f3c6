//! One run of one mapping: read, plan, write, commit.
//!
//! Owns the order of things, retries, echo and the report. Decides nothing
//! about values (that is `plan`), speaks no protocol (that is the connectors),
//! keeps nothing (that is the store). One task decides; the same code serves
//! both sides. Start reading at [`run_mapping`].

mod ahead;
mod answer;
mod batch;
mod conflicts;
mod cursor;
mod deletes;
mod doubt;
mod ending;
mod event;
mod execute;
mod fault;
mod first;
mod flight;
mod layout;
mod look;
mod loops;
mod matching;
mod neighbours;
mod owed;
mod pages;
mod park;
mod prepared;
mod probe;
mod reading;
mod recover;
mod rekey;
mod report;
mod review;
mod rings;
mod send;
mod sent;
mod session;
mod setup;
mod taken;
mod taken_back;
mod takeover;
mod unanswered;
mod verdict;
mod world;

pub use event::{Event, Fact, FieldChange, Observer, Silent};
pub use fault::Connected;
pub use neighbours::{Flow, Neighbours};
pub use report::{PlanSize, Planned, RunReport, Trouble, Undecided};
pub use review::{PlanSink, Review};
pub use session::run_mapping;
pub use setup::{Options, RetryPolicy, Setup, key_of_fingerprint};
pub use takeover::{adopt_sides, fail_begun_run, fail_run, import_links, settle_as_not_sent, settle_as_sent};
pub use world::{StoppableWorld, SystemWorld, World};
pub(crate) use world::{is_stopped, unless_stopped};
