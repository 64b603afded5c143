//! What verbs do in guests: commands of the user's, on their way while they run.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Session, fusion};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind};
use crate::engine::access::ssh_files;
use crate::engine::error::EngineError;
use crate::engine::guests;
use crate::engine::guests::transfer::{self, Arrived};
use crate::formats::command::Command;
use crate::host::dial::Dial;
use crate::host::{Flow, HostError, Output, clock, process, through};
use crate::lab::Node;
use crate::lab::limits::Limits;

/// The system's own, wherever PATH has it.
const SSH: &str = "ssh";

/// How a command in one guest ended.
pub struct Ended {
    pub node: String,
    pub outcome: Result<Output, Failure>,
    pub took: Duration,
}

/// Hears of each end as it comes.
pub type EndSink = Arc<dyn Fn(&Ended) + Send + Sync>;

impl Session {
    /// Runs a command in guests beside each other. `flow` makes the way into each and out of it.
    pub async fn attend(
        &self,
        nodes: &[Node],
        command: &Command,
        limit: Duration,
        flow: impl Fn(&Node) -> Flow,
        ended: EndSink,
    ) -> Result<Vec<Ended>, Failure> {
        let engine = self.engine_of_guests()?;
        let work = |node: Node| {
            let (engine, command, flow, ended) =
                (engine.clone(), command.clone(), flow(&node), ended.clone());
            async move {
                let began = clock::monotonic();
                let outcome = guests::attend(&engine, &node, &command, limit, flow).await;
                let end =
                    Ended { node: node.name, outcome: outcome.map_err(Failure::from), took: began.elapsed() };
                ended(&end);
                end
            }
        };
        Ok(guests::beside(nodes.iter().cloned(), work).await)
    }

    /// Writes the lab's configuration for ssh, if it is not there as it must be, and returns its path.
    pub fn ssh_config(&self) -> Result<PathBuf, Failure> {
        Ok(ssh_files::write(&*self.engine_of_guests()?)?)
    }

    /// Copies a file or folder into a machine.
    pub async fn upload(
        &self,
        node: &str,
        from: &Path,
        to: &str,
        deep: bool,
    ) -> Result<Arrived<String>, Failure> {
        let engine = self.engine_of_guests()?;
        Ok(transfer::upload(&engine, engine.node(node)?, from, to, deep).await?)
    }

    /// Copies a file or folder out of a machine.
    pub async fn download(
        &self,
        node: &str,
        from: &str,
        to: &Path,
        deep: bool,
    ) -> Result<Arrived<PathBuf>, Failure> {
        let engine = self.engine_of_guests()?;
        Ok(transfer::download(&engine, engine.node(node)?, from, to, deep).await?)
    }

    /// Fails if Fusion does not run a machine: ssh would try for minutes.
    pub async fn must_be_on(&self, node: &Node) -> Result<(), Failure> {
        if guests::is_on(&*self.engine_of_guests()?, node).await? {
            return Ok(());
        }
        Err(EngineError::Off { node: node.name.clone() }.into())
    }
}

/// Becomes the system's ssh, so that signals and the terminal are its own. Returns only if that fails.
pub fn become_ssh(words: &[String]) -> HostError {
    process::replace_us(Path::new(SSH), words)
}

/// Carries a connection between ssh and a guest of the Fusion that is meant, until either has said all.
pub async fn carry(context: &Context, address: SocketAddrV4) -> Result<(), Failure> {
    let dial = Dial::of(&fusion(context).await?)?;
    let limit = Limits::default().guest_connect;
    let carried = tokio::task::spawn_blocking(move || through::carry(dial, address, limit));
    tokio::select! {
        carried = carried => Ok(carried.expect("it does not panic")?),
        // ssh hangs up when it leaves; it says itself what there is to say.
        () = context.cancel.cancelled() => Err(Failure::Told(Kind::Interrupted)),
    }
}
