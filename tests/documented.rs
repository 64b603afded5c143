//! What the documents promise is what the source says.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Returns every schema name (`fusionlab.plan/1`) in a text, between quotes or backticks.
fn schemas(text: &str) -> BTreeSet<String> {
    let words = text.split(['"', '`']);
    let names = words.filter(|word| {
        let rest = word.strip_prefix("fusionlab.").and_then(|rest| rest.split_once('/'));
        rest.is_some_and(|(name, version)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase())
                && !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    names.map(str::to_owned).collect()
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.extend(schemas(&fs::read_to_string(&path).expect("a source is text")));
        }
    }
}

#[test]
fn every_json_schema_is_documented_and_exists() {
    let mut in_source = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"), &mut in_source);
    assert!(in_source.len() > 10, "the schemas are found: {in_source:?}");
    assert_eq!(schemas(include_str!("../docs/json.md")), in_source);
}

/// Returns the pages that people read: README, CONTRIBUTING and those in docs/.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let listed = fs::read_dir(root.join("docs")).expect("docs/ can be read");
    paths.extend(listed.map(|entry| entry.expect("docs/ can be read").path()));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    let page = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page can be read");
        (path.strip_prefix(root).expect("it is below").display().to_string(), text)
    };
    paths.into_iter().map(page).collect()
}

/// Returns where a page's links lead, without what lies elsewhere on the net.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace)).collect()
}

#[test]
fn every_link_leads_to_a_file_and_every_fragment_to_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dead = Vec::new();
    for (name, text) in pages() {
        let folder = root.join(&name).parent().expect("a page lies in a folder").to_owned();
        for link in links(&text) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root.join(&name) } else { folder.join(file) };
            let is_there = if fragment.is_empty() {
                target.exists()
            } else {
                let anchors = fs::read_to_string(&target).unwrap_or_default();
                anchors.lines().any(|line| line.starts_with('#') && anchor(line) == fragment)
            };
            if !is_there {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

/// Returns a heading's fragment, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_error_is_found_by_what_people_see() {
    let text = |name: &str| pages().into_iter().find(|(page, _)| page == name).expect("it is a page").1;
    let (errors, by_sight) = (text("docs/errors.md"), text("docs/troubleshooting.md"));
    let of_runs = errors.split("## Errors by id").nth(1).and_then(|rest| rest.split("\n## ").next());
    let ids = of_runs.expect("errors.md has that part").lines().filter_map(|line| line.strip_prefix("### "));
    let missing: Vec<&str> = ids.filter(|id| !by_sight.contains(&format!("(errors.md#{id})"))).collect();
    assert_eq!(missing, Vec::<&str>::new(), "docs/troubleshooting.md lacks them");
}

/// Addresses that the document's lab does not have, and what pages name them for.
const OF_OTHERS: [(&str, &str); 12] = [
    ("10.0.0.0", "the private networks, and Cilium's own default"),
    ("172.16.0.0", "the private networks"),
    ("192.168.0.0", "the private networks"),
    ("100.64.0.0", "the private networks"),
    ("10.10.0.31", "a place below the DHCP pool"),
    ("10.10.0.32", "a place below the DHCP pool"),
    ("10.10.0.33", "a place below the DHCP pool"),
    ("10.10.0.41", "a place below the DHCP pool"),
    ("10.10.0.42", "a place below the DHCP pool"),
    ("10.96.0.1", "the API's Service"),
    ("127.0.0.1", "a guest's own"),
    ("198.18.0.1", "the simulated internet"),
];

#[test]
fn pages_name_the_labs_own_addresses_and_no_others() {
    let all = pages();
    let generated = &all.iter().find(|(name, _)| name == "docs/networking.md").expect("it is a page").1;
    let is_address = |word: &&str| word.parse::<Ipv4Addr>().is_ok();
    let known: BTreeSet<&str> = words(generated).filter(is_address).collect();
    let foreign: BTreeSet<&str> = OF_OTHERS.iter().map(|(address, _)| *address).collect();
    assert_eq!(known.intersection(&foreign).collect::<Vec<_>>(), Vec::<&&str>::new(), "they are the lab's");
    let is_mask = |word: &&str| word.starts_with("255.");
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for (name, text) in &all {
        for word in words(text).filter(|word| is_address(word) && !is_mask(word) && !known.contains(word)) {
            if foreign.contains(word) {
                used.insert(word);
            } else {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(foreign.difference(&used).collect::<Vec<_>>(), Vec::<&&str>::new(), "no page names them");
}

/// Returns a text's words, an address being one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    parts.map(|word| word.trim_matches('.'))
}
