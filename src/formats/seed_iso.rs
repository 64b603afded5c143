//! Seed images: a small CD image with the files that cloud-init reads, for the datasource NoCloud.
//!
//! ISO 9660 with long plain names, Rock Ridge (which Linux prefers) and Joliet (which others read), so that
//! a name survives whichever of the three a reader knows (facts/vm-images-cloudinit.md §5). There are no
//! folders and no dates: the same files always give the same bytes.

use std::collections::BTreeMap;

const SECTOR: usize = 2048;
/// The descriptors begin here; what is before belongs to boot loaders.
const FIRST_DESCRIPTOR: usize = 16;
/// L and M path tables of ISO 9660, then of Joliet, a sector each.
const PATH_TABLES: usize = FIRST_DESCRIPTOR + 3;
/// The first directory.
const DIRECTORIES: usize = PATH_TABLES + 4;
/// The path table of an image without folders: one record of the root.
const PATH_TABLE_SIZE: usize = 10;
/// The smallest image that emulated CD drives are known to like.
const SMALLEST: usize = 64 * 1024;
/// What Joliet and Rock Ridge can both name.
const LONGEST_NAME: usize = 64;
/// The recording time of every record: the first second of 2020 in UTC, since some date must be given.
const DATE: [u8; 7] = [120, 1, 1, 0, 0, 0, 0];
/// Joliet level 3: names in UCS-2.
const JOLIET: &[u8] = b"%/E";
/// A directory record before its name.
const RECORD_HEAD: usize = 33;
const FLAG_DIRECTORY: u8 = 2;
/// Where a volume descriptor holds the root's directory record.
const ROOT_RECORD: usize = 156;

/// Why an image could not be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadIso {
    #[error("not an ISO 9660 image")]
    NotAnIso,
    #[error("the image ends within {0}")]
    Truncated(&'static str),
    #[error("the image is corrupt: {0}")]
    Corrupt(&'static str),
}

/// A file's place in the image.
struct Extent {
    sector: usize,
    size: usize,
}

/// Which names and extensions a directory has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    RockRidge,
    Joliet,
}

/// Returns an image with these files in its root.
///
/// # Panics
/// If a label is not 1 to 16 ASCII characters, or a name not 1 to 64 of letters, digits, `-`, `_` and `.`:
/// both are chosen in our code.
pub fn write(label: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    assert!((1..=16).contains(&label.len()) && label.is_ascii(), "{label:?} cannot be a volume's label");
    for name in files.keys() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain),
            "bad file name {name:?}"
        );
    }
    // The directories' sizes do not depend on where the files are.
    let nowhere: Vec<Extent> = files.values().map(|_| Extent { sector: 0, size: 0 }).collect();
    let sizes = [Tree::RockRidge, Tree::Joliet]
        .map(|tree| directory(files, &nowhere, tree, &Extent { sector: 0, size: 0 }).len());
    let roots = [
        Extent { sector: DIRECTORIES, size: sizes[0] },
        Extent { sector: DIRECTORIES + sizes[0] / SECTOR, size: sizes[1] },
    ];
    let mut next = roots[1].sector + sizes[1] / SECTOR;
    let extents: Vec<Extent> = files
        .values()
        .map(|content| {
            let extent = Extent { sector: next, size: content.len() };
            next += content.len().div_ceil(SECTOR);
            extent
        })
        .collect();
    let mut image = vec![0; (next * SECTOR).max(SMALLEST)];
    let sectors = image.len() / SECTOR;
    let mut place =
        |sector: usize, bytes: &[u8]| image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    place(FIRST_DESCRIPTOR, &descriptor(label, sectors, PATH_TABLES, &roots[0], Tree::RockRidge));
    place(FIRST_DESCRIPTOR + 1, &descriptor(label, sectors, PATH_TABLES + 2, &roots[1], Tree::Joliet));
    place(FIRST_DESCRIPTOR + 2, b"\xffCD001\x01");
    for (root, tables) in roots.iter().zip([PATH_TABLES, PATH_TABLES + 2]) {
        place(tables, &path_table(u32::to_le_bytes(number(root.sector)), 1_u16.to_le_bytes()));
        place(tables + 1, &path_table(u32::to_be_bytes(number(root.sector)), 1_u16.to_be_bytes()));
    }
    for (root, tree) in roots.iter().zip([Tree::RockRidge, Tree::Joliet]) {
        place(root.sector, &directory(files, &extents, tree, root));
    }
    for (extent, content) in extents.iter().zip(files.values()) {
        place(extent.sector, content);
    }
    image
}

