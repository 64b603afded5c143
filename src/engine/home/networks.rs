//! What is remembered of Fusion's networks: which lines a lab wrote, which networks fusionlab made, what was before.
//!
//! ```text
//! labs/<lab>/network.json        the lab's reservations, and on which network
//! labs/<lab>/networking.before   Fusion's file before this lab's first change
//! network/vmnet2.json            that fusionlab made vmnet2, for whichever lab
//! network/vmnet2.before          Fusion's file before that
//! ```
//!
//! Written down before the change, so that a run that is cut short has never made something that nobody claims, and taken
//! back if the change does not come about. What is claimed is ours only if it is in the file as we write it
//! ([`is_made`]): a network that somebody makes later under the same number is theirs.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::formats::mac::Mac;
use crate::formats::networking::{Document, Wish};
use crate::host::files;
use crate::host::fusion::vmx_file;
use crate::plan::facts::{Facts, MadeNetwork, NetworkRecord};
use crate::plan::networks::is_made;
use crate::stack::network;

use super::records::{self, Versioned};
use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::vms::bundle;

impl Versioned for NetworkRecord {
    const VERSION: u32 = 2;
    const WHAT: &'static str = "a network record";
}

impl Versioned for MadeNetwork {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "a record of a network that fusionlab made";
}

/// Returns what this lab wrote into Fusion's networking file; none if it has not.
pub fn record(engine: &Engine) -> Result<Option<NetworkRecord>> {
    records::read(&engine.dir.network_record())
}

/// Returns the record of a network that fusionlab made.
pub fn made(engine: &Engine, vmnet: u8) -> Result<Option<MadeNetwork>> {
    records::read(&engine.home.made_network(vmnet))
}

/// Returns the network that this lab's lines are about, or would be.
pub fn vmnet(engine: &Engine) -> Result<u8> {
    Ok(record(engine)?.map_or(engine.lab.internal.vmnet, |record| record.vmnet))
}

/// Returns Fusion's networking file as it was before our changes, the likeliest first.
pub fn originals(engine: &Engine) -> Result<Vec<Vec<u8>>> {
    let vmnet = vmnet(engine)?;
    let kept = [engine.home.before_made_network(vmnet), engine.dir.networking_before()];
    let mut originals = Vec::new();
    for path in kept {
        originals.extend(files::read_if_exists(&path)?);
    }
    Ok(originals)
}

/// Writes down, before the change, which lines will be ours and what the file was.
pub fn remember(engine: &Engine, facts: &Facts) -> Result<()> {
    let wish = network::wish(&engine.lab);
    let document =
        facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok()).unwrap_or_default();
    if !document.vmnet(wish.vmnet).exists {
        // A record of an earlier network of this number, which somebody has removed by hand, is out of date.
        let before = engine.home.before_made_network(wish.vmnet);
        files::create_private_dir(&engine.home.network())?;
        keep(&before, facts.networking.as_deref())?;
        let made = MadeNetwork {
            version: MadeNetwork::VERSION,
            vmnet: wish.vmnet,
            subnet: wish.subnet.trunc(),
            uuid: None,
            reservations: wish.reservations.clone(),
        };
        records::write(&engine.home.made_network(wish.vmnet), &made, files::PRIVATE_FILE)?;
    } else if facts.network_made.as_ref().is_some_and(|made| !is_made(&document, made)) {
        // Once our reservations stand on somebody else's network, it would look like ours.
        forget_made(engine, wish.vmnet)?;
    }
    let earlier = match &facts.network_record {
        Some(record) => record.reservations.as_slice(),
        None => {
            keep(&engine.dir.networking_before(), facts.networking.as_deref())?;
            &[]
        }
    };
    // Until the change is seen, both what stands and what is to stand are ours.
    write_record(engine, wish.vmnet, joined(wish.reservations, earlier))
}

/// Makes the records fit a change that did not come about: nothing that is not in the file is claimed, so that it is
/// nobody's of ours if somebody else writes it later. After a change whose outcome nobody has seen they stay.
pub fn reconsider(engine: &Engine, facts: &Facts) -> Result<()> {
    if engine.networks.unfinished()?.is_some() {
        return Ok(());
    }
    let bytes = engine.networks.read()?;
    let Ok(document) = bytes.as_deref().map_or_else(|| Ok(Document::new()), Document::parse) else {
        return Ok(());
    };
    let wish = network::wish(&engine.lab);
    forget_unless_made(engine, &document, wish.vmnet, document.vmnet(wish.vmnet).exists)?;
    let there = document.reservations(wish.vmnet);
    let earlier = facts.network_record.as_ref().map(|record| record.reservations.as_slice());
    let mut ours = wish.reservations;
    ours.retain(|one| there.contains(one));
    match earlier {
        None if ours.is_empty() => forget_record(engine),
        _ => write_record(engine, wish.vmnet, joined(ours, earlier.unwrap_or_default())),
    }
}

