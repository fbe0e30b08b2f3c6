mod validate;
//! Every test that uses the engine from outside: one binary, one module for
//! each stand.

mod programs;
mod properties;
mod seed;
