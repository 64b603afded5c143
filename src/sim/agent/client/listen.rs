//! The ports that a stand-in holds, each connection carried to the world.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::place::Place;
use crate::sim::agent::protocol::{self, Hello, Role, ToGuest};

/// What is listened on now.
pub struct Listeners {
    place: Arc<dyn Place>,
    held: BTreeMap<SocketAddrV4, JoinHandle<()>>,
}

impl Listeners {
    pub fn new(place: Arc<dyn Place>) -> Self {
        Self { place, held: BTreeMap::new() }
    }

    /// Listens on exactly these addresses; returns those that could not be had, each with why.
    pub async fn set(&mut self, wanted: BTreeSet<SocketAddrV4>) -> BTreeMap<SocketAddrV4, String> {
        let surplus: Vec<_> = self.held.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in surplus {
            if let Some(task) = self.held.remove(&address) {
                task.abort();
                // Once it has ended, the port is free.
                let _ = task.await;
            }
        }
        let mut failed = BTreeMap::new();
        for address in wanted {
            if self.held.contains_key(&address) {
                continue;
            }
            match self.place.bind(address).await {
                Ok(listener) => {
                    let task = tokio::spawn(accept(Arc::clone(&self.place), address, listener));
                    self.held.insert(address, task);
                }
                Err(error) => drop(failed.insert(address, error.to_string())),
            }
        }
        failed
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.held.values().for_each(JoinHandle::abort);
    }
}

async fn accept(place: Arc<dyn Place>, address: SocketAddrV4, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the caller left at once: others go on.
            tokio::task::yield_now().await;
            continue;
        };
        let to = match stream.local_addr() {
            Ok(SocketAddr::V4(own)) if address.ip().is_unspecified() => {
                SocketAddrV4::new(*own.ip(), address.port())
            }
            _ => address,
        };
        let place = Arc::clone(&place);
        tokio::spawn(async move { carry(&*place, to, stream).await });
    }
}

async fn carry(place: &dyn Place, to: SocketAddrV4, mut stream: TcpStream) -> io::Result<()> {
    let mut world = place.connect().await?;
    let hello = Hello {
        version: protocol::VERSION,
        role: Role::Port { to },
        program: String::new(),
        args: Vec::new(),
        root: place.is_root(),
        input: Vec::new(),
    };
    protocol::write(&mut world, &hello).await?;
    match protocol::read(&mut world).await? {
        ToGuest::Accepted => copy_bidirectional(&mut stream, &mut world).await.map(drop),
        _ => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}
