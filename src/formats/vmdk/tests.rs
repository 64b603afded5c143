//! Disks written and read back, damaged ones, and qemu-img's opinion.
#![expect(clippy::disallowed_methods, reason = "asks qemu-img, which reads and writes VMDK files")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::formats::image::{self, Image};
use crate::formats::test_tools;

const GRAIN: usize = 65_536;
const MIB: u64 = 1 << 20;

/// A disk with something at its start, in its middle, across a grain's border and at its end.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; 40 * GRAIN + 1000];
    let end = bytes.len() - 1;
    for at in [0, 510, 7 * GRAIN + 5, 9 * GRAIN - 1, 9 * GRAIN, 33 * GRAIN, end] {
        bytes[at] = (at % 251) as u8 + 1;
    }
    bytes
}

/// Returns a disk of these bytes.
fn raw(content: &[u8]) -> Image {
    let extent = FlatExtent { file: String::new(), offset: 0, length: content.len() as u64 };
    Image::flat(&extent, Arc::new(content.to_vec())).unwrap()
}

/// Opens a VMDK as an image is opened.
fn open(file: Vec<u8>) -> Result<Image, BadDisk> {
    match image::open(Arc::new(file))? {
        image::Opened::Image(image) => Ok(image),
        image::Opened::Flat(_) => panic!("it has its content inside"),
    }
}

fn sparse(content: &[u8], capacity: u64) -> Vec<u8> {
    write_sparse(&mut raw(content), capacity, Vec::new(), "disk.vmdk", 0x1a2b_3c4d).unwrap()
}

fn all(source: &mut dyn BlockSource) -> Vec<u8> {
    let mut bytes = vec![0; source.size() as usize];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

fn padded(content: &[u8], size: u64) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(size as usize, 0);
    bytes
}

#[test]
fn a_written_disk_reads_back_and_takes_room_only_for_data() {
    let file = sparse(&content(), 8 * MIB);
    let info = inspect(&file).unwrap();
    assert_eq!((info.kind.clone(), info.capacity, info.cid), (Kind::MonolithicSparse, 8 * MIB, 0x1a2b_3c4d));
    assert_eq!((info.parent_cid, info.parent_hint.as_deref()), (None, None));
    assert_eq!(info.adapter.as_deref(), Some("lsilogic"));
    assert_eq!(info.extents[0].file, "disk.vmdk");
    assert!(file.len() < 8 * GRAIN, "six grains and the head, not {}", file.len());
    let mut disk = SparseDisk::open(file).unwrap();
    assert_eq!(all(&mut disk), padded(&content(), 8 * MIB));
    assert_eq!(disk.data_after(1).unwrap(), Some(1..GRAIN as u64));
    assert_eq!(disk.data_after(10 * GRAIN as u64).unwrap().unwrap().start, 33 * GRAIN as u64);
    assert_eq!(disk.data_after(41 * GRAIN as u64).unwrap(), None);
}

#[test]
fn the_head_of_a_40_gib_disk_is_vmwares() {
    // From facts/vm-images-cloudinit.md §2.3.
    let header = Header::sparse(40 << 21);
    assert_eq!((header.tables(), header.overhead, header.redundant_directory), (1280, 10_368, 21));
}

#[test]
fn a_capacity_that_is_too_small_or_too_large_is_refused() {
    let refused =
        |capacity| write_sparse(&mut raw(&content()), capacity, Vec::new(), "disk.vmdk", 1).is_err();
    assert!(refused(MIB) && refused(0) && refused(u64::MAX) && refused(3 << 40));
}

