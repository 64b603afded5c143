//! The lab's identity on disk: a folder only its owner can read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::host::{clock, files};
use crate::lab::Lab;
use crate::lab::paths::LabDir;
use crate::stack::identity::{self, Identity, Leaf, StoredFile};
use crate::stack::validity::Validity;

use crate::engine::error::Result;

/// The private key with which we log in to the guests.
pub const USER_KEY: &str = "id_ed25519";

/// Endings of the names of those files of an identity that are no secrets.
const PUBLIC: [&str; 2] = [".crt", ".pub"];

/// Reads the identity; none if the lab has none. A node that is new to the lab has no host key in it yet.
pub fn load(lab: &Lab, dir: &LabDir) -> Result<Option<Identity>> {
    let stored = stored_files(dir)?;
    if stored.is_empty() { Ok(None) } else { Ok(Some(Identity::from_files(lab, &stored)?)) }
}

/// Returns when the certificates of a lab's identity end, in seconds since 1970; nothing if it has none.
pub fn validities(dir: &LabDir) -> Result<Vec<(Leaf, Validity)>> {
    Ok(identity::validities(&stored_files(dir)?)?)
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

/// Says whether the authority behind the lab's sites lies where the user finds it, as the identity has it.
pub fn is_published(identity: &Identity, dir: &LabDir) -> Result<bool> {
    Ok(files::read_if_exists(&dir.lab_ca())?.as_deref() == Some(identity.lab_ca.certificate.as_bytes()))
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

/// An identity appears as a whole, and what changes of one is replaced as a whole: half of one would lock the lab out of
/// its own guests, and a certificate without its key would be none. Keys that only come to it are put beside the others,
/// which may be in use meanwhile. Whatever else is there stays, such as keys of nodes that the lab file names no more.
fn write(identity: &Identity, dir: &LabDir) -> Result<()> {
    settle(dir)?;
    let Places { folder, new, .. } = Places::of(dir);
    let (stored, wanted) = (stored_files(dir)?, identity.files());
    let changes = |file: &StoredFile| stored.get(&file.name).is_some_and(|content| *content != file.content);
    let whole = stored.is_empty() || wanted.iter().any(changes);
    let target = if whole { &new } else { &folder };
    if whole {
        if files::exists(&new) {
            files::remove_tree(&new, dir.root())?;
        }
        files::create_private_dir(&new)?;
        for (name, content) in stored.iter().filter(|(name, _)| wanted.iter().all(|file| file.name != **name))
        {
            let mode = files::ownership(&folder.join(name))?.mode;
            files::write_atomic(&new.join(name), content, mode)?;
        }
    }
    for file in wanted.iter().filter(|file| whole || !stored.contains_key(&file.name)) {
        let mode = if file.secret { 0o600 } else { 0o644 };
        files::write_atomic(&target.join(&file.name), &file.content, mode)?;
    }
    if whole { put_in_place(dir) } else { Ok(()) }
}

/// Where an identity lies, and where while it is replaced.
struct Places {
    folder: PathBuf,
    /// The next one, which may be half written while [`Self::folder`] is there.
    new: PathBuf,
    /// The one before. While it is there, [`Self::new`] was whole.
    old: PathBuf,
}

impl Places {
    fn of(dir: &LabDir) -> Self {
        let folder = dir.identity();
        Self { new: folder.with_extension("new"), old: folder.with_extension("old"), folder }
    }

    /// Says whether a run ended between taking the old one away and putting the new one in its place.
    fn is_between(&self) -> bool {
        !files::exists(&self.folder) && files::exists(&self.old) && files::exists(&self.new)
    }
}

fn put_in_place(dir: &LabDir) -> Result<()> {
    let Places { folder, new, old } = Places::of(dir);
    if files::exists(&folder) {
        files::rename(&folder, &old)?;
    }
    files::rename(&new, &folder)?;
    if files::exists(&old) {
        files::remove_tree(&old, dir.root())?;
    }
    Ok(())
}

/// Sees a replacement through that a killed run began. Under the lab's lock.
pub fn settle(dir: &LabDir) -> Result<()> {
    let places = Places::of(dir);
    if places.is_between() {
        return put_in_place(dir);
    }
    if files::exists(&places.folder) && files::exists(&places.old) {
        files::remove_tree(&places.old, dir.root())?;
    }
    Ok(())
}

/// Returns every file of a lab's identity as it lies there, be it whole or not, the next and the former one's as well: all
/// that may be secret. What is not known to be public is.
pub fn whatever_is_there(dir: &LabDir) -> Result<Vec<StoredFile>> {
    let Places { folder, new, old } = Places::of(dir);
    let mut found = Vec::new();
    for path in
        [folder, new, old].iter().map(|folder| files::list(folder)).collect::<Result<Vec<_>, _>>()?.concat()
    {
        let name = files::name_of(&path);
        let secret = !PUBLIC.iter().any(|ending| name.ends_with(ending));
        found.push(StoredFile { name, secret, content: files::read(&path)? });
    }
    Ok(found)
}

fn stored_files(dir: &LabDir) -> Result<BTreeMap<String, Vec<u8>>> {
    let places = Places::of(dir);
    let folder = if places.is_between() { places.new } else { places.folder };
    if !files::exists(&folder) {
        return Ok(BTreeMap::new());
    }
    let mut stored = BTreeMap::new();
    for path in files::list(&folder)? {
        let name = files::name_of(&path);
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

    #[test]
    fn a_replacement_that_was_cut_off_leaves_one_whole_identity_at_every_point() {
        let (_folder, dir) = lab_dir();
        let lab = fixture::lab();
        let first = create(&lab, &dir).unwrap();
        let mut renamed = lab.clone();
        renamed.cluster.domain = "apps.test".into();
        let mut second = load(&lab, &dir).unwrap().unwrap();
        assert!(second.renew(&renamed, clock::now()).unwrap());
        let authority = |identity: &Identity| identity.lab_ca.certificate.clone();
        assert_ne!(authority(&first), authority(&second), "it may not sign for another domain");
        let Places { folder, new, old } = Places::of(&dir);
        let found = || authority(&load(&renamed, &dir).unwrap().unwrap());

        files::create_private_dir(&new).unwrap();
        files::write_atomic(&new.join("lab-ca.crt"), b"half", 0o644).unwrap();
        assert_eq!(found(), authority(&first), "the new one is half written");

        let of_nobody = folder.join("host-k8s-worker9");
        files::write_atomic(&of_nobody, b"a key", 0o600).unwrap();
        write(&second, &dir).unwrap();
        assert_eq!(
            files::read(&of_nobody).unwrap(),
            b"a key",
            "a node that is not in the lab file keeps its key"
        );
        files::rename(&folder, &new).unwrap();
        files::create_private_dir(&old).unwrap();
        assert_eq!(found(), authority(&second), "the old one is away, the new one not yet in its place");
        settle(&dir).unwrap();
        assert!(files::exists(&folder) && !files::exists(&new) && !files::exists(&old));
        assert_eq!(found(), authority(&second));
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
    fn half_a_host_key_is_made_anew() {
        let (_folder, dir) = lab_dir();
        let lab = fixture::lab();
        create(&without(&lab, "k8s-worker2"), &dir).unwrap();
        files::write_atomic(&dir.identity().join("host-k8s-worker2"), b"a key", 0o600).unwrap();
        assert!(!is_complete(&lab, &load(&lab, &dir).unwrap().unwrap()));
        let made = create(&lab, &dir).unwrap();
        let read = load(&lab, &dir).unwrap().unwrap();
        assert!(is_complete(&lab, &read));
        assert_eq!(
            read.host("k8s-worker2").unwrap().public_line,
            made.host("k8s-worker2").unwrap().public_line
        );
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
    fn all_that_may_be_secret_is_known_also_of_a_broken_identity() {
        let (_folder, dir) = lab_dir();
        assert_eq!(whatever_is_there(&dir).unwrap(), []);
        let identity = create(&fixture::lab(), &dir).unwrap();
        let sorted = |mut files: Vec<StoredFile>| {
            files.sort_by(|one, other| one.name.cmp(&other.name));
            files
        };
        assert_eq!(sorted(whatever_is_there(&dir).unwrap()), sorted(identity.files()));
        files::remove_file(&dir.identity().join("ca.crt")).unwrap();
        files::create_private_dir(&dir.identity().with_extension("new")).unwrap();
        files::write_atomic(&dir.identity().with_extension("new").join("token"), b"half", 0o600).unwrap();
        let found = whatever_is_there(&dir).unwrap();
        assert!(found.contains(&StoredFile {
            name: "token".into(),
            secret: true,
            content: b"half".to_vec()
        }));
        assert_eq!(found.len(), identity.files().len());
    }

    #[test]
    fn looking_writes_nothing() {
        let (_folder, dir) = lab_dir();
        let made_up = existing_or_made_up(&fixture::lab(), &dir).unwrap();
        assert!(is_complete(&fixture::lab(), &made_up));
        assert!(!files::exists(&dir.identity()));
    }
}
