//! One line of a VMX file: where its key and its value stand, and how a value is escaped.
//!
//! The grammar is that of VMware's dictionaries (`dictll.c` in open-vm-tools): `key = value` or `key = "value"`, spaces
//! and tabs around each, and a comment from `#` to the end. It is read on bytes: the characters it is made of are
//! ASCII, and no encoding that we take has their bytes inside another character.

use std::ops::Range;

use super::encoding::Encoding;

/// Where a line that assigns has its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub key: Range<usize>,
    /// The value without its quotes, still escaped and encoded.
    pub value: Range<usize>,
    /// The value with its quotes, if it has any.
    pub written: Range<usize>,
}

/// What is wrong with a line, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub reason: String,
}

/// Finds the parts of a line; none for a blank line or a comment.
pub fn assignment(line: &[u8]) -> Result<Option<Assignment>, Wrong> {
    let wrong = |at: usize, reason: &str| Err(Wrong { at, reason: reason.to_owned() });
    let start = skip_blanks(line, 0);
    if matches!(line.get(start), None | Some(b'#')) {
        return Ok(None);
    }
    let length =
        line[start..].iter().position(|byte| matches!(byte, b'=' | b'#')).unwrap_or(line.len() - start);
    let key = start..start + trimmed(&line[start..start + length]);
    let equals = start + length;
    if line.get(equals) != Some(&b'=') {
        return wrong(start, "expected key = \"value\"");
    }
    if !is_key(&line[key.clone()]) {
        return wrong(start, "a key is made of ASCII characters without space and quote");
    }
    let begin = skip_blanks(line, equals + 1);
    let rest = &line[begin..];
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        // Numbers and words without quotes are seen in the wild, such as `nvme0:0.virtualSSD = 1`.
        let length = rest.iter().position(|byte| *byte == b'#').unwrap_or(rest.len());
        let value = begin..begin + trimmed(&rest[..length]);
        return match line[value.clone()].iter().position(|byte| *byte == b'"') {
            Some(at) => wrong(begin + at, "a quote in the middle of an unquoted value"),
            None => Ok(Some(Assignment { key, written: value.clone(), value })),
        };
    };
    let Some(length) = quoted.iter().position(|byte| *byte == b'"') else {
        return wrong(begin, "the closing quote is missing");
    };
    let value = begin + 1..begin + 1 + length;
    let written = begin..value.end + 1;
    let after = skip_blanks(line, written.end);
    match line.get(after) {
        None | Some(b'#') => Ok(Some(Assignment { key, value, written })),
        Some(_) => wrong(after, "text after the closing quote (a quote in a value is written |22)"),
    }
}

/// Says whether bytes can be a key.
pub fn is_key(key: &[u8]) -> bool {
    let part = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'#');
    !key.is_empty() && key.iter().all(part)
}

fn skip_blanks(line: &[u8], from: usize) -> usize {
    let blanks = line[from..].iter().take_while(|byte| is_blank(**byte)).count();
    from + blanks
}

/// Returns how long a part of a line is without the blanks at its end.
fn trimmed(part: &[u8]) -> usize {
    part.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Escapes what cannot stand in a quoted value as a pipe and two hexadecimal digits.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '"' | '|' | '\0'..='\x1f' | '\x7f' => escaped.push_str(&format!("|{:02X}", u32::from(char))),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// Undoes [`escape`]. Escaped bytes that follow one another are a text in the file's encoding; a pipe without two
/// hexadecimal digits, and bytes that mean nothing, stand for themselves.
pub fn unescape(value: &str, encoding: Encoding) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('|') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let bytes = escaped_bytes(rest);
        let (run, after) = rest.split_at(bytes.len() * ESCAPE);
        match encoding.decode(&bytes) {
            Ok(decoded) if !bytes.is_empty() => {
                text.push_str(&decoded);
                rest = after;
            }
            _ => {
                let kept = run.len().max(1);
                text.push_str(&rest[..kept]);
                rest = &rest[kept..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// A pipe and two digits.
const ESCAPE: usize = 3;

/// Returns the bytes that a text begins with in escaped form.
fn escaped_bytes(text: &str) -> Vec<u8> {
    let byte = |escape: &[u8]| match escape {
        [b'|', digits @ ..] => hex::decode(digits).ok()?.first().copied(),
        _ => None,
    };
    text.as_bytes().chunks_exact(ESCAPE).map_while(byte).collect()
}