#[test]
fn a_child_shows_its_parent_until_it_is_written_to() {
    let parent = sparse(&content(), 8 * MIB);
    let parent_named = (0x1a2b_3c4d, "../template/disk.vmdk");
    let file = write_child(Vec::new(), 8 * MIB, "child.vmdk", 7, parent_named).unwrap();
    assert!(matches!(open(file.clone()), Err(BadDisk::Backed(name)) if name.contains("template")));
    let info = inspect(&file).unwrap();
    assert_eq!(info.parent_cid, Some(0x1a2b_3c4d));
    assert_eq!(info.parent_hint.as_deref(), Some("../template/disk.vmdk"));
    let parent = || Box::new(SparseDisk::open(parent.clone()).unwrap());
    let mut child = SparseDisk::open(file).unwrap().with_parent(parent());
    let mut expected = padded(&content(), 8 * MIB);
    assert_eq!(all(&mut child), expected);
    let news = vec![0xee; GRAIN + 10];
    let at = 8 * GRAIN + GRAIN / 2;
    child.write_at(at as u64, &news).unwrap();
    expected[at..at + news.len()].copy_from_slice(&news);
    assert_eq!(all(&mut child), expected);
    let mut again = SparseDisk::open(child.into_inner()).unwrap().with_parent(parent());
    assert_eq!(all(&mut again), expected, "what was written is there after opening it again");
}

#[test]
fn both_directories_name_what_was_written() {
    let mut disk = SparseDisk::open(sparse(&content(), 8 * MIB)).unwrap();
    disk.write_at(20 * GRAIN as u64, b"state").unwrap();
    disk.write_at(3, b"more").unwrap();
    let expected = all(&mut disk);
    let mut file = disk.into_inner();
    let header = Header::read(&file).unwrap();
    let swapped = Header { directory: header.redundant_directory, ..header };
    file.put(0, &swapped.render()).unwrap();
    assert_eq!(all(&mut SparseDisk::open(file).unwrap()), expected);
}

#[test]
fn a_flat_disks_descriptor_is_understood() {
    let text = flat_descriptor(8 * MIB, "disk flat.vmdk", 9);
    let info = inspect(&text.into_bytes()).unwrap();
    assert_eq!((info.kind, info.capacity, info.cid), (Kind::MonolithicFlat, 8 * MIB, 9));
    let extent = Extent {
        sectors: 8 * MIB / SECTOR,
        kind: "FLAT".to_owned(),
        file: "disk flat.vmdk".to_owned(),
        offset: 0,
    };
    assert_eq!(info.extents, [extent]);
}

#[test]
fn what_is_no_vmdk_or_a_damaged_one_is_refused() {
    let file = sparse(&content(), 8 * MIB);
    let refused = |bytes: &[u8]| inspect(&bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(refused(b"<html></html>"), "not a disk image that can be read: it is not a VMDK");
    assert_eq!(refused(b"#!/bin/sh\n"), "not a disk image that can be read: it has no VMDK descriptor");
    assert_eq!(refused(b""), "the image ends too early: not even a magic number");
    assert_eq!(refused(&file[..1000]), "the image ends too early: the descriptor");
    let text = [&file[..73], b"\r\n \r\n", &file[78..]].concat();
    assert_eq!(refused(&text), "the image is corrupt: it was transferred as a text file");
    let cut = SparseDisk::open(file[..11_000].to_vec()).err().unwrap();
    assert_eq!(cut.to_string(), "the image ends too early: the grain directory");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn writes_anywhere_are_read_back(writes in proptest::collection::vec((0..(2 * MIB), 1..100_000_usize, 1_u8..), 0..6)) {
        let capacity = 2 * MIB;
        let mut disk = SparseDisk::open(sparse(&[], capacity)).unwrap();
        let mut expected = vec![0; capacity as usize];
        for (at, length, byte) in writes {
            let length = length.min((capacity - at) as usize);
            disk.write_at(at, &vec![byte; length]).unwrap();
            expected[at as usize..][..length].fill(byte);
        }
        prop_assert!(all(&mut disk) == expected);
        prop_assert!(disk.write_at(capacity, b"x").is_err());
    }

    #[test]
    fn damage_never_panics(at in 0_usize..30_000, byte in any::<u8>(), cut in 0_usize..700_000) {
        let mut file = sparse(&content(), 8 * MIB);
        file[at] = byte;
        file.truncate(cut);
        let _ = inspect(&file);
        if let Ok(mut disk) = SparseDisk::open(file) {
            let _ = BlockSource::read_at(&mut disk, 0, &mut [0; 3 * GRAIN]);
            let _ = disk.data_after(0);
        }
    }
}

fn qemu_img(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).current_dir(folder).output().unwrap();
    let words =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {arguments:?}: {words}");
    words
}

