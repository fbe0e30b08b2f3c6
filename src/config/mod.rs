//! Text to model, with a line and column for every value.
//!
//! Owns the YAML tree, the model of what a user may write, and the project of
//! files and namespaces. Knows no meaning, no network, and resolves no secret.

pub mod tree;
mod decode;
pub(crate) mod yaml;
mod files;
pub mod environment;
mod order;
mod check;
mod project;
pub mod schema;
pub mod model;

pub use environment::Environment;
pub use files::STATE_FOLDER;
pub use project::{Project, relative_to};
