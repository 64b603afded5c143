//! What machines write down, read beside each other and told in the order of time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Session;
use crate::cli::error::Failure;
use crate::engine::guests;
use crate::engine::logs::{self, Extent, Reader};
use crate::host::{HostError, clock, files};
use crate::lab::Node;
use crate::stack::logs::{Entry, Source};

/// How often machines are asked for more.
const LOOK: Duration = Duration::from_secs(1);

/// Takes entries with their machines' names.
pub type LogSink<'a> = &'a (dyn Fn(&[(String, Entry)]) -> Result<(), Failure> + Sync);

/// Machines that are read.
pub struct Reading {
    readers: Vec<Arc<tokio::sync::Mutex<Reader>>>,
    nodes: Vec<Node>,
    cancel: CancellationToken,
}

impl Session {
    /// Prepares to read what machines write down.
    pub fn logs(&self, nodes: &[Node], sources: &[Source], extent: Extent) -> Result<Reading, Failure> {
        let engine = self.engine_of_guests()?;
        let cancel = engine.cancel.clone();
        let reader = |node: &Node| {
            let reader = Reader::new(engine.clone(), node.clone(), sources.to_vec(), extent);
            Arc::new(tokio::sync::Mutex::new(reader))
        };
        Ok(Reading { readers: nodes.iter().map(reader).collect(), nodes: nodes.to_vec(), cancel })
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
    /// Tells what was written so far; also returns the machines of which a source could not be read, and why.
    pub async fn all(self, sink: LogSink<'_>) -> Result<Vec<(String, Failure)>, Failure> {
        self.round(true, sink).await
    }

    /// Tells what was written so far; also returns the first failure of a source, if one could not be read.
    pub async fn first(self, sink: LogSink<'_>) -> Result<(Self, Option<Failure>), Failure> {
        let failures = self.round(true, sink).await?;
        Ok((self, failures.into_iter().map(|(_, failure)| failure).next()))
    }

    /// Goes on with what comes until the user says stop. `tell` hears once of a machine that is not reached, and again when it
    /// was reached in between.
    pub async fn follow(
        &mut self,
        sink: LogSink<'_>,
        tell: &mut dyn FnMut(&str, &Failure),
    ) -> Result<(), Failure> {
        let mut away: Vec<String> = Vec::new();
        while !self.cancel.is_cancelled() {
            tokio::select! {
                () = clock::pause(LOOK) => {}
                () = self.cancel.cancelled() => return Ok(()),
            }
            let failures = match self.round(false, sink).await {
                Err(Failure::Report(_)) | Ok(_) if self.cancel.is_cancelled() => return Ok(()),
                round => round?,
            };
            for (node, failure) in failures.iter().filter(|(node, _)| !away.contains(node)) {
                tell(node, failure);
            }
            away = failures.into_iter().map(|(node, _)| node).collect();
        }
        Ok(())
    }

    /// Reads all machines once, and tells what they wrote in the order of time.
    async fn round(&self, is_first: bool, sink: LogSink<'_>) -> Result<Vec<(String, Failure)>, Failure> {
        let work = |node: Node| {
            let index = self.nodes.iter().position(|one| one.name == node.name).unwrap_or_default();
            let reader = self.readers[index].clone();
            async move {
                let read = reader.lock().await.read(is_first).await;
                (node.name, read)
            }
        };
        let rounds = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(HostError::Interrupted.into()),
            rounds = guests::beside(self.nodes.iter().cloned(), work) => rounds,
        };
        let (mut told, mut failures) = (Vec::new(), Vec::new());
        for (node, (entries, failed)) in rounds {
            told.extend(entries.into_iter().map(|entry| (node.clone(), entry)));
            // One that is off is so for each of its sources.
            failures.extend(failed.into_iter().next().map(|error| (node.clone(), Failure::from(error))));
        }
        told.sort_by_key(|(_, entry)| entry.at_ms);
        if !told.is_empty() {
            sink(&told)?;
        }
        Ok(failures)
    }
}
