//! The planner held to laws: what must hold of every decision, never a second
//! implementation of how it is reached.
//!
//! `model` is a pair of records that decisions are applied to; `laws` says
//! what must hold; `domain` draws the cases, all of a small domain and many of
//! a large one; `table` spells out the rows of the contract one by one.

mod domain;
mod laws;
mod model;
mod table;
