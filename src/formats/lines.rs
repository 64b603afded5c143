//! Text as lines that keep their exact endings, so that a file can be edited without touching its other lines.

/// What ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// One line of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line without its ending.
    pub text: String,
    pub ending: Ending,
}

/// Splits a text into its lines; [`join`] gives back exactly the same text.
pub fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let ending = match &rest[end..] {
            "" => Ending::None,
            tail if tail.starts_with("\r\n") => Ending::CrLf,
            tail if tail.starts_with('\n') => Ending::Lf,
            _ => Ending::Cr,
        };
        lines.push(Line { text: rest[..end].to_owned(), ending });
        rest = &rest[end + ending.as_str().len()..];
    }
    lines
}

/// Puts lines together again.
pub fn join(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.text.as_str(), line.ending.as_str()]).collect()
}

/// Returns the ending that new lines of this text should have: that of its first line, or LF.
pub fn ending_of(lines: &[Line]) -> Ending {
    lines.first().map(|line| line.ending).filter(|ending| *ending != Ending::None).unwrap_or_default()
}

/// Appends a whole line in the text's own ending; an unfinished last line is finished first.
pub fn append(lines: &mut Vec<Line>, text: String) {
    let ending = ending_of(lines);
    if let Some(last) = lines.last_mut().filter(|last| last.ending == Ending::None) {
        last.ending = ending;
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
            prop_assert_eq!(join(&lines), text);
            for (number, line) in lines.iter().enumerate() {
                prop_assert!(!line.text.contains(['\r', '\n']));
                prop_assert!(line.ending != Ending::None || number + 1 == lines.len());
            }
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
