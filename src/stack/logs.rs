//! What a guest writes down: where it is found, by which commands, and how its lines become entries with a time.
//!
//! ```text
//! console      the serial port, a file beside the VM   "[   12.345] text": seconds since power-on
//! cloud-init   its output's file in the guest          "… at Fri, 27 Nov 2026 18:32:08 +0000. Up 12 seconds."
//! journal      journald, as JSON                        __REALTIME_TIMESTAMP, in microseconds since 1970
//! ```
//!
//! A line without a time of its own has that of the line before it.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::formats::command::Command;
use crate::formats::mail_time;

/// Where cloud-init's modules, and what they run, print to.
const CLOUD_INIT: &str = "/var/log/cloud-init-output.log";
const MS: u64 = 1000;

/// Where entries come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Console,
    CloudInit,
    Journal,
}

impl Source {
    pub const ALL: [Self; 3] = [Self::Console, Self::CloudInit, Self::Journal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::CloudInit => "cloud-init",
            Self::Journal => "journal",
        }
    }
}

/// One line that a guest wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since 1970; none before the first line that tells a time.
    pub at_ms: Option<u64>,
    pub source: Source,
    /// Who wrote it, where that is told: a program's name.
    pub by: Option<String>,
    pub text: String,
}

/// Asks journald: for the last lines, of a while, or those after an entry.
pub fn journal(last: Option<usize>, since_unix: Option<u64>, after: Option<&str>) -> Command {
    let mut words: Vec<String> =
        ["journalctl", "--no-pager", "--quiet", "--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER"]
            .map(str::to_owned)
            .to_vec();
    words.extend(last.map(|count| format!("--lines={count}")));
    words.extend(since_unix.map(|seconds| format!("--since=@{seconds}")));
    words.extend(after.map(|cursor| format!("--after-cursor={cursor}")));
    Command::new(words).as_root()
}

/// Reads cloud-init's output from a byte on, which is the whole file for 0.
pub fn cloud_init(from: u64) -> Command {
    Command::new(["tail".to_owned(), "-c".to_owned(), format!("+{}", from + 1), CLOUD_INIT.to_owned()])
        .as_root()
}

/// Reads journald's JSON, an object a line; returns the entries, and the last one's cursor.
pub fn journal_entries(text: &str) -> (Vec<Entry>, Option<String>) {
    let (mut entries, mut cursor) = (Vec::new(), None);
    for value in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let word = |key: &str| value.get(key).and_then(Value::as_str);
        let micros: Option<u64> = word("__REALTIME_TIMESTAMP").and_then(|text| text.parse().ok());
        cursor = word("__CURSOR").map(str::to_owned).or(cursor);
        let by = word("SYSLOG_IDENTIFIER").map(str::to_owned);
        let message = message(value.get("MESSAGE"));
        // A message of several lines is one entry for each.
        for text in message.lines() {
            let at_ms = micros.map(|micros| micros / 1000);
            entries.push(Entry { at_ms, source: Source::Journal, by: by.clone(), text: text.to_owned() });
        }
    }
    (entries, cursor)
}

/// Returns a message: text, an array of bytes if it is none, null if it is too long to be shown.
fn message(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(bytes)) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}

/// Makes entries of a text's lines; `last_ms` is the time of the line before, and then of the last one. `powered_on_ms` is what
/// the kernel's seconds on a console count from.
pub fn text_entries(
    source: Source,
    text: &str,
    powered_on_ms: Option<u64>,
    last_ms: &mut Option<u64>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty()) {
        let at = match source {
            Source::Console => seconds_up(line).zip(powered_on_ms).map(|(up, on)| on + up),
            _ => cloud_inits_time(line).map(|seconds| seconds * MS),
        };
        *last_ms = at.or(*last_ms);
        entries.push(Entry { at_ms: *last_ms, source, by: None, text: line.to_owned() });
    }
    entries
}

/// Returns the milliseconds of a kernel's line such as `[   12.345678] text`.
fn seconds_up(line: &str) -> Option<u64> {
    let (stamp, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let seconds: f64 = stamp.trim().parse().ok().filter(|seconds| *seconds >= 0.0)?;
    u64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
}

/// Returns the time of the line that cloud-init begins each stage with, in seconds since 1970.
fn cloud_inits_time(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("Cloud-init v. ")?.rsplit_once(" at ")?;
    mail_time::parse(rest.split_once(". ").map_or(rest, |(time, _)| time))
}

/// Puts entries in the order of their times, those of one moment as they were; what has none comes first.
pub fn merge(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| entry.at_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journalds_json_is_read_whatever_a_message_is() {
        let text = "\
            {\"__CURSOR\":\"s=1;i=1\",\"__REALTIME_TIMESTAMP\":\"1795804328123456\",\"MESSAGE\":\"one\\ntwo\",\"SYSLOG_IDENTIFIER\":\"nginx\"}\n\
            {\"__CURSOR\":\"s=1;i=2\",\"__REALTIME_TIMESTAMP\":\"1795804329000000\",\"MESSAGE\":[104,105,255]}\n\
            {\"__CURSOR\":\"s=1;i=3\",\"__REALTIME_TIMESTAMP\":\"1795804330000000\",\"MESSAGE\":null}\n\
            -- No entries --\n";
        let (entries, cursor) = journal_entries(text);
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.at_ms.unwrap(), entry.by.as_deref(), &*entry.text)).collect();
        assert_eq!(
            seen,
            [
                (1_795_804_328_123, Some("nginx"), "one"),
                (1_795_804_328_123, Some("nginx"), "two"),
                (1_795_804_329_000, None, "hi\u{fffd}"),
            ]
        );
        assert_eq!(cursor.as_deref(), Some("s=1;i=3"));
    }

    #[test]
    fn lines_without_a_time_have_that_of_the_line_before() {
        let mut last = None;
        let console = "SeaBIOS\n[    1.500000] Linux\r\nlogin:\n\n[   99] up\n";
        let times = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.at_ms).collect::<Vec<_>>();
        let seen = times(text_entries(Source::Console, console, Some(1_000), &mut last));
        assert_eq!(seen, [None, Some(2_500), Some(2_500), Some(100_000)]);
        assert_eq!(times(text_entries(Source::Console, "more", Some(1_000), &mut last)), [Some(100_000)]);
        let text = "Cloud-init v. 26.2 running 'init' at Thu, 01 Jan 1970 00:01:00 +0000. Up 6.02 seconds.\nci-info: x";
        let seen = times(text_entries(Source::CloudInit, text, None, &mut None));
        assert_eq!(seen, [Some(60_000), Some(60_000)]);
    }

    #[test]
    fn the_commands_ask_for_no_more_than_is_wanted() {
        let line = journal(Some(50), Some(7), None).shell_line();
        assert!(line.ends_with("--lines=50 --since=@7"), "{line}");
        assert!(journal(None, None, Some("s=1;i=2")).shell_line().ends_with("'--after-cursor=s=1;i=2'"));
        assert_eq!(cloud_init(0).shell_line(), "sudo -n tail -c +1 /var/log/cloud-init-output.log");
    }
}
