//! The command line from outside: small projects over two SQLite databases,
//! the built binary, what it prints and how it ends.

mod answers;
mod applied;
mod arrivals;
mod batches;
mod begun;
mod cases;
mod checks;
mod decided;
mod drift;
mod edited;
mod environments;
mod faults;
mod files;
mod formats;
mod gone;
mod kept;
mod limits;
mod mistakes;
mod notices;
mod online;
mod owed;
mod project;
mod readings;
mod records;
mod renamed;
mod rings;
mod secrets;
mod service;
mod shared;
mod story;
mod systems;
mod taken_back;
mod types;
mod ways;
