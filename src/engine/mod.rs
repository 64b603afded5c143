//! Doing: carries out a plan once, resumably. What is to be done is decided in `plan`; here it only happens.
//!
//! ```text
//! verbs.rs ── observe/ ──▶ facts ──▶ plan::up ──▶ schedule/ ──▶ steps/ ──▶ host
//!    │                                               │
//!    └── proof.rs, verify.rs                         └──▶ event.rs ──▶ cli::report
//! ```
//!
//! What it needs beside that: `home/` and `journal/` are what is kept on disk from one run to the next, `images/` and `vms/` what
//! machines are made of, and `guests/` and `access/` are the user's own ways into a lab.

pub mod access;
pub mod context;
pub mod drill;
pub mod error;
pub mod event;
#[cfg(test)]
mod fixture;
pub mod guests;
pub mod home;
pub mod images;
pub mod journal;
pub mod observe;
pub mod output;
pub mod proof;
pub mod run;
pub mod schedule;
pub mod steps;
pub mod terminal;
pub mod verbs;
pub mod verify;
pub mod vms;
pub mod wait;
