//! Any text as a dhcpd.conf: fixed addresses and subnets are looked for, and none is invented.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::dhcp::{hosts, subnets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for host in hosts(text) {
        assert!(text.contains(&host.address.to_string()), "an address stands in the text");
    }
    let _ = subnets(text);
});
