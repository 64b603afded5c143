//! Recognises networks that Apple's DHCP server serves, which knows no reservations: those of Fusion 12.0 and 12.1
//! (facts/fusion-networking.md §2.5). These are refused by their version; here by what they leave, whatever they call
//! themselves.

use super::Networks;
use crate::formats::dhcp::{self, NatFile};
use crate::formats::networking::Document;
use crate::host::fusion::discover;
use crate::host::{HostError, Result, files};

/// Where Apple's server writes down its leases, for whatever made them.
const LEASES: &str = "var/db/dhcpd_leases";
/// The last number of the Mac's own address on a network.
const MACS_PLACE: u8 = 1;

/// Refuses a Fusion of a version that we do not know, if one of its networks is served by Apple's server.
pub(super) fn refuse(networks: &Networks, file: Option<&[u8]>) -> Result<()> {
    let fusion = &networks.fusion;
    let Some(document) = file.and_then(|file| Document::parse(file).ok()) else { return Ok(()) };
    if discover::is_known(&fusion.version) {
        return Ok(());
    }
    let path = fusion.root.join(LEASES);
    let leases = dhcp::apple_leases(&super::text(&path)?.unwrap_or_default());
    for vmnet in document.vmnets().into_iter().filter(|vmnet| vmnet.exists) {
        let number = vmnet.number;
        let conf = networks.nat_conf(number)?.unwrap_or_default();
        let leased =
            leases.iter().find(|lease| vmnet.subnet.is_some_and(|subnet| subnet.contains(&lease.address)));
        let sign = match (is_apples(&conf), leased) {
            (true, _) => format!("vmnet{number}/nat.conf names lastDhcpAddress, and .1 as the gateway"),
            (false, Some(lease)) if !files::exists(&fusion.leases(number)) => {
                format!("{} has {} of vmnet{number}", path.display(), lease.address)
            }
            _ => continue,
        };
        return Err(HostError::OldFusion {
            version: fusion.version.clone(),
            reason: format!("Apple's DHCP server serves its networks, and knows no reservations: {sign}"),
        });
    }
    Ok(())
}

/// Says whether a `nat.conf` is of a network that Apple's server serves: it names the last address that is leased, and
/// the gateway is the Mac itself.
fn is_apples(conf: &str) -> bool {
    let conf = NatFile::parse(conf);
    let names_last = conf.get("host", "lastDhcpAddress").is_some();
    names_last && conf.address().is_some_and(|gateway| gateway.octets()[3] == MACS_PLACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    const FILE: &str = "VERSION=1,0\nanswer VNET_8_NAT yes\nanswer VNET_8_HOSTONLY_SUBNET 172.16.8.0\n";
    const CONF: &str = "[host]\nip = 172.16.8.1\nnetmask = 255.255.255.0\nlastDhcpAddress = 172.16.8.127\n";
    const LEASED: &str =
        "{\n\tname=web\n\tip_address=172.16.8.3\n\thw_address=1,0:c:29:0:0:1\n\tlease=0x5fd72edc\n}\n";

    fn outcome(version: &str, conf: &str, leases: &str) -> Result<()> {
        let fake = Fake::new();
        let mut fusion = fake.fusion();
        fusion.version = version.to_owned();
        fake.write(&fusion.preferences().join("vmnet8/nat.conf"), conf);
        fake.write(&fusion.root.join(LEASES), leases);
        refuse(&Networks::new(fusion, fake.root().join("network")), Some(FILE.as_bytes()))
    }

    #[test]
    fn an_unknown_fusion_whose_networks_are_apples_is_refused_with_what_shows_it() {
        let reason = |outcome: Result<()>| outcome.unwrap_err().to_string();
        let by_conf = reason(outcome("e.x.p", CONF, ""));
        assert!(
            by_conf.contains("e.x.p") && by_conf.contains("vmnet8/nat.conf names lastDhcpAddress"),
            "{by_conf}"
        );
        assert!(reason(outcome("e.x.p", "", LEASED)).contains("172.16.8.3"));
        outcome("13.6.3", CONF, LEASED).unwrap();
        outcome("25H2", CONF, LEASED).unwrap();
        outcome("e.x.p", &CONF.replace("8.1\n", "8.2\n"), &LEASED.replace("16.8", "16.9")).unwrap();
    }
}
