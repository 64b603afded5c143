//! Images made by hand, damaged ones, and those that qemu-img makes.
#![expect(clippy::disallowed_methods, reason = "asks qemu-img to make images")]

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;
use crate::formats::block::{BadDisk, BlockSource};
use crate::formats::image::{self, Image, Opened};
use crate::formats::test_tools;
use crate::formats::unpack::Unpacker;
use crate::formats::vmdk::write_sparse;

const CLUSTER: usize = 65_536;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A version 3 image of five clusters: data, hole, compressed, zero, and half of one with data.
pub(in crate::formats) fn image() -> (Vec<u8>, Vec<u8>) {
    let mut disk = vec![0; 4 * CLUSTER + CLUSTER / 2];
    disk[..CLUSTER].fill(1);
    for (at, byte) in disk[2 * CLUSTER..3 * CLUSTER].iter_mut().enumerate() {
        *byte = (at / 7) as u8;
    }
    disk[4 * CLUSTER..].fill(4);
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(&disk[2 * CLUSTER..3 * CLUSTER]).unwrap();
    let compressed = deflate.finish().unwrap();
    let mut file = vec![0; 5 * CLUSTER];
    let mut place = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    place(0, &MAGIC);
    place(4, &3_u32.to_be_bytes());
    place(20, &16_u32.to_be_bytes());
    place(24, &(disk.len() as u64).to_be_bytes());
    place(36, &1_u32.to_be_bytes());
    place(40, &(CLUSTER as u64).to_be_bytes());
    place(100, &104_u32.to_be_bytes());
    place(CLUSTER, &((2 * CLUSTER) as u64 | 1 << 63).to_be_bytes());
    // The compressed data begins in the middle of a sector, after the last cluster's half.
    let at = 4 * CLUSTER + CLUSTER / 2 + 100;
    let sectors = (100 + compressed.len()).div_ceil(512) as u64;
    let entries = [
        (3 * CLUSTER as u64) | (1 << 63),
        0,
        COMPRESSED | (sectors - 1) << 54 | at as u64,
        (3 * CLUSTER as u64) | ZERO,
        (4 * CLUSTER as u64) | (1 << 63),
    ];
    for (number, entry) in entries.into_iter().enumerate() {
        place(2 * CLUSTER + 8 * number, &entry.to_be_bytes());
    }
    place(3 * CLUSTER, &disk[..CLUSTER]);
    place(4 * CLUSTER, &disk[4 * CLUSTER..]);
    place(at, &compressed);
    file.truncate(at + compressed.len());
    (file, disk)
}

fn open(file: Vec<u8>) -> Result<Image, BadDisk> {
    match image::open(Arc::new(file))? {
        Opened::Image(image) => Ok(image),
        Opened::Flat(_) => panic!("it is no descriptor"),
    }
}

fn refusal(file: Vec<u8>) -> String {
    open(file).err().map(|bad| bad.to_string()).unwrap_or_default()
}

/// Returns the disk as a conversion reads it: window by window.
fn through_windows(image: Image) -> Result<Vec<u8>, BadDisk> {
    let (mut windows, file) = image.windows();
    let size = windows.window_size();
    let mut disk = vec![0; (windows.disk_size() as usize).next_multiple_of(size)];
    let mut unpacker = Unpacker::default();
    while let Some(window) = windows.next_window()? {
        let start = window.start as usize;
        window.fill(&*file, &mut unpacker, &mut disk[start..start + size])?;
    }
    assert!(disk[windows.disk_size() as usize..].iter().all(|byte| *byte == 0), "nothing behind the end");
    disk.truncate(windows.disk_size() as usize);
    Ok(disk)
}

fn all(source: &mut dyn BlockSource) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; source.size() as usize];
    source.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn every_kind_of_cluster_is_read() {
    let (file, disk) = image();
    let mut image = open(file).unwrap();
    assert_eq!(image.size(), disk.len() as u64);
    assert!(all(&mut image).unwrap() == disk);
    assert!(through_windows(open(self::image().0).unwrap()).unwrap() == disk);
    assert_eq!(image.data_bytes().unwrap(), (2 * CLUSTER + CLUSTER / 2) as u64);
    let mut middle = vec![0; 2 * CLUSTER];
    image.read_at(CLUSTER as u64 + 5, &mut middle).unwrap();
    assert!(middle == disk[CLUSTER + 5..3 * CLUSTER + 5]);
    let ranges = [0, 5, CLUSTER, 3 * CLUSTER].map(|at| image.data_after(at as u64).unwrap());
    let range = |start: usize, end: usize| Some(start as u64..end as u64);
    let expected = [
        range(0, CLUSTER),
        range(5, CLUSTER),
        range(2 * CLUSTER, 3 * CLUSTER),
        range(4 * CLUSTER, disk.len()),
    ];
    assert_eq!(ranges, expected);
    assert!(image.read_at(disk.len() as u64, &mut [0]).is_err());
}

#[test]
fn what_the_last_cluster_holds_behind_the_disks_end_is_not_the_disks() {
    let (mut file, disk) = image();
    // The compressed cluster, now the last one, and cut in its middle.
    let size = 2 * CLUSTER + 1000;
    file[24..32].copy_from_slice(&(size as u64).to_be_bytes());
    assert!(through_windows(open(file).unwrap()).unwrap() == disk[..size]);
}

