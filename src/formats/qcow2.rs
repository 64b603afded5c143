//! Reading qcow2 images, which is what cloud images are (facts/vm-images-cloudinit.md §2.4).

use std::io::{self, Read, Seek};
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use super::block::{BadDisk, BlockSource, RawDisk, check_range, length, read_exact_at};
use super::vmdk::{Kind, SparseDisk, StreamDisk, inspect};

const MAGIC: [u8; 4] = *b"QFI\xfb";
const VMDK_MAGIC: [u8; 4] = *b"KDMV";
/// The header's part that version 2 has, and the least that version 3 has.
const HEADER_2: usize = 72;
const HEADER_3: usize = 104;
/// Clusters of 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Bits 9 to 55 of a table entry: a place in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// In version 3: the cluster is zeros, whatever its place holds.
const ZERO: u64 = 1;
/// Compressed data is counted in sectors of this many bytes.
const SECTOR: u64 = 512;
/// Features that a reader must know. A dirty image's counters may be wrong, but its content is good.
const FEATURE_DIRTY: u64 = 1;
const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_EXTERNAL_DATA: u64 = 1 << 2;
const FEATURE_COMPRESSION: u64 = 1 << 3;
const FEATURE_EXTENDED_L2: u64 = 1 << 4;
/// A boot sector's last two bytes, which every disk with a partition table has.
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A qcow2 image.
pub struct Qcow2<F> {
    file: F,
    file_length: u64,
    size: u64,
    version: u32,
    cluster_bits: u32,
    /// Where the second-level tables are.
    level_1: Vec<u64>,
    /// The second-level table that was read last, with its index.
    level_2: Option<(u64, Vec<u64>)>,
    /// The compressed cluster that was read last, with its index.
    inflated: Option<(u64, Vec<u8>)>,
}

/// What a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cluster {
    Hole,
    At(u64),
    Compressed { offset: u64, length: u64 },
}

/// Opens a disk image by what it is, whatever its name: qcow2, VMDK (`streamOptimized`,
/// `monolithicSparse`) or a raw disk with a partition table.
///
/// # Errors
/// If it is none of these, damaged, or uses what we do not read.
pub fn open_image(mut file: impl Read + Seek + Send + 'static) -> Result<Box<dyn BlockSource>, BadDisk> {
    let mut sector = [0; SECTOR as usize];
    read_exact_at(&mut file, 0, &mut sector, "not even a sector")?;
    if sector.starts_with(&MAGIC) {
        return Ok(Box::new(Qcow2::open(file)?));
    }
    if sector.starts_with(&VMDK_MAGIC) {
        return Ok(match inspect(&mut file)?.kind {
            Kind::StreamOptimized => Box::new(StreamDisk::open(file)?),
            _ => Box::new(SparseDisk::open(file)?),
        });
    }
    if sector.ends_with(&BOOT_SIGNATURE) {
        return Ok(Box::new(RawDisk::open(file)?));
    }
    Err(BadDisk::NotADisk("neither qcow2, nor VMDK, nor a raw disk with a partition table"))
}

