//! Virtual disks as Fusion uses them: a chain of VMDKs whose CIDs must match, and on it what the guest keeps.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::seam::Contents;
use super::{files, image};
use crate::formats::image::{self as images, Opened};
use crate::formats::vmdk::{self, BlockSource, EmptyDisk, Info, Kind, NO_PARENT, SparseDisk};

/// Where a guest's state begins on its disk: two slots written in turn, so that one is always whole.
const SLOTS: [u64; 2] = [1 << 20, 17 << 20];
/// Bytes of a slot.
const SLOT: u64 = 16 << 20;
const SLOT_MARK: &[u8; 16] = b"FUSIONLAB-STATE1";
/// Mark, generation, length and SHA-256.
const SLOT_HEADER: usize = 64;
/// A partition table's signature at sector 1: a disk of somebody's own that a firmware would boot.
const GPT_SIGNATURE: &[u8] = b"EFI PART";
const SECTOR: u64 = 512;
/// Sectors of a monolithic disk's embedded descriptor, as VMware and we write it.
const DESCRIPTOR_SECTORS: u64 = 20;
/// Disks that may hang on each other.
const DEEPEST: usize = 32;

/// A running VM's disk.
pub struct Disk {
    path: PathBuf,
    disk: SparseDisk<File>,
    /// The slot that was written last, and its generation.
    last: Option<(usize, u64)>,
}

impl Disk {
    /// Opens a disk and all that it depends on.
    ///
    /// # Errors
    /// With the words for vmware.log.
    pub fn open(path: &Path) -> Result<Self, String> {
        let disk = open_chain(path, true, 0)?;
        Ok(Self { path: path.to_owned(), disk, last: None })
    }

    /// Returns what the disk holds at most, in bytes.
    pub fn bytes(&self) -> u64 {
        self.disk.info().capacity
    }

    /// Returns what the guest saved last.
    pub fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut newest: Option<(usize, u64, Vec<u8>)> = None;
        for (index, start) in SLOTS.into_iter().enumerate() {
            if let Some((generation, state)) = self.read_slot(start)?
                && newest.as_ref().is_none_or(|(_, there, _)| *there < generation)
            {
                newest = Some((index, generation, state));
            }
        }
        self.last = newest.as_ref().map(|(index, generation, _)| (*index, *generation));
        Ok(newest.map(|(.., state)| state))
    }

    fn read_slot(&mut self, start: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        if start + SLOT > self.disk.info().capacity {
            return Ok(None);
        }
        let mut header = [0; SLOT_HEADER];
        self.disk.read_at(start, &mut header)?;
        let (mark, numbers) = header.split_at(SLOT_MARK.len());
        let number = |at: usize| {
            let bytes = numbers[at..at + 8].try_into().expect("eight bytes are eight bytes");
            u64::from_le_bytes(bytes)
        };
        let (generation, length) = (number(0), number(8));
        if mark != SLOT_MARK || length > SLOT - SLOT_HEADER as u64 {
            return Ok(None);
        }
        let mut state = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.disk.read_at(start + SLOT_HEADER as u64, &mut state)?;
        let whole = Sha256::digest(&state).as_slice() == &numbers[16..];
        Ok(whole.then_some((generation, state)))
    }

    /// Writes the guest's state: the content first and the header last, so that a cut-off write does not count.
    pub fn save(&mut self, state: &[u8]) -> io::Result<()> {
        let length = state.len() as u64;
        let (index, generation) = self.last.map_or((0, 1), |(index, generation)| (1 - index, generation + 1));
        let start = SLOTS[index];
        if length > SLOT - SLOT_HEADER as u64 || start + SLOT > self.disk.info().capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut header = SLOT_MARK.to_vec();
        header.extend(generation.to_le_bytes());
        header.extend(length.to_le_bytes());
        header.extend(Sha256::digest(state).as_slice());
        self.disk.write_at(start + SLOT_HEADER as u64, state)?;
        self.disk.write_at(start, &header)?;
        self.last = Some((index, generation));
        Ok(())
    }

    /// Returns what the firmware finds: the simulated image's mark, or a partition table.
    pub fn contents(&mut self) -> io::Result<Contents> {
        let capacity = self.disk.info().capacity;
        if capacity >= image::MARK_OFFSET + image::MARK_LENGTH {
            let mut mark = vec![0; image::MARK_LENGTH as usize];
            self.disk.read_at(image::MARK_OFFSET, &mut mark)?;
            if let Some(words) = image::words(&mark) {
                return Ok(Contents::Image(words));
            }
        }
        let mut table = vec![0; GPT_SIGNATURE.len()];
        if capacity >= 2 * SECTOR {
            self.disk.read_at(SECTOR, &mut table)?;
        }
        Ok(if table == GPT_SIGNATURE { Contents::Partitions } else { Contents::Nothing })
    }

    /// Gives the disk a new CID, as every VM that writes does: children made before no longer fit.
    pub fn mark_opened(&mut self) -> io::Result<()> {
        let cid = next_cid(self.disk.info().cid, &self.path);
        let (mut described, own) = (0, format!("CID={:08x}", self.disk.info().cid));
        edit_descriptor(&self.path, |line| {
            if described == 0 && line.trim().eq_ignore_ascii_case(&own) {
                described += 1;
                return format!("CID={cid:08x}");
            }
            line.to_owned()
        })
    }
}