/// Returns a volume descriptor: primary, or supplementary for Joliet.
fn descriptor(label: &str, sectors: usize, tables: usize, root: &Extent, tree: Tree) -> Vec<u8> {
    let joliet = tree == Tree::Joliet;
    let text = |text: &str, size: usize| -> Vec<u8> {
        let mut bytes: Vec<u8> = match joliet {
            true => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            false => text.bytes().collect(),
        };
        while bytes.len() < size {
            bytes.extend(if joliet { &[0, b' '][..] } else { b" " });
        }
        bytes.truncate(size);
        bytes
    };
    let mut bytes = vec![0; SECTOR];
    let mut place = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    place(0, if joliet { b"\x02CD001\x01" } else { b"\x01CD001\x01" });
    place(8, &text("", 32));
    place(40, &text(label, 32));
    place(80, &both_32(sectors));
    if joliet {
        place(88, JOLIET);
    }
    place(120, &both_16(1));
    place(124, &both_16(1));
    place(128, &both_16(SECTOR));
    place(132, &both_32(PATH_TABLE_SIZE));
    place(140, &number(tables).to_le_bytes());
    place(148, &number(tables + 1).to_be_bytes());
    place(ROOT_RECORD, &record(&[0], root, FLAG_DIRECTORY, &[]));
    // Volume set, publisher, preparer, application, copyright, abstract and bibliography.
    place(190, &text("", 623));
    // Creation, modification, expiration and effective dates: sixteen zeros mean unspecified.
    for at in [813, 830, 847, 864] {
        place(at, &[b'0'; 16]);
    }
    place(881, &[1]);
    bytes
}

fn path_table(sector: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &sector, &parent, &[0, 0]].concat()
}

/// Returns the root directory, padded to whole sectors; no record crosses one.
fn directory(files: &BTreeMap<String, Vec<u8>>, extents: &[Extent], tree: Tree, root: &Extent) -> Vec<u8> {
    let rock = tree == Tree::RockRidge;
    let folder = if rock { posix(0o040_555, 2) } else { Vec::new() };
    let own = if rock {
        [&b"SP\x07\x01\xbe\xef\x00"[..], &folder, &extension_reference()].concat()
    } else {
        Vec::new()
    };
    let mut records =
        vec![record(&[0], root, FLAG_DIRECTORY, &own), record(&[1], root, FLAG_DIRECTORY, &folder)];
    let mut named: Vec<(Vec<u8>, Vec<u8>)> = files
        .keys()
        .zip(extents)
        .map(|(name, extent)| {
            let system = if rock { [posix(0o100_444, 1), alternate_name(name)].concat() } else { Vec::new() };
            let spelled = spelled(name, tree);
            (spelled.clone(), record(&spelled, extent, 0, &system))
        })
        .collect();
    named.sort();
    records.extend(named.into_iter().map(|(_, record)| record));
    let mut bytes = Vec::new();
    for record in records {
        if bytes.len() % SECTOR + record.len() > SECTOR {
            bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        }
        bytes.extend(record);
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

/// Returns a name as the tree's records hold it.
fn spelled(name: &str, tree: Tree) -> Vec<u8> {
    match tree {
        Tree::Joliet => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        // A plain name has a dot and a version; Linux shows it in lower case without either.
        Tree::RockRidge => {
            let dot = if name.contains('.') { "" } else { "." };
            format!("{}{dot};1", name.to_ascii_uppercase()).into_bytes()
        }
    }
}

/// Returns a directory record (ECMA-119 §9.1) with its system use area.
fn record(name: &[u8], extent: &Extent, flags: u8, system: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both_32(extent.sector));
    record.extend(both_32(extent.size));
    record.extend(DATE);
    record.extend([flags, 0, 0]);
    record.extend(both_16(1));
    record.push(u8::try_from(name.len()).expect("names are short"));
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend(system);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = u8::try_from(record.len()).expect("a record of a short name is short");
    record
}

/// Returns Rock Ridge's PX entry: mode and links; owner is root.
fn posix(mode: usize, links: usize) -> Vec<u8> {
    [&b"PX\x24\x01"[..], &both_32(mode), &both_32(links), &both_32(0), &both_32(0)].concat()
}

/// Returns Rock Ridge's NM entry: the name as it is.
fn alternate_name(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len() + 5).expect("names are short");
    [&b"NM"[..], &[length, 1, 0], name.as_bytes()].concat()
}

