//! What pages have people type is what the program takes: every verb and every option in README, CHANGELOG and docs/.

use std::path::Path;

use clap::{Command, CommandFactory};

use super::{Cli, peers};
use crate::host::files;

/// What may stand before the program's name where a line or a span has more than our own command.
const BEFORE: [&str; 4] = ["$ ", "(", "| ", "&& "];
const PROGRAM: &str = "fusionlab";

/// Returns the pages with their texts.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = files::list(&root.join("docs")).unwrap();
    let pages = docs.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let named = [root.join("README.md"), root.join("CHANGELOG.md")];
    let text = |path: &Path| (path.display().to_string(), files::read_text(path).unwrap());
    named.iter().map(|path| text(path)).chain(pages.map(|path| text(&path))).collect()
}

/// Returns a page's code: each line of a block, and each span in a line.
fn code(page: &str) -> Vec<&str> {
    let (mut code, mut is_block) = (Vec::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block || line.starts_with("    ") {
            code.push(line.trim());
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    code
}

/// Returns the words of each command of ours in a piece of code, without what follows it in a shell.
fn commands(code: &str) -> Vec<Vec<&str>> {
    let is_begun = |at: usize| at == 0 || BEFORE.iter().any(|before| code[..at].ends_with(before));
    let found = code.match_indices(PROGRAM).filter(|(at, _)| is_begun(*at));
    let rest = found.filter_map(|(at, _)| code[at + PROGRAM.len()..].strip_prefix(' '));
    // What comes behind two dashes is another program's.
    rest.map(|rest| rest.split(['|', '>', ')', '#', '&', '"']).next().unwrap_or_default())
        .map(|rest| rest.trim_start().split("  ").next().unwrap_or_default())
        .map(|rest| rest.split_whitespace().take_while(|word| *word != "--").collect())
        .collect()
}

/// Returns an option's name without its value; none if a word is no long option.
fn option(word: &str) -> Option<&str> {
    let name =
        word.strip_prefix("--").filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))?;
    let end = name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-').unwrap_or(name.len());
    Some(&name[..end])
}

fn takes(verb: &Command, option: &str) -> bool {
    ["help", "version"].contains(&option)
        || verb.get_arguments().any(|known| known.get_long() == Some(option))
}

/// Says whether any verb takes an option.
fn is_known(command: &Command, option: &str) -> bool {
    takes(command, option) || command.get_subcommands().any(|verb| is_known(verb, option))
}

/// Returns what is wrong with a command that people are told to type.
fn wrong(words: &[&str], all: &Command) -> Option<String> {
    let (mut verb, mut is_value, mut is_done) = (all, false, false);
    for word in words {
        // A word in capitals, and an ellipsis, stand for others.
        let is_name = word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
        if let Some(option) = option(word) {
            if !takes(verb, option) {
                return Some(format!("{} takes no --{option}", verb.get_name()));
            }
            let known = verb.get_arguments().find(|known| known.get_long() == Some(option));
            is_value = known.is_some_and(|known| known.get_action().takes_values()) && !word.contains('=');
        } else if std::mem::take(&mut is_value) || word.starts_with('-') || is_done {
            continue;
        } else if let Some(found) = verb.find_subcommand(word) {
            verb = found;
        } else if is_name && verb.has_subcommands() && verb.get_positionals().next().is_none() {
            return Some(format!("{} has no verb {word}", verb.get_name()));
        } else {
            // What stands for itself; behind a machine's name, its guest's own command.
            is_done = true;
            if verb.get_positionals().any(clap::Arg::is_trailing_var_arg_set) {
                return None;
            }
        }
    }
    None
}

#[test]
fn every_verb_and_option_that_a_page_names_is_one_of_the_program() {
    let mut all = Cli::command();
    all.build();
    let (mut found, mut seen) = (Vec::new(), 0);
    for (name, page) in pages() {
        for code in code(&page) {
            for words in commands(code) {
                seen += 1;
                found.extend(wrong(&words, &all).map(|wrong| format!("{name}: {code}: {wrong}")));
            }
            // Alone in a span an option is ours, unless the page tells of what other tools call it.
            let alone = code.starts_with("--").then(|| code.split_whitespace().next().and_then(option));
            if let Some(option) = alone.flatten()
                && !is_known(&all, option)
                && !peers::has_option(&format!("--{option}"))
            {
                found.push(format!("{name}: {code}: no verb takes --{option}"));
            }
        }
    }
    assert!(seen > 100, "the commands are found: {seen}");
    assert_eq!(found.join("\n"), "");
}

#[test]
fn what_is_no_verb_or_no_option_is_noticed() {
    let mut all = Cli::command();
    all.build();
    let said = |line: &str| commands(line).iter().find_map(|words| wrong(words, &all));
    for good in [
        "fusionlab up --yes --sim",
        "$ fusionlab --lab FILE destroy",
        "source <(fusionlab completions zsh)",
        "fusionlab ssh k8s-master1 sudo crictl ps -a --name etcd",
        "fusionlab exec --all -- ls --color",
        "fusionlab help VERB",
        "fusionlab network apply --yes | cat --banana",
        "fusionlab names    have it ask",
        "written by fusionlab for you --banana",
    ] {
        assert_eq!(said(good), None, "{good}");
    }
    for bad in ["fusionlab fly", "fusionlab network fly", "fusionlab up --banana", "$ fusionlab status --yes"]
    {
        assert!(said(bad).is_some(), "{bad}");
    }
}
