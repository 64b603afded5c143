//! Text as lines that keep their exact endings, so that a file can be edited without touching its other lines.

use std::ops::Range;

/// What ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    #[default]
    Lf,
    CrLf,
    Cr,
    /// Only the last line of a text can lack an ending.
    None,
}

impl Ending {
    /// Returns the characters of this ending.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
            Self::None => "",
        }
    }
}

/// One line of a text, without its ending in `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<T = String> {
    pub text: T,
    pub ending: Ending,
}

/// Splits a text into its lines; [`join`] gives back exactly the same text.
pub fn split(text: &str) -> Vec<Line> {
    // Endings are ASCII, so no character is cut.
    spans(text.as_bytes()).map(|(span, ending)| Line { text: text[span].to_owned(), ending }).collect()
}

/// Splits bytes into lines, each made of its bytes without their ending.
pub fn split_bytes<T>(bytes: &[u8], line: impl Fn(&[u8]) -> T) -> Vec<Line<T>> {
    spans(bytes).map(|(span, ending)| Line { text: line(&bytes[span]), ending }).collect()
}

/// Returns where each line stands, and what ends it.
fn spans(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, Ending)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[start..];
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let ending = match &rest[end..] {
            [] => Ending::None,
            [b'\r', b'\n', ..] => Ending::CrLf,
            [b'\n', ..] => Ending::Lf,
            _ => Ending::Cr,
        };
        let span = start..start + end;
        start = span.end + ending.as_str().len();
        Some((span, ending))
    })
}

/// Puts lines together again.
pub fn join(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.text.as_str(), line.ending.as_str()]).collect()
}

/// Puts lines of bytes together again.
pub fn join_bytes<T: AsRef<[u8]>>(lines: &[Line<T>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(line.text.as_ref());
        bytes.extend_from_slice(line.ending.as_str().as_bytes());
    }
    bytes
}

/// Returns the ending that new lines of this text should have: that of its first line, or LF.
pub fn ending_of<T>(lines: &[Line<T>]) -> Ending {
    lines.first().map(|line| line.ending).filter(|ending| *ending != Ending::None).unwrap_or_default()
}

/// Appends a whole line in the text's own ending; an unfinished last line is finished first.
pub fn append<T: AsRef<[u8]>>(lines: &mut Vec<Line<T>>, text: T) {
    let mut ending = ending_of(lines);
    if let Some(last) = lines.last_mut().filter(|last| last.ending == Ending::None) {
        last.ending = ending;
    }
    // A CR and the LF of an empty line behind it would be read back as one ending.
    let ends_with_cr = lines.last().is_some_and(|last| last.ending == Ending::Cr);
    if ends_with_cr && text.as_ref().is_empty() && ending == Ending::Lf {
        ending = Ending::Cr;
    }
    lines.push(Line { text, ending });
}

/// Returns the unified diff of two versions of a text, with three lines of context; empty if they are equal.
pub fn unified_diff(before: &str, after: &str, name: &str) -> String {
    similar::TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .header(name, name)
        .to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joined_lines_are_the_text(text in "[a \r\n]{0,40}|\\PC{0,40}") {
            let lines = split(&text);
            prop_assert_eq!(join(&lines), text.as_str());
            let as_bytes = split_bytes(text.as_bytes(), <[u8]>::to_vec);
            prop_assert_eq!(join_bytes(&as_bytes), text.as_bytes());
            prop_assert_eq!(as_bytes.len(), lines.len());
            for (number, line) in lines.iter().enumerate() {
                prop_assert!(!line.text.contains(['\r', '\n']));
                prop_assert!(line.ending != Ending::None || number + 1 == lines.len());
            }
        }
    }

    #[test]
    fn an_empty_line_is_a_line_behind_any_ending() {
        for text in ["", "a", "a\n", "a\r", "a\nb\r", "a\r\nb\r", "a\rb\n"] {
            let mut lines = split(text);
            let before = lines.len();
            append(&mut lines, String::new());
            assert_eq!(split(&join(&lines)).len(), before + 1, "{text:?}");
        }
    }

    #[test]
    fn an_appended_line_is_whole_and_in_the_files_ending() {
        let mut lines = split("one\r\ntwo");
        append(&mut lines, "three".to_owned());
        assert_eq!(join(&lines), "one\r\ntwo\r\nthree\r\n");
    }

    #[test]
    fn a_diff_names_the_file_and_shows_only_what_changes() {
        let diff = unified_diff("a\nb\n", "a\nc\n", "networking");
        assert_eq!(diff, "--- networking\n+++ networking\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert_eq!(unified_diff("a\n", "a\n", "networking"), "");
    }
}