#[test]
fn qemu_reads_what_we_write() {
    if !test_tools::present("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("raw"), padded(&content(), 72 * MIB)).unwrap();
    std::fs::write(path.join("disk.vmdk"), sparse(&content(), 72 * MIB)).unwrap();
    let info = qemu_img(path, &["info", "disk.vmdk"]);
    assert!(info.contains("monolithicSparse") && info.contains("72 MiB"), "{info}");
    qemu_img(path, &["check", "disk.vmdk"]);
    qemu_img(path, &["compare", "-f", "raw", "-F", "vmdk", "raw", "disk.vmdk"]);
    std::fs::write(path.join("flat.vmdk"), flat_descriptor(72 * MIB, "raw", 1)).unwrap();
    qemu_img(path, &["compare", "-f", "raw", "-F", "vmdk", "raw", "flat.vmdk"]);
    let child = write_child(Vec::new(), 72 * MIB, "child.vmdk", 7, (0x1a2b_3c4d, "disk.vmdk")).unwrap();
    std::fs::write(path.join("child.vmdk"), &child).unwrap();
    qemu_img(path, &["compare", "-f", "raw", "-F", "vmdk", "raw", "child.vmdk"]);
    let mut child = SparseDisk::open(child).unwrap();
    child.write_at(50 * MIB, &[5; GRAIN]).unwrap();
    std::fs::write(path.join("child.vmdk"), child.into_inner()).unwrap();
    let mut expected = padded(&content(), 72 * MIB);
    expected[50 * MIB as usize..][..GRAIN].fill(5);
    std::fs::write(path.join("raw"), expected).unwrap();
    qemu_img(path, &["compare", "-f", "raw", "-F", "vmdk", "raw", "child.vmdk"]);
    qemu_img(path, &["check", "child.vmdk"]);
}

#[test]
fn we_read_what_qemu_writes() {
    if !test_tools::present("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let raw = padded(&content(), 72 * MIB);
    std::fs::write(path.join("raw"), &raw).unwrap();
    for kind in ["monolithicSparse", "streamOptimized"] {
        let options = format!("subformat={kind}");
        qemu_img(path, &["convert", "-f", "raw", "-O", "vmdk", "-o", &options, "raw", "made.vmdk"]);
        let file = std::fs::read(path.join("made.vmdk")).unwrap();
        assert_eq!(inspect(&file).unwrap().capacity, 72 * MIB);
        let mut disk = open(file).unwrap();
        assert!(all(&mut disk) == raw, "{kind}");
        assert_eq!(disk.data_after(10 * GRAIN as u64).unwrap().unwrap().start, 33 * GRAIN as u64);
    }
}

#[test]
fn damage_to_a_stream_never_panics() {
    if !test_tools::present("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("raw"), padded(&content(), 4 * MIB)).unwrap();
    let arguments =
        ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "raw", "made.vmdk"];
    qemu_img(folder.path(), &arguments);
    let file = std::fs::read(folder.path().join("made.vmdk")).unwrap();
    for at in (0..512).chain((512..file.len()).step_by(61)) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        for length in [file.len(), at] {
            if let Ok(mut disk) = open(damaged[..length].to_vec()) {
                let _ = disk.data_after(0);
                let mut first = vec![0; (2 * GRAIN).min(disk.size() as usize)];
                let _ = disk.read_at(0, &mut first);
            }
        }
    }
}