/// Returns the ER entry that says "Rock Ridge"; its two descriptions may be empty.
fn extension_reference() -> Vec<u8> {
    let id = b"RRIP_1991A";
    let length = u8::try_from(8 + id.len()).expect("the identifier is short");
    [&b"ER"[..], &[length, 1, 10, 0, 0, 1], id].concat()
}

fn number(value: usize) -> u32 {
    u32::try_from(value).expect("a seed image is far below 4 GiB")
}

fn both_32(value: usize) -> [u8; 8] {
    let value = number(value);
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both_16(value: usize) -> [u8; 4] {
    let value = u16::try_from(value).expect("only small constants are given");
    let [a, b] = value.to_le_bytes();
    [a, b, b, a]
}

/// Returns the volume's label, such as `cidata`.
///
/// # Errors
/// If this is not an ISO 9660 image.
pub fn label(image: &[u8]) -> Result<String, BadIso> {
    let primary = find_descriptor(image, |descriptor| descriptor[0] == 1)?.ok_or(BadIso::NotAnIso)?;
    Ok(String::from_utf8_lossy(&primary[40..72]).trim_end().to_owned())
}

/// Returns the files in the root of an image, by the names of Joliet if it has them, else by the plain
/// names as Linux shows them.
///
/// # Errors
/// If this is not an ISO 9660 image, or a damaged one.
pub fn read(image: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, BadIso> {
    let joliet = |descriptor: &[u8]| descriptor[0] == 2 && descriptor[88..].starts_with(b"%/");
    let supplementary = find_descriptor(image, joliet)?;
    let tree = if supplementary.is_some() { Tree::Joliet } else { Tree::RockRidge };
    let descriptor = match supplementary {
        Some(descriptor) => descriptor,
        None => find_descriptor(image, |descriptor| descriptor[0] == 1)?.ok_or(BadIso::NotAnIso)?,
    };
    let root = Record::parse(&descriptor[ROOT_RECORD..])?.ok_or(BadIso::Corrupt("there is no root"))?;
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for sector in root.content(image)?.chunks(SECTOR) {
        let mut rest = sector;
        while let Some(record) = Record::parse(rest)? {
            if record.flags & FLAG_DIRECTORY == 0 {
                total += record.size;
                // Else a small image could fill the memory with copies of itself.
                if total > image.len() {
                    return Err(BadIso::Corrupt("its files are more than the image"));
                }
                files.insert(record.shown_name(tree)?, record.content(image)?.to_vec());
            }
            rest = &rest[record.length..];
        }
    }
    Ok(files)
}

/// Returns the first volume descriptor that is wished for.
fn find_descriptor(image: &[u8], wished: impl Fn(&[u8]) -> bool) -> Result<Option<&[u8]>, BadIso> {
    for descriptor in image.chunks_exact(SECTOR).skip(FIRST_DESCRIPTOR) {
        if &descriptor[1..6] != b"CD001" {
            break;
        }
        match descriptor[0] {
            0xff => return Ok(None),
            _ if wished(descriptor) => return Ok(Some(descriptor)),
            _ => {}
        }
    }
    // Descriptors without a terminator, or none at all.
    Err(BadIso::NotAnIso)
}

/// A directory record that was read.
struct Record<'a> {
    length: usize,
    sector: usize,
    size: usize,
    flags: u8,
    name: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads one record; none where a sector's records end.
    fn parse(bytes: &'a [u8]) -> Result<Option<Self>, BadIso> {
        let length = bytes.first().copied().map_or(0, usize::from);
        if length == 0 {
            return Ok(None);
        }
        let bytes = bytes.get(..length).ok_or(BadIso::Truncated("a directory"))?;
        let head = bytes.get(..RECORD_HEAD).ok_or(BadIso::Corrupt("a directory record is too short"))?;
        let field = |at: usize| {
            let bytes: [u8; 4] = head[at..at + 4].try_into().expect("four bytes are four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let name = bytes[RECORD_HEAD..].get(..usize::from(head[32]));
        let name = name.ok_or(BadIso::Corrupt("a name is longer than its record"))?;
        Ok(Some(Self { length, sector: field(2), size: field(10), flags: head[25], name }))
    }

    fn content(&self, image: &'a [u8]) -> Result<&'a [u8], BadIso> {
        let start = self.sector.checked_mul(SECTOR).ok_or(BadIso::Corrupt("an extent is out of range"))?;
        let bytes = image.get(start..).and_then(|rest| rest.get(..self.size));
        bytes.ok_or(BadIso::Truncated("a file"))
    }

    fn shown_name(&self, tree: Tree) -> Result<String, BadIso> {
        let bad = BadIso::Corrupt("a name is not text");
        if tree == Tree::Joliet {
            let units: Vec<u16> =
                self.name.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            let name = String::from_utf16(&units).map_err(|_| bad)?;
            return Ok(name.strip_suffix(";1").unwrap_or(&name).to_owned());
        }
        let name = std::str::from_utf8(self.name).map_err(|_| bad)?.to_ascii_lowercase();
        let name = name.strip_suffix(";1").unwrap_or(&name);
        Ok(name.strip_suffix('.').unwrap_or(name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "asks other programs that read CD images")]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::formats::test_tools;

    fn seed() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([
            ("meta-data".to_owned(), b"instance-id: x\n".to_vec()),
            ("network-config".to_owned(), vec![b'n'; 5000]),
            ("user-data".to_owned(), b"#cloud-config\n".to_vec()),
            ("empty.txt".to_owned(), Vec::new()),
        ])
    }

    #[test]
    fn what_is_written_is_read_back_under_both_kinds_of_names() {
        let mut image = write("cidata", &seed());
        assert_eq!(label(&image).as_deref(), Ok("cidata"));
        assert_eq!(image, write("cidata", &seed()));
        assert!(image.len() >= SMALLEST && image.len().is_multiple_of(SECTOR));
        assert_eq!(read(&image), Ok(seed()));
        image[(FIRST_DESCRIPTOR + 1) * SECTOR + 88] = b'x';
        assert_eq!(read(&image), Ok(seed()), "without Joliet");
    }

    #[test]
    fn a_damaged_image_is_refused() {
        let image = write("cidata", &seed());
        assert_eq!(read(b""), Err(BadIso::NotAnIso));
        assert_eq!(read(&[0; 70_000]), Err(BadIso::NotAnIso));
        assert_eq!(read(&image[..26 * SECTOR]), Err(BadIso::Truncated("a file")));
        assert_eq!(label(&image[..10_000]), Err(BadIso::NotAnIso));
    }

    #[test]
    fn xorriso_reads_the_label_and_the_names() {
        if !test_tools::present("xorriso") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        std::fs::write(&path, write("cidata", &seed())).unwrap();
        let out = folder.path().join("out");
        let run = |arguments: &[&str]| Command::new("xorriso").args(arguments).output().unwrap();
        let output = run(&[
            "-indev",
            path.to_str().unwrap(),
            "-toc",
            "-osirrox",
            "on",
            "-extract",
            "/",
            out.to_str().unwrap(),
        ]);
        let words =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && words.contains("cidata") && !words.contains("WARNING"), "{words}");
        for (name, content) in seed() {
            assert_eq!(std::fs::read(out.join(&name)).unwrap(), content, "{name}");
        }
    }

    #[test]
    fn isoinfo_reads_all_three_kinds_of_names() {
        if !test_tools::present("isoinfo") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        std::fs::write(&path, write("cidata", &seed())).unwrap();
        let list = |extra: &[&str]| {
            let output = Command::new("isoinfo").arg("-i").arg(&path).arg("-f").args(extra).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let expected = "/empty.txt\n/meta-data\n/network-config\n/user-data\n";
        assert_eq!(list(&["-R"]), expected);
        assert_eq!(list(&["-J"]), expected);
        let plain = "/EMPTY.TXT;1\n/META-DATA.;1\n/NETWORK-CONFIG.;1\n/USER-DATA.;1\n";
        assert_eq!(list(&[]), plain);
    }

    proptest! {
        #[test]
        fn any_files_come_back(files in proptest::collection::btree_map("[a-z][a-z0-9_-]{0,62}[a-z]", proptest::collection::vec(any::<u8>(), 0..5000), 0..40)) {
            prop_assert_eq!(read(&write("cidata", &files)), Ok(files));
        }

        #[test]
        fn damage_never_panics(at in 32_000_usize..65_000, byte in any::<u8>(), cut in 0_usize..70_000) {
            let mut image = write("cidata", &seed());
            image[at] = byte;
            image.truncate(cut);
            let _ = read(&image);
        }
    }
}
