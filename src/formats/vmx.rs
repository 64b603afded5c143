//! VMX files: a VM's configuration as `key = "value"` lines, edited in place.

use std::collections::BTreeMap;

use super::lines::{self, Line};

/// A VMX file. Order, spelling, comments and unknown keys stay as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmx {
    lines: Vec<Line>,
    /// Lower-case key → index into `lines`: keys are case-insensitive (facts/vm-images-cloudinit.md §1.1).
    index: BTreeMap<String, usize>,
}

/// Why a text is not a VMX file that VMware would load.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct BadVmx {
    /// Counts from 1.
    pub line: usize,
    pub reason: String,
}

impl Vmx {
    /// Returns a new file: it only says that it is UTF-8.
    pub fn new() -> Self {
        let mut vmx = Self { lines: Vec::new(), index: BTreeMap::new() };
        vmx.set(".encoding", "UTF-8");
        vmx
    }

    /// Reads a VMX file.
    ///
    /// # Errors
    /// If a line is neither blank, a comment nor `key = value`, or a key comes twice: VMware does not
    /// load such a file.
    pub fn parse(text: &str) -> Result<Self, BadVmx> {
        let lines = lines::split(text);
        let mut index = BTreeMap::new();
        for (number, line) in lines.iter().enumerate() {
            let bad = |reason: String| BadVmx { line: number + 1, reason };
            let Some((key, _)) = assignment(&line.text).map_err(|reason| bad(reason.to_owned()))? else {
                continue;
            };
            if index.insert(key.to_ascii_lowercase(), number).is_some() {
                return Err(bad(format!("{key} is already defined")));
            }
        }
        Ok(Self { lines, index })
    }

    /// Returns a key's value, unescaped.
    pub fn get(&self, key: &str) -> Option<String> {
        let (_, value) = self.assignment_at(*self.index.get(&key.to_ascii_lowercase())?);
        Some(unescape(value))
    }

    /// Sets a key: in its place and spelling if it is there, else as a new last line.
    pub fn set(&mut self, key: &str, value: &str) {
        assert!(is_key(key), "{key:?} cannot be a VMX key");
        match self.index.get(&key.to_ascii_lowercase()) {
            Some(&at) => {
                let (spelling, old) = self.assignment_at(at);
                if unescape(old) != value {
                    self.lines[at].text = written(spelling, value);
                }
            }
            None => {
                self.index.insert(key.to_ascii_lowercase(), self.lines.len());
                lines::append(&mut self.lines, written(key, value));
            }
        }
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
        self.lines.iter().filter_map(|line| assignment(&line.text).ok().flatten()).map(|(key, _)| key)
    }

    /// Returns the file's text; for a file that was only read, exactly what was read.
    pub fn render(&self) -> String {
        lines::join(&self.lines)
    }

    fn assignment_at(&self, at: usize) -> (&str, &str) {
        assignment(&self.lines[at].text).ok().flatten().expect("the index names only lines that assign")
    }
}

impl Default for Vmx {
    fn default() -> Self {
        Self::new()
    }
}

