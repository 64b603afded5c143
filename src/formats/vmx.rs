//! VMX files: a VM's configuration as `key = "value"` lines, edited in place and true to their bytes.
//!
//! A file says by `.encoding` how its text is written. Lines are kept as bytes and only values are decoded, so a line
//! that nobody sets is never written in another way, and a file whose text cannot be decoded is refused as a whole.

mod encoding;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use self::encoding::Encoding;
use self::line::{Assignment, Wrong};
use super::lines::{self, Line};

/// The key that names the file's encoding.
const ENCODING: &str = ".encoding";
/// What some editors put before UTF-8; VMware skips it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Of a file that is no VMX at all, so many problems are told.
const MOST_PROBLEMS: usize = 20;

/// A VMX file. Order, spelling, comments, line endings and unknown keys stay as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmx {
    lines: Vec<Line<Vec<u8>>>,
    /// Lower-case key → index into `lines`: keys are case-insensitive (facts/vm-images-cloudinit.md §1.1).
    index: BTreeMap<String, usize>,
    encoding: Encoding,
    marked: bool,
}

/// Why bytes are not a VMX file that VMware would load: everything that is wrong, in order.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
pub struct BadVmx {
    /// At least one, and of a file full of them twenty.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counts from 1.
    pub line: usize,
    /// Counts characters from 1.
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// Why a key cannot be set.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CannotSet {
    #[error("{0:?} cannot be a key: one is made of ASCII characters without space, quote, = and #")]
    Key(String),
    #[error("{character:?} cannot be written in {encoding}, the file's encoding")]
    Character { character: char, encoding: &'static str },
    #[error("the file is written in {0}, and setting .encoding does not change that")]
    Encoding(&'static str),
}

impl Vmx {
    /// Returns a new file: it only says that it is UTF-8.
    pub fn new() -> Self {
        let mut vmx =
            Self { lines: Vec::new(), index: BTreeMap::new(), encoding: Encoding::UTF_8, marked: false };
        vmx.set(ENCODING, Encoding::UTF_8.name());
        vmx
    }

    /// Reads a VMX file.
    ///
    /// # Errors
    /// If a line is neither blank, a comment nor `key = value`, a key comes twice, or the text is not what `.encoding`
    /// says. VMware does not load such a file.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, BadVmx> {
        let bytes = bytes.as_ref();
        let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK);
        let lines = lines::split_bytes(unmarked.unwrap_or(bytes), <[u8]>::to_vec);
        let mut reader = Reader { lines: &lines, problems: Vec::new() };
        if let Some(wrong) = encoding::wide(bytes) {
            return Err(BadVmx { problems: vec![Problem { line: 1, column: 1, reason: wrong }] });
        }
        let index = reader.index();
        let encoding = reader.encoding(&index, unmarked.is_some());
        if let Some(encoding) = encoding {
            reader.check_text(&index, encoding);
        }
        let Reader { mut problems, .. } = reader;
        match encoding {
            Some(encoding) if problems.is_empty() => {
                Ok(Self { marked: unmarked.is_some(), lines, index, encoding })
            }
            _ => {
                problems.sort_by_key(|problem| (problem.line, problem.column));
                Err(BadVmx { problems })
            }
        }
    }

    /// Returns a key's value, decoded and without escapes.
    pub fn get(&self, key: &str) -> Option<String> {
        let (line, assignment) = self.assignment_at(*self.index.get(&key.to_ascii_lowercase())?);
        Some(self.value(&line.text, &assignment))
    }

    /// Sets a key: in its place and spelling if it is there, else as a new last line.
    ///
    /// # Panics
    /// If the key cannot be one, or the file's encoding lacks a character of the value. What comes from people goes
    /// through [`Self::try_set`].
    pub fn set(&mut self, key: &str, value: &str) {
        if let Err(error) = self.try_set(key, value) {
            panic!("{key}: {error}");
        }
    }

    /// Sets a key like [`Self::set`].
    ///
    /// # Errors
    /// If the key cannot be one, or the file's encoding lacks a character of the value. Nothing is changed then.
    pub fn try_set(&mut self, key: &str, value: &str) -> Result<(), CannotSet> {
        if !line::is_key(key.as_bytes()) {
            return Err(CannotSet::Key(key.to_owned()));
        }
        let name = key.to_ascii_lowercase();
        let at = self.index.get(&name).copied();
        if at.is_some() && self.get(key).as_deref() == Some(value) {
            return Ok(());
        }
        if name == ENCODING && Encoding::of(value) != Some(self.encoding) {
            return Err(CannotSet::Encoding(self.encoding.name()));
        }
        let escaped = line::escape(value);
        let encoding = self.encoding.name();
        let encoded = self.encoding.encode(&escaped);
        let encoded = encoded.map_err(|character| CannotSet::Character { character, encoding })?;
        match at {
            Some(at) => {
                let (_, assignment) = self.assignment_at(at);
                let quoted = [b"\"", &encoded[..], b"\""].concat();
                self.lines[at].text.splice(assignment.written, quoted);
            }
            None => {
                self.index.insert(name, self.lines.len());
                let text = [key.as_bytes(), b" = \"", &encoded, b"\""].concat();
                lines::append(&mut self.lines, text);
            }
        }
        Ok(())
    }

