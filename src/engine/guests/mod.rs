//! Guests at the user's own wish: which machines are meant, and what is done in several of them beside each other.

pub mod logs;
pub mod transfer;

use std::time::Duration;

use crate::formats::command::Command;
use crate::host::{Flow, HostError, Output, files};
use crate::lab::{Lab, Node, Role};

use crate::engine::context::Engine;
use crate::engine::error::{EngineError, Result};
use crate::engine::observe::ask::in_order;
use crate::engine::schedule::gates::GUESTS_AT_ONCE;

/// Which machines are meant: those that are named, those of a role, or all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub names: Vec<String>,
    pub roles: Vec<Role>,
    pub all: bool,
}

impl Wanted {
    /// Returns the machines in the lab's order, each once; or the first name that is no machine's.
    pub fn of<'a>(&self, lab: &'a Lab) -> Result<Vec<&'a Node>, String> {
        if let Some(unknown) = self.names.iter().find(|name| lab.node(name).is_none()) {
            return Err(unknown.clone());
        }
        let is_meant =
            |node: &&Node| self.all || self.roles.contains(&node.role) || self.names.contains(&node.name);
        Ok(lab.nodes.iter().filter(is_meant).collect())
    }
}

/// Does something with each machine, no more at once than guests take logins; the results are in the machines' order.
pub async fn beside<I, T, F>(machines: impl IntoIterator<Item = I>, work: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    in_order(machines, GUESTS_AT_ONCE, work).await
}

/// Runs a command of the user's in a guest, with its output on the way while it runs. Nothing of it is logged.
///
/// # Errors
/// [`EngineError::Off`] if nobody answers and Fusion says that the machine does not run.
pub async fn attend(
    engine: &Engine,
    node: &Node,
    command: &Command,
    limit: Duration,
    flow: Flow,
) -> Result<Output> {
    let target = engine.target(node)?;
    let output = tokio::select! {
        biased;
        () = engine.cancel.cancelled() => Err(HostError::Interrupted),
        output = engine.shell.attend(&target, command, limit, flow) => output,
    };
    match output {
        Err(HostError::Connect { .. }) if !is_on(engine, node).await? => {
            Err(EngineError::Off { node: node.name.clone() })
        }
        output => Ok(output?),
    }
}

/// Says whether Fusion runs a machine.
pub async fn is_on(engine: &Engine, node: &Node) -> Result<bool> {
    Ok(engine.vms.running().await?.contains(&files::resolved(&engine.vmx(&node.name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    fn meant(wanted: &Wanted) -> Result<Vec<String>, String> {
        let (lab, _) = fixture::document();
        Ok(wanted.of(&lab)?.into_iter().map(|node| node.name.clone()).collect())
    }

    #[test]
    fn machines_are_meant_by_name_and_role_in_the_labs_order_and_once() {
        let names = ["k8s-worker1", "gateway2"].map(str::to_owned).to_vec();
        let wanted = Wanted { names: names.clone(), roles: vec![Role::Gateway], all: false };
        assert_eq!(meant(&wanted).unwrap(), ["gateway1", "gateway2", "k8s-worker1"]);
        assert_eq!(meant(&Wanted { all: true, ..Wanted::default() }).unwrap().len(), 7);
        assert!(meant(&Wanted::default()).unwrap().is_empty());
        let wanted = Wanted { names: vec!["gatway1".to_owned()], all: true, ..Wanted::default() };
        assert_eq!(meant(&wanted).unwrap_err(), "gatway1", "a misspelt name is not passed over");
    }
}