impl<F: Read + Seek> Qcow2<F> {
    /// Opens an image.
    ///
    /// # Errors
    /// If it is not a qcow2 image, damaged, or needs what we do not read: another file, encryption,
    /// zstd, extended tables, or anything newer.
    pub fn open(mut file: F) -> Result<Self, BadDisk> {
        let mut header = [0; HEADER_3 + 1];
        read_exact_at(&mut file, 0, &mut header[..HEADER_2], "the qcow2 header")?;
        if !header.starts_with(&MAGIC) {
            return Err(BadDisk::NotADisk("it is not qcow2"));
        }
        let u32_at =
            |header: &[u8], at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |header: &[u8], at: usize| {
            u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"))
        };
        let version = u32_at(&header, 4);
        match version {
            2 => {}
            3 => {
                read_exact_at(&mut file, 0, &mut header[..HEADER_3], "the qcow2 header")?;
                // The kind of compression follows in longer headers.
                if u32_at(&header, 100) as usize > HEADER_3 {
                    read_exact_at(&mut file, 0, &mut header, "the qcow2 header")?;
                }
                check_features(u64_at(&header, 72), header[HEADER_3])?;
            }
            other => return Err(BadDisk::Unsupported(format!("qcow2 version {other}"))),
        }
        if u64_at(&header, 8) != 0 {
            return Err(BadDisk::Unsupported("a backing file".to_owned()));
        }
        if u32_at(&header, 32) != 0 {
            return Err(BadDisk::Unsupported("encryption".to_owned()));
        }
        let cluster_bits = u32_at(&header, 20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(BadDisk::corrupt(format!("clusters of 2^{cluster_bits} bytes")));
        }
        let file_length = length(&mut file)?;
        let size = u64_at(&header, 24);
        if i64::try_from(size).is_err() {
            return Err(BadDisk::corrupt(format!("a disk of {size} bytes")));
        }
        // A second-level table is a cluster of 8-byte entries.
        let entries = size.div_ceil(1 << (2 * cluster_bits - 3));
        if u64::from(u32_at(&header, 36)) < entries {
            return Err(BadDisk::corrupt("its first table is smaller than the disk"));
        }
        let level_1 = read_table(&mut file, u64_at(&header, 40), entries, file_length)?;
        Ok(Self { file, file_length, size, version, cluster_bits, level_1, level_2: None, inflated: None })
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Returns the number of clusters that one second-level table describes.
    fn table_entries(&self) -> u64 {
        self.cluster_size() / 8
    }

    fn cluster(&mut self, index: u64) -> Result<Cluster, BadDisk> {
        let table = index / self.table_entries();
        let offset =
            usize::try_from(table).ok().and_then(|table| self.level_1.get(table)).copied().unwrap_or(0)
                & OFFSET;
        if offset == 0 {
            return Ok(Cluster::Hole);
        }
        if self.level_2.as_ref().is_none_or(|(loaded, _)| *loaded != table) {
            let entries = self.table_entries();
            let entries = read_table(&mut self.file, offset, entries, self.file_length)?;
            self.level_2 = Some((table, entries));
        }
        let (_, entries) = self.level_2.as_ref().expect("the table was just read");
        let entry = entries[(index % self.table_entries()) as usize];
        if entry & COMPRESSED != 0 {
            let offset_bits = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << offset_bits) - 1);
            let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
            return Ok(Cluster::Compressed { offset, length: sectors * SECTOR - offset % SECTOR });
        }
        if entry & OFFSET == 0 || (self.version >= 3 && entry & ZERO != 0) {
            return Ok(Cluster::Hole);
        }
        match entry & OFFSET {
            offset if offset.is_multiple_of(self.cluster_size()) => Ok(Cluster::At(offset)),
            _ => Err(BadDisk::corrupt(format!("the place of cluster {index}"))),
        }
    }

    /// Decompresses a cluster into the cache: raw deflate, of which only the first cluster's worth counts.
    fn inflate(&mut self, index: u64, offset: u64, length: u64) -> Result<(), BadDisk> {
        if self.inflated.as_ref().is_some_and(|(cached, _)| *cached == index) {
            return Ok(());
        }
        // The last sector may be cut by the file's end.
        let length = length.min(self.file_length.saturating_sub(offset));
        let mut compressed = vec![0; length as usize];
        read_exact_at(&mut self.file, offset, &mut compressed, "a compressed cluster")?;
        let mut content = vec![0; self.cluster_size() as usize];
        let mut inflater = Decompress::new(false);
        loop {
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let result = inflater.decompress(
                &compressed[read as usize..],
                &mut content[written as usize..],
                FlushDecompress::Finish,
            );
            let full = inflater.total_out() == self.cluster_size();
            let stuck = inflater.total_in() == read && inflater.total_out() == written;
            match result {
                Ok(_) if full => break,
                Ok(Status::Ok | Status::BufError) if !stuck => {}
                _ => return Err(BadDisk::corrupt(format!("the compressed data of cluster {index}"))),
            }
        }
        self.inflated = Some((index, content));
        Ok(())
    }

    fn read_cluster(&mut self, index: u64, within: u64, buffer: &mut [u8]) -> Result<(), BadDisk> {
        match self.cluster(index)? {
            Cluster::Hole => buffer.fill(0),
            Cluster::At(offset) => read_exact_at(&mut self.file, offset + within, buffer, "a cluster")?,
            Cluster::Compressed { offset, length } => {
                self.inflate(index, offset, length)?;
                let (_, content) = self.inflated.as_ref().expect("the cluster was just decompressed");
                buffer.copy_from_slice(&content[within as usize..][..buffer.len()]);
            }
        }
        Ok(())
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, BadDisk> {
        let (size, cluster_size, entries) = (self.size, self.cluster_size(), self.table_entries());
        let mut index = offset / cluster_size;
        while index * cluster_size < size {
            if self.level_1.get((index / entries) as usize).is_none_or(|entry| entry & OFFSET == 0) {
                index = (index / entries + 1) * entries;
            } else if self.cluster(index)? == Cluster::Hole {
                index += 1;
            } else {
                return Ok(Some((index * cluster_size).max(offset)..((index + 1) * cluster_size).min(size)));
            }
        }
        Ok(None)
    }
}