/// Opens a disk with its parents. Only the first is written to.
fn open_chain(path: &Path, write: bool, depth: usize) -> Result<SparseDisk<File>, String> {
    if depth > DEEPEST {
        return Err(cannot_open(path, "The chain of disks is too long."));
    }
    let file = files::open(path, write).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => cannot_open(path, "The system cannot find the file specified."),
        io::ErrorKind::PermissionDenied => cannot_open(path, "Insufficient permission to access the file."),
        _ => cannot_open(path, &error.to_string()),
    })?;
    let disk = SparseDisk::open(file).map_err(|error| cannot_open(path, &error.to_string()))?;
    let Some((parent, cid)) = parent_of(path, disk.info()) else { return Ok(disk) };
    let above = open_chain(&parent, false, depth + 1)?;
    if above.info().cid != cid {
        let modified = "The parent virtual disk has been modified since the child was created. The content ID \
                        of the parent virtual disk does not match the corresponding parent content ID in the \
                        child.";
        return Err(cannot_open(path, modified));
    }
    Ok(disk.with_parent(Box::new(above)))
}

fn cannot_open(path: &Path, reason: &str) -> String {
    format!(
        "Cannot open the disk '{}' or one of the snapshot disks it depends on. Reason: {reason}",
        path.display()
    )
}

/// Returns a disk's parent with the CID that it must have.
fn parent_of(path: &Path, info: &Info) -> Option<(PathBuf, u32)> {
    let cid = info.parent_cid.filter(|cid| *cid != NO_PARENT)?;
    let hint = info.parent_hint.as_ref()?;
    Some((path.parent().unwrap_or(Path::new("/")).join(hint), cid))
}

/// Returns a disk and all it depends on, itself first.
pub fn chain(path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut chain = vec![path.to_owned()];
    while chain.len() <= DEEPEST {
        let last = chain.last().expect("a chain begins with its disk").clone();
        let file = files::open(&last, false).map_err(|error| error.to_string())?;
        let info = vmdk::inspect(&file).map_err(|error| cannot_open(&last, &error.to_string()))?;
        match parent_of(&last, &info) {
            Some((parent, _)) => chain.push(parent),
            None => return Ok(chain),
        }
    }
    Err(cannot_open(path, "The chain of disks is too long."))
}

/// Makes an empty child of a disk, which from then on must not change.
pub fn make_child(parent: &Path, child: &Path, hint: &str) -> Result<(), String> {
    let disk = open_chain(parent, false, 0)?;
    let info = disk.info();
    let file = files::create(child).map_err(|error| error.to_string())?;
    vmdk::write_child(file, info.capacity, &name(child), next_cid(info.cid, child), (info.cid, hint))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Makes one disk of a chain.
pub fn flatten(source: &Path, whole: &Path) -> Result<(), String> {
    let mut disk = open_chain(source, false, 0)?;
    let (capacity, cid) = (disk.info().capacity, disk.info().cid);
    write_whole(&mut disk, capacity, next_cid(cid, whole), whole, &name(whole))
}

/// Makes a disk of an image of any kind that is one file.
pub fn of_image(image: &Path, capacity: u64, cid: u32, whole: &Path) -> Result<(), String> {
    let file = files::open(image, false).map_err(|error| error.to_string())?;
    match images::open(Arc::new(file)).map_err(|error| cannot_open(image, &error.to_string()))? {
        Opened::Image(mut source) => write_whole(&mut source, capacity, cid, whole, &name(whole)),
        Opened::Flat(_) => Err(cannot_open(image, "The content is in another file.")),
    }
}

/// Makes an empty disk.
pub fn create(path: &Path, sectors: u64) -> Result<(), String> {
    write_whole(&mut EmptyDisk { size: 0 }, sectors * SECTOR, next_cid(0, path), path, &name(path))
}

/// Grows a disk. One that is a child cannot grow, and none shrinks (facts/vm-images-cloudinit.md §2.1).
pub fn grow(path: &Path, sectors: u64) -> Result<(), String> {
    let mut disk = open_chain(path, true, 0)?;
    let invalid = "Failed to expand the disk: One of the parameters supplied is invalid.";
    let wanted = sectors * SECTOR;
    if wanted <= disk.info().capacity || parent_of(path, disk.info()).is_some() {
        return Err(invalid.to_owned());
    }
    let cid = disk.info().cid;
    let grown = path.with_extension("growing");
    write_whole(&mut disk, wanted, cid, &grown, &name(path))?;
    files::rename(&grown, path).map_err(|error| error.to_string())
}

/// Reads all that a disk depends on.
pub fn check(path: &Path) -> Result<(), String> {
    open_chain(path, false, 0).map(drop)
}

fn write_whole(
    source: &mut dyn BlockSource,
    capacity: u64,
    cid: u32,
    whole: &Path,
    name: &str,
) -> Result<(), String> {
    let file = files::create(whole).map_err(|error| error.to_string())?;
    vmdk::write_sparse(source, capacity, file, name, cid).map(drop).map_err(|error| error.to_string())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns a CID that follows from another: never the two that mean "none".
fn next_cid(cid: u32, path: &Path) -> u32 {
    let digest = Sha256::digest(format!("{cid:08x} {}", path.display()));
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]) & 0x7fff_ffff
}

