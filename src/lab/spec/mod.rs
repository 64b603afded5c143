//! The lab file `fusionlab.yaml`: its keys, read strictly, with every problem reported at once.
//!
//! `keys.rs` declares each key once. From that come the reader, the JSON Schema ([`schema`]),
//! the commented file (`super::presets`) and the reference `docs/lab-file.md`, which a test holds
//! complete. `tree` is YAML with places, `reader` walks it, `values` and `image_values` are the kinds of value, and
//! [`edit`] changes one key and leaves the rest of the file as it is.

pub mod edit;
mod image_values;
mod keys;
mod reader;
mod tree;
mod values;

use Usual::{Derived, Live};
use serde_json::{Value as Json, json};

use super::lint::rules;
use super::problem::{Problem, Severity};
pub use image_values::Mirror;
pub use keys::{ANY_NODE, ImageKeys, ImageSpec, NodeSpec, Spec};
pub use reader::{Fault, Word};
pub use reader::{Key, Origin, Usual, closest};
use reader::{Read, Reader};
pub use values::{AuthorizedKey, DnsName, Interface, Label, Vmnet};

/// A lab file that was read: what it says, where, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabFile {
    /// What could be read.
    pub spec: Spec,
    pub origin: Origin,
    /// In no order.
    pub problems: Vec<Problem>,
}

/// Reads a lab file. Keys with problems count as absent, so that the rest can be checked as well.
pub fn parse(text: &str) -> LabFile {
    let tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(problem) => return LabFile { problems: vec![problem], ..LabFile::default() },
    };
    let mut reader = Reader::default();
    let spec = match tree.value {
        tree::Value::Empty => Some(Spec::default()),
        _ => Spec::read(&tree, &mut reader),
    };
    let mut problems = reader.problems;
    if spec.is_some() && reader.origin.span("version").is_none() {
        let problem = rules::FILE_VERSION.problem(None, "the key version is missing");
        problems.push(problem.help("write `version: 1` as the first line"));
    }
    LabFile { spec: spec.unwrap_or_default(), origin: reader.origin, problems }
}

impl Spec {
    /// Returns the lab's name: the usual one where the file has none.
    pub fn lab_name(&self) -> String {
        self.name.as_ref().map_or_else(|| USUAL_NAME.to_owned(), |name| name.0.clone())
    }
}

/// The name of a lab whose file has none, and of the built-in lab.
pub const USUAL_NAME: &str = "lab";

/// Returns the name of the lab that a file's text means; none if the text is no lab file.
pub fn name_of(text: &str) -> Option<String> {
    let LabFile { spec, problems, .. } = parse(text);
    let is_one = !problems.iter().any(|problem| problem.severity == Severity::Error);
    is_one.then(|| spec.lab_name())
}

/// Returns every key of the lab file, each section before its keys.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    Spec::list_keys("", &mut keys);
    keys
}

/// Returns the JSON Schema of the lab file, which editors use for completion.
pub fn schema() -> Json {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fusionlab.yaml",
        "description": "A Kubernetes lab on VMware Fusion.",
    });
    if let (Some(whole), Json::Object(spec)) = (schema.as_object_mut(), Spec::schema()) {
        whole.extend(spec);
        whole.insert("type".to_owned(), json!("object"));
        whole.insert("required".to_owned(), json!(["version"]));
    }
    schema
}

