//! Text to model, with a line and column for every value.
//!
//! Owns the YAML tree, the model of what a user may write, and the project of
//! files and namespaces. Knows no meaning, no network, and resolves no secret.
//!
//! Start reading at [`Project::load`]: files to text (`yaml`) to a tree
//! ([`tree`]) to the structs a user fills in ([`model`]), which are then checked
//! against each other (`check`).

pub mod tree;
mod decode;
pub(crate) mod yaml;
mod files;
pub mod environment;
mod order;
mod overlay;
pub(crate) mod private;
mod check;
mod project;
mod vars;
pub mod schema;
pub mod secrets;
pub mod reference;
pub mod model;

pub use environment::Environment;
pub use files::{FileStamp, STATE_FOLDER, stamps, state_folder};
pub use overlay::environments;
pub use project::{Project, project_root, relative_to};
pub use yaml::parse;

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;

/// The mapping of a text that holds nothing else, without a project around it.
pub fn mapping_of(file: &Arc<Path>, text: &str, diagnostics: &mut Diagnostics) -> Option<model::Mapping> {
    let documents = parse(file, text, diagnostics);
    model::Mapping::decode(documents.first()?, "", None, diagnostics)
}
