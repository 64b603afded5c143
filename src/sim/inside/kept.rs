//! What guests have on their disks, kept in memory: on the virtual disk itself there is only a number that stands for it.
//!
//! Guests save after each command. As JSON that was an eighth of a simulation's work.

use crate::sim::guest::state::Disk;

/// What a number on a disk begins with.
const MARK: &[u8] = b"FUSIONLAB-KEPT";

/// Every disk as it was each time that it was saved. A copy of a virtual disk copies the number, and none is ever another's, so
/// each leads to what was saved.
#[derive(Default)]
pub struct Kept(Vec<Disk>);

impl Kept {
    /// Keeps what a disk holds; returns what is to be written in its place.
    pub fn keep(&mut self, disk: Disk) -> Vec<u8> {
        let number = self.0.len() as u64;
        self.0.push(disk);
        [MARK, &number.to_le_bytes()].concat()
    }

    /// Finds what such bytes stand for.
    pub fn find(&self, bytes: &[u8]) -> Option<Disk> {
        let number = u64::from_le_bytes(bytes.strip_prefix(MARK)?.try_into().ok()?);
        self.0.get(usize::try_from(number).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_stays_as_it_was() {
        let (mut kept, mut disk) = (Kept::default(), Disk::read(None).unwrap());
        let before = kept.keep(disk.clone());
        disk.put("/etc/motd", 0o644, "later");
        let after = kept.keep(disk);
        let text = |bytes: &[u8]| kept.find(bytes).unwrap().text("/etc/motd");
        assert_eq!((text(&before), text(&after).as_deref()), (None, Some("later")));
        assert!(kept.find(b"{\"fusionlab_guest\":1}").is_none() && kept.find(MARK).is_none());
    }
}
