//! Every test that uses the engine from outside: one binary, one module for
//! each thing that is held.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
mod cli;
mod connector;
mod demo;
mod examples;
mod programs;
mod properties;
mod readings;
mod readme;
mod seed;
mod servers;
mod simulation;
mod state;
mod support;
mod validate;
