mod validate;
//! Every test that uses the engine from outside: one binary, one module for
//! each stand.

mod programs;
mod properties;
mod seed;
//! The one integration binary: a module for each thing that is held.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
mod demo;
//! The integration tests: one binary.

mod support;

mod connector;