/// Splits `key = "value"` into the key and the still escaped value; none for a blank line or a comment.
fn assignment(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = line.split_once('=').ok_or("expected key = \"value\"")?;
    let (key, value) = (key.trim(), value.trim());
    if !is_key(key) {
        return Err("the key is empty or has a space or a quote in it");
    }
    let Some(quoted) = value.strip_prefix('"') else {
        // Numbers and words without quotes are seen in the wild, such as `nvme0:0.virtualSSD = 1`.
        return match value.contains('"') {
            true => Err("a quote in the middle of an unquoted value"),
            false => Ok(Some((key, value))),
        };
    };
    let (value, rest) = quoted.split_once('"').ok_or("the closing quote is missing")?;
    match rest.trim_start() {
        "" => Ok(Some((key, value))),
        comment if comment.starts_with('#') => Ok(Some((key, value))),
        _ => Err("text after the closing quote"),
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with('#')
        && !key.contains(|char: char| {
            char.is_whitespace() || char.is_control() || matches!(char, '"' | '=' | '\u{feff}')
        })
}

fn written(key: &str, value: &str) -> String {
    format!("{key} = \"{}\"", escape(value))
}

/// Escapes what cannot stand in a quoted value as a pipe and two hexadecimal digits.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '"' | '|' | '\0'..='\x1f' | '\x7f' => escaped.push_str(&format!("|{:02X}", u32::from(char))),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// Undoes [`escape`]; a pipe without two hexadecimal digits stands for itself.
fn unescape(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match tail.get(..2).filter(|_| first == b'|').and_then(|digits| hex::decode(digits).ok()) {
            Some(decoded) => {
                bytes.extend(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = ".encoding = \"UTF-8\"\r\n# made by hand\r\nDisplayName = \"a |22b|22\"\r\n\
                          nvme0:0.virtualSSD = 1\r\n\r\nmemsize=\"4096\"   # MiB";

    #[test]
    fn keys_are_found_in_any_case_and_edited_in_their_place() {
        let mut vmx = Vmx::parse(SAMPLE).unwrap();
        assert_eq!(vmx.get("displayname").as_deref(), Some("a \"b\""));
        assert_eq!(vmx.get("nvme0:0.virtualssd").as_deref(), Some("1"));
        assert_eq!(vmx.get("MEMSIZE").as_deref(), Some("4096"));
        vmx.set("displayName", "c");
        vmx.set("guestOS", "arm-ubuntu-64");
        let expected = SAMPLE.replace("a |22b|22", "c") + "\r\nguestOS = \"arm-ubuntu-64\"\r\n";
        assert_eq!(vmx.render(), expected);
        assert_eq!(
            vmx.keys().collect::<Vec<_>>(),
            [".encoding", "DisplayName", "nvme0:0.virtualSSD", "memsize", "guestOS"]
        );
    }

    #[test]
    fn removing_a_key_leaves_the_others_findable() {
        let mut vmx = Vmx::parse(SAMPLE).unwrap();
        assert!(vmx.remove("displayName"));
        assert!(!vmx.remove("displayName"));
        assert_eq!(vmx.get("memsize").as_deref(), Some("4096"));
        assert_eq!(vmx.render(), SAMPLE.replace("DisplayName = \"a |22b|22\"\r\n", ""));
    }

    #[test]
    fn setting_what_is_there_changes_nothing() {
        let mut vmx = Vmx::parse(SAMPLE).unwrap();
        vmx.set("memsize", "4096");
        vmx.set("nvme0:0.virtualSSD", "1");
        assert_eq!(vmx.render(), SAMPLE);
    }

    #[test]
    fn a_new_file_says_that_it_is_utf8() {
        assert_eq!(Vmx::new().render(), ".encoding = \"UTF-8\"\n");
    }

    #[test]
    fn what_vmware_would_not_load_is_refused_with_its_line() {
        let line = |text: &str| Vmx::parse(text).unwrap_err();
        assert_eq!(
            line("a = \"1\"\nB = \"2\"\nA = \"3\"\n"),
            BadVmx { line: 3, reason: "A is already defined".to_owned() }
        );
        for bad in ["nonsense", "a = \"1", "a = \"1\" b", "= \"1\"", "a b = \"1\"", "a = 1\"2\""] {
            assert_eq!(line(&format!("x = \"\"\n{bad}\n")).line, 2, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn rendering_gives_back_what_was_read(text in "([a-c.:]{1,3} ?= ?(\"[^\"\r\n]{0,6}\"|[0-9]{0,3})|#\\PC{0,5}| ?)(\r?\n([d-f]{1,3} = \"[^\"\r\n]{0,6}\")){0,2}\n?") {
            if let Ok(vmx) = Vmx::parse(&text) {
                prop_assert_eq!(vmx.render(), text);
            }
        }

        #[test]
        fn any_value_can_be_kept(values in proptest::collection::vec("(\\PC|[\"|\0-\x1f\x7f]){0,12}", 1..5)) {
            let mut vmx = Vmx::new();
            for (number, value) in values.iter().enumerate() {
                vmx.set(&format!("key{number}"), value);
            }
            let read = Vmx::parse(&vmx.render()).unwrap();
            for (number, value) in values.iter().enumerate() {
                prop_assert_eq!(read.get(&format!("KEY{number}")), Some(value.clone()));
            }
            prop_assert_eq!(read, vmx);
        }
    }
}
