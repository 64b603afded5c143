//! Changes one key of a lab file and leaves every other byte, comments included, as it is.

use super::tree::{self, Node, Value};
use crate::lab::problem::{Problem, Span};

/// Why a key was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("the lab file is not YAML: {}", .0.message)]
    Syntax(Problem),
    /// The file's form is one that a small edit cannot change safely.
    #[error("{path} cannot be changed in this file without rewriting it; set it to {value} by hand")]
    ByHand { path: String, value: String },
}

/// Returns the lab file with a key set: replaced where it stands, else added to its section.
///
/// `value` is one scalar as YAML, such as `3`.
///
/// # Errors
/// If the text is not YAML, or the result would not say exactly what was asked for.
pub fn set(text: &str, path: &str, value: &str) -> Result<String, EditError> {
    let by_hand = || EditError::ByHand { path: path.to_owned(), value: value.to_owned() };
    let before = tree::parse(text).map_err(EditError::Syntax)?;
    let keys: Vec<_> = path.split('.').collect();
    let edited = edit(text, &before, &keys, value).ok_or_else(by_hand)?;
    let after = tree::parse(&edited).map_err(|_| by_hand())?;
    let is_as_asked = find(&after, &keys).and_then(Node::scalar) == Some(value)
        && content(&after, &keys, "") == content(&before, &keys, "");
    if is_as_asked { Ok(edited) } else { Err(by_hand()) }
}

/// Goes down as far as the keys exist, and edits there.
fn edit(text: &str, node: &Node, keys: &[&str], value: &str) -> Option<String> {
    let (key, rest) = keys.split_first()?;
    match &node.value {
        Value::Mapping(entries) => match entries.iter().find(|(name, _)| name.scalar() == Some(key)) {
            Some((name, Node { value: Value::Empty, .. })) if rest.is_empty() => {
                let colon = end(text, name.span)? + text.get(end(text, name.span)?..)?.find(':')? + 1;
                Some(spliced(text, colon, colon, &format!(" {value}")))
            }
            Some((_, found)) if rest.is_empty() => {
                found.scalar()?;
                Some(spliced(text, start(text, found.span)?, end(text, found.span)?, value))
            }
            Some((name, Node { value: Value::Empty, .. })) => {
                let indent = " ".repeat(name.span.column + 1);
                let next_line = text[start(text, name.span)?..]
                    .find('\n')
                    .map(|at| start(text, name.span).map(|from| from + at + 1));
                let at = next_line.unwrap_or(Some(text.len()))?;
                Some(spliced(text, at, at, &block(rest, value, &indent)))
            }
            Some((_, found)) => edit(text, found, rest, value),
            None => {
                let (first, _) = entries.first()?;
                let at = start(text, first.span)?;
                let before_on_line = text[..at].rsplit('\n').next()?;
                if !before_on_line.trim().is_empty() {
                    return Some(spliced(text, at, at, &format!("{}, ", flow(keys, value))));
                }
                // A section goes to the end of the file, a key to the beginning of its section.
                match before_on_line.is_empty() {
                    true => Some(format!("{}\n{}", text.trim_end(), block(keys, value, ""))),
                    false => {
                        let line = at - before_on_line.len();
                        Some(spliced(text, line, line, &block(keys, value, before_on_line)))
                    }
                }
            }
        },
        _ => None,
    }
}

/// Returns `a:\n  b: value\n`.
fn block(keys: &[&str], value: &str, indent: &str) -> String {
    match keys {
        [] => String::new(),
        [key] => format!("{indent}{key}: {value}\n"),
        [key, rest @ ..] => format!("{indent}{key}:\n{}", block(rest, value, &format!("{indent}  "))),
    }
}

/// Returns `a: {b: value}`.
fn flow(keys: &[&str], value: &str) -> String {
    match keys {
        [] => String::new(),
        [key] => format!("{key}: {value}"),
        [key, rest @ ..] => format!("{key}: {{{}}}", flow(rest, value)),
    }
}

fn spliced(text: &str, from: usize, to: usize, insert: &str) -> String {
    let line_break =
        if insert.ends_with('\n') && from == text.len() && !text.ends_with('\n') { "\n" } else { "" };
    format!("{}{line_break}{insert}{}", &text[..from], &text[to..])
}

