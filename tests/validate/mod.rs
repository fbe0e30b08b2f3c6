//! What `engine validate` says of what a user wrote, without rules and systems.

mod good;
mod harness;
mod hostile;
mod mistakes;
mod schemas;
