//! What one guest writes down, read from its beginning and then as it grows: its console on the host, the rest by SSH.
//!
//! Nothing is kept open between two readings, so a guest may restart meanwhile: the next one goes on from where the last
//! one came to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::formats::command::Command;
use crate::host::{Flow, clock, files, tree};
use crate::lab::{Node, paths};
use crate::stack::logs::{self, Entry, Source};

use crate::engine::context::{Engine, command_failed};
use crate::engine::error::{EngineError, Result};
use crate::engine::guests;
use crate::engine::output::CONSOLE_READ;

/// Returned for what coreutils' `tail` says of a file that is not there.
const NOT_THERE: &str = "No such file or directory";

/// How much of what was written before is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Entries, the last ones.
    pub lines: usize,
    /// Seconds since 1970.
    pub since: Option<u64>,
}

/// Reads one machine's sources, for the first time.
pub struct Reader(Following);

/// Reads what comes in one machine's sources, once what was there is read.
pub struct Following {
    engine: Arc<Engine>,
    node: Node,
    sources: Vec<Source>,
    extent: Extent,
    /// Whether what was there is read, and so a line that is not whole may wait for its end.
    goes_on: bool,
    journal: Journal,
    cloud_init: Text,
    console: Text,
    /// The console's file: a machine that starts again has another one.
    console_number: Option<u64>,
}

/// How far the journal is read.
#[derive(Default)]
struct Journal {
    cursor: Option<String>,
    /// When it was first asked, in seconds since 1970; none before that.
    asked: Option<u64>,
}

/// How far a text is read.
#[derive(Default)]
struct Text {
    bytes: u64,
    last_ms: Option<u64>,
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
}

/// What was read, and why the rest was not.
pub type Reading = (Vec<Entry>, Vec<EngineError>);

impl Reader {
    pub fn new(engine: Arc<Engine>, node: Node, sources: Vec<Source>, extent: Extent) -> Self {
        Self(Following {
            engine,
            node,
            sources,
            extent,
            goes_on: false,
            journal: Journal::default(),
            cloud_init: Text::default(),
            console: Text::default(),
            console_number: None,
        })
    }

    /// Reads as much of what there is as is wanted, as [`Following::next`] does.
    pub async fn begin(self) -> (Following, Reading) {
        let Self(mut following) = self;
        let (mut entries, failures) = following.look().await;
        following.goes_on = true;
        let Extent { lines, since } = following.extent;
        let since = since.map(|seconds| seconds * 1000);
        entries.retain(|entry| since.is_none() || entry.at_ms >= since);
        entries.drain(..entries.len().saturating_sub(lines));
        following.conceal(&mut entries);
        (following, (entries, failures))
    }
}

impl Following {
    pub fn node(&self) -> &str {
        &self.node.name
    }

    /// Reads what came since: in the order of time, without secrets and without what a terminal would obey.
    pub async fn next(&mut self) -> Reading {
        let (mut entries, failures) = self.look().await;
        self.conceal(&mut entries);
        (entries, failures)
    }

    async fn look(&mut self) -> Reading {
        let (mut entries, mut failures) = (Vec::new(), Vec::new());
        for source in self.sources.clone() {
            let read = match source {
                Source::Console => self.read_console(),
                Source::CloudInit => self.read_cloud_init().await,
                Source::Journal => self.read_journal().await,
            };
            match read {
                Ok(read) => entries.extend(read),
                Err(error) => failures.push(error),
            }
        }
        logs::merge(&mut entries);
        (entries, failures)
    }

    fn conceal(&self, entries: &mut [Entry]) {
        for entry in entries {
            entry.text = self.engine.redact(&entry.text);
            entry.by = entry.by.take().map(|by| self.engine.redact(&by));
        }
    }

    async fn read_journal(&mut self) -> Result<Vec<Entry>> {
        let command = match (&self.journal.cursor, self.journal.asked) {
            (Some(cursor), _) => logs::journal(None, None, Some(cursor)),
            (None, Some(asked)) => logs::journal(None, Some(asked), None),
            (None, None) => logs::journal(Some(self.extent.lines), self.extent.since, None),
        };
        self.journal.asked.get_or_insert_with(clock::now);
        let text = self.ask(&command).await?;
        let (entries, cursor) = logs::journal_entries(&String::from_utf8_lossy(&text));
        self.journal.cursor = cursor.or(self.journal.cursor.take());
        Ok(entries)
    }

    async fn read_cloud_init(&mut self) -> Result<Vec<Entry>> {
        let bytes = self.ask(&logs::cloud_init(self.cloud_init.bytes)).await?;
        Ok(self.cloud_init.entries(Source::CloudInit, bytes, None, self.goes_on))
    }

    fn read_console(&mut self) -> Result<Vec<Entry>> {
        let path = console_file(&self.engine, &self.node);
        let Some((number, size)) = files::number_and_size(&path) else { return Ok(Vec::new()) };
        if self.console_number.replace(number) != Some(number) || size < self.console.bytes {
            self.console = Text { bytes: size.saturating_sub(CONSOLE_READ), ..Text::default() };
        }
        let bytes = files::read_from(&path, self.console.bytes, CONSOLE_READ)?;
        let powered_on = tree::created(&path).map(clock::milliseconds);
        Ok(self.console.entries(Source::Console, bytes, powered_on, self.goes_on))
    }

    /// Returns what a command prints; nothing if the file that it reads is not there yet.
    async fn ask(&self, command: &Command) -> Result<Vec<u8>> {
        let limit: Duration = self.engine.lab.limits.guest_command;
        let flow = Flow { input: None, output: Box::new(|_, _| {}) };
        let output = guests::attend(&self.engine, &self.node, command, limit, flow).await?;
        if !output.success() && !String::from_utf8_lossy(&output.stderr).contains(NOT_THERE) {
            return Err(command_failed(&self.node.name, command, &output));
        }
        Ok(output.stdout)
    }
}

/// The file that a machine's serial port is written to.
pub fn console_file(engine: &Engine, node: &Node) -> PathBuf {
    engine.bundle(&node.name).join(paths::CONSOLE_LOG)
}

impl Text {
    /// Makes entries of what came. A line that is not whole is held until its end comes, or until nothing comes: a prompt
    /// has no end. Nothing is held for who may not go on.
    fn entries(
        &mut self,
        source: Source,
        bytes: Vec<u8>,
        powered_on_ms: Option<u64>,
        goes_on: bool,
    ) -> Vec<Entry> {
        self.bytes += bytes.len() as u64;
        let is_all = !goes_on || bytes.is_empty();
        self.held.extend(bytes);
        let whole = match self.held.iter().rposition(|byte| *byte == b'\n') {
            _ if is_all => self.held.len(),
            Some(end) => end + 1,
            None => 0,
        };
        let whole: Vec<u8> = self.held.drain(..whole).collect();
        let text = String::from_utf8_lossy(&whole);
        logs::text_entries(source, &text, powered_on_ms, &mut self.last_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_held_until_it_ends_or_nothing_comes() {
        let mut text = Text::default();
        let mut take = |bytes: &str| {
            let entries = text.entries(Source::Console, bytes.as_bytes().to_vec(), None, true);
            entries.into_iter().map(|entry| entry.text).collect::<Vec<_>>()
        };
        assert_eq!(take("one\ntw"), ["one"]);
        assert_eq!(take("o\nlogin: "), ["two"]);
        assert_eq!(take(""), ["login: "]);
        assert!(take("").is_empty());
    }
}
