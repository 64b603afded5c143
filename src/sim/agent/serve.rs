//! What the world does with each connection of a stand-in: a command, a daemon, or something that arrived at a port.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::sync::mpsc;

use super::Life;
use super::link::Link;
use super::protocol::{self, Hello, Role, ToGuest};
use crate::sim::guest::shell::Call;
use crate::sim::guest::{services, tools};
use crate::sim::seam::{Chunk, WIRE_BUFFER};

/// Pieces of output in flight.
const CHUNKS: usize = 64;
/// How long a command's end waits until the other guests have written what it changed: one of them may be frozen.
const OTHERS: Duration = Duration::from_secs(2);
/// A stand-in that is not of this binary.
const MISMATCH: i32 = 1;

impl Life {
    /// Serves one connection, up to its end.
    pub async fn serve<S>(self: &Arc<Self>, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let hello: Hello = protocol::read(&mut stream).await?;
        if hello.version != protocol::VERSION {
            let why = format!(
                "{}: its protocol has version {}, the world's has {}: rebuild the guest's image and start the world anew\n",
                hello.program,
                hello.version,
                protocol::VERSION
            );
            protocol::write(&mut stream, &ToGuest::Err(why.into_bytes())).await?;
            return protocol::write(&mut stream, &ToGuest::Exit(MISMATCH)).await;
        }
        match hello.role {
            Role::Port { to } => self.port(to, stream).await?,
            Role::Tool => self.tool(hello, &Link::new(stream)).await,
            Role::Kubelet => self.kubelet(&Link::new(stream)).await,
            Role::Containerd => self.containerd(&Link::new(stream)).await,
            Role::Shim => self.shim(&Link::new(stream)).await,
        }
        Ok(())
    }

    /// Lets the model's services answer what arrived at one of the guest's ports.
    async fn port<S>(&self, to: SocketAddrV4, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut near, far) = tokio::io::duplex(WIRE_BUFFER);
        if services::accept(&self.model, to, far).is_err() {
            return protocol::write(&mut stream, &ToGuest::Refused).await;
        }
        protocol::write(&mut stream, &ToGuest::Accepted).await?;
        let copy = copy_bidirectional(&mut near, &mut stream);
        self.model.power.run_until_cancelled(copy).await.transpose().map(drop)
    }

    /// Runs a command as the model's own tool.
    async fn tool(self: &Arc<Self>, hello: Hello, link: &Arc<Link>) {
        let named = named_paths(&hello.args);
        let looked = if hello.root {
            self.body.add_hand(link, false);
            self.body.look(&self.model, link, named).await
        } else {
            self.body.look_at(&self.model, link, named).await
        };
        if let Err(error) = looked {
            link.complain(&format!(
                "{}: the simulated world cannot look at this machine: {error}",
                hello.program
            ))
            .await;
            link.tell(ToGuest::Exit(MISMATCH)).await;
            return self.body.remove_hand(link);
        }
        let running = self.run(hello, link);
        let status = tokio::select! {
            status = running => Some(status),
            () = link.closed() => None,
            () = self.model.power.cancelled() => None,
        };
        self.model.sync();
        if let Some(status) = status {
            self.everything_written().await;
            self.update_ports().await;
            link.tell(ToGuest::Exit(status)).await;
        }
        self.body.remove_hand(link);
    }

    async fn run(&self, hello: Hello, link: &Arc<Link>) -> i32 {
        let (sender, mut receiver) = mpsc::channel(CHUNKS);
        let say = async {
            while let Some(chunk) = receiver.recv().await {
                link.tell(match chunk {
                    Chunk::Stdout(bytes) => ToGuest::Out(bytes),
                    Chunk::Stderr(bytes) => ToGuest::Err(bytes),
                })
                .await;
            }
        };
        let work = async move {
            let mut call = Call::new(&self.model, hello.root, hello.args, hello.input, &sender);
            tools::run(&mut call, &hello.program).await
        };
        tokio::join!(work, say).0
    }

    /// Waits until all that was changed stands in the guests: as etcd's members do before they answer.
    async fn everything_written(&self) {
        self.model.host.flush(&self.model).await;
        let mut others = tokio::task::JoinSet::new();
        for other in self.model.commons.running() {
            if !Arc::ptr_eq(&other, &self.model) {
                others.spawn(async move {
                    // One that cannot keep up goes on by itself.
                    let _ = tokio::time::timeout(OTHERS, other.host.flush(&other)).await;
                });
            }
        }
        others.join_all().await;
    }
}

/// Returns the absolute paths among a command's words, also behind `--flag=`.
fn named_paths(args: &[String]) -> Vec<String> {
    let path = |word: &String| {
        let word =
            word.split_once('=').filter(|_| word.starts_with("--")).map_or(&**word, |(_, value)| value);
        (word.starts_with('/') && !word.starts_with("/dev/")).then(|| word.to_owned())
    };
    args.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_among_the_words() {
        let args =
            ["apply", "-f", "/tmp/a.yaml", "--kubeconfig=/etc/kubernetes/admin.conf", "-f", "/dev/stdin"];
        let found = named_paths(&args.map(str::to_owned));
        assert_eq!(found, ["/tmp/a.yaml", "/etc/kubernetes/admin.conf"]);
    }
}
