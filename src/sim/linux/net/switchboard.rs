//! The bridges and what is plugged into them: one at a time changes it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use tokio::sync::Mutex;

use super::addresses::Lan;
use super::dhcpd::{Dhcpd, Program};
use super::vmnet::{self, Ground, Vmnet};
use super::{home, tools};
use crate::sim::links::{Link, Links};
use crate::sim::linux::prefix::Prefix;
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::seam::{Card, Segment};

/// The networks of one simulated Mac.
pub struct Switchboard {
    pub prefix: Prefix,
    places: Places,
    lan: Lan,
    dhcpd: Program,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    vmnets: BTreeMap<u8, Vmnet>,
    guests: BTreeMap<u32, Guest>,
    router: Option<Dhcpd>,
    links: Links,
}

/// One that is plugged in, by a number of its own.
struct Guest {
    vm: String,
    ports: Vec<Port>,
    /// The name of its namespace, if it has one.
    namespace: Option<String>,
    /// Its time stands still.
    silent: bool,
}

/// The Mac's end of a card's cable, or the device itself.
struct Port {
    name: String,
    card: String,
    segment: Segment,
}

/// How the Mac's end of a card comes to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    /// A pair, whose other end is a card in a namespace.
    Pair,
    /// A device for a process.
    Tap,
}

impl Switchboard {
    /// Makes the home: the Mac, the LAN, and the router with its DHCP server.
    pub async fn begin(prefix: Prefix, places: &Places, lan: Lan) -> io::Result<Self> {
        let dhcpd = home::dhcpd(&prefix, places)?;
        home::make(&prefix, lan).await?;
        let router = home::serve_dhcp(&dhcpd, &prefix, places, lan).await?;
        let state = State { router: Some(router), ..State::default() };
        Ok(Self { prefix, places: places.clone(), lan, dhcpd, state: Mutex::new(state) })
    }

    pub fn lan(&self) -> Lan {
        self.lan
    }

