//! A value that does not fit: of one record, never of the whole run.

use crate::diagnostic::{Code, Place};

/// Why a record, or one field of it, cannot be carried over. Boxed, so that
/// the way of the values that do fit stays narrow.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection(Box<Misfitting>);

/// What a [`Rejection`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Misfitting {
    pub code: Code,
    /// The field it would have filled, by the target path; `*` for the record.
    pub field: String,
    /// The offending value as text, where there is one.
    pub value: Option<String>,
    /// The rule that refused it, where one did.
    pub rule: Option<&'static str>,
    /// What is wrong: lower case, backticks around literals.
    pub message: String,
    /// Where in the YAML the field or rule stands.
    pub place: Place,
}

impl From<Misfitting> for Rejection {
    fn from(details: Misfitting) -> Rejection {
        Rejection(Box::new(details))
    }
}

impl std::ops::Deref for Rejection {
    type Target = Misfitting;
    fn deref(&self) -> &Misfitting {
        &self.0
    }
}
