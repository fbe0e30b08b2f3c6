//! How systems are talked to: one folder for each protocol.
//!
//! Each implements the traits of `connector` and knows neither mappings nor
//! plans. Every family has the same file names (`config`, `describe`, `read`,
//! `write`), so that who knows one knows all.

pub mod files;
pub mod sql;
