//! What a guest is plugged in by: a namespace with its cards, or tap devices.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;

use super::switchboard::Switchboard;
use super::tools;
use crate::host::linux::netns;
use crate::sim::seam::{Card, Segment};

/// A guest's network namespace with its cards.
pub struct Plug {
    pub(super) board: Arc<Switchboard>,
    pub(super) number: u32,
    pub(super) namespace: PathBuf,
    pub(super) cards: Vec<Card>,
    pub(super) unplugged: AtomicBool,
}

impl Plug {
    /// Returns the namespace's path, whose last part is its name for `ip netns exec`.
    pub fn namespace(&self) -> &Path {
        &self.namespace
    }

    /// Opens a connection as the guest: refused, host unreachable, timed out, or connected.
    pub async fn connect(&self, to: SocketAddrV4) -> io::Result<TcpStream> {
        tools::connect(&self.namespace, to).await
    }

    /// Returns every IPv4 address that the guest's cards hold now, with the segment of the card.
    pub fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        // A guest that is unplugged has none.
        let held = netns::addresses(&self.namespace).unwrap_or_default();
        let on = |name: &str| self.cards.iter().find(|card| card.name == name).map(|card| &card.segment);
        held.iter().filter_map(|(name, address)| Some((on(name)?.clone(), *address))).collect()
    }

    /// Lets nothing through in either direction, without a loss of carrier, or lets it through again: a guest whose time
    /// stands still must not answer, but the kernel that it shares with the Mac would.
    pub async fn silence(&self, silent: bool) {
        self.board.silence(self.number, silent).await;
    }

    /// Removes the cards and the namespace; what still runs in it keeps an empty one. A second time does nothing.
    pub async fn unplug(&self) {
        if !self.unplugged.swap(true, Ordering::SeqCst) {
            self.board.unplug(self.number).await;
        }
    }
}

/// Tap devices for the cards of a machine that is a process in the Mac's namespace.
pub struct Taps {
    pub(super) board: Arc<Switchboard>,
    pub(super) number: u32,
    pub(super) namespace: PathBuf,
    pub(super) names: Vec<String>,
    pub(super) unplugged: AtomicBool,
}

impl Taps {
    /// Returns the path of the namespace that the machine's process must run in, whose last part is its name for
    /// `ip netns exec`.
    pub fn namespace(&self) -> &Path {
        &self.namespace
    }

    /// Returns the device's name of each card, in the order of the cards.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Removes the devices. A second time does nothing.
    pub async fn unplug(&self) {
        if !self.unplugged.swap(true, Ordering::SeqCst) {
            self.board.unplug(self.number).await;
        }
    }
}
