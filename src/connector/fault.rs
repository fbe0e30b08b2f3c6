//! What a foreign system did to us.

use std::time::Duration;

use crate::diagnostic::without_secrets;

/// Whose fault it is, which decides whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The user can mend it: wrong credentials, missing rights, a table that
    /// is not there.
    User,
    /// The system or the way to it: unreachable, overloaded, broken.
    External,
    /// Ours: an answer we do not understand.
    Internal,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// As soon as the policy allows, but not before this long has passed.
    Later(Duration),
}

/// Whether what was sent may have come into effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    No,
    Maybe,
}

/// A system failed us. The runtime chooses what to do by these fields, never
/// by the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub retry: Retry,
    pub applied: Applied,
    /// What we were about, such as reading a table.
    pub doing: String,
    /// The system's own code, where it gave one.
    pub native: String,
    /// The system's own words, without secrets.
    pub message: String,
    /// What the system wants us to be granted for this, in its own language
    /// (`SELECT ON "goods"`), where it refused for want of a right.
    pub lacks: Option<String>,
}

impl Fault {
    pub fn user(doing: impl Into<String>, native: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault {
            kind: FaultKind::User,
            retry: Retry::Never,
            applied: Applied::No,
            doing: doing.into(),
            native: native.into(),
            message: without_secrets(&message.into()).into_owned(),
            lacks: None,
        }
    }

    /// The system or the way to it failed; worth trying again.
    pub fn external(doing: impl Into<String>, native: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { kind: FaultKind::External, retry: Retry::Later(Duration::ZERO), ..Fault::user(doing, native, message) }
    }

    pub fn internal(doing: impl Into<String>, native: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { kind: FaultKind::Internal, ..Fault::user(doing, native, message) }
    }

    /// A batch was taken back since its intents could not be recorded.
    pub fn not_recorded(doing: impl Into<String>) -> Fault {
        Fault::internal(doing, "", "taken back, since what was about to be written could not be recorded")
    }

    /// The same fault, where what was sent may have come into effect.
    #[must_use]
    pub fn maybe_applied(mut self) -> Fault {
        self.applied = Applied::Maybe;
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.doing, self.message)?;
        if !self.native.is_empty() {
            write!(f, " ({})", self.native)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
