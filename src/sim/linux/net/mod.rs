//! The networks under real guests: namespaces and bridges, where Fusion and a home have switches, a NAT and a router.
//!
//! ```text
//! <prefix>-lan: the home router         <prefix>-mac: the Mac                     <prefix>-nat2
//!  lan0 192.168.68.1 ─────────────────── bridge lan    192.168.68.2
//!  lo   198.18.0.1, the internet          │    └ forwards what NAT sends, nothing else
//!  dhcpd                                  │    └ nat2 ─────────────────────────── out0
//!                                         │   bridge vmnet2 10.10.0.1 ─────────── in0  10.10.0.2
//! <prefix>-g1: a guest                    │    │  └ dhcpd
//!  ens160 ────────────────────────────────┘    │
//!  ens192 ─────────────────────────────────────┘
//! ```
//!
//! No namespace has a route to the real computer. What NAT sends arrives at the LAN as the Mac's own, as Fusion's NAT is a
//! process of the Mac.

mod addresses;
mod collect;
mod dhcpd;
mod home;
mod limits;
mod plug;
mod strangers;
mod switchboard;
#[cfg(test)]
mod tests;
mod tools;
mod vmnet;

use std::io;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ipnet::Ipv4Net;
use tokio::net::TcpStream;

pub use addresses::INTERNET;
pub use collect::collect;
pub use plug::{Plug, Taps};
pub use strangers::Present;

use self::addresses::Lan;
use self::switchboard::{Cable, Switchboard};
use super::prefix::{Prefix, namespace_path};
use crate::sim::links::Links;
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::seam::Card;

/// Everything that a simulated Mac's guests are plugged into.
pub struct Net {
    board: Arc<Switchboard>,
}

/// Where the internet answers, in the home router's namespace: one address for every name. All questions for names and
/// for the time arrive here, whatever address they were sent to.
#[derive(Debug)]
pub struct Sockets {
    pub dns: UdpSocket,
    pub ntp: UdpSocket,
    pub http: TcpListener,
    pub https: TcpListener,
}

impl Net {
    /// Collects what a killed world of this prefix left, then makes the Mac's and the router's namespaces.
    ///
    /// # Errors
    /// With the program that failed and its words.
    pub async fn begin(prefix: Prefix, places: &Places, lan: Ipv4Net) -> io::Result<Arc<Self>> {
        collect(&prefix).await?;
        let board = Switchboard::begin(prefix.clone(), places, Lan(lan)).await;
        match board {
            Ok(board) => Ok(Arc::new(Self { board: Arc::new(board) })),
            Err(error) => {
                // The first error says why; what is left all the same is the next one's to collect.
                let _ = collect(&prefix).await;
                Err(error)
            }
        }
    }

    /// Makes the vmnets what Fusion's services run now. Guests stay plugged in; where a network stops, their cards lose
    /// their carrier until it starts again. A DHCP server is started again only if what it read at its start, or where it
    /// stands, is another.
    ///
    /// # Errors
    /// After all else is done, with the complaint of a DHCP server that did not start.
    pub async fn apply(&self, networks: &Networks) -> io::Result<()> {
        self.board.apply(networks).await
    }

    /// Cuts the links that are not whole, and mends the others. It holds for machines that are plugged in later, too.
    pub async fn link(&self, links: &Links) -> io::Result<()> {
        self.board.link(links).await
    }

    /// Opens a connection as the Mac: refused, host unreachable, timed out, or connected.
    pub async fn dial(&self, to: SocketAddrV4) -> io::Result<TcpStream> {
        tools::connect(&namespace_path(&self.board.prefix.mac()), to).await
    }

    /// Makes the namespace of a VM's guest: loopback is up, and each card is an interface of its name and MAC, down yet, on its
    /// network's bridge.
    pub async fn plug(&self, vm: &str, cards: &[Card]) -> io::Result<Plug> {
        let number = self.board.plug(vm, cards, Cable::Pair).await?;
        Ok(Plug {
            board: Arc::clone(&self.board),
            number,
            namespace: namespace_path(&self.board.prefix.guest(number)),
            cards: cards.to_vec(),
            unplugged: AtomicBool::new(false),
        })
    }

    /// Makes tap devices in the Mac's namespace for a VM that is a process there, one a card. Whether its link is up, such a
    /// VM cannot tell: one that is down is silent to it.
    pub async fn taps(&self, vm: &str, cards: &[Card]) -> io::Result<Taps> {
        let number = self.board.plug(vm, cards, Cable::Tap).await?;
        Ok(Taps {
            board: Arc::clone(&self.board),
            number,
            namespace: namespace_path(&self.board.prefix.mac()),
            names: cards.iter().map(|card| switchboard::port(number, card)).collect(),
            unplugged: AtomicBool::new(false),
        })
    }

    /// Opens the internet's sockets. Without them nothing answers there.
    pub fn router(&self) -> io::Result<Sockets> {
        home::sockets(&self.board.prefix)
    }

    /// Listens at a port of the internet's address, which every guest has a way to.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        home::listener(&self.board.prefix, port)
    }

    /// Takes everything down, with every process in it.
    pub async fn leave(&self) {
        self.board.leave().await;
        if let Err(error) = collect(&self.board.prefix).await {
            // The world's log; the next world, or a wipe, tries again.
            eprintln!("{error}");
        }
    }
}
