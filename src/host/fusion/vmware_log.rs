//! `vmware.log`: where Fusion says why it refused; `vmrun` only says that it did.

use std::path::{Path, PathBuf};

use crate::host::files;

const NAME: &str = "vmware.log";
/// The line after which the message follows (facts/vmrun-vmrest.md §1.4).
const START: &str = "Msg_Post: Error";
const END: &str = "----";

/// Of a long log, only this much of its end is read.
const LONGEST: u64 = 1 << 20;

/// Where a VM's log ended at some moment.
#[derive(Clone, Debug)]
pub struct Mark {
    path: PathBuf,
    /// Which file it was, and how long; none if there was none.
    end: Option<(u64, u64)>,
}

impl Mark {
    /// Remembers where a VM's log ends now.
    pub fn of(vmx: &Path) -> Self {
        let path = vmx.with_file_name(NAME);
        Self { end: files::number_and_size(&path), path }
    }

    /// Returns the last error message that was logged since; none if there is none. Fusion begins a new log when a VM is
    /// powered on: then all of it is new.
    pub fn cause(&self) -> Option<String> {
        let (number, size) = files::number_and_size(&self.path)?;
        let from = self.end.filter(|end| end.0 == number && end.1 <= size).map_or(0, |end| end.1);
        let from = from.max(size.saturating_sub(LONGEST));
        let bytes = files::read_part(&self.path, from, LONGEST).ok()?;
        last_error(&String::from_utf8_lossy(&bytes))
    }
}

fn last_error(log: &str) -> Option<String> {
    let start = log.rfind(START)?;
    let messages = log[start..].lines().skip(1).map(body).take_while(|line| !line.starts_with(END));
    let text: Vec<&str> = messages.map(without_id).filter(|line| !line.is_empty()).collect();
    (!text.is_empty()).then(|| text.join(" "))
}

/// Strips time, level and thread from a line: `2026-… In(05) vmx - text`, or `2026-…| vmx| I005: text`.
fn body(line: &str) -> &str {
    if let Some((_, text)) = line.rsplit_once("| ") {
        let text = text.trim_start();
        return match text.split_once(": ") {
            Some((level, text)) if is_level(level) => text.trim(),
            _ => text.trim(),
        };
    }
    let mut words = line.splitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_time), Some(level), Some(_thread), Some(text)) if level.ends_with(')') => {
            let text = text.trim();
            text.strip_prefix("- ").unwrap_or(text)
        }
        _ => line.trim(),
    }
}

/// `I005`, `I125+`: a letter and digits.
fn is_level(word: &str) -> bool {
    let digits = word.trim_end_matches('+').trim_start_matches(|char: char| char.is_ascii_uppercase());
    digits.len() < word.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Strips `[msg.disk.noBackEnd]`, the message's name, which stands before its text.
fn without_id(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((id, text)) if id.starts_with("msg.") => text.trim_start(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_quoted_in_either_form_of_line() {
        let old = "2024-05-01T10:00:00.123+02:00| vmx| I005: Msg_Post: Error\n\
            2024-05-01T10:00:00.123+02:00| vmx| I005: [msg.hostmem.low] Not enough physical memory\n\
            2024-05-01T10:00:00.123+02:00| vmx| I005+ is available: 3 GB needed.\n\
            2024-05-01T10:00:00.123+02:00| vmx| I005: ----------------------------------------\n\
            2024-05-01T10:00:00.123+02:00| vmx| I005: Exiting\n";
        let found = last_error(old).unwrap();
        assert!(found.starts_with("Not enough physical memory"), "{found}");
        assert!(!found.contains("Exiting"));

        let new = "2026-11-23T10:00:00.1Z In(05) vmx Msg_Post: Error\n\
            2026-11-23T10:00:00.1Z In(05) vmx [msg.a.b] first\n\
            2026-11-23T10:00:00.1Z In(05) vmx --------\n\
            2026-11-23T10:00:01.1Z In(05) vmx Msg_Post: Error\n\
            2026-11-23T10:00:01.1Z In(05) vmx - [msg.c.d] second\n\
            2026-11-23T10:00:01.1Z In(05) vmx - ------\n";
        assert_eq!(last_error(new).as_deref(), Some("second"));
    }

    #[test]
    fn a_log_without_an_error_has_no_cause() {
        assert_eq!(last_error("2026-11-23T10:00:00.1Z In(05) vmx all is well\n"), None);
        assert_eq!(Mark::of(Path::new("/nonexistent/one.vmx")).cause(), None);
    }
}
