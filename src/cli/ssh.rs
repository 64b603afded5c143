//! `fusionlab ssh`: the system's ssh into a machine, by the lab's own configuration.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::Args;
use serde_json::json;

use super::calls::{self, Session};
use super::candidates;
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::guests;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.ssh/1";
const SSH_PORT: u16 = 22;

/// Log in to a machine with your own ssh, or run a command there
///
/// Runs the system's ssh with the lab's configuration, which knows each machine by name, its address, its host key and the
/// key that it lets in. The same file serves ssh, scp, rsync and editors: --config prints its path. The words after MACHINE are
/// read by the guest's shell, as ssh does it; `fusionlab exec` takes them as they are, and goes into several machines.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab ssh gateway1
  fusionlab ssh k8s-master1 uname -a
  fusionlab ssh k8s-master1 'journalctl -u kubelet | tail'
  scp -F \"$(fusionlab ssh --config)\" notes.txt gateway1:
  rsync -e \"ssh -F $(fusionlab ssh --config)\" -a site gateway1:
  echo \"Include $(fusionlab ssh --config)\" >> ~/.ssh/config     for VS Code")]
pub struct SshArgs {
    /// The machine, such as gateway1
    #[arg(add = candidates::machines(), value_name = "MACHINE", required_unless_present_any = ["config", "through"])]
    node: Option<String>,

    /// A command for the guest's shell, with or without -- before it
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// Print the path of the configuration, and nothing else
    #[arg(long, conflicts_with_all = ["node", "command"])]
    config: bool,

    /// Carry a connection to a machine's SSH server: what the configuration has ssh run for a simulated Fusion
    #[arg(long, hide = true, value_name = "ADDRESS", conflicts_with_all = ["node", "command", "config"])]
    through: Option<Ipv4Addr>,
}

pub async fn run(args: SshArgs, context: &Context) -> Result<Success, Failure> {
    if let Some(address) = args.through {
        calls::carry(context, SocketAddrV4::new(address, SSH_PORT)).await?;
        return Ok(Success::Done);
    }
    let lab = context.lab(None, Warnings::Untold)?;
    let node = args.node.as_deref().map(|name| guests::one(&lab, name).cloned()).transpose()?;
    let session = Session::open(context, lab, "ssh").await?;
    let config = session.ssh_config()?;
    let mut words = vec!["-F".to_owned(), config.display().to_string()];
    words.extend(node.iter().map(|node| node.name.clone()));
    words.extend(args.command);
    if context.json() {
        let lab = &session.lab;
        let nodes: Vec<_> =
            lab.nodes.iter().map(|node| json!({ "node": node.name, "address": node.address() })).collect();
        let words = node.map(|_| [vec!["ssh".to_owned()], words].concat());
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "simulated": session.fusion.simulated,
            "config": config,
            "nodes": nodes,
            "command": words,
        }))?;
        return Ok(Success::Done);
    }
    let Some(node) = node else {
        context.print([config.display().to_string()])?;
        return Ok(Success::Done);
    };
    session.must_be_on(&node).await?;
    Err(calls::become_ssh(&words).into())
}
