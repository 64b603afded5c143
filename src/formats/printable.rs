//! Text of somebody else's, made fit for a screen: without control characters, escape sequences and tricks of direction.

use std::borrow::Cow;

/// Longest line of somebody else's that is shown or kept in a message, in characters.
pub const LONGEST_LINE: usize = 2_000;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';
/// Begins a control sequence (ECMA-48 §5.4), as one character.
const CONTROL_SEQUENCE: char = '\u{9b}';
/// Ends a string, as one character.
const STRING_TERMINATOR: char = '\u{9c}';

/// Returns a text without what a terminal would obey rather than show. Line ends stay; a tab becomes a space.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            ESCAPE => after_escape(after),
            CONTROL_SEQUENCE => after_control(after),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => after_string(after),
            '\t' | '\r' | '\u{2028}' | '\u{2029}' => {
                // The end of a line as Windows writes it is one end.
                if !(char == '\r' && after.starts_with('\n')) {
                    out.push(' ');
                }
                after
            }
            char => {
                if is_harmless(char) {
                    out.push(char);
                }
                after
            }
        };
    }
    Cow::Owned(out)
}

/// Returns a text as one line of a bearable length; what was cut off is counted.
pub fn line(text: &str) -> String {
    let clean = printable(text);
    let clean = clean.trim_end_matches('\n');
    let (shown, cut) = match clean.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => (&clean[..end], clean.len() - end),
        None => (clean, 0),
    };
    let shown = shown.replace('\n', " ");
    if cut == 0 { shown } else { format!("{shown} … ({cut} bytes more)") }
}

fn is_harmless(char: char) -> bool {
    match char {
        '\n' => true,
        // Line separators, marks that turn the direction of what follows, and a mark that nobody sees.
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => false,
        char => !char.is_control(),
    }
}

/// Skips what follows an escape character: a control sequence, a string, or a single function.
fn after_escape(rest: &str) -> &str {
    match rest.chars().next() {
        Some('[') => after_control(&rest[1..]),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(&rest[1..]),
        _ => {
            let rest = rest.trim_start_matches(|char| matches!(char, ' '..='/'));
            rest.strip_prefix(|char| matches!(char, '0'..='~')).unwrap_or(rest)
        }
    }
}

/// Skips a control sequence's parameters, intermediates and final character; one that breaks off ends where it does.
fn after_control(rest: &str) -> &str {
    let rest = rest.trim_start_matches(|char| matches!(char, '0'..='?'));
    let rest = rest.trim_start_matches(|char| matches!(char, ' '..='/'));
    rest.strip_prefix(|char| matches!(char, '@'..='~')).unwrap_or(rest)
}

/// Skips a string with its terminator. Any other control character breaks it off, so that no text is read twice; one
/// that its line does not end is no string, and its words are shown.
fn after_string(rest: &str) -> &str {
    let Some((at, char)) = rest.char_indices().find(|(_, char)| char.is_control()) else { return rest };
    let after = &rest[at + char.len_utf8()..];
    match char {
        BELL | STRING_TERMINATOR => after,
        ESCAPE => after.strip_prefix('\\').unwrap_or(&rest[at..]),
        '\n' => rest,
        _ => &rest[at..],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_left_as_it_is() {
        for text in ["", "node ready", "Grüße, 東京 🦀\nsecond line"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_gone() {
        let cases = [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[Hcleared", "cleared"),
            ("\u{1b}]0;a title\u{7}left", "left"),
            ("\u{1b}]8;;https://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}1mbold", "bold"),
            ("\u{9d}52;c;AAAA\u{9c}clipboard", "clipboard"),
            ("\u{1b}(Bcharset", "charset"),
            ("\u{1b}cwhole reset", "whole reset"),
            ("a\tb\r\nc", "a b\nc"),
            ("10%\r20%", "10% 20%"),
            ("nul\0bell\u{7}back\u{8}del\u{7f}", "nulbellbackdel"),
            ("safe\u{202e}txt.exe", "safetxt.exe"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}]never ended", "never ended"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }

    #[test]
    fn one_line_is_one_line_of_a_bearable_length() {
        assert_eq!(line("one\ntwo\n"), "one two");
        let long = line(&"x".repeat(100_000));
        assert!(long.starts_with("xxx") && long.ends_with(" … (98000 bytes more)"), "{}", &long[1_990..]);
    }

    /// Were any of these read again from each of its characters, this would take hours.
    #[test]
    fn megabytes_of_sequences_that_never_end_are_read_once() {
        for piece in ["\u{1b}]", "\u{9d}", "\u{9d}x\n", "\u{1b}[", "\u{1b}", "\u{1b}[0;", "\u{1b} "] {
            let text = piece.repeat(4_000_000);
            assert!(printable(&text).chars().all(is_harmless), "{piece:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_ever_left(text in "(\\PC|\\pC|\u{1b}|\\[|\\]|;|[0-9]|\n)*") {
            let clean = printable(&text);
            prop_assert!(clean.chars().all(is_harmless), "{clean:?}");
            prop_assert_eq!(printable(&clean), clean.as_ref(), "once is enough");
            prop_assert!(line(&text).chars().count() <= LONGEST_LINE + 40);
        }
    }
}