    /// Removes a key with its line; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(at) = self.index.remove(&key.to_ascii_lowercase()) else { return false };
        self.lines.remove(at);
        for line in self.index.values_mut().filter(|line| **line > at) {
            *line -= 1;
        }
        true
    }

    /// Returns every key in the file's order and spelling.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let key = |line| line::assignment(line).ok().flatten().map(|assignment| &line[assignment.key]);
        self.lines.iter().filter_map(move |line| key(&line.text)).map(ascii)
    }

    /// Returns the file's bytes; for a file that was only read, exactly what was read.
    pub fn render(&self) -> Vec<u8> {
        let mark = if self.marked { BYTE_ORDER_MARK } else { b"" };
        [mark, &lines::join_bytes(&self.lines)].concat()
    }

    /// Returns the file as text for people; a comment's bytes that mean nothing in the file's encoding are replaced.
    pub fn to_text(&self) -> String {
        self.encoding.decode_loosely(&lines::join_bytes(&self.lines))
    }

    /// Returns the name of the encoding that the file is written in.
    pub fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    fn assignment_at(&self, at: usize) -> (&Line<Vec<u8>>, Assignment) {
        let line = &self.lines[at];
        let assignment = line::assignment(&line.text).ok().flatten();
        (line, assignment.expect("the index names only lines that assign"))
    }

    fn value(&self, line: &[u8], assignment: &Assignment) -> String {
        let text = self.encoding.decode(&line[assignment.value.clone()]);
        line::unescape(&text.expect("the text was checked when it was read"), self.encoding)
    }
}

impl Default for Vmx {
    fn default() -> Self {
        Self::new()
    }
}

/// What collects all that is wrong in a file.
struct Reader<'a> {
    lines: &'a [Line<Vec<u8>>],
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Finds each key's line.
    fn index(&mut self) -> BTreeMap<String, usize> {
        let mut index = BTreeMap::new();
        for (number, line) in self.lines.iter().enumerate() {
            match line::assignment(&line.text) {
                Ok(None) => {}
                Ok(Some(assignment)) => {
                    let key = ascii(&line.text[assignment.key.clone()]);
                    match index.get(&key.to_ascii_lowercase()) {
                        None => drop(index.insert(key.to_ascii_lowercase(), number)),
                        Some(first) => {
                            let reason = format!("{} is set in line {} already", shortened(key), first + 1);
                            self.wrong(number, Wrong { at: assignment.key.start, reason });
                        }
                    }
                }
                Err(wrong) => self.wrong(number, wrong),
            }
        }
        index
    }

    /// Finds the encoding; none if it is not known, which is a problem then.
    fn encoding(&mut self, index: &BTreeMap<String, usize>, marked: bool) -> Option<Encoding> {
        let Some(&at) = index.get(ENCODING) else { return Some(Encoding::UTF_8) };
        let text = &self.lines[at].text;
        let assignment = line::assignment(text).ok().flatten()?;
        let name = String::from_utf8_lossy(&text[assignment.value.clone()]).into_owned();
        let reason = match Encoding::of(&name) {
            None => format!("the encoding {} is not known", shortened(&name)),
            Some(encoding) if marked && encoding != Encoding::UTF_8 => {
                format!("the file begins with UTF-8's mark, but says that it is {}", encoding.name())
            }
            Some(encoding) => return Some(encoding),
        };
        self.wrong(at, Wrong { at: assignment.value.start, reason });
        None
    }

    /// Checks that every value can be decoded.
    fn check_text(&mut self, index: &BTreeMap<String, usize>, encoding: Encoding) {
        for &at in index.values() {
            let text = &self.lines[at].text;
            let Ok(Some(Assignment { value, .. })) = line::assignment(text) else { continue };
            if let Err(bad) = encoding.decode(&text[value.clone()]) {
                let (byte, at_byte) = (text[value.start + bad], value.start + bad);
                let reason = match index.contains_key(ENCODING) {
                    true => format!(
                        "the byte {byte:#04x} means nothing in {}, the file's encoding",
                        encoding.name()
                    ),
                    false => format!("the byte {byte:#04x} is not UTF-8, and no .encoding says what it is"),
                };
                self.wrong(at, Wrong { at: at_byte, reason });
            }
        }
    }

    fn wrong(&mut self, number: usize, wrong: Wrong) {
        if self.problems.len() == MOST_PROBLEMS {
            return;
        }
        let before = String::from_utf8_lossy(&self.lines[number].text[..wrong.at]);
        let column = before.chars().count() + 1;
        self.problems.push(Problem { line: number + 1, column, reason: wrong.reason });
    }
}

/// Returns a key as text.
fn ascii(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("a key is ASCII")
}

/// Returns what can be quoted in a message.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
