//! What the documents promise is what the source says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