impl<F: Read + Seek + Send> BlockSource for Qcow2<F> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.size)?;
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let within = at % self.cluster_size();
            let part = (buffer.len() - done).min((self.cluster_size() - within) as usize);
            self.read_cluster(at / self.cluster_size(), within, &mut buffer[done..done + part])?;
            done += part;
        }
        Ok(())
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(self.next_data(offset)?)
    }
}

fn check_features(features: u64, compression: u8) -> Result<(), BadDisk> {
    let unsupported = |what: &str| Err(BadDisk::Unsupported(what.to_owned()));
    if features & FEATURE_CORRUPT != 0 {
        return Err(BadDisk::corrupt("it is marked as such"));
    }
    if features & FEATURE_EXTERNAL_DATA != 0 {
        return unsupported("an external data file");
    }
    if features & FEATURE_COMPRESSION != 0 && compression != 0 {
        return unsupported(if compression == 1 { "zstd compression" } else { "an unknown compression" });
    }
    if features & FEATURE_EXTENDED_L2 != 0 {
        return unsupported("extended tables (subclusters)");
    }
    match features & !(FEATURE_DIRTY | FEATURE_COMPRESSION) {
        0 => Ok(()),
        unknown => unsupported(&format!("unknown features ({unknown:#x})")),
    }
}

