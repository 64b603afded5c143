//! Who reaches whom: connections from the Mac and between machines, to whoever holds an address.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnet::Ipv4Net;
use tokio_util::sync::CancellationToken;

use super::control::Power;
use super::faults;
use super::links::Links;
use super::network::Networks;
use super::pace::Operation;
use super::seam::{Segment, SshFace, WIRE_BUFFER, Wire};
use super::ssh;
use super::world::{Vm, World};

/// The SSH server's port, which the world serves for its machines.
const SSH_PORT: u16 = 22;

/// Gives a machine that is not there the kind of error that a Mac has for it: nobody answers (XNU's `EHOSTDOWN`).
fn as_a_mac_sees(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::HostUnreachable => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl World {
    /// Opens a connection as the Mac itself: to its own networks that have a host adapter, and to its LAN.
    pub async fn connect_from_host(
        self: &Arc<Self>,
        to: SocketAddrV4,
    ) -> io::Result<(Wire, CancellationToken)> {
        self.must_be_allowed(*to.ip())?;
        if let Some(dialled) = self.kind.dial(to).await {
            return Ok((dialled.map_err(as_a_mac_sees)?, CancellationToken::new()));
        }
        self.connect(to, self.reach_of_host()).await.map_err(as_a_mac_sees)
    }

    /// What a program may not reach, a Mac knows no way to, and says so at once.
    fn must_be_allowed(&self, to: Ipv4Addr) -> io::Result<()> {
        if faults::strikes(&self.places, faults::LOCAL_NETWORK_DENIED, &to.to_string()) {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        Ok(())
    }

    /// Opens a connection to whichever machine holds the address on a segment that is reached.
    pub(super) async fn connect(
        self: &Arc<Self>,
        to: SocketAddrV4,
        reaches: impl Fn(&Segment) -> bool,
    ) -> io::Result<(Wire, CancellationToken)> {
        let vm = self.reach(*to.ip(), reaches).await?;
        let (near, far) = tokio::io::duplex(WIRE_BUFFER);
        if to.port() == SSH_PORT {
            let face = vm.machine().ssh().ok_or(io::ErrorKind::ConnectionRefused)?;
            tokio::spawn(ssh::serve(vm.clone(), face, far));
        } else {
            vm.machine().accept(to, far)?;
        }
        Ok((near, vm.power_lost().clone()))
    }

    /// Finds the machine that holds an address on a segment that is reached.
    async fn reach(
        self: &Arc<Self>,
        address: Ipv4Addr,
        reaches: impl Fn(&Segment) -> bool,
    ) -> io::Result<Arc<Vm>> {
        if self.is_infrastructure(address, &reaches) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if let Some(vm) = self.holder(address, reaches) {
            return Ok(vm);
        }
        self.pace.take(Operation::Unreachable).await;
        Err(io::ErrorKind::HostUnreachable.into())
    }

    /// Finds the machine that the Mac itself reaches by an address, with what its SSH server needs to know.
    pub async fn ssh_from_host(self: &Arc<Self>, address: Ipv4Addr) -> io::Result<(Arc<Vm>, SshFace)> {
        self.must_be_allowed(address)?;
        let vm = self.reach(address, self.reach_of_host()).await.map_err(as_a_mac_sees)?;
        let face = vm.machine().ssh().ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok((vm, face))
    }

    /// Says which segments the Mac itself reaches: its own networks that have a host adapter, and its LAN.
    fn reach_of_host(&self) -> impl Fn(&Segment) -> bool + use<> {
        let networks = Networks::load(&self.places).unwrap_or_default();
        move |segment| match segment {
            Segment::Lan => true,
            Segment::Vmnet(number) => networks.running(*number).is_some_and(|network| network.adapter),
        }
    }

    /// Says whether an address is the host's or the NAT's on one of Fusion's networks, or the home router's: these
    /// live, but serve nothing here.
    fn is_infrastructure(&self, address: Ipv4Addr, reaches: &impl Fn(&Segment) -> bool) -> bool {
        let nth = |net: &Ipv4Net, number: u32| Ipv4Addr::from(u32::from(net.network()) + number);
        if reaches(&Segment::Lan) && address == nth(&self.settings.lan, 1) {
            return true;
        }
        let networks = Networks::load(&self.places).unwrap_or_default();
        networks.all_running().iter().any(|(number, network)| {
            let host = network.adapter && address == nth(&network.subnet, 1);
            let nat = network.nat && address == nth(&network.subnet, 2);
            reaches(&Segment::Vmnet(*number)) && (host || nat)
        })
    }

    /// Finds the machine that holds an address on a segment that is reached.
    pub(super) fn holder(&self, address: Ipv4Addr, reaches: impl Fn(&Segment) -> bool) -> Option<Arc<Vm>> {
        let links = Links::load(&self.places);
        let holds = |vm: &Arc<Vm>| {
            let here = |(segment, held): &(Segment, Ipv4Addr)| {
                *held == address && reaches(segment) && vm.is_linked(&links, segment)
            };
            vm.power() == Power::On && vm.machine().addresses().iter().any(here)
        };
        self.vms().into_iter().find(holds)
    }
}
