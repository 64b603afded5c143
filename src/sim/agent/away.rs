//! Stand-ins of machines that share no file with the world: they come over the network, and say which machine's they are.
//!
//! ```text
//! guest: /run/fusionlab-sim/machine ─▶ connect ── "<product_uuid>\n" ──▶ Machines::serve: the Kube of that machine
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{AWAY, Kube};
use crate::sim::guest::lock;
use crate::sim::{files, pace};

/// As long as a machine's name can be: a UUID with its hyphens.
const NAME: usize = 36;
/// How long a stranger may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to accept while the world is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a connection to the world, if this guest says where it is; none if it does not.
pub async fn connect(root: &Path) -> Option<io::Result<TcpStream>> {
    let told = files::read(&root.join(AWAY.trim_start_matches('/'))).ok()??;
    let (world, machine) = read(&told)?;
    let connect = async {
        let mut stream = TcpStream::connect(world).await?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("{machine}\n").as_bytes()).await?;
        Ok(stream)
    };
    Some(connect.await)
}

/// Reads where the world is, and the machine's name.
fn read(told: &str) -> Option<(SocketAddr, String)> {
    let mut lines = told.lines().map(str::trim);
    let world = lines.next()?.parse().ok()?;
    let machine = lines.next().filter(|name| !name.is_empty() && name.len() <= NAME)?;
    Some((world, machine.to_ascii_lowercase()))
}

/// The machines of a world whose stand-ins come over the network.
#[derive(Default)]
pub struct Machines {
    by_name: Mutex<BTreeMap<String, Weak<Kube>>>,
}

impl Machines {
    /// Lets a machine's stand-ins in, by its `product_uuid`.
    pub fn add(&self, uuid: &str, kube: &Arc<Kube>) {
        let mut machines = lock(&self.by_name);
        machines.retain(|_, kube| kube.strong_count() > 0);
        machines.insert(uuid.to_ascii_lowercase(), Arc::downgrade(kube));
    }

    fn find(&self, name: &str) -> Option<Arc<Kube>> {
        lock(&self.by_name).get(name)?.upgrade()
    }

    /// Gives every connection to its machine's Kubernetes, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                pace::wait(PAUSE).await;
                continue;
            };
            let machines = Arc::clone(&self);
            tokio::spawn(async move {
                // Whoever is of no machine here is hung up on.
                let _ = machines.welcome(stream).await;
            });
        }
    }

    async fn welcome(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let name = tokio::time::timeout(PATIENCE, name(&mut stream)).await.map_err(io::Error::other)??;
        let kube = self.find(&name).ok_or(io::ErrorKind::NotFound)?;
        kube.serve(stream).await;
        Ok(())
    }
}

/// Reads a stand-in's first line, and nothing of what comes after it.
async fn name(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut name = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return String::from_utf8(name).map_err(io::Error::other),
            byte if name.len() < NAME => name.push(byte),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_says_its_name_and_goes_on() {
        let uuid = "564d0000-0000-0000-0000-0000000000AB";
        let told = read(&format!("198.18.0.1:4080\n{uuid}\n")).unwrap();
        assert_eq!(told, ("198.18.0.1:4080".parse().unwrap(), uuid.to_lowercase()));
        assert_eq!(read("198.18.0.1:4080\n\n"), None);
        let mut stream = &b"564d\nrest"[..];
        assert_eq!(name(&mut stream).await.unwrap(), "564d");
        assert_eq!(stream, b"rest");
        let endless = [b'x'; 100];
        assert!(name(&mut &endless[..]).await.is_err());
    }
}