/// Reads a table of big-endian entries; its size is checked against the file before memory is taken.
fn read_table(
    file: &mut (impl Read + Seek),
    offset: u64,
    entries: u64,
    file_length: u64,
) -> Result<Vec<u64>, BadDisk> {
    let end = entries.checked_mul(8).and_then(|bytes| bytes.checked_add(offset));
    if end.is_none_or(|end| end > file_length) {
        return Err(BadDisk::Truncated("a table"));
    }
    let mut bytes = vec![0; (entries * 8) as usize];
    read_exact_at(file, offset, &mut bytes, "a table")?;
    Ok(bytes
        .chunks_exact(8)
        .map(|entry| u64::from_be_bytes(entry.try_into().expect("eight bytes")))
        .collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "asks qemu-img to make images")]

    use std::io::{Cursor, Write};
    use std::path::Path;
    use std::process::Command;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::formats::test_tools;

    const CLUSTER: usize = 65_536;

    /// A version 3 image of five clusters: data, hole, compressed, zero, and half of one with data.
    fn image() -> (Vec<u8>, Vec<u8>) {
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
            3 * CLUSTER as u64 | 1 << 63,
            0,
            COMPRESSED | (sectors - 1) << 54 | at as u64,
            3 * CLUSTER as u64 | ZERO,
            4 * CLUSTER as u64 | 1 << 63,
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

    fn all(source: &mut dyn BlockSource) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; source.size() as usize];
        source.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn every_kind_of_cluster_is_read() {
        let (file, disk) = image();
        let mut image = open_image(Cursor::new(file)).unwrap();
        assert_eq!(image.size(), disk.len() as u64);
        assert!(all(image.as_mut()).unwrap() == disk);
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
    fn what_we_do_not_read_is_said_so() {
        let refused = |at: usize, bytes: &[u8]| {
            let (mut file, _) = image();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            Qcow2::open(Cursor::new(file)).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(
            refused(4, &4_u32.to_be_bytes()),
            "the image uses qcow2 version 4, which is not supported"
        );
        assert_eq!(refused(8, &9_u64.to_be_bytes()), "the image uses a backing file, which is not supported");
        assert_eq!(refused(32, &2_u32.to_be_bytes()), "the image uses encryption, which is not supported");
        assert_eq!(refused(79, &[2]), "the image is corrupt: it is marked as such");
        assert_eq!(refused(79, &[4]), "the image uses an external data file, which is not supported");
        assert!(refused(79, &[16]).contains("extended tables"));
        assert!(refused(78, &[1]).contains("unknown features (0x100)"));
        assert_eq!(refused(79, &[1]), "", "a dirty image can be read");
        assert_eq!(refused(20, &[0, 0, 0, 40]), "the image is corrupt: clusters of 2^40 bytes");
        assert!(refused(24, &[0x7f; 8]).contains("smaller than the disk"));
        assert_eq!(refused(40, &[0x7f; 8]), "the image ends too early: a table");
        let huge = [&[0x7f; 8][..], &[0; 4], &[0xff; 4]].concat();
        assert!(refused(24, &huge).contains("the image"), "no memory is taken on the header's word");
        let (mut zstd, _) = image();
        zstd[79] = 8;
        zstd[100..105].copy_from_slice(&[0, 0, 0, 112, 1]);
        assert!(Qcow2::open(Cursor::new(zstd)).err().unwrap().to_string().contains("zstd compression"));
    }

    #[test]
    fn damage_is_found_where_it_is_read() {
        let (file, _) = image();
        let mut cut = open_image(Cursor::new(file[..4 * CLUSTER].to_vec())).unwrap();
        assert_eq!(
            all(cut.as_mut()).unwrap_err().to_string(),
            "the image is corrupt: the compressed data of cluster 2"
        );
        let mut damaged = file.clone();
        damaged[4 * CLUSTER + CLUSTER / 2 + 100] ^= 0xff;
        let mut damaged = open_image(Cursor::new(damaged)).unwrap();
        assert_eq!(all(damaged.as_mut()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_image_is_known_by_its_content() {
        let mut raw = vec![0; 4096];
        raw[510..512].copy_from_slice(&BOOT_SIGNATURE);
        assert_eq!(open_image(Cursor::new(raw)).unwrap().size(), 4096);
        let page = b"<html>404 Not Found</html>".repeat(100);
        assert!(matches!(open_image(Cursor::new(page)), Err(BadDisk::NotADisk(_))));
        assert!(matches!(open_image(Cursor::new(Vec::new())), Err(BadDisk::Truncated(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn damage_never_panics(at in prop_oneof![0_usize..110, CLUSTER..CLUSTER + 8, 2 * CLUSTER..2 * CLUSTER + 40], byte in any::<u8>(), cut in 0_usize..400_000) {
            let (mut file, _) = image();
            file[at] = byte;
            file.truncate(cut);
            if let Ok(mut image) = Qcow2::open(Cursor::new(file)) {
                let _ = image.data_after(0);
                let _ = image.read_at(0, &mut [0; CLUSTER]);
                let _ = image.read_at(2 * CLUSTER as u64, &mut [0; CLUSTER]);
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
        let kinds: [&[&str]; 5] = [
            &[],
            &["-c"],
            &["-c", "-o", "compat=0.10"],
            &["-c", "-o", "cluster_size=4096"],
            &["-o", "cluster_size=2M,preallocation=metadata"],
        ];
        for options in kinds {
            let mut image = open_image(Cursor::new(made(options))).unwrap();
            assert!(all(image.as_mut()).unwrap() == raw, "{options:?}");
        }
        let zstd = open_image(Cursor::new(made(&["-c", "-o", "compression_type=zstd"]))).err().unwrap();
        assert_eq!(zstd.to_string(), "the image uses zstd compression, which is not supported");
        let extended =
            open_image(Cursor::new(made(&["-o", "extended_l2=on,cluster_size=128k"]))).err().unwrap();
        assert!(extended.to_string().contains("extended tables"));
    }
}
