//! What was typed and cannot be understood, in the words and forms of every other error.

mod arguments;

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::builder::{FalseyValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ColorChoice as ClapColor, Command};

use super::error::{Failure, Kind, Report};
use super::peers;
use super::terminal::{ColorChoice, Terminal};
use super::words::either;
use arguments::{Named, as_typed, in_words, lacking, named_by};

const PROGRAM: &str = "fusionlab";

/// Verbs that mean a whole lab and take no word, behind which somebody may type a lab's name.
const OF_ONE_LAB: [&str; 6] = ["up", "plan", "status", "verify", "destroy", "kubeconfig"];

/// What the words say of the answer's form, read before they can be read in full.
pub struct Wished {
    color: ColorChoice,
    plain: bool,
    json: bool,
}

impl Wished {
    /// Reads the arguments; `plain` is `FUSIONLAB_PLAIN`.
    pub fn of(args: &[OsString], plain: Option<&OsStr>) -> Self {
        let words: Vec<_> =
            args.iter().map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--").collect();
        let said = |option: &str, value: &str| {
            words.iter().any(|word| *word == format!("{option}={value}"))
                || words.windows(2).any(|pair| pair[0] == option && pair[1] == value)
        };
        let is_set =
            |text: &OsStr| FalseyValueParser::new().parse_ref(&Command::new(""), None, text).unwrap_or(true);
        Self {
            color: match () {
                () if said("--color", "never") => ColorChoice::Never,
                () if said("--color", "always") => ColorChoice::Always,
                () => ColorChoice::Auto,
            },
            plain: plain.is_some_and(is_set) || words.iter().any(|word| word == "--plain"),
            json: said("--output", "json"),
        }
    }

    /// Returns the terminal as it is wished for.
    pub fn terminal(&self) -> Terminal {
        Terminal::detect(self.color, self.plain)
    }

    /// Returns the colours of the help, which clap prints before there are options.
    pub fn help_colors(&self) -> ClapColor {
        match self.color {
            ColorChoice::Never => ClapColor::Never,
            _ if self.plain => ClapColor::Never,
            ColorChoice::Always => ClapColor::Always,
            ColorChoice::Auto => ClapColor::Auto,
        }
    }
}

