//! Help: all verbs under the headings by which people look for them, and `fusionlab help`, which prints what `--help` behind a
//! verb does.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Command};

use super::usage::{self, Wished};
use super::{candidates, words};

const PROGRAM: &str = "fusionlab";

/// All verbs in the order in which people meet them: the lab, what it has, help, and what it is made of.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Lab", &["init", "doctor", "plan", "up", "destroy"]),
    ("What stands", &["status", "list", "topology", "verify", "drill"]),
    ("Machines", &["ssh", "exec", "cp", "logs", "console"]),
    ("Cluster", &["kubeconfig", "names", "trust"]),
    ("Help", &["explain", "support", "help", "completions", "man"]),
    ("Parts", &["template", "image", "network", "render", "schema", "sim"]),
];

/// What a verb does is not broken to fewer columns than this.
const LEAST_TEXT: usize = 20;

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

/// Puts the verbs under their headings, which clap can do for options alone. `width` is what a line may have, in columns.
pub fn grouped(command: Command, width: usize) -> Command {
    let groups: String = GROUPS.iter().map(|group| listed(&command, group, width)).collect();
    // The options' heading is clap's own elsewhere; in a template they are one list.
    let options = heading(&command, "Options of every verb");
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{options}{{options}}{{after-help}}"
    ))
}

/// Returns a group with its heading, as clap lists verbs. Where colours are not wanted, clap takes them out.
fn listed(command: &Command, (name, verbs): &(&str, &[&str]), width: usize) -> String {
    let literal = command.get_styles().get_literal();
    let column = GROUPS.iter().flat_map(|(_, verbs)| *verbs).map(|verb| verb.len()).max().unwrap_or(0);
    let room = width.saturating_sub(column + "    ".len()).max(LEAST_TEXT);
    let below = " ".repeat(column);
    let mut lines = heading(command, name);
    for verb in verbs.iter().filter_map(|verb| command.find_subcommand(verb)) {
        let alias = verb.get_visible_aliases().map(|alias| format!(" [alias: {alias}]"));
        let about = verb.get_about().into_iter().map(ToString::to_string).chain(alias).collect::<String>();
        let name = format!("{literal}{:<column$}{literal:#}", verb.get_name());
        for (place, line) in words::wrap(&about, room).into_iter().enumerate() {
            let beside = if place == 0 { &name } else { &below };
            lines.push_str(&format!("  {beside}  {line}\n"));
        }
    }
    lines + "\n"
}

fn heading(command: &Command, name: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{name}:{style:#}\n")
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
    fn every_verb_stands_under_one_heading() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        assert_eq!(grouped, shown.map(Command::get_name).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_verb_does_goes_on_below_itself_where_there_is_little_room() {
        let help = grouped(Cli::command(), 60).render_help().to_string();
        let lines: Vec<&str> = help.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("  drill  ")).unwrap();
        assert_eq!(
            lines[at..at + 2],
            [
                "  drill        Lose a gateway, a worker, a control plane,",
                "               and measure who feels it"
            ]
        );
        assert!(help.contains("  list         List the labs of this Mac [alias: ls]"), "{help}");
        assert!(help.contains("\n\nMachines:\n  ssh "), "{help}");
    }

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
