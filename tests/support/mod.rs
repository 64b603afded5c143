//! What several tests need: sessions of the built program, and a reader of sources.

#![expect(dead_code, reason = "the tests of the verbs that use the rest arrive with the verbs")]

pub mod dialogue;
pub mod json_schema;
pub mod processes;
pub mod rust_paths;
pub mod session;
pub mod shown;
pub mod web;
