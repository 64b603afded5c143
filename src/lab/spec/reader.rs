//! Reads the YAML tree into typed values and collects every problem on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::tree::{Node, Value};
use crate::lab::lint::rules;
use crate::lab::problem::{Problem, Span};

/// Something that can stand as the value of a key.
pub trait Read: Sized {
    /// What it is, for the reference: `address`, `subnet`.
    const KIND: &'static str;

    /// Reads a node; what is wrong goes to the reader, and a value that cannot be used is none.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// Its JSON Schema.
    fn schema() -> Json;

    /// Adds the keys below a key of this type to the list.
    fn list_keys(_path: &str, _keys: &mut Vec<Key>) {}
}

/// A value that is one scalar.
pub trait Word: Sized {
    const KIND: &'static str;

    /// Reads the scalar's text.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    fn parse(text: &str) -> Result<Self, Fault>;

    fn schema() -> Json;
}

/// Why a scalar cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl<T: Word> Read for T {
    const KIND: &'static str = T::KIND;

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = node.scalar() else {
            reader.wrong_type(node, T::KIND);
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(fault) => {
                let message = format!("{}: {}", reader.path, fault.message);
                let rule = if reader.path == "version" { rules::FILE_VERSION } else { rules::BAD_VALUE };
                reader.problems.push(Problem { help: fault.help, ..rule.problem(Some(node.span), message) });
                None
            }
        }
    }

    fn schema() -> Json {
        T::schema()
    }
}

/// A list: `[a, b]`, or one item a line after `- `.
impl<T: Read> Read for Vec<T> {
    const KIND: &'static str = "list";

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            reader.wrong_type(node, "list");
            return None;
        };
        let read: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| reader.at(&index.to_string(), item, |reader| T::read(item, reader)))
            .collect();
        read.into_iter().collect()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// One key of the lab file, for the schema, the reference and the commented file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// With dots, such as `lan.subnet`; `<node>` stands for any machine's name.
    pub path: String,
    pub kind: &'static str,
    pub usual: Usual,
    pub doc: &'static str,
}

/// What a key is when the file does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usual {
    /// The key holds further keys.
    Section,
    /// This, as YAML; a fresh lab file says so.
    Live(&'static str),
    /// This in the document's lab, as YAML, and otherwise it follows from other keys; a fresh lab
    /// file shows it as a comment.
    Derived(&'static str),
    /// Nothing; a fresh lab file shows this as an example, in a comment.
    Example(&'static str),
    /// This many seconds, by the table of deadlines.
    Limit(u64),
}

/// Where the lab file's values stand, and which of them could not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    spans: BTreeMap<String, Span>,
    names: BTreeMap<String, Span>,
    unusable: BTreeSet<String>,
}

impl Origin {
    /// Returns where a key's value stands; none if the file does not have the key.
    pub fn span(&self, path: &str) -> Option<Span> {
        self.spans.get(path).copied()
    }

    /// Returns where a machine's name stands, as a key's path; none if the file does not name it.
    pub fn name_span(&self, path: &str) -> Option<Span> {
        self.names.get(path).copied()
    }

    /// Notes where a name stands.
    pub(super) fn name(&mut self, path: &str, span: Span) {
        self.names.insert(path.to_owned(), span);
    }

    /// Says whether the file has this key with a value that was reported and replaced by the default,
    /// so that findings which rest on it would mislead.
    pub fn is_unusable(&self, path: &str) -> bool {
        self.unusable.contains(path)
    }
}

/// What holds further keys.
const SECTION: &str = "section of keys";

/// Collects what is found while the tree is read.
#[derive(Debug, Default)]
pub struct Reader {
    /// The key that is being read.
    pub path: String,
    pub problems: Vec<Problem>,
    pub origin: Origin,
}

impl Reader {
    /// Reads what stands under a key; an empty value counts as absent.
    pub fn at<T>(&mut self, key: &str, node: &Node, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let outer = self.path.clone();
        self.path = if outer.is_empty() { key.to_owned() } else { format!("{outer}.{key}") };
        self.origin.spans.insert(self.path.clone(), node.span);
        let value = match node.value {
            Value::Empty => None,
            _ => {
                let value = read(self);
                if value.is_none() {
                    self.origin.unusable.insert(self.path.clone());
                }
                value
            }
        };
        self.path = outer;
        value
    }

    /// Returns the entries of a mapping whose keys are among `known`; reports the others.
    pub fn entries<'a>(&mut self, node: &'a Node, known: &[&str]) -> Option<Vec<(&'a str, &'a Node)>> {
        let entries = self.any_entries(node)?;
        let (good, unknown): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _, _)| known.contains(key));
        for (key, at, _) in unknown {
            let message = match self.path.as_str() {
                "" => format!("{key:?} is not a key of the lab file"),
                path => format!("{key:?} is not a key of {path}"),
            };
            let mut problem = rules::UNKNOWN_KEY.problem(Some(at), message);
            problem.help = Some(
                match closest(key, known.iter().copied()).map(str::to_owned).or_else(|| elsewhere(key)) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("known here: {}", known.join(", ")),
                },
            );
            self.problems.push(problem);
        }
        Some(good.into_iter().map(|(key, _, value)| (key, value)).collect())
    }

    /// Returns the entries of a mapping, whatever their keys: key, the key's place, value.
    pub fn any_entries<'a>(&mut self, node: &'a Node) -> Option<Vec<(&'a str, Span, &'a Node)>> {
        let Value::Mapping(entries) = &node.value else {
            self.wrong_type(node, SECTION);
            return None;
        };
        let mut good: Vec<(&str, Span, &Node)> = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.scalar() else {
                self.wrong_type(key, "key");
                continue;
            };
            if let Some((_, first, _)) = good.iter().find(|(other, _, _)| *other == name) {
                let message = format!("{name:?} stands twice; it was already given on line {}", first.line);
                self.problems.push(rules::KEY_TWICE.problem(Some(key.span), message));
                continue;
            }
            good.push((name, key.span, value));
        }
        Some(good)
    }

    fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let subject = if self.path.is_empty() { "the lab file" } else { &self.path };
        let message = format!("{subject}: {} where a {wanted} is wanted", node.describe());
        let mut problem = rules::WRONG_TYPE.problem(Some(node.span), message);
        problem.help = match (node.scalar(), wanted) {
            (Some(text), "list") => Some(format!("write [{text}]")),
            (_, SECTION) => Some(
                "write its keys below it, each on a line of its own, two blanks further to the right"
                    .to_owned(),
            ),
            _ => None,
        };
        self.problems.push(problem);
    }
}

/// Returns the candidate that a misspelt word most likely meant.
pub fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| {
            (edits(&word.to_lowercase().replace('-', "_"), &candidate.replace('-', "_")), candidate)
        })
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Returns the whole path of a key that exists, but not here.
fn elsewhere(key: &str) -> Option<String> {
    let keys = super::keys();
    keys.into_iter().map(|known| known.path).find(|path| path.rsplit('.').next() == Some(key))
}

/// Counts the insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i - 1] == *b && *a == to[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_what_was_meant() {
        let known = ["subnet", "router", "vip", "control_planes"];
        for (word, meant) in [("subent", "subnet"), ("Router", "router"), ("controlplanes", "control_planes")]
        {
            assert_eq!(closest(word, known.into_iter()), Some(meant), "{word}");
        }
        assert_eq!(closest("control-planes", known.into_iter()), Some("control_planes"));
        assert_eq!(closest("gateway", known.into_iter()), None);
    }

    #[test]
    fn edits_counts_swaps_as_one() {
        for (from, to, count) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}
