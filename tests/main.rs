//! Everything that is tested from outside, in one binary: a module for each area.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod validate;