/// Returns the byte at which a place begins.
fn start(text: &str, span: Span) -> Option<usize> {
    let line: usize = text.split_inclusive('\n').take(span.line - 1).map(str::len).sum();
    let column: usize = text[line..].chars().take(span.column - 1).map(char::len_utf8).sum();
    Some(line + column).filter(|at| *at <= text.len())
}

/// Returns the byte after a place.
fn end(text: &str, span: Span) -> Option<usize> {
    let from = start(text, span)?;
    Some(from + text[from..].chars().take(span.length).map(char::len_utf8).sum::<usize>())
}

fn find<'a>(node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    let Some((key, rest)) = keys.split_first() else { return Some(node) };
    let Value::Mapping(entries) = &node.value else { return None };
    entries.iter().find(|(name, _)| name.scalar() == Some(key)).and_then(|(_, value)| find(value, rest))
}

/// Returns every scalar with its path but the one under `keys`, in order of the paths.
fn content(node: &Node, keys: &[&str], path: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    match &node.value {
        Value::Empty => {}
        Value::Scalar(_) if path == keys.join(".") => {}
        Value::Scalar(text) => all.push((path.to_owned(), text.clone())),
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                all.extend(content(item, keys, &super::joined(path, &index.to_string())));
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                all.extend(content(value, keys, &super::joined(path, key.scalar().unwrap_or_default())));
            }
        }
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lab::presets::{Preset, commented_file};

    #[test]
    fn one_key_changes_and_comments_stay() {
        for (before, path, after) in [
            (
                "version: 1\nworkers:\n  count: 2 # two\n",
                "workers.count",
                "version: 1\nworkers:\n  count: 3 # two\n",
            ),
            (
                "version: 1\nworkers:\n  # size\n  cpus: 2\n",
                "workers.count",
                "version: 1\nworkers:\n  # size\n  count: 3\n  cpus: 2\n",
            ),
            (
                "version: 1\nworkers:\n  #count: 2\n",
                "workers.count",
                "version: 1\nworkers:\n  count: 3\n  #count: 2\n",
            ),
            ("version: 1\nworkers:", "workers.count", "version: 1\nworkers:\n  count: 3\n"),
            ("version: 1\n", "workers.count", "version: 1\nworkers:\n  count: 3\n"),
            ("version: 1", "workers.count", "version: 1\nworkers:\n  count: 3\n"),
            (
                "version: 1\nworkers: {cpus: 2}\n",
                "workers.count",
                "version: 1\nworkers: {count: 3, cpus: 2}\n",
            ),
            ("version: 1\nworkers: {count: \"2\"}\n", "workers.count", "version: 1\nworkers: {count: 3}\n"),
            ("version: 1\nworkers:\n  count:\n", "workers.count", "version: 1\nworkers:\n  count: 3\n"),
            (
                "version: 1\nnodes: {a: {cpus: 1}}\n",
                "nodes.b.cpus",
                "version: 1\nnodes: {b: {cpus: 3}, a: {cpus: 1}}\n",
            ),
        ] {
            assert_eq!(set(before, path, "3").as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn what_cannot_be_edited_safely_is_left_to_the_user() {
        for text in ["version: 1\nworkers: {}\n", "version: 1\nworkers: [1]\n", "- 1\n", "{\n  version: 1}\n"]
        {
            assert!(matches!(set(text, "workers.count", "3"), Err(EditError::ByHand { .. })), "{text}");
        }
        assert!(matches!(set("a: [", "workers.count", "3"), Err(EditError::Syntax(_))));
    }

    #[test]
    fn the_commented_file_can_be_scaled() {
        let file = commented_file(Preset::Ha);
        let edited = set(&set(&file, "workers.count", "4").unwrap(), "workers.count", "5").unwrap();
        assert_eq!(edited.lines().count(), file.lines().count() + 1);
        assert!(edited.contains("\n  count: 5\n"));
    }

    proptest! {
        #[test]
        fn an_edit_says_what_was_asked_or_fails(text in "(version: 1\n)?[a-c:{} \n#,0-9-]{0,40}") {
            if let Ok(edited) = set(&text, "a.b", "3") {
                let tree = tree::parse(&edited).unwrap();
                prop_assert_eq!(find(&tree, &["a", "b"]).and_then(Node::scalar), Some("3"));
            }
        }
    }
}
