//! The networking document's lab with an identity, and golden files, for this layer's tests.

use std::sync::OnceLock;

use crate::lab::Lab;
use crate::lab::catalogue::Arch;
use crate::lab::resolve::resolve;
use crate::stack::identity::Identity;

/// 2026-09-21.
pub const NOW: u64 = 1_790_000_000;

/// Returns the document's lab and an identity for it, which is made once.
pub fn document() -> (Lab, Identity) {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let lab = lab();
    let identity = IDENTITY.get_or_init(|| Identity::generate(&lab, NOW, &mut random(1)).unwrap());
    (lab, identity.clone())
}

/// Returns a generator that gives the same bytes for the same seed.
pub fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

pub fn lab() -> Lab {
    resolve(None, None, Arch::Arm64).expect("the document's lab has no error").lab
}

/// Compares with `tests/golden/stack/<name>`; with `FUSIONLAB_BLESS` set, writes it instead.
#[expect(clippy::disallowed_methods, reason = "tests keep golden files")]
pub fn assert_golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stack").join(name);
    if std::env::var_os("FUSIONLAB_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let changes = similar::TextDiff::from_lines(golden.as_str(), text);
    assert_eq!(golden, text, "{name} changed:\n{}", changes.unified_diff());
}