    fn ground(&self) -> Ground<'_> {
        Ground { prefix: &self.prefix, places: &self.places, lan: self.lan, dhcpd: &self.dhcpd }
    }

    pub async fn apply(&self, networks: &Networks) -> io::Result<()> {
        let mut state = self.state.lock().await;
        let wished = networks.all_running();
        for number in wished.keys() {
            state.vmnet(&self.ground(), *number).await?;
        }
        let mut complaints: Vec<String> = Vec::new();
        for (number, vmnet) in &mut state.vmnets {
            if let Err(error) = vmnet.become_like(&self.ground(), wished.get(number)).await {
                complaints.push(error.to_string());
            }
        }
        if let Err(error) = self.settle(&state).await {
            complaints.push(error.to_string());
        }
        if complaints.is_empty() { Ok(()) } else { Err(io::Error::other(complaints.join("; "))) }
    }

    pub async fn link(&self, links: &Links) -> io::Result<()> {
        let mut state = self.state.lock().await;
        if state.links == *links {
            return Ok(());
        }
        state.links = links.clone();
        self.settle(&state).await
    }

    /// Makes every port what its network, its link and its guest's time make of it.
    async fn settle(&self, state: &State) -> io::Result<()> {
        let lines: Vec<String> = state.guests.values().flat_map(|guest| state.lines(guest)).collect();
        tools::ip(Some(&self.prefix.mac()), &lines).await
    }

    /// Plugs the cards of a VM's guest in; returns its number.
    pub async fn plug(&self, vm: &str, cards: &[Card], cable: Cable) -> io::Result<u32> {
        let mut state = self.state.lock().await;
        let number = (1..).find(|number| !state.guests.contains_key(number)).expect("numbers are many");
        let namespace = (cable == Cable::Pair).then(|| self.prefix.guest(number));
        let port = |card: &Card| Port {
            name: port(number, card),
            card: card.name.clone(),
            segment: card.segment.clone(),
        };
        let ports = cards.iter().map(port).collect();
        let guest = Guest { vm: vm.to_owned(), ports, namespace: namespace.clone(), silent: false };
        state.guests.insert(number, guest);
        let plugged = self.connect(&mut state, number, cards, namespace.as_deref()).await;
        if plugged.is_err() {
            self.remove(&mut state, number).await;
        }
        plugged.map(|()| number)
    }

    async fn connect(
        &self,
        state: &mut State,
        number: u32,
        cards: &[Card],
        namespace: Option<&str>,
    ) -> io::Result<()> {
        if let Some(namespace) = namespace {
            tools::ip(None, &[format!("netns add {namespace}")]).await?;
            tools::set(namespace, home::PLAIN)?;
        }
        let mut lines = Vec::new();
        for card in cards {
            let port = port(number, card);
            if let Segment::Vmnet(vmnet) = card.segment {
                state.vmnet(&self.ground(), vmnet).await?;
            }
            let Card { mac, name, .. } = card;
            lines.push(match namespace {
                Some(namespace) => {
                    format!("link add {port} type veth peer name {name} address {mac} netns {namespace}")
                }
                None => format!("tuntap add dev {port} mode tap"),
            });
        }
        if let Some(guest) = state.guests.get(&number) {
            lines.extend(state.lines(guest));
        }
        tools::ip(Some(&self.prefix.mac()), &lines).await?;
        match namespace {
            Some(namespace) => tools::ip(Some(namespace), &["link set lo up".to_owned()]).await,
            None => Ok(()),
        }
    }

    /// Takes a guest's ports off their bridges, or puts them back.
    pub async fn silence(&self, number: u32, silent: bool) {
        let mut state = self.state.lock().await;
        let Some(guest) = state.guests.get_mut(&number) else { return };
        guest.silent = silent;
        // Of a guest that is on its way out the ports may be gone.
        let lines = state.guests.get(&number).map(|guest| state.lines(guest)).unwrap_or_default();
        tools::ip_remove(Some(&self.prefix.mac()), &lines).await;
    }

    pub async fn unplug(&self, number: u32) {
        let mut state = self.state.lock().await;
        self.remove(&mut state, number).await;
    }

    async fn remove(&self, state: &mut State, number: u32) {
        let Some(guest) = state.guests.remove(&number) else { return };
        // A cable that is removed is gone with both ends at once; a namespace goes in its own time.
        let links: Vec<_> = guest.ports.iter().map(|port| format!("link del {}", port.name)).collect();
        tools::ip_remove(Some(&self.prefix.mac()), &links).await;
        if let Some(namespace) = guest.namespace {
            tools::ip_remove(None, &[format!("netns del {namespace}")]).await;
        }
    }

    /// Ends the DHCP servers.
    pub async fn leave(&self) {
        let mut state = self.state.lock().await;
        for vmnet in state.vmnets.values_mut() {
            vmnet.leave().await;
        }
        if let Some(router) = state.router.take() {
            router.stop().await;
        }
    }
}

impl State {
    /// Returns a network, with a bridge that does not run if it is new.
    async fn vmnet(&mut self, ground: &Ground<'_>, number: u8) -> io::Result<&mut Vmnet> {
        Ok(match self.vmnets.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Vmnet::new(ground, number).await?),
        })
    }

    /// Returns the lines that make a guest's ports what they have to be; run again they change nothing.
    ///
    /// A silent port leaves its bridge, whose own state for ports would be lost with the next change of the carrier. Off it,
    /// the Mac itself would answer who asks for its MAC, so ARP goes off, too.
    fn lines(&self, guest: &Guest) -> Vec<String> {
        let line = |port: &Port| {
            let (bridge, runs) = match port.segment {
                Segment::Lan => (home::LAN_BRIDGE.to_owned(), true),
                Segment::Vmnet(number) => {
                    (vmnet::bridge(number), self.vmnets.get(&number).is_some_and(Vmnet::runs))
                }
            };
            let link = self.links.of(&guest.vm, &port.card);
            let place = match guest.silent || link == Link::Silent {
                true => "nomaster arp off".to_owned(),
                false => format!("master {bridge} arp on"),
            };
            let power = if runs && link != Link::Down { "up" } else { "down" };
            format!("link set {} {place} {power}", port.name)
        };
        guest.ports.iter().map(line).collect()
    }
}

/// Returns the name of the Mac's end of a card.
pub fn port(number: u32, card: &Card) -> String {
    format!("g{number}-{}", card.name)
}
