//! The lab file as a tree of YAML nodes that know where they stand.
//!
//! serde stops at the first thing it dislikes. This tree accepts any YAML, and what reads it
//! (`super::reader`) can then report everything at once.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MessageFormatter, NonFiniteFloatPolicy, Spanned};

use crate::lab::lint::rules;
use crate::lab::problem::{Problem, Span};

/// A YAML node and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

/// What a node is. Scalars stay text: what `1.30` or `no` means is for the key to say, not for YAML.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    Scalar(String),
    Sequence(Vec<Node>),
    /// In the file's order, with duplicates.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// Returns what this node is, for messages: `a list`, `"text"`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Empty => "nothing".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a section of keys".to_owned(),
        }
    }

    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads YAML text.
///
/// # Errors
/// The syntax error, alone: what follows it cannot be trusted.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // Kept comments are limited to 32 in a row, and a lab file has more.
        emit_comments: false,
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_problem(&error))?;
    Ok(Source { text }.node(raw))
}

fn syntax_problem(error: &serde_saphyr::Error) -> Problem {
    let message = serde_saphyr::UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    let span = error.location().filter(|at| at.line() > 0).map(|at| span_of(at, 1));
    let help = "each line is a key, a colon, a blank and its value; what belongs to a key stands below it, two blanks \
                further to the right, never a tab";
    rules::YAML_SYNTAX.problem(span, in_plain_words(message.trim_end_matches('.'))).help(help)
}

/// Returns what the parser says in words for those who know keys and values, and no YAML.
fn in_plain_words(message: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        (
            "mapping values are not allowed",
            "a key stands where none can: its line is indented otherwise than those above, or a value has a colon and no \
             quotes around it",
        ),
        ("flow mapping", "a brace is not closed: a comma or } is missing"),
        ("flow sequence", "a bracket is not closed: a comma or ] is missing"),
        ("tabs disallowed", "a tab stands at the beginning of a line; only blanks may"),
        ("unknown value", "a value that begins with * needs quotes around it"),
        ("unexpected character: `@'", "a value that begins with @ needs quotes around it"),
        ("unexpected character: ``'", "a value that begins with ` needs quotes around it"),
        ("block mapping", "the line is indented otherwise than those above"),
    ];
    let known = WORDS.iter().find(|(part, _)| message.contains(part));
    known.map_or_else(|| message.to_owned(), |(_, words)| (*words).to_owned())
}

/// The tree as serde gives it: numbers and booleans have lost their spelling.
enum Raw {
    Empty,
    /// A plain scalar that looks like a number or a boolean; its text is taken from the source.
    Plain,
    Text(String),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}

/// Gives scalars their text back.
struct Source<'a> {
    text: &'a str,
}

impl Source<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let value = match raw.value {
            Raw::Empty => Value::Empty,
            Raw::Plain => Value::Scalar(self.slice(raw.defined).trim().to_owned()),
            Raw::Text(text) => Value::Scalar(text),
            Raw::Sequence(items) => Value::Sequence(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Mapping(entries) => Value::Mapping(
                entries.into_iter().map(|(key, value)| (self.node(key), self.node(value))).collect(),
            ),
        };
        let length = match value {
            Value::Scalar(_) => first_line_length(self.slice(raw.referenced)),
            _ => 1,
        };
        Node { span: span_of(raw.referenced, length), value }
    }

    fn slice(&self, at: Location) -> &str {
        let span = at.span();
        let byte = |at: Option<u64>| at.and_then(|at| usize::try_from(at).ok());
        byte(span.byte_offset())
            .zip(byte(span.byte_len()))
            .and_then(|(start, length)| self.text.get(start..start + length))
            .unwrap_or_default()
    }
}

fn first_line_length(text: &str) -> usize {
    text.lines().next().unwrap_or_default().trim_end().chars().count().max(1)
}

fn span_of(at: Location, length: usize) -> Span {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Span { line: whole(at.line()), column: whole(at.column()), length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(node: &'a Node, key: &str) -> (&'a Node, &'a Node) {
        let Value::Mapping(entries) = &node.value else { panic!("not a mapping: {node:?}") };
        let (key, value) = entries.iter().find(|(name, _)| name.scalar() == Some(key)).expect(key);
        (key, value)
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_words_of_yaml() {
        for text in
            ["a: 1\n b: 2\n", "a: {b: c\nd: e\n", "a:\n\tb: c\n", "a: *b\n", "a: @b\n", "a: [b\nc: d\n"]
        {
            let problem = parse(text).unwrap_err();
            for word in ["mapping", "flow", "sequence", "scalar", "context", "character:", "reference"] {
                assert!(!problem.message.contains(word), "{text:?}: {}", problem.message);
            }
            assert!(
                problem.span.is_some() && problem.help.is_some_and(|help| help.contains("a key, a colon"))
            );
        }
    }

    #[test]
    fn scalars_keep_their_spelling() {
        let tree = parse("a: 1.30\nb: no\nc: 0x10\nd: \"q\\u0041\"\ne: ~\nf: 1_000\n").unwrap();
        for (key, text) in [("a", "1.30"), ("b", "no"), ("c", "0x10"), ("d", "qA"), ("f", "1_000")] {
            assert_eq!(entry(&tree, key).1.scalar(), Some(text), "{key}");
        }
        assert_eq!(entry(&tree, "e").1.value, Value::Empty);
    }

    #[test]
    fn keys_and_values_know_their_place() {
        let tree = parse("# ü\nlan:\n  subnet: 10.0.0.0/8 # home\n").unwrap();
        let (_, lan) = entry(&tree, "lan");
        let (key, value) = entry(lan, "subnet");
        assert_eq!(key.span, Span { line: 3, column: 3, length: 6 });
        assert_eq!(value.span, Span { line: 3, column: 11, length: 10 });
    }

    #[test]
    fn aliases_have_the_anchors_value_and_their_own_place() {
        let tree = parse("a: &n 3\nb: *n\n").unwrap();
        let (_, b) = entry(&tree, "b");
        assert_eq!((b.scalar(), b.span.line), (Some("3"), 2));
    }

    #[test]
    fn duplicates_are_kept() {
        let tree = parse("a: 1\na: 2\n").unwrap();
        assert!(matches!(&tree.value, Value::Mapping(entries) if entries.len() == 2));
    }

    #[test]
    fn comments_may_be_long() {
        assert!(parse(&format!("a:\n{}b: 1\n", "  # text\n".repeat(1000))).is_ok());
    }

    #[test]
    fn numbers_beyond_any_type_are_text_like_others() {
        for text in ["1e999", ".inf", "-.nan", "99999999999999999999999999"] {
            assert_eq!(entry(&parse(&format!("a: {text}\n")).unwrap(), "a").1.scalar(), Some(text));
        }
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let problem = parse("version: 1\nlan: {subnet: [1\n").unwrap_err();
        assert_eq!(problem.rule, "yaml-syntax");
        assert!(problem.span.is_some(), "{problem:?}");
        assert!(!problem.message.contains('\n'), "{problem:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\n]{0,80}") {
            let _ = parse(&text);
        }
    }
}
