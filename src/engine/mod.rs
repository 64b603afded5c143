//! Doing: carries out a plan once, resumably. What is to be done is decided in `plan`; here it only happens.
//!
//! ```text
//! verbs.rs ── observe.rs ──▶ facts ──▶ plan::up ──▶ schedule/ ──▶ steps/ ──▶ host
//!                                                  │
//!                                                  └──▶ event.rs ──▶ cli::report
//! ```

pub mod ask;
pub mod bundle;
pub mod context;
pub mod drill;
pub mod error;
pub mod event;
#[cfg(test)]
mod fixture;
pub mod guests;
pub mod identities;
pub mod images;
pub mod journal;
pub mod kubeconfig;
mod lab_folder;
pub mod lab_lock;
pub mod labs;
pub mod leftovers;
pub mod library;
pub mod logs;
pub mod mac;
pub mod made_from;
pub mod names;
pub mod networks;
pub mod observe;
pub mod output;
pub mod proof;
pub mod records;
pub mod recovery;
pub mod resources;
pub mod run;
pub mod schedule;
pub mod ssh_files;
pub mod steps;
pub mod store;
pub mod support;
pub mod survey;
pub mod template;
pub mod templates;
pub mod terminal;
pub mod transfer;
pub mod verbs;
pub mod verify;
pub mod wait;
