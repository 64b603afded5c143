//! Any bytes as a signature, and as a keyring: nothing that is not Ubuntu's own signature is believed.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::openpgp::verify;
use libfuzzer_sys::fuzz_target;

const LIST: &[u8] = include_bytes!("../../tests/data/ubuntu/SHA256SUMS");
const SIGNATURE: &[u8] = include_bytes!("../../tests/data/ubuntu/SHA256SUMS.gpg");
const KEYRING: &[u8] = include_bytes!("../../vm-templates/keys/ubuntu-cloudimage-keyring.gpg");
const KEY: &str = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81";

fuzz_target!(|bytes: &[u8]| {
    // Another text than the one that was signed: whatever the signature, it cannot be good.
    assert!(verify(b"another text", bytes, KEYRING, KEY).is_err());
    let _ = verify(LIST, SIGNATURE, bytes, KEY);
});
