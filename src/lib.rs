//! A declarative two-way sync engine. ARCHITECTURE.md tells how the parts lie;
//! each module may use only those above it in this list.

pub mod record;
pub mod diagnostic;
pub mod config;
pub mod connector;
pub mod compile;
pub mod plan;
pub mod state;
pub mod run;
pub mod work;
pub mod protocol;
pub mod cli;
