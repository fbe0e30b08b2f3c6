//! What can go wrong with the state itself.

/// The state could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another engine works on this state; the text says which.
    Held(String),
    /// The fence is not the newest: another engine took the mapping over.
    Fenced,
    /// The disk is full, or its limit reached. Nothing was changed.
    Full(String),
    /// The state was written by a newer engine.
    Newer { found: i64, known: i64 },
    /// It cannot be opened, or is damaged.
    Broken(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Held(by) => write!(f, "another engine works on this state: {by}"),
            StoreError::Fenced => f.write_str("another engine has taken this mapping over"),
            StoreError::Full(detail) => write!(f, "no room left for the state: {detail}"),
            StoreError::Newer { found, known } => {
                write!(f, "the state has layout {found}, and this engine knows {known}: use a newer engine")
            }
            StoreError::Broken(detail) => write!(f, "the state cannot be used: {detail}"),
        }
    }
}

impl std::error::Error for StoreError {}