/// Edits the lines of a monolithic disk's descriptor in place.
fn edit_descriptor(path: &Path, edit: impl FnMut(&str) -> String) -> io::Result<()> {
    let mut file = files::open(path, true)?;
    let info = vmdk::inspect(&file)?;
    if info.kind != Kind::MonolithicSparse {
        return Ok(());
    }
    let mut bytes = vec![0; (DESCRIPTOR_SECTORS * SECTOR) as usize];
    file.seek(SeekFrom::Start(SECTOR))?;
    file.read_exact(&mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let edited: String = text.lines().map(edit).map(|line| line + "\n").collect();
    let mut edited = edited.into_bytes();
    if edited.len() > bytes.len() {
        return Err(io::Error::other("the disk's descriptor has no room"));
    }
    edited.resize(bytes.len(), 0);
    file.seek(SeekFrom::Start(SECTOR))?;
    file.write_all(&edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 64 << 20;

    fn whole(folder: &Path) -> PathBuf {
        let path = folder.join("disk.vmdk");
        create(&path, CAPACITY / SECTOR).unwrap();
        path
    }

    #[test]
    fn a_guests_state_survives_on_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = whole(folder.path());
        let mut disk = Disk::open(&path).unwrap();
        assert_eq!(disk.load().unwrap(), None);
        for state in [&b"one"[..], b"two", b"three"] {
            disk.save(state).unwrap();
        }
        drop(disk);
        assert_eq!(Disk::open(&path).unwrap().load().unwrap().as_deref(), Some(&b"three"[..]));
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_state_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = whole(folder.path());
        let mut disk = Disk::open(&path).unwrap();
        disk.save(b"good").unwrap();
        disk.save(b"torn").unwrap();
        let torn = SLOTS[1] + SLOT_HEADER as u64;
        disk.disk.write_at(torn, b"X").unwrap();
        assert_eq!(disk.load().unwrap().as_deref(), Some(&b"good"[..]));
    }

    #[test]
    fn linked_and_full_clones_carry_the_state_and_do_not_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = whole(folder.path());
        Disk::open(&path).unwrap().save(b"baked").unwrap();
        let (child, full) = (folder.path().join("disk-cl1.vmdk"), folder.path().join("full.vmdk"));
        make_child(&path, &child, &path.display().to_string()).unwrap();
        flatten(&child, &full).unwrap();
        let mut clone = Disk::open(&child).unwrap();
        assert_eq!(clone.load().unwrap().as_deref(), Some(&b"baked"[..]));
        clone.save(b"mine").unwrap();
        assert_eq!(Disk::open(&full).unwrap().load().unwrap().as_deref(), Some(&b"baked"[..]));
        assert_eq!(chain(&child).unwrap(), [child.clone(), path.clone()]);
        assert_eq!(Disk::open(&child).unwrap().load().unwrap().as_deref(), Some(&b"mine"[..]));
    }

    #[test]
    fn a_parent_that_was_powered_on_breaks_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let path = whole(folder.path());
        let child = folder.path().join("disk-000001.vmdk");
        make_child(&path, &child, "disk.vmdk").unwrap();
        Disk::open(&path).unwrap().mark_opened().unwrap();
        let error = Disk::open(&child).err().unwrap();
        assert!(error.contains("has been modified since the child was created"), "{error}");
    }

    #[test]
    fn a_disk_grows_and_keeps_its_content_but_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let path = whole(folder.path());
        Disk::open(&path).unwrap().save(b"kept").unwrap();
        grow(&path, 2 * CAPACITY / SECTOR).unwrap();
        let mut disk = Disk::open(&path).unwrap();
        assert_eq!(disk.disk.info().capacity, 2 * CAPACITY);
        assert_eq!(disk.load().unwrap().as_deref(), Some(&b"kept"[..]));
        assert!(grow(&path, CAPACITY / SECTOR).is_err());
    }

    #[test]
    fn the_simulated_image_boots_through_our_own_reader() {
        let folder = tempfile::tempdir().unwrap();
        let (qcow2, path) = (folder.path().join("image.qcow2"), folder.path().join("disk.vmdk"));
        image::write(&qcow2, image::MODEL).unwrap();
        of_image(&qcow2, 8 << 30, 7, &path).unwrap();
        assert_eq!(Disk::open(&path).unwrap().contents().unwrap(), Contents::Image(image::MODEL.to_owned()));
    }
}