/// Notes what the change has come to: the lab's reservations, and by which name Fusion knows a network that we made,
/// for it is how we tell it from one that somebody makes later in its place.
pub fn settle(engine: &Engine) -> Result<()> {
    let Wish { vmnet, reservations, .. } = network::wish(&engine.lab);
    write_record(engine, vmnet, reservations.clone())?;
    let Some(made) = made(engine, vmnet)? else { return Ok(()) };
    let bytes = engine.networks.read()?.unwrap_or_default();
    let network = Document::parse(&bytes).map(|document| document.vmnet(vmnet)).unwrap_or_default();
    let subnet = network.subnet.unwrap_or(made.subnet);
    let reservations = joined(reservations, &made.reservations);
    let made = MadeNetwork { uuid: network.uuid, subnet, reservations, ..made };
    records::write(&engine.home.made_network(vmnet), &made, files::PRIVATE_FILE)
}

/// Forgets this lab's lines, and the network if it is gone from the file or somebody else's by now.
pub fn forget(engine: &Engine, vmnet: u8) -> Result<()> {
    let bytes = engine.networks.read()?;
    // Of a file that cannot be read nobody knows what it holds.
    if let Ok(document) = bytes.as_deref().map_or_else(|| Ok(Document::new()), Document::parse) {
        forget_unless_made(engine, &document, vmnet, document.vmnet(vmnet).exists)?;
    }
    forget_record(engine)
}

fn forget_unless_made(engine: &Engine, document: &Document, vmnet: u8, exists: bool) -> Result<()> {
    let is_ours = made(engine, vmnet)?.is_some_and(|made| is_made(document, &made));
    if exists && is_ours { Ok(()) } else { forget_made(engine, vmnet) }
}

fn forget_made(engine: &Engine, vmnet: u8) -> Result<()> {
    files::remove_file(&engine.home.made_network(vmnet))?;
    Ok(files::remove_file(&engine.home.before_made_network(vmnet))?)
}

fn forget_record(engine: &Engine) -> Result<()> {
    files::remove_file(&engine.dir.network_record())?;
    Ok(files::remove_file(&engine.dir.networking_before())?)
}

fn write_record(engine: &Engine, vmnet: u8, reservations: Vec<(Mac, Ipv4Addr)>) -> Result<()> {
    let record = NetworkRecord { version: NetworkRecord::VERSION, vmnet, reservations };
    records::write(&engine.dir.network_record(), &record, files::PRIVATE_FILE)
}

/// Returns reservations with those others that are not among them.
fn joined(mut reservations: Vec<(Mac, Ipv4Addr)>, others: &[(Mac, Ipv4Addr)]) -> Vec<(Mac, Ipv4Addr)> {
    let more: Vec<_> = others.iter().filter(|one| !reservations.contains(one)).copied().collect();
    reservations.extend(more);
    reservations
}

/// Returns the VMs that run now and are not this lab's: those that a restart of Fusion's networks would cut off. A
/// template that bakes is ours.
pub async fn strangers(engine: &Engine) -> Result<Vec<PathBuf>> {
    let templates = files::resolved(&engine.home.templates());
    let mut running = engine.vms.running().await?;
    running.retain(|vmx| !vmx.starts_with(&templates) && !is_ours(engine, vmx));
    Ok(running.into_iter().collect())
}

/// Says whether a VM is one of this lab's, by where it lies and by its marks.
fn is_ours(engine: &Engine, vmx: &Path) -> bool {
    let Some(node) = vmx.file_stem().and_then(|name| name.to_str()) else { return false };
    let Ok(Some(marks)) = vmx_file::read(vmx) else { return false };
    files::resolved(&engine.vmx(node)) == *vmx && bundle::is_marked(&marks, &engine.lab.name, node)
}

fn keep(path: &Path, before: Option<&[u8]>) -> Result<()> {
    match before {
        Some(bytes) => files::write_atomic(path, bytes, files::PRIVATE_FILE)?,
        None => files::remove_file(path)?,
    }
    Ok(())
}
