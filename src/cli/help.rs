//! `fusionlab help`: what `--help` behind a verb prints, by that verb's name.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Command};

use super::candidates;
use super::usage::{self, Wished};

const PROGRAM: &str = "fusionlab";

/// Say what a verb does and what it takes, or list all verbs
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab help                  all verbs
  fusionlab help up               one of them
  fusionlab help network apply    one that stands behind another")]
pub struct HelpArgs {
    /// The verb, with its own verb if it has some
    #[arg(add = candidates::verbs(), value_name = "VERB")]
    verbs: Vec<String>,
}

/// Prints the help that was asked for, or says that there is no such verb.
pub fn answer(args: &HelpArgs, wished: &Wished, command: Command) -> ExitCode {
    let words = asked(&args.verbs, &command);
    let error = command.clone().try_get_matches_from(&words).expect_err("help is never a match");
    usage::answer(&error, &words, wished, command)
}

/// Returns the command line that has the same answer: the verbs that there are, the first word that is none where a verb of its own
/// is wanted, and `--help`.
fn asked(verbs: &[String], command: &Command) -> Vec<OsString> {
    let mut words = vec![PROGRAM];
    let mut verb = command;
    for word in verbs {
        if !verb.has_subcommands() {
            break;
        }
        words.push(word);
        let Some(found) = verb.find_subcommand(word) else { break };
        verb = found;
    }
    words.push("--help");
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::super::Cli;
    use super::*;

    #[test]
    fn a_verbs_help_is_what_help_behind_it_prints_and_a_word_that_is_none_is_refused() {
        let kind = |line: &str| {
            let verbs: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let command = Cli::command();
            command.clone().try_get_matches_from(asked(&verbs, &command)).unwrap_err().kind()
        };
        for line in ["", "up", "help", "network", "network apply", "up banana", "ssh gateway1 -- ls", "names"]
        {
            assert_eq!(kind(line), ErrorKind::DisplayHelp, "{line}");
        }
        for line in ["banana", "network banana", "--help-me"] {
            assert_ne!(kind(line), ErrorKind::DisplayHelp, "{line}");
        }
    }
}
