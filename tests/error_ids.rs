//! Every error that the program can report is explained, and every explanation is of an error that it can report.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a report is made by, before its id.
const MAKERS: [&str; 3] = ["Report::new(", "Self::new(", "report("];

/// Returns every source below `src/cli` without its tests, and without the explanations.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            if !path.ends_with("error/catalogue") {
                sources(&path, found);
            }
        } else if !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            found.push(code.to_owned());
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

/// Returns every text of the code that could be an id.
fn written(code: &str) -> BTreeSet<String> {
    code.split('"').filter(|word| is_id(word)).map(str::to_owned).collect()
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
    let mut code = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"), &mut code);
    let made: BTreeSet<String> = code.iter().flat_map(|code| made(code)).collect();
    let written: BTreeSet<String> = code.iter().flat_map(|code| written(code)).collect();
    let explained = explained();
    assert!(made.len() > 40 && explained.len() > 40, "they are found: {made:?}, {explained:?}");
    let unexplained: Vec<_> = made.difference(&explained).collect();
    assert!(unexplained.is_empty(), "without an explanation: {unexplained:?}");
    let never: Vec<_> = explained.difference(&written).collect();
    assert!(never.is_empty(), "explained, and made nowhere: {never:?}");
}

#[test]
fn ids_are_found_where_reports_are_made() {
    let code = "Report::new(\n    \"a-b\", Kind::Usage, what); let report = report(\"c\").because(\"no id\"); new(\"d\")";
    assert_eq!(made(code), BTreeSet::from(["a-b".to_owned(), "c".to_owned()]));
}
