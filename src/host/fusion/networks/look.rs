//! What is seen after a change, whatever the programs said: the file, the services, the DHCP server's own file.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::services::{self, Programs, Service, Services};
use super::{ChangeKind, Log};
use crate::formats::dhcp;
use crate::formats::mac::Mac;
use crate::formats::networking::{Document, HASH, UUID};
use crate::host::files;

/// What is looked for.
pub(super) struct Expected<'a> {
    /// The file that was written; none if there must be none.
    pub file: Option<&'a [u8]>,
    /// The networks whose meaning and services are looked at.
    pub vmnets: Vec<u8>,
    /// What ran before we came: it runs again, as far as the file wants it still.
    pub ran: Services,
}

/// Returns the networks to look at after a change: the one that it is about, or all that the file has.
pub(super) fn vmnets_of(kind: ChangeKind, vmnet: u8, file: Option<&[u8]>) -> Vec<u8> {
    let document = file.and_then(|file| Document::parse(file).ok());
    match (kind, document) {
        (ChangeKind::WholeFile, Some(document)) => {
            document.vmnets().into_iter().filter(|there| there.exists).map(|there| there.number).collect()
        }
        _ => vec![vmnet],
    }
}

/// Looks whether everything is as a file says; an error says what is not.
pub(super) async fn look(
    programs: &Programs,
    expected: &Expected<'_>,
    limit: Duration,
    log: &mut Log,
) -> Result<(), String> {
    let document = file_says(programs, expected)?.unwrap_or_default();
    let mut wanted: Vec<(u8, Service)> = Vec::new();
    for &vmnet in &expected.vmnets {
        wanted.extend(services::wanted(&document, vmnet).into_iter().map(|service| (vmnet, service)));
    }
    // A network that was taken out runs no more.
    let unwanted: Vec<(u8, Service)> = expected
        .vmnets
        .iter()
        .flat_map(|vmnet| Service::ALL.map(|service| (*vmnet, service)))
        .filter(|service| !wanted.contains(service))
        .collect();
    let still = |(vmnet, service): &&(u8, Service)| services::wanted(&document, *vmnet).contains(service);
    wanted.extend(expected.ran.running().iter().filter(still));
    let now = programs.services_logged(limit, log).await?;
    if let Some((vmnet, service)) =
        wanted.iter().find(|(vmnet, service)| now.runs(*vmnet, *service) != Some(true))
    {
        return Err(format!("the {} service of vmnet{vmnet} does not run", service.name()));
    }
    if let Some((vmnet, service)) =
        unwanted.iter().find(|(vmnet, service)| now.runs(*vmnet, *service) == Some(true))
    {
        return Err(format!("the {} service of vmnet{vmnet} still runs", service.name()));
    }
    // Of other networks it is enough that they run as before.
    let served = |vmnet: &&u8| services::wanted(&document, **vmnet).contains(&Service::Dhcp);
    expected.vmnets.iter().filter(served).try_for_each(|vmnet| dhcp_follows(programs, &document, *vmnet))
}

/// Looks whether the file still says what was written; returns it, or none if there must be none.
pub(super) fn file_says(programs: &Programs, expected: &Expected<'_>) -> Result<Option<Document>, String> {
    let path = programs.fusion.networking();
    let now = files::read_if_exists(&path).map_err(|error| error.to_string())?;
    let Some(written) = expected.file else {
        // A file that appears where there was none is Fusion's first; it takes nothing away.
        return Ok(None);
    };
    let Some(now) = now else { return Err("Fusion removed its networking file".to_owned()) };
    let written = Document::parse(written).map_err(|refusal| refusal.to_string())?;
    let now =
        Document::parse(&now).map_err(|refusal| format!("Fusion spoiled its networking file: {refusal}"))?;
    for &vmnet in &expected.vmnets {
        if let Some(difference) = difference(&written, &now, vmnet) {
            return Err(format!("Fusion rewrote its networking file {difference}"));
        }
    }
    Ok(Some(written))
}

/// Returns how what a file says of a network differs from what was written, such as ``without `answer …` ``.
///
/// Fusion adds digests and identifiers of its own, drops comments and compacts what was said twice; none of that changes
/// anything. Of a network that must be gone, leavings may be there.
fn difference(written: &Document, found: &Document, vmnet: u8) -> Option<String> {
    let missing = |line: String| Some(format!("without `{line}`"));
    let extra = |line: String| Some(format!("with `{line}`"));
    let exists = written.vmnet(vmnet).exists;
    if !exists && found.vmnet(vmnet).exists {
        return Some(format!("with vmnet{vmnet}, which was taken out"));
    }
    let (wished, there) = (written.answers(vmnet), found.answers(vmnet));
    for (key, value) in wished.iter().filter(|(key, _)| *key != HASH) {
        if there.get(key) != Some(value) {
            return missing(format!("answer VNET_{vmnet}_{key} {value}"));
        }
    }
    let added = there.iter().find(|(key, _)| *key != HASH && *key != UUID && !wished.contains_key(*key));
    if let Some((key, value)) = added.filter(|_| exists) {
        return extra(format!("answer VNET_{vmnet}_{key} {value}"));
    }
    let line = |(mac, address): &(Mac, Ipv4Addr)| format!("add_dhcp_mac_to_ip {vmnet} {mac} {address}");
    let (wished, there) = (written.reservations(vmnet), found.reservations(vmnet));
    if let Some(lost) = wished.iter().find(|reservation| !there.contains(reservation)) {
        return missing(line(lost));
    }
    there.iter().find(|reservation| !wished.contains(reservation)).and_then(|more| extra(line(more)))
}

/// Looks whether the DHCP server's own file has a network's subnet and fixes every reservation.
pub(super) fn dhcp_follows(programs: &Programs, document: &Document, vmnet: u8) -> Result<(), String> {
    let path = conf(programs, vmnet);
    let text = files::read_if_exists(&path).map_err(|error| error.to_string())?;
    let Some(text) = text else { return Err(format!("Fusion made no {}", path.display())) };
    let text = String::from_utf8_lossy(&text);
    let shown = path.display();
    if let Some(subnet) = document.vmnet(vmnet).subnet
        && !dhcp::subnets(&text).iter().any(|served| served.net == subnet)
    {
        return Err(format!("{shown} does not serve {subnet}"));
    }
    let hosts = dhcp::hosts(&text);
    let lost = document
        .reservations(vmnet)
        .into_iter()
        .find(|&(mac, address)| !hosts.iter().any(|host| (host.mac, host.address) == (mac, address)));
    match lost {
        Some((mac, address)) => Err(format!("{shown} does not fix {address} for {mac}")),
        None => Ok(()),
    }
}

/// Returns the DHCP server's own file.
pub(super) fn conf(programs: &Programs, vmnet: u8) -> PathBuf {
    programs.fusion.preferences().join(format!("vmnet{vmnet}/dhcpd.conf"))
}