/// Answers what clap did not take: help and version as wished for, and all else as an error.
pub fn answer(error: &clap::Error, args: &[OsString], wished: &Wished, mut command: Command) -> ExitCode {
    let path = path(&command, args);
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code()));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody may be left to read it.
            let _ = error.print();
            return code;
        }
        // With a variable of ours in the environment, clap sees something that was said.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
            if !wished.json =>
        {
            let help = help(&mut command, &path, wished.terminal().err.color);
            // Nobody may be left to read it.
            let _ = write!(std::io::stderr(), "{help}");
            return code;
        }
        // Behind a verb that has verbs of its own, as others take it there.
        ErrorKind::InvalidSubcommand if texts(error, ContextKind::InvalidSubcommand) == ["help"] => {
            let help = help(&mut command, &path, wished.terminal().out.color);
            let _ = write!(std::io::stdout(), "{help}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // By this each verb has every verb's options, too.
    command.build();
    let report = report(error, &command, &path, args);
    super::tell(&Failure::from(report), wished.json, &wished.terminal().err);
    code
}

/// Returns the short help of a verb that lacks its own verb.
fn help(command: &mut Command, path: &[String], in_colour: bool) -> String {
    command.build();
    let mut verb = command;
    for word in path {
        verb = verb.find_subcommand_mut(word).expect("the path was found among the verbs");
    }
    let help = verb.render_help();
    if in_colour { help.ansi().to_string() } else { help.to_string() }
}

/// Returns the verbs that were named, from the outermost to the last that there is.
fn path(command: &Command, args: &[OsString]) -> Vec<String> {
    let (mut verb, mut path, mut is_value) = (command, Vec::new(), false);
    for word in args.iter().skip(1).map(|arg| arg.to_string_lossy()) {
        if word == "--" {
            break;
        }
        if std::mem::take(&mut is_value) {
            continue;
        }
        if let Some(option) = word.strip_prefix("--") {
            let known = command.get_arguments().chain(verb.get_arguments());
            is_value = known
                .filter(|known| known.get_long() == Some(option))
                .any(|known| known.get_action().takes_values());
        } else if let Some(found) = verb.find_subcommand(word.as_ref()) {
            path.push(found.get_name().to_owned());
            verb = found;
        }
    }
    path
}

/// Returns the report of what clap says, about the verb of this path.
fn report(error: &clap::Error, command: &Command, path: &[String], args: &[OsString]) -> Report {
    let verb = std::iter::once(PROGRAM).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let text = |kind| texts(error, kind).into_iter().next();
    let argument = || text(ContextKind::InvalidArg).unwrap_or_default();
    let option = || as_typed(&argument());
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let cannot_be = || match named_by(&argument()) {
        Named::Option(option) => format!("{option} cannot be \"{value}\""),
        Named::Word(word) => format!("\"{value}\" is no {}", word.to_lowercase()),
    };
    let report = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            return no_such_verb(
                &text(ContextKind::InvalidSubcommand).unwrap_or_default(),
                error,
                path,
                &verb,
            );
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Report::usage(format!("\"{verb}\" needs a verb that says what to do"))
        }
        ErrorKind::UnknownArgument if argument().starts_with('-') => {
            let report = Report::usage(format!("\"{verb}\" has no option {}", argument()));
            peers::advise_option(report, &option(), named(command, path), path)
        }
        ErrorKind::UnknownArgument => {
            let report = Report::usage(format!("\"{verb}\" takes no \"{}\"", argument()));
            let report = joined(report, &argument(), command, path, args);
            if report.fix.is_empty() && path.first().is_some_and(|verb| OF_ONE_LAB.contains(&verb.as_str())) {
                by_its_file(report, path)
            } else {
                report
            }
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => {
            lacking(&verb, &texts(error, ContextKind::InvalidArg), named(command, path))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            could_be(Report::usage(format!("{} needs a value", option())), error)
        }
        ErrorKind::InvalidValue => {
            could_be(joined(Report::usage(cannot_be()), &value, command, path, args), error)
        }
        ErrorKind::ValueValidation => {
            let report = meaning(Report::usage(cannot_be()), &option(), named(command, path));
            match error.source() {
                Some(reason) => report.because(in_words(&reason.to_string())),
                None => report,
            }
        }
        ErrorKind::ArgumentConflict if error.get(ContextKind::PriorArg).is_some() => {
            let others: Vec<String> =
                texts(error, ContextKind::PriorArg).iter().map(|other| as_typed(other)).collect();
            Report::usage(format!("\"{verb}\" takes {} or {}, not both", option(), either(&others, "or")))
                .advise("leave one of them out")
        }
        _ => Report::usage(first_words(error)),
    };
    report.advise("what it takes is told by:").run(help_on(path))
}

/// Says what an option is for: it may have been taken for another.
fn meaning(report: Report, option: &str, verb: &Command) -> Report {
    let is_it =
        |known: &&clap::Arg| known.get_long().is_some_and(|long| option.strip_prefix("--") == Some(long));
    match verb.get_arguments().find(is_it).and_then(clap::Arg::get_help) {
        Some(help) => report.advise(format!("{option} says: {help}")),
        None => report,
    }
}

/// Advises to join a word to the option before it, where that takes its value only so.
fn joined(report: Report, word: &str, command: &Command, path: &[String], args: &[OsString]) -> Report {
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let before = words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].strip_prefix("--"));
    let takes_it = |option: &&str| {
        let verb = named(command, path);
        verb.get_arguments().any(|known| known.get_long() == Some(*option) && known.is_require_equals_set())
    };
    match before.filter(takes_it) {
        Some(option) => report.advise(format!("its value stands behind an equals sign: --{option}={word}")),
        None => report,
    }
}

/// Adds how a lab is named, which has no word of its own behind a verb.
fn by_its_file(report: Report, path: &[String]) -> Report {
    report
        .advise("a lab is named by its file; which labs there are, and where their files, is told by:")
        .run(format!("{PROGRAM} list"))
        .advise("then:")
        .run(format!("{PROGRAM} --lab FILE {}", path.join(" ")))
}

/// Returns the verb that a path leads to.
fn named<'a>(command: &'a Command, path: &[String]) -> &'a Command {
    path.iter()
        .fold(command, |verb, word| verb.find_subcommand(word).expect("the path was found among the verbs"))
}

