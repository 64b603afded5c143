//! fusionlab takes a Mac with VMware Fusion to a Kubernetes lab and back again.
//!
//! Layers, top to bottom; a file imports only downwards (`tests/layers.rs` checks it):
//!
//! ```text
//! cli      words: clap types, one file per verb; error kinds, hints, exit codes; reporters
//! engine   doing: realises a plan once, resumably: scheduler, steps, journal, events
//! plan     thinking, pure: (lab, facts) -> steps as data; `up` and `destroy` are two lists
//! stack    what runs in the guests, pure: lab -> files and the argv of every guest command
//! lab      meaning, pure: the lab file -> a validated, resolved lab; every name and path
//! formats  bytes and text, pure, no lab knowledge: networking file, vmx, vmdk, seed iso, ...
//! host     the only side effects, behind small ports: files, processes, Fusion, guest shell
//! sim      a Fusion that does not exist: the same wire, a deterministic world behind it
//! ```
//!
//! `cli → engine → plan → stack → lab → formats`, `cli → sim`, `engine → host → formats`, `sim → host, formats`.

pub mod cli;
pub mod engine;
pub mod formats;
pub mod host;
pub mod lab;
pub mod plan;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stack;
