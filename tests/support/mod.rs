//! What several tests need.

pub mod rust_paths;
