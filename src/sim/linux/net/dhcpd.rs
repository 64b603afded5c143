//! ISC's DHCP server as a child of the world: it serves, or it says why not.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::limits;
use super::tools;
use crate::host::process::{self, Options};
use crate::sim::files;
use crate::sim::linux::cgroup;

/// What the server says once clients are answered.
const SERVES: &str = "Server starting service.";
/// How its advice begins that follows each complaint: how to report a bug to ISC.
const ADVICE: &str = "If you think you have received this message due to a bug";
/// How the last line of its greeting begins, after which complaints come.
const GREETED: &str = "For info, please visit";

/// The server's program, and the control group of all its processes.
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    pub cgroup: PathBuf,
}

/// Where a server serves, and by which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// A namespace's name.
    pub namespace: String,
    pub interface: String,
    pub conf: PathBuf,
    /// What the file says at the start; a change of the file alone is not seen by the server.
    pub content: String,
    pub leases: PathBuf,
    pub log: PathBuf,
}

/// A server that serves.
pub struct Dhcpd {
    child: Child,
    pub order: Order,
}

impl Dhcpd {
    /// Starts a server, and waits until it serves.
    ///
    /// # Errors
    /// With its own words if it does not start.
    pub async fn start(program: &Program, order: Order) -> io::Result<Self> {
        files::write_new(&order.leases, "")?;
        files::write(&order.log, "")?;
        let texts = [&order.conf, &order.leases].map(|path| path.to_string_lossy().into_owned());
        let programs = [tools::program("ip")?, program.path.clone()];
        let [ip, dhcpd] = programs.each_ref().map(|path| path.to_string_lossy());
        let group = program.cgroup.to_string_lossy();
        let mut args = vec!["-c", cgroup::JOIN, &group, &ip, "netns", "exec", &order.namespace, &dhcpd];
        args.extend(["-4", "-f", "-d", "--no-pid", "-cf", &texts[0], "-lf", &texts[1]]);
        args.push(&order.interface);
        // It serves for ever: the limit is of no meaning here.
        let options = Options::limit(limits::PROGRAM);
        let mut child =
            process::spawn_serving(&tools::program("sh")?, args, &options).map_err(io::Error::other)?;
        let stderr = child.stderr.take().expect("its standard error is piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        let serves = tokio::time::timeout(limits::DHCPD_SERVES, listen(&mut lines, &mut said)).await;
        files::append(&order.log, said.join("\n") + "\n")?;
        match serves {
            Ok(Ok(true)) => {
                tokio::spawn(keep_log(lines, order.log.clone()));
                Ok(Self { child, order })
            }
            Ok(Ok(false)) => Err(refused(&order, &complaint(&said))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(refused(&order, "it does not serve in time")),
        }
    }

    /// Ends the server; its leases are on the disk already.
    pub async fn stop(mut self) {
        // One that has ended by itself is as good as ended.
        let _ = self.child.kill().await;
    }
}

/// Reads until the server serves; false if it ended before.
async fn listen(lines: &mut Lines<BufReader<ChildStderr>>, said: &mut Vec<String>) -> io::Result<bool> {
    while let Some(line) = lines.next_line().await? {
        let serves = line == SERVES;
        said.push(line);
        if serves {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Appends what the server says to its log until it ends.
async fn keep_log(mut lines: Lines<BufReader<ChildStderr>>, log: PathBuf) {
    while let Ok(Some(line)) = lines.next_line().await {
        // The log is for people; a disk that is full must not keep the server from serving.
        let _ = files::append(&log, line + "\n");
    }
}

/// Returns the server's reason among all that it says as it ends.
fn complaint(said: &[String]) -> String {
    let greeting = said.iter().position(|line| line.starts_with(GREETED)).map_or(0, |last| last + 1);
    let reason = said[greeting..].iter().map(|line| line.trim());
    let reason = reason.take_while(|line| !line.starts_with(ADVICE)).filter(|line| !line.is_empty());
    reason.collect::<Vec<_>>().join("; ")
}

fn refused(order: &Order, reason: &str) -> io::Error {
    let Order { interface, conf, .. } = order;
    io::Error::other(format!("dhcpd does not start on {interface} with {}: {reason}", conf.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_what_stands_between_the_greeting_and_the_advice() {
        let said = "Internet Systems Consortium DHCP Server 4.4.3-P1\n\
                    For info, please visit https://www.isc.org/software/dhcp/\n\
                    /tmp/a.conf line 9: range declares that\n\nexiting.\n\
                    If you think you have received this message due to a bug rather\nthan a configuration issue\n";
        let lines: Vec<_> = said.lines().map(str::to_owned).collect();
        assert_eq!(complaint(&lines), "/tmp/a.conf line 9: range declares that; exiting.");
        assert_eq!(complaint(&["oops".to_owned()]), "oops");
    }
}
