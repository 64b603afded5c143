//! Any text as a VMDK's descriptor: what is read of it can be written and read again.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::vmdk::{self, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // Half of what is tried would fail at the first line.
    for file in [text.to_vec(), [b"# Disk DescriptorFile\n", text].concat()] {
        let Ok(info) = vmdk::inspect(&file) else { continue };
        let obstacles = info.obstacles();
        assert!(i64::try_from(info.capacity).is_ok(), "a disk of {} bytes", info.capacity);
        let (Kind::MonolithicFlat, [extent], []) = (&info.kind, &info.extents[..], &obstacles[..]) else {
            continue;
        };
        let written = vmdk::flat_descriptor(info.capacity, &extent.file, info.cid);
        let again = vmdk::inspect(&written.into_bytes()).expect("what we write is a descriptor");
        assert_eq!((again.capacity, again.cid, &again.kind), (info.capacity, info.cid, &Kind::MonolithicFlat));
        assert_eq!((&again.extents[0].file, again.extents[0].sectors), (&extent.file, extent.sectors));
        assert!(again.obstacles().is_empty());
    }
});
