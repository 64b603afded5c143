//! The ends of kubeadm's phases, by kubeadm's names: there it can be made to die, as a process does that is killed.

use std::sync::Arc;

use crate::sim::guest::Model;

/// The exit status of a process that was killed: 128 and SIGKILL.
pub const KILLED: i32 = 137;

/// Why kubeadm ended before its work was done.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It says why.
    Failed(String),
    /// It was killed, without a word.
    Killed,
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<&str> for Ended {
    fn from(why: &str) -> Self {
        Self::Failed(why.to_owned())
    }
}

/// Ends a phase: what it wrote lasts. The fault `kubeadm-dies` strikes here.
pub async fn done(model: &Arc<Model>, phase: &str) -> Result<(), Ended> {
    model.sync();
    if model.around.fault_at("kubeadm-dies", phase) {
        model.host.flush(model).await;
        return Err(Ended::Killed);
    }
    Ok(())
}
