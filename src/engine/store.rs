//! The lab's identity on disk: a folder only its owner can read.

use std::collections::BTreeMap;

use crate::host::{clock, files};
use crate::lab::Lab;
use crate::lab::paths::LabDir;
use crate::stack::identity::Identity;

use super::error::Result;

/// The private key with which we log in to the guests.
pub const USER_KEY: &str = "id_ed25519";

/// Reads the identity; none if the lab has none. A node that is new to the lab has no host key in it yet.
pub fn load(lab: &Lab, dir: &LabDir) -> Result<Option<Identity>> {
    let stored = stored_files(dir)?;
    if stored.is_empty() { Ok(None) } else { Ok(Some(Identity::from_files(lab, &stored)?)) }
}

/// Returns the lab's identity, or one made up that is written nowhere.
pub fn existing_or_made_up(lab: &Lab, dir: &LabDir) -> Result<Identity> {
    match load(lab, dir)? {
        Some(identity) if is_complete(lab, &identity) => Ok(identity),
        _ => Ok(Identity::generate(lab, clock::now(), &mut random)?),
    }
}

/// Says whether an identity lacks nothing for this lab.
pub fn is_complete(lab: &Lab, identity: &Identity) -> bool {
    lab.nodes.iter().all(|node| identity.host(&node.name).is_some())
}

fn random(bytes: &mut [u8]) {
    rand::Rng::fill_bytes(&mut rand::rng(), bytes);
}

/// Makes what is missing of the identity and writes it; keeps everything that is there.
pub fn create(lab: &Lab, dir: &LabDir) -> Result<Identity> {
    let identity = match load(lab, dir)? {
        None => Identity::generate(lab, clock::now(), &mut random)?,
        Some(mut identity) => {
            identity.complete(lab, &mut random);
            identity.renew(lab, clock::now())?;
            identity
        }
    };
    write(&identity, dir)?;
    Ok(identity)
}

/// A first identity appears as a whole, by one rename: half of one would lock the lab out of its own guests.
fn write(identity: &Identity, dir: &LabDir) -> Result<()> {
    let folder = dir.identity();
    let is_new = !files::exists(&folder);
    let target = if is_new { folder.with_extension("new") } else { folder.clone() };
    if is_new && files::exists(&target) {
        files::remove_tree(&target, dir.root())?;
    }
    files::create_private_dir(&target)?;
    for file in identity.files() {
        let mode = if file.secret { 0o600 } else { 0o644 };
        files::write_atomic(&target.join(&file.name), &file.content, mode)?;
    }
    if is_new {
        files::rename(&target, &folder)?;
    }
    Ok(())
}

fn stored_files(dir: &LabDir) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = dir.identity();
    if !files::exists(&folder) {
        return Ok(BTreeMap::new());
    }
    let mut stored = BTreeMap::new();
    for path in files::list(&folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        stored.insert(name, files::read(&path)?);
    }
    Ok(stored)
}
