//! Any bytes as a CD image, or any changes to a seed of ours: no file is more than the image.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;
#[path = "shared/patched.rs"]
mod patched;

use std::collections::BTreeMap;

use formats::seed_iso;
use libfuzzer_sys::fuzz_target;

/// Where the first directory begins; before it the descriptors' sectors.
const DESCRIPTORS: usize = 16 * 2048;

fn files() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("meta-data".to_owned(), b"instance-id: x\n".to_vec()),
        ("user-data".to_owned(), vec![b'#'; 3000]),
    ])
}

fuzz_target!(|data: &[u8]| {
    // The image's first 16 sectors mean nothing, so changes are to what follows.
    let good = |_| seed_iso::write("cidata", &files()).split_off(DESCRIPTORS);
    let image = [vec![0; DESCRIPTORS], patched::patched(data, good)].concat();
    if let Ok(label) = seed_iso::label(&image) {
        assert!(label.len() <= 32 * 3, "{label}");
    }
    let read = seed_iso::read(&image);
    if data.len() == 2 && data[0] & 1 == 1 {
        assert_eq!(read, Ok(files()));
    }
    if let Ok(read) = read {
        let sum: usize = read.values().map(Vec::len).sum();
        assert!(sum <= image.len(), "{sum} bytes in {}", image.len());
    }
});