/// Adds a key's meaning and usual value to the schema of its type. An empty value means the default.
fn described(schema: Json, doc: &str, usual: Usual) -> Json {
    let mut described = json!({ "description": doc.trim() });
    if let Live(text) | Derived(text) = usual {
        let is_text =
            schema["type"] == "string" || schema.get("enum").is_some() || schema.get("oneOf").is_some();
        described["default"] = match serde_saphyr::from_str::<Json>(text) {
            Ok(value) if !is_text => value,
            _ => json!(text),
        };
    }
    if let (Some(whole), Json::Object(schema)) = (described.as_object_mut(), schema) {
        whole.extend(schema);
    }
    described
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use Usual::Example;

    use super::*;

    /// Returns `a: {b: value}` for the path `a.b`.
    fn nested(path: &str, value: &str) -> String {
        match path.split_once('.') {
            Some((outer, inner)) => format!("{outer}: {{{}}}", nested(inner, value)),
            None => format!("{path}: {value}"),
        }
    }

    fn schema_paths(schema: &Json, path: &str, paths: &mut BTreeSet<String>) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = joined(path, key);
            schema_paths(inner, &path, paths);
            paths.insert(path);
        }
        if schema["additionalProperties"].is_object() {
            schema_paths(&schema["additionalProperties"], &joined(path, ANY_NODE), paths);
        }
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            schema_paths(choice, path, paths);
        }
    }

    #[test]
    fn the_schema_has_exactly_the_keys_that_the_reader_accepts() {
        let mut paths = BTreeSet::new();
        schema_paths(&schema(), "", &mut paths);
        let listed: BTreeSet<_> = keys().into_iter().map(|key| key.path).collect();
        assert_eq!(paths, listed);
        for path in &listed {
            let file = parse(&nested(&path.replace(ANY_NODE, "gateway1"), "~"));
            let unknown: Vec<_> = file.problems.iter().filter(|found| found.rule == "unknown-key").collect();
            assert!(unknown.is_empty(), "{path}: {unknown:?}");
        }
    }

    #[test]
    fn the_reference_has_a_row_for_every_key_with_its_default() {
        let reference = include_str!("../../../docs/lab-file.md");
        for key in keys() {
            let row = match key.usual {
                Usual::Section => format!("## `{}`", key.path),
                _ => format!("| `{}` |", key.path),
            };
            let line = reference.lines().find(|line| line.starts_with(&row));
            let line = line.unwrap_or_else(|| panic!("docs/lab-file.md has no {row}"));
            let usual = match key.usual {
                Live(text) | Derived(text) => format!("| `{text}`"),
                Usual::Limit(seconds) => format!("| `{seconds}`"),
                Usual::Section | Example(_) => continue,
            };
            assert!(line.contains(&usual), "{line} does not say {usual}");
        }
    }

    #[test]
    fn the_reference_names_the_values_that_the_schema_has() {
        let reference = include_str!("../../../docs/lab-file.md");
        let whole = schema();
        let mut compared = 0;
        for key in keys() {
            let of_key = key.path.split('.').fold(&whole, |schema, part| match part {
                ANY_NODE => &schema["additionalProperties"],
                part => &schema["properties"][part],
            });
            let row = format!("| `{}` |", key.path);
            let Some(line) = reference.lines().find(|line| line.starts_with(&row)) else { continue };
            let values = line.split(" | ").nth(1).unwrap();
            let named: Vec<&str> =
                of_key["enum"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            if !named.is_empty() {
                let said: Vec<&str> = values.split('`').skip(1).step_by(2).collect();
                assert_eq!(said, named, "{line}");
                compared += 1;
            }
            let (least, most) = (&of_key["minimum"], &of_key["maximum"]);
            if values.starts_with("number, ") || values.starts_with("seconds, ") {
                let numbers: Vec<&str> =
                    values.split(|letter: char| !letter.is_ascii_digit() && letter != '.').collect();
                let numbers: Vec<&str> = numbers.into_iter().filter(|part| !part.is_empty()).collect();
                let said = (numbers.first().copied(), numbers.last().copied());
                let (least, most) = (least.to_string(), most.to_string());
                assert_eq!(said, (Some(least.as_str()), Some(most.as_str())), "{line}");
                compared += 1;
            }
        }
        assert!(compared > 10, "{compared} rows name values");
    }

    #[test]
    fn the_reference_has_no_other_keys() {
        let reference = include_str!("../../../docs/lab-file.md");
        let known: Vec<_> = keys().into_iter().map(|key| key.path).collect();
        let tables = reference.split_once("## Top level").unwrap().1;
        for row in tables.lines().filter_map(|line| line.strip_prefix("| `")) {
            let path = row.split('`').next().unwrap();
            assert!(known.iter().any(|key| key == path), "{path}");
        }
    }

    #[test]
    fn every_usual_value_is_one_that_the_key_takes() {
        for key in keys() {
            let (Live(value) | Derived(value) | Example(value)) = key.usual else { continue };
            let text = format!("version: 1\n{}\n", nested(&key.path.replace(ANY_NODE, "gateway1"), value));
            let text = text.replacen("version: 1\nversion: 1", "version: 1", 1);
            assert_eq!(parse(&text).problems, [], "{text}");
        }
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_place() {
        let file = parse("version: 2\nlan:\n  subent: 10.0.0.0/8\n  vip: 300.1.1.1\nworkers: 3\nname: A\n");
        let mut found: Vec<_> = file.problems.iter().map(|found| (found.span.unwrap(), found.rule)).collect();
        found.sort();
        let place = |line, column, length| super::super::problem::Span { line, column, length };
        assert_eq!(
            found,
            [
                (place(1, 10, 1), "file-version"),
                (place(3, 3, 6), "unknown-key"),
                (place(4, 8, 9), "bad-value"),
                (place(5, 10, 1), "wrong-type"),
                (place(6, 7, 1), "bad-value"),
            ]
        );
    }

    #[test]
    fn a_misplaced_key_is_told_its_place() {
        let help = |text: &str| parse(text).problems[0].help.clone().unwrap();
        assert_eq!(help("version: 1\nlan: {subent: ~}\n"), "did you mean subnet?");
        assert_eq!(help("version: 1\npods: 10.0.0.0/8\n"), "did you mean kubernetes.pods?");
        assert_eq!(help("version: 1\nlimits: {guest_shh: 5}\n"), "did you mean guest_ssh?");
        assert!(help("version: 1\nssh: {wibble: 1}\n").starts_with("known here: authorized_keys"));
    }

    #[test]
    fn an_empty_value_means_the_default() {
        let file = parse("version: 1\nlan:\nname: ~\n");
        assert_eq!((file.problems, file.spec.lan, file.spec.name), (vec![], None, None));
    }

    #[test]
    fn a_file_must_say_its_version() {
        for text in ["", "# nothing\n", "name: lab\n"] {
            assert_eq!(parse(text).problems[0].rule, "file-version", "{text:?}");
        }
        for text in ["- 1\n", "hello\n"] {
            assert_eq!(parse(text).problems[0].rule, "wrong-type", "{text:?}");
        }
    }

    #[test]
    fn a_key_stands_once() {
        let file = parse("version: 1\nname: a\nname: b\n");
        assert_eq!(file.problems[0].rule, "key-twice");
    }
}
