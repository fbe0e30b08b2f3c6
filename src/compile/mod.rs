//! Model and descriptions to a Program: names to slots, types checked, rules
//! inverted. After this nothing is looked up by name, parsed or compiled.
//!
//! Start reading at [`Program`], and at [`compile`] for how it is made;
//! [`Rejection`] is what can go wrong with a value, `rule` what happens to it.

mod case;
pub mod expression;
mod field;
mod mapping;
mod message;
mod policy;
mod program;
pub mod rejection;
pub mod rule;
mod side;
mod trouble;
mod writers;

pub use crate::config::model::{Drift, Limit, Policy};
pub use case::part;
pub use mapping::{Compiled, Survey, compile, survey};
pub use message::{MESSAGE_NAMES, MessageBody};
pub use program::{
    BaseKind, DeletePolicy, DeletedWhen, Document, FieldProgram, Limits, Program, Reading, SideProgram, Way,
};
pub use rejection::{Misfitting, Rejection};
pub use trouble::Trouble;
