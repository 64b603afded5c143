//! What a shell proposes while somebody types: verbs and options by their types, and names that there are now.
//!
//! The shell asks this very program at each Tab, by the variable [`VARIABLE`] (`fusionlab completions SHELL` prints how). Only
//! files are read, so the answer is there at once, whatever Fusion and the machines do; a Mac's interfaces alone are asked of
//! its own programs, for no longer than [`TAB`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::Cli;
use super::calls;
use super::context::LAB_FILE;
use super::error::catalogue;
use super::init;
use super::options::{FUSION_VARIABLE, HOME_VARIABLE, LAB_VARIABLE, OutputForm};
use super::screen::support;
use super::simulated;
use crate::lab::Lab;
use crate::lab::catalogue as images_of;
use crate::lab::limits::TAB;
use crate::lab::paths::Home;

/// Set to the shell's name where it asks.
pub const VARIABLE: &str = "FUSIONLAB_COMPLETE";

/// What stands between our own words and those that were typed.
const BEHIND: &str = "--";

/// Answers a shell that asks, and ends the program; does nothing if none does.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin("fusionlab").complete();
}

/// The lab's machines.
pub fn machines() -> ArgValueCandidates {
    ArgValueCandidates::new(|| named(""))
}

/// Both ends of a copy: the lab's machines with a colon, and what lies here.
pub fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let machines = beginning_with(named(":"), current);
        machines.into_iter().chain(PathCompleter::any().complete(current)).collect()
    })
}

/// Files of public keys, and the word for none.
pub fn public_keys() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let none = CompletionCandidate::new("none").help(Some("nobody but fusionlab may log in".into()));
        let none = beginning_with(vec![none], current);
        PathCompleter::file().complete(current).into_iter().chain(none).collect()
    })
}

/// The interfaces of this Mac that lead into a home network, as the wizard finds them; none where that takes too long.
pub fn interfaces() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let found = init::home_networks(&fusion_root(), TAB);
        told(found.into_iter().map(|lan| {
            let radio = if lan.wireless { ", Wi-Fi" } else { "" };
            (lan.interface, format!("{} in {}{radio}", lan.address, lan.subnet))
        }))
    })
}

/// The root of the Mac whose interfaces count: of the Fusion that was named, of the simulated one where it is laid out and no real
/// one could be, else of this one.
fn fusion_root() -> PathBuf {
    let simulated = || {
        let is_meant = !cfg!(target_os = "macos") || typed().iter().any(|word| word == "--sim");
        home().map(|home| home.sim()).filter(|root| is_meant && root.is_dir())
    };
    said("--fusion", FUSION_VARIABLE)
        .and_then(|path| init::root_of_fusion(&path))
        .or_else(simulated)
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// Ids of errors and rules.
pub fn ids() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let all = catalogue::errors().into_iter().chain(calls::rules());
        told(all.map(|one| (one.id.to_owned(), one.summary.to_owned())))
    })
}

/// Backups of Fusion's networking file, the newest first.
pub fn backups() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = home().map(|home| calls::backup_names(&home)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// The catalogue's images.
pub fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        told(images_of::images().map(|(name, summary)| (name.to_owned(), summary.to_owned())))
    })
}

/// What can be let go wrong in the simulated Fusion.
pub fn faults() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        told(simulated::faults().map(|(name, what)| (name.to_owned(), what.to_owned())))
    })
}

/// What can be in the way on the simulated Mac.
pub fn hazards() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        told(simulated::hazards().map(|(name, what)| (name.to_owned(), what.to_owned())))
    })
}

/// Parts of a support bundle, and those of each machine.
pub fn parts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let nodes = lab().map(|lab| lab.nodes).unwrap_or_default();
        let of_nodes = nodes.iter().flat_map(|node| {
            let (machine, guest) = (format!("machines/{}", node.name), format!("guests/{}.log", node.name));
            [
                (machine, format!("what is kept of {}", node.name)),
                (guest, format!("the logs in {}", node.name)),
            ]
        });
        told(support::parts().map(|(name, what)| (name.to_owned(), what.to_owned())).chain(of_nodes))
    })
}

/// Verbs that have a manual page, and help: below those that stand there already.
pub fn verbs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let words = typed();
        let mut behind = words
            .iter()
            .skip_while(|word| !["man", "help"].contains(&word.as_str()))
            .skip(1)
            .collect::<Vec<_>>();
        // The last one is being typed.
        behind.pop();
        let (all, mut path) = (Cli::command(), behind.into_iter().filter(|word| !word.starts_with('-')));
        let verb = path.try_fold(&all, |verb, word| verb.find_subcommand(word));
        let below =
            verb.into_iter().flat_map(|verb| verb.get_subcommands()).filter(|verb| !verb.is_hide_set());
        let about = |verb: &clap::Command| verb.get_about().map(ToString::to_string).unwrap_or_default();
        told(below.map(|verb| (verb.get_name().to_owned(), about(verb))))
    })
}

