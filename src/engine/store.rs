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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::paths::Home;
    use crate::stack::fixture;

    fn lab_dir() -> (tempfile::TempDir, LabDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Home(folder.path().to_owned()).lab("lab");
        files::create_dir(dir.root()).unwrap();
        (folder, dir)
    }

    fn without(lab: &Lab, node: &str) -> Lab {
        let nodes = lab.nodes.iter().filter(|other| other.name != node).cloned().collect();
        Lab { nodes, ..lab.clone() }
    }

    #[test]
    fn an_identity_is_its_owners_alone_and_read_back_as_it_was_made() {
        let (_folder, dir) = lab_dir();
        let lab = fixture::lab();
        assert!(load(&lab, &dir).unwrap().is_none());
        let made = create(&lab, &dir).unwrap();
        assert!(is_complete(&lab, &made));
        assert_eq!(files::ownership(&dir.identity()).unwrap().mode & 0o777, 0o700);
        for file in made.files() {
            let path = dir.identity().join(&file.name);
            let mode = files::ownership(&path).unwrap().mode & 0o777;
            assert_eq!(mode, if file.secret { 0o600 } else { 0o644 }, "{}", file.name);
        }
        assert!(files::exists(&dir.identity().join(USER_KEY)));
        let read = load(&lab, &dir).unwrap().unwrap();
        let content = |identity: &Identity| -> Vec<_> {
            identity.files().into_iter().map(|file| (file.name, file.content)).collect()
        };
        assert_eq!(content(&read), content(&made));
        assert_eq!(content(&create(&lab, &dir).unwrap()), content(&made), "what is there is kept");
    }

    #[test]
    fn a_node_that_is_new_gets_its_key_and_the_others_keep_theirs() {
        let (_folder, dir) = lab_dir();
        let lab = fixture::lab();
        let before = create(&without(&lab, "k8s-worker2"), &dir).unwrap();
        assert!(!is_complete(&lab, &load(&lab, &dir).unwrap().unwrap()));
        let after = create(&lab, &dir).unwrap();
        assert!(is_complete(&lab, &after));
        let key = |identity: &Identity| identity.host("k8s-worker1").unwrap().public_line.clone();
        assert_eq!(key(&after), key(&before));
        assert_eq!(after.ca_hash(), before.ca_hash());
    }

    #[test]
    fn an_identity_whose_making_was_cut_short_is_made_anew() {
        let (_folder, dir) = lab_dir();
        let half = dir.identity().with_extension("new");
        files::create_private_dir(&half).unwrap();
        files::write_atomic(&half.join("ca.key"), b"half of a k", 0o600).unwrap();
        assert!(load(&fixture::lab(), &dir).unwrap().is_none());
        create(&fixture::lab(), &dir).unwrap();
        assert!(!files::exists(&half));
    }

    #[test]
    fn half_an_identity_is_an_error_and_not_replaced() {
        let (_folder, dir) = lab_dir();
        create(&fixture::lab(), &dir).unwrap();
        let kept = files::read(&dir.identity().join(USER_KEY)).unwrap();
        files::remove_file(&dir.identity().join("ca.key")).unwrap();
        let error = create(&fixture::lab(), &dir).unwrap_err().to_string();
        assert!(error.contains("ca.key"), "{error}");
        assert_eq!(files::read(&dir.identity().join(USER_KEY)).unwrap(), kept);
    }

    #[test]
    fn looking_writes_nothing() {
        let (_folder, dir) = lab_dir();
        let made_up = existing_or_made_up(&fixture::lab(), &dir).unwrap();
        assert!(is_complete(&fixture::lab(), &made_up));
        assert!(!files::exists(&dir.identity()));
    }
}
