//! Model and descriptions to a Program: names to slots, types checked, rules
//! inverted. After this nothing is looked up by name, parsed or compiled.
//!
//! Start reading at [`rejection::Rejection`] for what can go wrong with a
//! value, and at [`rule`] for what happens to it.

pub mod expression;
pub mod rejection;
pub mod rule;
mod trouble;
pub use rejection::Rejection;
pub use trouble::Trouble;
