//! Where a machine's card is reached: the address by its MAC, from whoever knows it best.
//!
//! A reserved address comes first, since the DHCP server never writes those down as leases; then the newest valid lease of
//! the MAC, for a guest that shows another client id at each boot has several; then VMware Tools in the guest, which
//! answers with the address of some other interface now and then (facts/fusion-networking.md §4).

use std::net::Ipv4Addr;
use std::path::Path;

use crate::formats::dhcp::{self, Lease};
use crate::formats::mac::Mac;
use crate::host::{Hypervisor, Result, clock};

/// How an address is known, the most trustworthy first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Reserved in the networking file, or fixed in dhcpd.conf.
    Reservation,
    /// The newest valid lease of its MAC.
    Lease,
    /// VMware Tools in the guest, through vmrest or vmrun.
    Tools,
}

/// What the host's files say of the addresses of one network.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What the networking file reserves.
    pub reservations: Vec<(Mac, Ipv4Addr)>,
    /// What the DHCP server's own file fixes; people add blocks of their own there.
    pub fixed: Vec<(Mac, Ipv4Addr)>,
    /// The leases file, oldest block first.
    pub leases: Vec<Lease>,
}

impl Known {
    /// Returns the address of the card with this MAC at a time in seconds since 1970.
    pub fn address(&self, mac: Mac, now: u64) -> Option<(Ipv4Addr, Source)> {
        let of_mac = |all: &[(Mac, Ipv4Addr)]| all.iter().find(|(held, _)| *held == mac).map(|(_, at)| *at);
        let reserved = of_mac(&self.reservations).or_else(|| of_mac(&self.fixed));
        reserved.map(|address| (address, Source::Reservation)).or_else(|| {
            let lease = dhcp::newest_valid(&self.leases, mac, now)?;
            Some((lease.address, Source::Lease))
        })
    }
}

/// Returns the address of a card, and how it is known; none if nobody knows.
///
/// `vms` is asked only if the files say nothing, and only if the VM runs: it knows what the guest itself says.
pub async fn of_card(
    known: &Known,
    vms: &dyn Hypervisor,
    vmx: &Path,
    running: bool,
    mac: Mac,
) -> Result<Option<(Ipv4Addr, Source)>> {
    if let Some(found) = known.address(mac, clock::now()) {
        return Ok(Some(found));
    }
    if !running {
        return Ok(None);
    }
    Ok(vms.address(vmx, mac).await?.map(|address| (address, Source::Tools)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac::new([0, 0x50, 0x56, 0, 0x0b, last])
    }

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 10, 0, last)
    }

    fn lease(mac: Mac, address: Ipv4Addr, starts: u64) -> Lease {
        Lease { address, mac, starts, ends: starts + 1800, hostname: None }
    }

    #[test]
    fn a_reservation_beats_a_lease_that_was_taken_before_it() {
        let leases = vec![lease(mac(1), at(200), 1000)];
        let known = Known { leases: leases.clone(), ..Known::default() };
        assert_eq!(known.address(mac(1), 1100), Some((at(200), Source::Lease)));
        let fixed = vec![(mac(1), at(9))];
        let known = Known { fixed, leases, ..Known::default() };
        assert_eq!(known.address(mac(1), 1100), Some((at(9), Source::Reservation)));
        let known = Known { reservations: vec![(mac(1), at(3))], ..known };
        assert_eq!(known.address(mac(1), 1100), Some((at(3), Source::Reservation)));
        assert_eq!(known.address(mac(2), 1100), None);
    }

    #[test]
    fn of_several_leases_the_newest_that_is_valid_counts() {
        let (old, new) = (lease(mac(1), at(200), 1000), lease(mac(1), at(201), 1500));
        let known = Known { leases: vec![new, old], ..Known::default() };
        assert_eq!(known.address(mac(1), 1600), Some((at(201), Source::Lease)));
        assert_eq!(known.address(mac(1), 1200), Some((at(200), Source::Lease)));
        assert_eq!(known.address(mac(1), 9000), None, "all have ended");
    }
}
