//! journalctl: the last lines of a unit or of all, as text or as JSON, and those after a cursor.

use serde_json::json;

use crate::sim::guest::live::JournalLine;
use crate::sim::guest::shell::Call;
use crate::sim::guest::units;

/// What is asked.
struct Query {
    count: usize,
    unit: Option<String>,
    json: bool,
    quiet: bool,
    since_ms: u64,
    /// The cursor of the last line that is known already.
    after: Option<String>,
}

pub async fn run(call: &Call<'_>) -> i32 {
    let query = match Query::of(&call.args) {
        Ok(query) => query,
        Err(why) => return call.fail(1, format!("journalctl: {why}")).await,
    };
    if !call.root {
        return call.fail(1, "No journal files were opened due to insufficient permissions.").await;
    }
    let (boot, host, lines) = call.model.live(|live| {
        let unit = query.unit.as_deref().map(units::canonical);
        (live.boot_id.clone(), live.hostname.clone(), live.journal(unit))
    });
    // A cursor of another boot is before all of this one: the model's journal is kept in memory.
    let after = query.after.as_deref().and_then(|cursor| number_of(cursor, &boot)).unwrap_or_default();
    let mut lines: Vec<_> =
        lines.into_iter().filter(|line| line.number > after && line.at_ms >= query.since_ms).collect();
    lines.drain(..lines.len().saturating_sub(query.count));
    if lines.is_empty() && !query.quiet {
        call.say("-- No entries --").await;
    }
    for line in lines {
        call.say(if query.json { as_json(&line, &boot, &host) } else { as_text(&line, &host) }).await;
    }
    0
}

impl Query {
    fn of(args: &[String]) -> Result<Self, String> {
        let mut query = Self { count: 1000, unit: None, json: false, quiet: false, since_ms: 0, after: None };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "--no-pager" | "-b" | "--output-fields" => {}
                "-q" | "--quiet" => query.quiet = true,
                "-n" => query.count = words.next().and_then(|count| count.parse().ok()).unwrap_or(10),
                "--lines" => {
                    query.count = value.parse().map_err(|_| format!("Failed to parse lines '{value}'"))?
                }
                "-u" => query.unit = words.next().cloned(),
                "--output" if value == "json" => query.json = true,
                "--since" => {
                    let seconds = value.strip_prefix('@').and_then(|seconds| seconds.parse::<u64>().ok());
                    query.since_ms = seconds.ok_or(format!("Failed to parse timestamp: {value}"))? * 1000;
                }
                "--after-cursor" => query.after = Some(value.to_owned()),
                _ => return Err(format!("unrecognized option '{word}'")),
            }
        }
        Ok(query)
    }
}

fn as_text(line: &JournalLine, host: &str) -> String {
    format!("{}.{:03} {host} {}: {}", line.at_ms / 1000, line.at_ms % 1000, line.unit, line.text)
}

fn as_json(line: &JournalLine, boot: &str, host: &str) -> String {
    json!({
        "__CURSOR": cursor(line.number, boot),
        "__REALTIME_TIMESTAMP": (line.at_ms * 1000).to_string(),
        "_BOOT_ID": boot.replace('-', ""),
        "_HOSTNAME": host,
        "SYSLOG_IDENTIFIER": line.unit,
        "MESSAGE": line.text,
    })
    .to_string()
}

fn cursor(number: u64, boot: &str) -> String {
    format!("s={};i={number:x}", boot.replace('-', ""))
}

fn number_of(cursor: &str, boot: &str) -> Option<u64> {
    let number = cursor.strip_prefix(&format!("s={};i=", boot.replace('-', "")))?;
    u64::from_str_radix(number, 16).ok()
}
