//! Every error's id with a sentence and an explanation: what `fusionlab explain` prints, and `docs/errors.md`.

mod cluster;
mod images;
mod machines;
mod networks;
mod runs;
mod simulated;

use super::Kind;

/// One explained id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    pub id: &'static str,
    pub summary: &'static str,
    pub explanation: &'static str,
}

const fn explained(id: &'static str, summary: &'static str, explanation: &'static str) -> Explained {
    Explained { id, summary, explanation }
}

/// What is explained, by area; each area's ids are sorted. Rules of the lab file stand in `lab::lint`.
const AREAS: &[&[Explained]] = &[
    cluster::CLUSTER,
    images::IMAGES,
    machines::MACHINES,
    networks::NETWORKS,
    runs::RUNS,
    simulated::SIMULATED,
];

/// Returns every error of the program, sorted by id.
pub fn errors() -> Vec<Explained> {
    let mut errors = AREAS.concat();
    errors.sort_by_key(|error| error.id);
    errors
}

/// Finds an error by its id.
#[cfg(test)]
pub fn find(id: &str) -> Option<&'static Explained> {
    AREAS.iter().copied().flatten().find(|error| error.id == id)
}

/// Returns the page `docs/errors.md`: exit codes, errors, and the lab file's rules.
pub fn page(rules: &[Explained]) -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Made by `fusionlab explain --page`; a test compares. -->\n\n\
         `fusionlab explain ID` prints one of these in the terminal.\n\n\
         ## Exit codes\n\n\
         | code | meaning |\n|---|---|\n| 0 | done |\n",
    );
    let mut rows: Vec<(u8, &str)> =
        Kind::TABLE.iter().map(|(kind, meaning)| (kind.exit_code(), *meaning)).collect();
    rows.push((super::Success::Changes.exit_code(), "the plan has changes (`plan --detailed-exitcode`)"));
    rows.sort_unstable();
    for (code, meaning) in rows {
        page.push_str(&format!("| {code} | {meaning} |\n"));
    }
    page.push_str("\n## Errors by id\n");
    errors().iter().for_each(|error| section(&mut page, error));
    if !rules.is_empty() {
        page.push_str("\n## Rules of the lab file\n");
        rules.iter().for_each(|rule| section(&mut page, rule));
    }
    page
}

fn section(page: &mut String, explained: &Explained) {
    page.push_str(&format!("\n### {}\n\n", explained.id));
    let mut letters = explained.summary.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    page.push_str(&format!("{first}{}.\n\n{}\n", letters.as_str(), explained.explanation));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_unique_and_easy_to_type() {
        assert!(AREAS.iter().all(|area| area.is_sorted_by_key(|error| error.id)));
        let errors = errors();
        assert!(errors.windows(2).all(|pair| pair[0].id < pair[1].id));
        for error in errors {
            assert!(error.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", error.id);
            assert!(!error.summary.ends_with('.') && error.explanation.ends_with('.'), "{}", error.id);
        }
    }

    /// `UPDATE_DOCS=1 cargo test --lib error::catalogue` writes it anew.
    #[test]
    fn the_page_in_docs_is_this_one() {
        let page = page(&crate::cli::calls::rules());
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            crate::host::files::write_atomic(&file, page.as_bytes(), 0o644).unwrap();
        }
        let stored = crate::host::files::read_text(&file).unwrap();
        assert!(stored == page, "docs/errors.md is not up to date: UPDATE_DOCS=1 writes it anew");
    }
}