#[test]
fn what_we_do_not_read_is_said_so() {
    let refused = |at: usize, bytes: &[u8]| {
        let (mut file, _) = image();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refusal(file)
    };
    assert_eq!(refused(4, &4_u32.to_be_bytes()), "the image uses qcow2 version 4, which is not supported");
    let backed = [&9_u64.to_be_bytes()[..], &3_u32.to_be_bytes()].concat();
    assert!(refused(8, &backed).starts_with("the image holds only what differs from its backing file"));
    assert_eq!(refused(32, &2_u32.to_be_bytes()), "the image is encrypted");
    assert_eq!(refused(79, &[2]), "the image is corrupt: it is marked as such");
    assert_eq!(refused(79, &[4]), "the image keeps its data in another file");
    assert!(refused(79, &[16]).contains("extended tables"));
    assert!(refused(78, &[1]).contains("unknown features (0x100)"));
    assert_eq!(refused(79, &[1]), "", "a dirty image can be read");
    assert_eq!(refused(20, &[0, 0, 0, 40]), "the image is corrupt: clusters of 2^40 bytes");
    assert!(refused(24, &[0x7f; 8]).contains("a disk of"));
    assert!(refused(24, &[0, 0, 1, 0, 0, 0, 0, 0]).contains("smaller than the disk"));
    assert_eq!(refused(40, &[0x7f; 8]), "the image ends too early: its first table");
    let huge = [&[0x7f; 8][..], &[0; 4], &[0xff; 4]].concat();
    assert!(refused(24, &huge).contains("the image"), "no memory is taken on the header's word");
    let (mut zstd, _) = image();
    zstd[79] = 8;
    zstd[100..105].copy_from_slice(&[0, 0, 0, 112, 1]);
    assert_eq!(refusal(zstd.clone()), "");
    zstd[104] = 2;
    assert!(refusal(zstd).contains("the unknown compression 2"));
}

#[test]
fn damage_is_found_where_it_is_read() {
    let (file, _) = image();
    let mut cut = open(file[..4 * CLUSTER].to_vec()).unwrap();
    assert_eq!(all(&mut cut).unwrap_err().to_string(), "the image ends too early: a compressed cluster");
    let mut damaged = file.clone();
    damaged[4 * CLUSTER + CLUSTER / 2 + 100] ^= 0xff;
    let mut damaged = open(damaged).unwrap();
    assert_eq!(all(&mut damaged).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_image_is_known_by_its_content() {
    let mut raw = vec![0; 4096];
    raw[510..512].copy_from_slice(&BOOT_SIGNATURE);
    assert_eq!(open(raw).unwrap().size(), 4096);
    let page = b"<html>404 Not Found</html>".repeat(100);
    assert!(matches!(open(page), Err(BadDisk::NotADisk("it is a web page"))));
    assert!(matches!(open(Vec::new()), Err(BadDisk::Truncated(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damage_never_panics(at in prop_oneof![0_usize..110, CLUSTER..CLUSTER + 8, 2 * CLUSTER..2 * CLUSTER + 40], byte in any::<u8>(), cut in 0_usize..400_000) {
        let (mut file, _) = image();
        file[at] = byte;
        file.truncate(cut);
        if let Ok(mut image) = open(file) {
            let _ = image.data_after(0);
            let _ = image.read_at(0, &mut [0; CLUSTER]);
            let _ = image.read_at(2 * CLUSTER as u64, &mut [0; CLUSTER]);
            if image.size() < 1 << 24 {
                let _ = through_windows(image);
            }
        }
    }
}

fn qemu_img(folder: &Path, arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_qemu_makes_is_read() {
    if !test_tools::present("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut raw = vec![0; 40 << 20];
    for (at, byte) in raw[(9 << 20)..(12 << 20)].iter_mut().enumerate() {
        *byte = (at * at / 99) as u8;
    }
    raw[510..512].copy_from_slice(&BOOT_SIGNATURE);
    std::fs::write(folder.path().join("raw"), &raw).unwrap();
    let made = |options: &[&str]| {
        qemu_img(
            folder.path(),
            &[&["convert", "-f", "raw", "-O", "qcow2"], options, &["raw", "made"]].concat(),
        );
        std::fs::read(folder.path().join("made")).unwrap()
    };
    let kinds: [&[&str]; 8] = [
        &[],
        &["-c"],
        &["-c", "-o", "compat=0.10"],
        &["-c", "-o", "cluster_size=4096"],
        &["-c", "-o", "cluster_size=512"],
        &["-c", "-o", "compression_type=zstd"],
        &["-c", "-o", "cluster_size=2M,compression_type=zstd"],
        &["-o", "cluster_size=2M,preallocation=metadata"],
    ];
    for options in kinds {
        let file = made(options);
        assert!(all(&mut open(file.clone()).unwrap()).unwrap() == raw, "{options:?}");
        assert!(through_windows(open(file).unwrap()).unwrap() == raw, "{options:?}");
    }
    let mut image = open(made(&["-c"])).unwrap();
    let disk = write_sparse(&mut image, 64 << 20, Vec::new(), "disk.vmdk", 1).unwrap();
    std::fs::write(folder.path().join("disk.vmdk"), disk).unwrap();
    qemu_img(folder.path(), &["compare", "-f", "raw", "-F", "vmdk", "raw", "disk.vmdk"]);
    assert!(refusal(made(&["-o", "extended_l2=on,cluster_size=128k"])).contains("extended tables"));
}