/// Returns the command that tells what a verb takes, or which verbs there are.
fn help_on(path: &[String]) -> String {
    [PROGRAM, "help"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// Adds which values there are.
fn could_be(report: Report, error: &clap::Error) -> Report {
    let valid = texts(error, ContextKind::ValidValue);
    let value = texts(error, ContextKind::InvalidValue).concat();
    let meant = texts(error, ContextKind::SuggestedValue);
    let report = match meant.iter().find(|meant| peers::is_like(&value, meant)) {
        Some(meant) => report.advise(format!("did you mean {meant}?")),
        None => report,
    };
    if valid.is_empty() { report } else { report.advise(format!("it can be {}", either(&valid, "or"))) }
}

fn no_such_verb(word: &str, error: &clap::Error, path: &[String], verb: &str) -> Report {
    let report = Report::usage(format!("there is no verb \"{word}\""));
    let report = if path.is_empty() {
        report
    } else {
        Report { what: format!("\"{verb}\" has no verb \"{word}\""), ..report }
    };
    let is_ours = |(words, ..): &(&[&str], &str)| path.is_empty() && words.contains(&word);
    if let Some((_, ours)) = peers::VERBS.iter().find(|peers| is_ours(peers)) {
        return report.advise("here it is:").run(format!("{PROGRAM} {ours}"));
    }
    let meanwhile = peers::NOT_YET.iter().find(|(words, ..)| path.is_empty() && words.contains(&word));
    if let Some((_, meanwhile, ours)) = meanwhile {
        let report = Report { what: format!("there is no verb \"{word}\" yet"), ..report };
        return report.advise(*meanwhile).run(format!("{PROGRAM} {ours}"));
    }
    let mut report = report;
    let mut meant = texts(error, ContextKind::SuggestedSubcommand);
    meant.retain(|meant| peers::is_like(word, meant));
    if !meant.is_empty() {
        report = report.advise("did you mean:");
        // clap has the likeliest last.
        for meant in meant.iter().rev() {
            report = report.run(format!("{verb} {meant}"));
        }
    }
    report.advise("all are listed by:").run(help_on(path))
}

/// Returns what clap says of one side of an error.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// Returns clap's own sentence, for what is said too seldom to have one of ours.
fn first_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    paragraph.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::error::Fix;
    use super::*;
    use crate::cli::Cli;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    /// What is said of a command line that clap refuses: what it is, and all that is advised.
    fn said(line: &str) -> (String, String) {
        let args = words(line);
        let mut command = Cli::command();
        let path = path(&command, &args);
        let error = command.try_get_matches_from_mut(&args).unwrap_err();
        command.build();
        let report = report(&error, &command, &path, &args);
        assert!(!report.fix.is_empty(), "each says what to do: {report:?}");
        assert_eq!((report.id, report.kind), ("usage", Kind::Usage));
        let fix = report.fix.iter().map(|fix| match fix {
            Fix::Say(words) | Fix::Run(words) => words.clone(),
        });
        (report.what.clone(), fix.chain(report.why.clone()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn verbs_of_peers_lead_to_ours() {
        for (word, ours) in
            [("ps", "status"), ("create", "up"), ("rm", "destroy"), ("start", "up"), ("shell", "ssh")]
        {
            let (what, fix) = said(&format!("fusionlab {word}"));
            assert_eq!(what, format!("there is no verb \"{word}\""));
            assert_eq!(fix, format!("here it is:; fusionlab {ours}"));
        }
        let (what, fix) = said("fusionlab stop");
        assert!(what.ends_with("\"stop\" yet") && fix.ends_with("fusionlab up"), "{what} {fix}");
    }

    #[test]
    fn no_verb_of_peers_is_one_of_ours_and_all_that_is_advised_there_is() {
        let verbs = Cli::command();
        let of_peers = peers::VERBS.iter().map(|(words, ours)| (*words, *ours));
        for (words, ours) in of_peers.chain(peers::NOT_YET.iter().map(|(words, _, ours)| (*words, *ours))) {
            let first = ours.split(' ').next().unwrap();
            assert!(first.starts_with("--") || verbs.find_subcommand(first).is_some(), "{ours}");
            for word in words {
                assert!(verbs.find_subcommand(word).is_none(), "{word} is a verb of ours");
            }
        }
    }

    #[test]
    fn what_was_likely_meant_comes_first() {
        let (what, fix) = said("fusionlab stauts");
        assert_eq!(what, "there is no verb \"stauts\"");
        assert!(fix.starts_with("did you mean:; fusionlab status; "), "{fix}");
        let (what, fix) = said("fusionlab sim falt");
        assert_eq!(what, "\"fusionlab sim\" has no verb \"falt\"");
        assert!(fix.starts_with("did you mean:; fusionlab sim fault"), "{fix}");
        assert!(fix.ends_with("fusionlab help sim"), "{fix}");
        let (what, fix) = said("fusionlab up --yess");
        assert_eq!(what, "\"fusionlab up\" has no option --yess");
        assert!(fix.starts_with("did you mean --yes?"), "{fix}");
    }

    #[test]
    fn what_is_wrong_with_a_value_or_a_word_is_told_by_its_name() {
        for (line, whole, part) in [
            ("fusionlab plan --output yaml", "--output cannot be \"yaml\"", "it can be text, json or junit"),
            ("fusionlab plan --output", "--output needs a value", "it can be text, json or junit"),
            ("fusionlab exec --all --limit never -- true", "--limit cannot be \"never\"", "30s"),
            (
                "fusionlab ssh",
                "\"fusionlab ssh\" lacks the machine, such as gateway1",
                "such as:; fusionlab ssh gateway1",
            ),
            (
                "fusionlab cp notes.txt",
                "\"fusionlab cp\" lacks what to copy, and in the end where to",
                "such as:; fusionlab cp notes.txt gateway1:",
            ),
            ("fusionlab drill gateway-vn", "\"gateway-vn\" is no scenario", "did you mean gateway-vm?"),
            ("fusionlab up --sim-speed 0", "--sim-speed cannot be \"0\"", "it is a whole number from 1 on"),
            ("fusionlab logs -n many", "--lines cannot be \"many\"", "it is a whole number"),
            ("fusionlab status all", "\"fusionlab status\" takes no \"all\"", "fusionlab help status"),
            (
                "fusionlab destroy mylab",
                "\"fusionlab destroy\" takes no \"mylab\"",
                "fusionlab --lab FILE destroy",
            ),
            (
                "fusionlab ssh --config gateway1",
                "\"fusionlab ssh\" takes --config or MACHINE, not both",
                "leave one of them out",
            ),
        ] {
            let (what, fix) = said(line);
            assert_eq!(what, whole, "{line}");
            assert!(fix.contains(part), "{line}: {fix}");
        }
    }

    #[test]
    fn a_value_that_must_be_joined_to_its_option_is_shown_joined() {
        let (_, fix) = said("fusionlab drill --wait 5m");
        assert!(fix.contains("an equals sign: --wait=5m"), "{fix}");
        let (_, fix) = said("fusionlab network restore a --wait 5m");
        assert!(fix.contains("an equals sign: --wait=5m"), "{fix}");
        let (_, fix) = said("fusionlab plan --output 5m");
        assert!(!fix.contains("equals sign"), "{fix}");
    }

    #[test]
    fn options_of_peers_and_nonsense_are_told_apart() {
        let (what, fix) = said("fusionlab status --json");
        assert_eq!(what, "\"fusionlab status\" has no option --json");
        assert!(fix.starts_with("here it is --output json") && !fix.contains("--fusion"), "{fix}");
        let (_, fix) = said("fusionlab status -o json");
        assert!(fix.starts_with("here it is --output json"), "{fix}");
        let (_, fix) = said("fusionlab --json");
        assert!(fix.starts_with("here it is --output json"), "{fix}");
        let (_, fix) = said("fusionlab banana");
        assert!(!fix.contains("did you mean"), "{fix}");
    }

    #[test]
    fn a_command_that_is_lacking_is_told_where_it_belongs() {
        let (what, fix) = said("fusionlab exec gateway1");
        assert!(what.starts_with("\"fusionlab exec\" lacks "), "{what}");
        assert!(fix.contains("such as:; fusionlab exec gateway1 -- "), "{fix}");
    }

    #[test]
    fn the_verb_is_found_behind_options_and_their_values() {
        let path = |line: &str| path(&Cli::command(), &words(line)).join(" ");
        assert_eq!(path("fusionlab --lab up --sim network --home x show"), "network show");
        assert_eq!(path("fusionlab exec gateway1 -- up"), "exec");
        assert_eq!(path("fusionlab"), "");
    }

    #[test]
    fn the_form_of_the_answer_is_known_before_the_words_are_understood() {
        let wished = |line: &str, plain: Option<&str>| Wished::of(&words(line), plain.map(OsStr::new));
        assert_eq!(wished("fusionlab up --help", None).help_colors(), ClapColor::Auto);
        assert_eq!(wished("fusionlab up --help", Some("0")).help_colors(), ClapColor::Auto);
        assert_eq!(wished("fusionlab help --color always", None).help_colors(), ClapColor::Always);
        for (line, plain) in [
            ("fusionlab --plain help", None),
            ("fusionlab help", Some("1")),
            ("fusionlab help --color=never", None),
            ("fusionlab --color never --help", None),
        ] {
            assert_eq!(wished(line, plain).help_colors(), ClapColor::Never, "{line}");
        }
        assert!(
            wished("fusionlab fly --output json", None).json && wished("fusionlab --output=json", None).json
        );
        assert!(!wished("fusionlab exec --all -- kubectl get pods --output json", None).json);
    }
}
