//! Any text as a leases file of Fusion's DHCP server: what is read can be written and read again.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::dhcp::{leases, newest_valid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = leases(text);
    for lease in &found {
        let again = leases(&lease.render());
        assert_eq!(again.len(), 1, "a written block is a block");
        assert_eq!((again[0].address, again[0].mac), (lease.address, lease.mac));
        assert_eq!((again[0].starts, again[0].ends), (lease.starts, lease.ends));
        if let Some(newest) = newest_valid(&found, lease.mac, lease.starts) {
            assert_eq!(newest.mac, lease.mac);
        }
    }
});
