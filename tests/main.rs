//! The one integration binary: a module for each thing that is held.

mod architecture;
