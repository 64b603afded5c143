//! Looks at Fusion's networks as they are, whoever made them, and at what on the host touches them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::formats::dhcp;
use crate::formats::mac::Mac;
use crate::formats::networking::{Document, Model};
use crate::formats::vmx::Vmx;
use crate::host::fusion::Fusion;
use crate::host::fusion::addresses::{self, Known, Source};
use crate::host::fusion::networks::{self, Networks, Service, Services};
use crate::host::{Hypervisor, clock, files};
use crate::lab::{Lab, names};
use crate::plan::facts::UnfinishedChange;
use crate::plan::survey::{AddressSource, NetworkSeen, NetworkUser, RootAccess, Survey};

use super::MAX_CARDS;
use crate::engine::error::Result;
use crate::engine::vms::library;

/// The networks behind Fusion's own words for a card's connection (facts/fusion-networking.md §1.5).
const NAT_VMNET: u8 = 8;
const HOST_ONLY_VMNET: u8 = 1;

/// A card of a VM in the library, before it is known where it is reached.
struct Card {
    vmnet: u8,
    user: NetworkUser,
}

/// Looks at everything once, and changes nothing.
pub async fn survey(fusion: &Fusion, networks: &Networks, vms: &dyn Hypervisor, lab: &Lab) -> Result<Survey> {
    let limit = lab.limits.fusion_query;
    let bytes = networks.read()?;
    let mut survey = Survey {
        file: fusion.networking(),
        owner: networks.owner()?.map(|owner| (owner.user, owner.mode)),
        routes: networks.routes(limit).await?,
        wifi: networks.wifi(limit).await,
        window_open: networks.window_open(limit).await?,
        unfinished: unfinished(networks)?,
        distrusted: networks.distrusted(),
        root: root_access(networks.root_access(lab.internal.vmnet, limit).await?),
        now: clock::now(),
        ..Survey::default()
    };
    if let Some(Ok(document)) = bytes.as_deref().map(Document::parse) {
        let services = networks.services(limit).await?;
        let mut cards = cards(fusion, vms).await?;
        let model = document.model();
        for vmnet in model.vmnets() {
            let mut seen = network(networks, model, vmnet.number, &services)?;
            seen.users = cards.remove(&vmnet.number).unwrap_or_default();
            let known = known(&seen);
            for user in &mut seen.users {
                user.address = address(vms, seen.vmnet.subnet, &known, user).await;
            }
            survey.networks.push(seen);
        }
    }
    survey.bytes = bytes;
    Ok(survey)
}

/// Returns the change that an earlier run began and did not see through.
pub fn unfinished(networks: &Networks) -> Result<Option<UnfinishedChange>> {
    let told = |change: networks::Unfinished| UnfinishedChange { vmnet: change.vmnet, since: change.since };
    Ok(networks.unfinished()?.map(told))
}

fn root_access(access: networks::RootAccess) -> RootAccess {
    match access {
        networks::RootAccess::NotNeeded => RootAccess::NotNeeded,
        networks::RootAccess::WithoutPassword => RootAccess::WithoutPassword,
        networks::RootAccess::WithPassword => RootAccess::WithPassword,
    }
}

fn network(networks: &Networks, model: &Model, number: u8, services: &Services) -> Result<NetworkSeen> {
    let vmnet = model.vmnet(number);
    let wanted = [("DHCP", Service::Dhcp, vmnet.dhcp), ("NAT", Service::Nat, vmnet.nat)];
    // A status that tells nothing is no sign of a service that does not run.
    let runs = |(name, service, wanted): (&'static str, Service, bool)| {
        (vmnet.exists && wanted).then(|| services.runs(number, service).map(|runs| (name, runs))).flatten()
    };
    Ok(NetworkSeen {
        services: wanted.into_iter().filter_map(runs).collect(),
        reservations: model.reservations(number),
        forwards: model.port_forwards(number),
        fixed: networks.dhcpd_conf(number)?.map(|text| dhcp::hosts(&text)),
        nat_forwards: networks.nat_conf(number)?.map(|text| dhcp::nat_forwards(&text)),
        leases: networks.leases(number)?,
        users: Vec::new(),
        vmnet,
    })
}

/// Returns every card of every VM in the library that is on one of Fusion's networks, by network.
async fn cards(fusion: &Fusion, vms: &dyn Hypervisor) -> Result<BTreeMap<u8, Vec<NetworkUser>>> {
    let running = vms.running().await?;
    let mut cards: BTreeMap<u8, Vec<NetworkUser>> = BTreeMap::new();
    for (vmx, config) in library::vms(&fusion.library) {
        let runs = running.contains(&files::resolved(&vmx));
        for card in (0..MAX_CARDS).filter_map(|number| card(&config, number, &vmx, runs)) {
            cards.entry(card.vmnet).or_default().push(card.user);
        }
    }
    Ok(cards)
}

fn card(config: &Vmx, number: u32, vmx: &Path, running: bool) -> Option<Card> {
    let get = |key: &str| config.get(&format!("ethernet{number}.{key}")).filter(|value| !value.is_empty());
    get("present").filter(|present| present.eq_ignore_ascii_case("true"))?;
    let vmnet = match get("connectionType")?.as_str() {
        "nat" => NAT_VMNET,
        "hostonly" => HOST_ONLY_VMNET,
        "custom" => get("vnet")?.trim_start_matches("/dev/").strip_prefix("vmnet")?.parse().ok()?,
        _ => return None,
    };
    let mac: Option<Mac> =
        get("address").or_else(|| get("generatedAddress")).and_then(|mac| mac.parse().ok());
    let name = vmx.parent().and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned();
    let user = NetworkUser {
        name,
        vmx: PathBuf::from(vmx),
        mac,
        running,
        lab: config.get(names::VMX_LAB),
        address: None,
    };
    Some(Card { vmnet, user })
}

/// Returns what a network's files say of addresses.
fn known(seen: &NetworkSeen) -> Known {
    Known {
        reservations: seen.reservations.clone(),
        fixed: seen.fixed.iter().flatten().map(|host| (host.mac, host.address)).collect(),
        leases: seen.leases.clone(),
    }
}

/// Says where a card is reached; one that Fusion knows elsewhere is no card of this network.
async fn address(
    vms: &dyn Hypervisor,
    subnet: Option<Ipv4Net>,
    known: &Known,
    user: &NetworkUser,
) -> Option<(Ipv4Addr, AddressSource)> {
    let (address, source) =
        addresses::of_card(known, vms, &user.vmx, user.running, user.mac?).await.ok().flatten()?;
    let source = match source {
        Source::Reservation => AddressSource::Reservation,
        Source::Lease => AddressSource::Lease,
        Source::Tools => AddressSource::Tools,
    };
    // vmrun names one address of the VM without saying of which card.
    let here = subnet.is_some_and(|subnet| subnet.contains(&address));
    here.then_some((address, source))
}
