//! Any bytes as a qcow2 image, or any changes to a good one: what is read is the same by windows and by places.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;
#[path = "shared/patched.rs"]
mod patched;
#[path = "shared/walk.rs"]
mod walk;

use libfuzzer_sys::fuzz_target;

/// Clusters of 512 bytes, so that little input says much: header, two tables, data, and compressed data.
const CLUSTER: usize = 512;
/// Clusters of the disk.
const DISK: usize = 64;

/// Returns a good image; `kind` says of which version and compression.
fn good(kind: u8) -> Vec<u8> {
    let content = b"compressed ".repeat(47);
    let zstd = kind & 1 == 1;
    let packed = if zstd {
        let mut packed = vec![0; CLUSTER];
        let length = zstd_safe::compress(&mut packed[..], &content[..CLUSTER], 1).expect("it shrinks");
        packed.truncate(length);
        packed
    } else {
        let mut packed = vec![0; CLUSTER];
        let level = libdeflater::CompressionLvl::default();
        let length = libdeflater::Compressor::new(level)
            .deflate_compress(&content[..CLUSTER], &mut packed)
            .expect("it shrinks");
        packed.truncate(length);
        packed
    };
    let mut file = vec![0; 6 * CLUSTER];
    let mut place = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    place(0, b"QFI\xfb");
    place(4, &if kind & 2 == 2 && !zstd { 2_u32 } else { 3 }.to_be_bytes());
    place(20, &9_u32.to_be_bytes());
    place(24, &((DISK * CLUSTER) as u64 - 100).to_be_bytes());
    place(36, &1_u32.to_be_bytes());
    place(40, &(CLUSTER as u64).to_be_bytes());
    place(79, &[u8::from(zstd) << 3]);
    place(100, &[0, 0, 0, 112, u8::from(zstd)]);
    place(CLUSTER, &((2 * CLUSTER) as u64 | 1 << 63).to_be_bytes());
    let entries = [
        (0, (3 * CLUSTER) as u64 | 1 << 63),
        (2, 1 << 62 | (4 * CLUSTER + 9) as u64),
        (63, 1 << 62 | (4 * CLUSTER + 9) as u64),
    ];
    for (index, entry) in entries {
        place(2 * CLUSTER + 8 * index, &entry.to_be_bytes());
    }
    place(3 * CLUSTER, &[7; CLUSTER]);
    place(4 * CLUSTER + 9, &packed);
    file
}

fuzz_target!(|data: &[u8]| {
    let file = patched::patched(data, good);
    if let Ok(header) = formats::qcow2::Header::read(&file) {
        let _ = header.obstacles();
    }
    let opened = walk::whole(&file);
    if data.len() == 2 && data[0] & 1 == 1 {
        assert!(opened, "the good image is read");
    }
});
