//! What a shell proposes while somebody types: verbs and options by their types, and names that there are now.
//!
//! The shell asks this very program at each Tab, by the variable [`VARIABLE`] (`fusionlab completions SHELL` prints how). Only
//! files are read, so the answer is there at once, whatever Fusion and the machines do.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::Cli;
use super::calls;
use super::context::LAB_FILE;
use super::error::catalogue;
use crate::lab::Lab;
use crate::lab::paths::Home;

/// Set to the shell's name where it asks.
pub const VARIABLE: &str = "FUSIONLAB_COMPLETE";

/// Answers a shell that asks, and ends the program; does nothing if none does.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin("fusionlab").complete();
}

/// The lab's machines.
pub fn machines() -> ArgValueCandidates {
    ArgValueCandidates::new(|| named(""))
}

/// The lab's machines as `cp` has them, with a colon.
pub fn places() -> ArgValueCandidates {
    ArgValueCandidates::new(|| named(":"))
}

/// Ids of errors and rules.
pub fn ids() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let all = catalogue::errors().into_iter().chain(calls::rules());
        all.map(|one| CompletionCandidate::new(one.id).help(Some(one.summary.into()))).collect()
    })
}

/// Backups of Fusion's networking file, the newest first.
pub fn backups() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = home().map(|home| calls::backup_names(&home)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

fn named(behind: &str) -> Vec<CompletionCandidate> {
    let Some(lab) = lab() else { return Vec::new() };
    let nodes = lab.nodes.iter();
    nodes
        .map(|node| {
            let help = node.address().to_string();
            CompletionCandidate::new(format!("{}{behind}", node.name)).help(Some(help.into()))
        })
        .collect()
}

/// The lab of this folder, or the built-in one. A file with problems proposes nothing: this is no place to tell them.
fn lab() -> Option<Lab> {
    let text = calls::read_text(Path::new(LAB_FILE)).ok()?;
    let resolved = match home() {
        Some(home) => calls::resolve_at_home(&home, text.as_deref(), None).0,
        None => calls::resolve(text.as_deref(), None),
    };
    resolved.ok().map(|(lab, _)| lab)
}

/// Where fusionlab keeps its files, as far as the environment says; an option on the line that is being typed is not known here.
fn home() -> Option<Home> {
    let home = std::env::var_os("FUSIONLAB_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".fusionlab"))).map(Home)
}
