//! Every error that the program can report is explained, and every explanation is of an error that it can report.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a report is made by, before its id: the lab file's problems are one of their own form.
const MAKERS: [&str; 5] = ["Report::new(", "Self::new(", "report(", "Report { id: ", "\"id\": "];

/// What the sources below a folder say, the explanations of errors left out.
#[derive(Default)]
struct Sources {
    code: Vec<String>,
    /// Tests, and the screens that they agree on.
    tests: Vec<String>,
}

impl Sources {
    fn of(folder: &str) -> Self {
        let mut sources = Self::default();
        sources.collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        sources
    }

    fn collect(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                if !path.ends_with("error/catalogue") {
                    self.collect(&path);
                }
                continue;
            }
            // What holds bytes of another kind is no test that names an error.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let (code, test) = text.split_once("#[cfg(test)]\nmod ").unwrap_or((&text, ""));
            let all_is_test = path.ends_with("tests.rs");
            self.tests.push(if all_is_test { text.clone() } else { test.to_owned() });
            if !all_is_test {
                self.code.push(code.to_owned());
            }
        }
    }
}

fn is_id(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
}

/// Returns the ids that are written where a report is made.
fn made(code: &str) -> BTreeSet<String> {
    let calls = MAKERS.iter().flat_map(|maker| code.split(maker).skip(1));
    let first = |call: &str| call.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned);
    calls.filter_map(first).filter(|word| is_id(word)).collect()
}

/// Returns what is explained: a unit test holds `docs/errors.md` to the catalogue.
fn explained() -> BTreeSet<String> {
    let page = include_str!("../docs/errors.md");
    let errors = page.split("## Errors by id").nth(1).expect("the page has errors");
    let errors = errors.split("## Rules of the lab file").next().unwrap_or_default();
    errors.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect()
}

#[test]
fn every_error_is_explained_and_every_explanation_is_of_an_error() {
    let made: BTreeSet<String> = Sources::of("src/cli").code.iter().flat_map(|code| made(code)).collect();
    let explained = explained();
    assert!(made.len() > 40 && explained.len() > 40, "they are found: {made:?}, {explained:?}");
    let unexplained: Vec<_> = made.difference(&explained).collect();
    assert!(unexplained.is_empty(), "without an explanation: {unexplained:?}");
    let never: Vec<_> = explained.difference(&made).collect();
    assert!(never.is_empty(), "explained, and made nowhere: {never:?}");
}

#[test]
fn every_error_is_looked_for_by_a_test() {
    let within = Sources::of("src/cli").tests;
    let around = Sources::of("tests");
    // This file names some of its own.
    let all =
        within.iter().chain(&around.code).chain(&around.tests).filter(|text| !text.contains("fn is_id("));
    let tests = all.map(String::as_str).collect::<Vec<_>>().join("\n");
    let missing: Vec<String> = explained().into_iter().filter(|id| !tests.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "no test sees them: {missing:?}");
}

#[test]
fn ids_are_found_where_reports_are_made() {
    let code = "Report::new(\n    \"a-b\", Kind::Usage, what); let report = report(\"c\").because(\"no id\"); new(\"d\")";
    assert_eq!(made(code), BTreeSet::from(["a-b".to_owned(), "c".to_owned()]));
}

/// Returns the statements of the code that begin a report of wrong usage and neither advise anything nor leave it to what follows.
fn without_advice(code: &str) -> Vec<String> {
    let advises =
        |rest: &str| [".advise(", ".run(", "joined(", "could_be("].iter().any(|call| rest.contains(call));
    let mut found = Vec::new();
    for maker in ["Report::usage(", "Self::usage("] {
        for (at, _) in code.match_indices(maker) {
            let rest = &code[at..];
            // A report that is given a name, or is one of several, is advised further down, in the same function.
            let line = code[..at].rsplit('\n').next().unwrap_or_default();
            let is_named = ["let ", "=>", "could_be("].iter().any(|sign| line.contains(sign))
                || line.trim().is_empty() && code[..at].trim_end().ends_with(['{', '=', '>', ';']);
            let end = if is_named { rest.find("\n}") } else { rest.find(';') };
            let statement = &rest[..end.unwrap_or(rest.len())];
            if !advises(statement) {
                found.push(statement.lines().take(3).collect::<Vec<_>>().join("\n"));
            }
        }
    }
    found
}

#[test]
fn every_wrong_usage_says_what_to_do() {
    let code = Sources::of("src/cli").code;
    assert!(code.iter().map(|code| code.matches("Report::usage(").count()).sum::<usize>() > 30);
    let found: Vec<String> = code.iter().flat_map(|code| without_advice(code)).collect();
    assert!(found.is_empty(), "without advice:\n{}", found.join("\n\n"));
    assert_eq!(
        without_advice("return Err(Report::usage(what).into());").len(),
        1,
        "the test sees what it is for"
    );
}
