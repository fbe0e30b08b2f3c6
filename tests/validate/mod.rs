//! What `engine validate` says of what a user wrote, without rules and systems.

mod schemas;
