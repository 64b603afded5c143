//! What clap says of arguments, in plain words: their names without its signs, what lacks, why a value is none.

use clap::{Arg, Command};

use crate::cli::error::Report;
use crate::cli::words::either;

/// What clap names an argument by.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    Option(String),
    /// The name of a word that stands for itself.
    Word(String),
}

/// Reads what clap calls an argument: `--limit <DURATION>`, `<MACHINE>`, `[SCENARIO]...`.
pub fn named_by(argument: &str) -> Named {
    if argument.starts_with('-') {
        return Named::Option(argument.split([' ', '=', '[']).next().unwrap_or_default().to_owned());
    }
    let inner = argument.trim_end_matches('.');
    let inner = ['[', '<'].iter().find_map(|sign| inner.strip_prefix(*sign)).unwrap_or(inner);
    Named::Word(inner.strip_suffix([']', '>']).unwrap_or(inner).to_owned())
}

/// Returns an argument as it is typed: an option without the name of its value, a word without clap's signs around it.
pub fn as_typed(argument: &str) -> String {
    match named_by(argument) {
        Named::Option(name) | Named::Word(name) => name,
    }
}

/// Returns the report of words that a verb cannot do without: what they are by its own help, and how it looks with them by the
/// first of its examples that has them.
pub fn lacking(verb: &str, missing: &[String], command: &Command) -> Report {
    let help_of = |argument: &Arg| argument.get_help().map(ToString::to_string);
    let mut said: Vec<String> = Vec::new();
    for name in missing {
        let known = command.get_arguments().find(|known| as_typed(&known.to_string()) == as_typed(name));
        let told = match (named_by(name), known.and_then(help_of)) {
            (Named::Option(option), _) => option,
            (Named::Word(_), Some(help)) => small(&help),
            (Named::Word(word), None) => word,
        };
        if !said.contains(&told) {
            said.push(told);
        }
    }
    let report = Report::usage(format!("\"{verb}\" lacks {}", either(&said, "and")));
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let line = examples.lines().map(str::trim_start).find(|line| {
        line.strip_prefix(verb).is_some_and(|rest| rest.starts_with(' ') && !rest.starts_with("  "))
    });
    match line.and_then(|line| line.split("  ").next()) {
        Some(example) => report.advise("such as:").run(example),
        None => report,
    }
}

/// Returns a sentence of the help as a fragment.
fn small(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// Returns in words why a value is none, where the reason is of clap's or of Rust's own parser.
pub fn in_words(reason: &str) -> String {
    if let Some((_, range)) = reason.split_once(" is not in ")
        && let Some((least, most)) = range.split_once("..=")
    {
        let bounds = [u64::from(u32::MAX), u64::from(u16::MAX), u64::MAX].into_iter();
        return if bounds.map(|bound| bound.to_string()).any(|bound| bound == most) {
            format!("it is a whole number from {least} on")
        } else {
            format!("it is a whole number from {least} to {most}")
        };
    }
    match reason {
        "invalid digit found in string" => "it is a whole number".to_owned(),
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sign_of_claps_is_left_around_a_name() {
        assert_eq!(named_by("--limit <DURATION>"), Named::Option("--limit".into()));
        assert_eq!(named_by("--wait[=<DURATION>]"), Named::Option("--wait".into()));
        for argument in ["<MACHINE>", "[MACHINE]", "[MACHINE]...", "<MACHINE>..."] {
            assert_eq!(named_by(argument), Named::Word("MACHINE".into()), "{argument}");
        }
        assert_eq!((as_typed(""), as_typed("é")), (String::new(), "é".to_owned()));
    }

    #[test]
    fn a_range_is_told_in_words() {
        assert_eq!(in_words("0 is not in 1..=4294967295"), "it is a whole number from 1 on");
        assert_eq!(in_words("9 is not in 0..=7"), "it is a whole number from 0 to 7");
        assert_eq!(in_words("such as 10m"), "such as 10m");
    }
}
