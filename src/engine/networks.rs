//! What is remembered of Fusion's networks: which lines a lab wrote, which networks fusionlab made, what was before.
//!
//! ```text
//! labs/<lab>/network.json        the lab's reservations, and on which network
//! labs/<lab>/networking.before   Fusion's file before this lab's first change
//! network/vmnet2.json            that fusionlab made vmnet2, for whichever lab
//! network/vmnet2.before          Fusion's file before that
//! ```
//!
//! Written down before the change, so that a run that is cut short has never made something that nobody claims.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::formats::networking::{Document, Wish};
use crate::host::{HostError, files};
use crate::plan::facts::{Facts, MadeNetwork, NetworkRecord};
use crate::stack::network;

use super::context::Engine;
use super::error::Result;

/// Versions of the two records' forms.
const RECORD_VERSION: u32 = 2;
const MADE_VERSION: u32 = 1;

/// Returns what this lab wrote into Fusion's networking file; none if it has not.
pub fn record(engine: &Engine) -> Result<Option<NetworkRecord>> {
    let path = engine.dir.network_record();
    let record: Option<NetworkRecord> = read(&path, "a network record")?;
    refuse_unknown(&path, record.as_ref().map(|record| record.version), RECORD_VERSION)?;
    Ok(record)
}

/// Returns the record of a network that fusionlab made.
pub fn made(engine: &Engine, vmnet: u8) -> Result<Option<MadeNetwork>> {
    let path = engine.home.made_network(vmnet);
    let made: Option<MadeNetwork> = read(&path, "a record of a network that fusionlab made")?;
    refuse_unknown(&path, made.as_ref().map(|made| made.version), MADE_VERSION)?;
    Ok(made)
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
    let document = facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok());
    let exists = document.is_some_and(|document| document.vmnet(wish.vmnet).exists);
    if !exists {
        // A record of an earlier network of this number, which somebody has removed by hand, is out of date.
        let before = engine.home.before_made_network(wish.vmnet);
        files::create_private_dir(&engine.home.network())?;
        keep(&before, facts.networking.as_deref())?;
        let made =
            MadeNetwork { version: MADE_VERSION, vmnet: wish.vmnet, subnet: wish.subnet.trunc(), uuid: None };
        write(&engine.home.made_network(wish.vmnet), &made)?;
    }
    let earlier = match &facts.network_record {
        Some(record) => record.reservations.as_slice(),
        None => {
            keep(&engine.dir.networking_before(), facts.networking.as_deref())?;
            &[]
        }
    };
    // Until the change is seen, both what stands and what is to stand are ours.
    let mut reservations = wish.reservations;
    let former: Vec<_> = earlier.iter().filter(|one| !reservations.contains(one)).copied().collect();
    reservations.extend(former);
    write(
        &engine.dir.network_record(),
        &NetworkRecord { version: RECORD_VERSION, vmnet: wish.vmnet, reservations },
    )
}

/// Notes what the change has come to: the lab's reservations, and by which name Fusion knows a network that we made,
/// for it is how we tell it from one that somebody makes later in its place.
pub fn settle(engine: &Engine) -> Result<()> {
    let Wish { vmnet, reservations, .. } = network::wish(&engine.lab);
    write(&engine.dir.network_record(), &NetworkRecord { version: RECORD_VERSION, vmnet, reservations })?;
    let Some(made) = made(engine, vmnet)? else { return Ok(()) };
    let bytes = engine.networks.read()?.unwrap_or_default();
    let network = Document::parse(&bytes).map(|document| document.vmnet(vmnet)).unwrap_or_default();
    let subnet = network.subnet.unwrap_or(made.subnet);
    write(&engine.home.made_network(vmnet), &MadeNetwork { uuid: network.uuid, subnet, ..made })
}

/// Forgets this lab's lines, and the network if it is gone from the file.
pub fn forget(engine: &Engine, vmnet: u8) -> Result<()> {
    let bytes = engine.networks.read()?.unwrap_or_default();
    let exists = Document::parse(&bytes).is_ok_and(|document| document.vmnet(vmnet).exists);
    if !exists {
        files::remove_file(&engine.home.made_network(vmnet))?;
        files::remove_file(&engine.home.before_made_network(vmnet))?;
    }
    files::remove_file(&engine.dir.network_record())?;
    files::remove_file(&engine.dir.networking_before()).map_err(Into::into)
}

fn keep(path: &Path, before: Option<&[u8]>) -> Result<()> {
    match before {
        Some(bytes) => files::write_atomic(path, bytes, files::PRIVATE_FILE)?,
        None => files::remove_file(path)?,
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Option<T>> {
    let Some(bytes) = files::read_if_exists(path)? else { return Ok(None) };
    let unreadable =
        |error| HostError::Content { path: path.to_owned(), reason: format!("not {what}: {error}") };
    Ok(Some(serde_json::from_slice(&bytes).map_err(unreadable)?))
}

fn refuse_unknown(path: &Path, found: Option<u32>, known: u32) -> Result<()> {
    match found.filter(|found| *found != known) {
        None => Ok(()),
        Some(found) => Err(HostError::Content {
            path: path.to_owned(),
            reason: format!("of version {found}; this fusionlab knows version {known}"),
        }
        .into()),
    }
}

fn write(path: &Path, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(record).expect("a record is plain data");
    Ok(files::write_atomic(path, &text, files::PRIVATE_FILE)?)
}
