//! Everything that is tested from outside: the built program in a private home, and the rules of the source tree.
//!
//! One program for all of it. A new file is one more line here; [`every_file_is_listed`] sees to that.

#![expect(clippy::disallowed_methods, reason = "tests prepare and read the files that the program works on")]

mod adversity;
mod asked;
mod bake;
mod bounds;
mod bundle;
mod clone;
mod completions;
mod contract;
mod crash;
mod crash_cluster;
mod dhcpd;
mod doctor;
mod documented;
mod download;
mod drift;
mod drill;
mod elsewhere;
mod error_ids;
mod events;
mod failover;
mod fake_fusion;
mod fusion_argv;
mod guest_image;
mod guests;
mod guests_verbs;
mod hazards;
mod heal;
mod image;
mod journey;
mod kill;
mod kubeconfig;
mod labs;
mod lan;
mod layers;
mod names;
mod network;
mod peers;
mod plain;
mod programs;
mod proof;
mod qemu;
mod refusals;
mod remembered;
mod scale;
mod screens;
mod seed;
mod simulated;
mod sleep;
mod spam;
mod status;
mod stop;
mod sudo;
mod support;
mod template;
mod together;
mod up;
mod vmx;
mod wizard;

use std::fs;
use std::path::Path;

#[test]
fn every_file_is_listed() {
    let list = include_str!("main.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).expect("tests/ is here") {
        let path = entry.expect("tests/ can be read").path();
        let name = path.file_stem().expect("an entry has a name").to_string_lossy();
        let is_module =
            path.join("mod.rs").is_file() || path.extension().is_some_and(|ending| ending == "rs");
        assert!(
            !is_module || name == "main" || list.lines().any(|line| line == format!("mod {name};")),
            "tests/main.rs lacks `mod {name};`, so {} is never run",
            path.display()
        );
    }
}