/// The forms of what is printed; the last one is of `verify` alone.
pub fn forms() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let is_verify = typed().iter().any(|word| word == "verify");
        let all = OutputForm::value_variants().iter().filter(|form| is_verify || **form != OutputForm::Junit);
        let values = all.filter_map(ValueEnum::to_possible_value);
        values
            .map(|value| {
                CompletionCandidate::new(value.get_name().to_owned()).help(value.get_help().cloned())
            })
            .collect()
    })
}

fn told(all: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    all.map(|(name, what)| CompletionCandidate::new(name).help(Some(what.into()))).collect()
}

fn beginning_with(all: Vec<CompletionCandidate>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    all.into_iter().filter(|one| one.get_value().to_string_lossy().starts_with(current.as_ref())).collect()
}

fn named(behind: &str) -> Vec<CompletionCandidate> {
    let nodes = lab().map(|lab| lab.nodes).unwrap_or_default();
    told(nodes.iter().map(|node| (format!("{}{behind}", node.name), node.address().to_string())))
}

/// The lab that was named, that of this folder, that whose file lies elsewhere, or the built-in one. A file with problems
/// proposes nothing, nor does one that was named and is not there: this is no place to tell them.
fn lab() -> Option<Lab> {
    let file = said("--lab", LAB_VARIABLE).or_else(|| calls::usual_file_elsewhere(&home()?));
    let text = calls::read_text(file.as_deref().unwrap_or(Path::new(LAB_FILE))).ok()?;
    if file.is_some() && text.is_none() {
        return None;
    }
    let resolved = match home() {
        Some(home) => calls::resolve_at_home(&home, text.as_deref(), None).0,
        None => calls::resolve(text.as_deref(), None),
    };
    resolved.ok().map(|(lab, _)| lab)
}

/// Where fusionlab keeps its files.
fn home() -> Option<Home> {
    let home = said("--home", HOME_VARIABLE);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".fusionlab"))).map(Home)
}

/// Returns the path that an option has in what was typed, else its variable in the environment.
fn said(option: &str, variable: &str) -> Option<PathBuf> {
    let of_variable = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    value_of(option, &typed()).map(|value| in_home(&value, home.as_deref())).or_else(of_variable)
}

/// Returns the words that were typed so far, the last of them perhaps in part.
fn typed() -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != BEHIND).skip(1);
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Returns the last value of an option among words. Some shells take an equals sign for a word of its own, and nobody has taken
/// away the quotes.
fn value_of(option: &str, words: &[String]) -> Option<String> {
    let mut words = words.iter().map(String::as_str).take_while(|word| *word != BEHIND).peekable();
    let mut value = None;
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix(option) else { continue };
        match rest.strip_prefix('=') {
            Some(joined) => value = Some(joined),
            None if rest.is_empty() => {
                let _sign = words.next_if_eq(&"=");
                value = words.peek().copied().or(value);
            }
            None => {}
        }
    }
    value.map(|value| value.replace(['"', '\'', '\\'], "")).filter(|value| !value.is_empty())
}

/// Returns the path that a shell would make of a word.
fn in_home(word: &str, home: Option<&Path>) -> PathBuf {
    match (word.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_however_a_shell_breaks_the_line() {
        let value = |line: &str| value_of("--lab", &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in [
            "fusionlab --lab a.yaml ssh ",
            "fusionlab --lab=a.yaml ssh ",
            "fusionlab --lab = a.yaml ssh ",
            "fusionlab ssh --lab 'a.yaml' gate",
            "fusionlab --lab b.yaml --lab \"a.yaml\" ssh",
        ] {
            assert_eq!(value(line).as_deref(), Some("a.yaml"), "{line}");
        }
        for line in
            ["fusionlab ssh ", "fusionlab --label x", "fusionlab --lab", "fusionlab --lab=", "x -- --lab a"]
        {
            assert_eq!(value(line), None, "{line}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let home = Some(Path::new("/home/me"));
        assert_eq!(in_home("~/a/b.yaml", home), Path::new("/home/me/a/b.yaml"));
        assert_eq!(in_home("~you/b.yaml", home), Path::new("~you/b.yaml"));
        assert_eq!(in_home("~/b.yaml", None), Path::new("~/b.yaml"));
    }
}
