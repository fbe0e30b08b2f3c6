//! Model and descriptions to a Program: names to slots, types checked, rules
//! inverted. After this nothing is looked up by name, parsed or compiled.
//!
//! Start reading at [`Program`].

pub mod expression;
mod program;
pub mod rejection;
pub mod rule;

pub use program::{
    BaseKind, DeletePolicy, DeletedWhen, Drift, FieldProgram, Limit, Limits, Policy, Program, Reading, SideProgram, Way,
};
pub use rejection::Rejection;
