//! What machines write down, read beside each other and told in the order of time.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Session;
use crate::cli::error::Failure;
use crate::engine::guests;
use crate::engine::guests::logs::{self, Extent, Reader};
use crate::host::{HostError, clock, files};
use crate::lab::Node;
use crate::stack::logs::{Entry, Source};

/// How often machines are asked for more.
const LOOK: Duration = Duration::from_secs(1);

/// Takes entries with their machines' names.
pub type LogSink<'a> = &'a (dyn Fn(&[(String, Entry)]) -> Result<(), Failure> + Sync);

/// Machines of which nothing is read yet.
pub struct Reading {
    readers: Vec<Reader>,
    cancel: CancellationToken,
}

/// Machines of which more is read as it comes.
pub struct Following {
    readers: Vec<logs::Following>,
    cancel: CancellationToken,
}

/// The machines of which a source could not be read, and why.
pub type Unread = Vec<(String, Failure)>;

/// Makes sure that all was read.
///
/// # Errors
/// The first of the failures.
pub fn all_is_read(unread: Unread) -> Result<(), Failure> {
    unread.into_iter().next().map_or(Ok(()), |(_, failure)| Err(failure))
}

impl Session {
    /// Prepares to read what machines write down.
    pub fn logs(&self, nodes: &[Node], sources: &[Source], extent: Extent) -> Result<Reading, Failure> {
        let engine = self.engine_of_guests()?;
        let cancel = engine.cancel.clone();
        let reader = |node: &Node| Reader::new(engine.clone(), node.clone(), sources.to_vec(), extent);
        Ok(Reading { readers: nodes.iter().map(reader).collect(), cancel })
    }

    /// Returns the file of a machine's serial console; none if the machine was never started.
    pub fn console_file(&self, node: &Node) -> Option<PathBuf> {
        Some(logs::console_file(&self.engine, node)).filter(|file| files::exists(file))
    }

    /// Returns the words of the command that opens a machine's window; none for a simulated Fusion, which has none.
    pub fn window(&self, node: &Node) -> Option<[String; 4]> {
        let app = self.fusion.app.display().to_string();
        let vmx = self.engine.vmx(&node.name).display().to_string();
        (!self.fusion.simulated).then(|| ["open".to_owned(), "-a".to_owned(), app, vmx])
    }
}

impl Reading {
    /// Tells what was written so far, and of whom that could not be read.
    pub async fn begin(self, sink: LogSink<'_>) -> Result<(Following, Unread), Failure> {
        let Self { readers, cancel } = self;
        let (readers, unread) = round(readers, Reader::begin, &cancel, sink).await?;
        Ok((Following { readers, cancel }, unread))
    }
}

impl Following {
    /// Goes on with what comes until the user says stop. `tell` hears once of a machine that is not reached, and again when it
    /// was reached in between.
    pub async fn follow(
        mut self,
        sink: LogSink<'_>,
        tell: &mut dyn FnMut(&str, &Failure),
    ) -> Result<(), Failure> {
        let mut away: Vec<String> = Vec::new();
        while !self.cancel.is_cancelled() {
            tokio::select! {
                () = clock::pause(LOOK) => {}
                () = self.cancel.cancelled() => return Ok(()),
            }
            let readers = std::mem::take(&mut self.readers);
            let (readers, unread) = match round(readers, next, &self.cancel, sink).await {
                Err(Failure::Report(_)) | Ok(_) if self.cancel.is_cancelled() => return Ok(()),
                round => round?,
            };
            self.readers = readers;
            for (node, failure) in unread.iter().filter(|(node, _)| !away.contains(node)) {
                tell(node, failure);
            }
            away = unread.into_iter().map(|(node, _)| node).collect();
        }
        Ok(())
    }
}

async fn next(mut reader: logs::Following) -> (logs::Following, logs::Reading) {
    let read = reader.next().await;
    (reader, read)
}

/// Reads all machines once, and tells what they wrote in the order of time.
async fn round<R, F>(
    readers: Vec<R>,
    read: impl Fn(R) -> F,
    cancel: &CancellationToken,
    sink: LogSink<'_>,
) -> Result<(Vec<logs::Following>, Unread), Failure>
where
    F: Future<Output = (logs::Following, logs::Reading)> + Send + 'static,
{
    let rounds = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(HostError::Interrupted.into()),
        rounds = guests::beside(readers, read) => rounds,
    };
    let (mut readers, mut told, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    for (reader, (entries, failed)) in rounds {
        let node = reader.node();
        told.extend(entries.into_iter().map(|entry| (node.to_owned(), entry)));
        // One that is off is so for each of its sources.
        unread.extend(failed.into_iter().next().map(|error| (node.to_owned(), Failure::from(error))));
        readers.push(reader);
    }
    told.sort_by_key(|(_, entry)| entry.at_ms);
    if !told.is_empty() {
        sink(&told)?;
    }
    Ok((readers, unread))
}
