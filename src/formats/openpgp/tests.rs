#![expect(clippy::disallowed_methods, reason = "runs gpg, and writes what it reads")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::formats::test_tools;

/// What Canonical published on 2026-07-25 for Ubuntu 24.04, and the key that signs it.
const LIST: &[u8] = include_bytes!("../../../tests/data/ubuntu/SHA256SUMS");
const LIST_SIGNATURE: &[u8] = include_bytes!("../../../tests/data/ubuntu/SHA256SUMS.gpg");
const UBUNTU: &[u8] = include_bytes!("../../../vm-templates/keys/ubuntu-cloudimage-keyring.gpg");
const UBUNTU_KEY: &str = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81";

#[test]
fn a_list_that_ubuntu_signed_is_good_and_any_other_is_not() {
    assert_eq!(verify(LIST, LIST_SIGNATURE, UBUNTU, UBUNTU_KEY), Ok(Good { made: 1_785_018_847 }));
    assert!(verify(LIST, LIST_SIGNATURE, UBUNTU, &UBUNTU_KEY.to_lowercase()).is_ok());
    let mut tampered = LIST.to_vec();
    tampered[0] ^= 1;
    assert_eq!(
        verify(&tampered, LIST_SIGNATURE, UBUNTU, UBUNTU_KEY),
        Err(Refused::Wrong(UBUNTU_KEY.to_owned()))
    );
    // The other key of that keyring is a real one of Canonical's, but not the one that was asked for.
    let other = "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100";
    let found = vec![UBUNTU_KEY.to_owned()];
    assert_eq!(
        verify(LIST, LIST_SIGNATURE, UBUNTU, other),
        Err(Refused::OtherKey { wanted: other.to_owned(), found })
    );
    assert!(matches!(verify(LIST, LIST_SIGNATURE, UBUNTU, "ABCD"), Err(Refused::NoKey(_))));
}

#[test]
fn armor_that_is_damaged_is_refused() {
    let text = std::str::from_utf8(LIST_SIGNATURE).unwrap();
    let verify = |text: String| verify(LIST, text.as_bytes(), UBUNTU, UBUNTU_KEY);
    assert!(verify(text.replace("\n\n", "\nVersion: GnuPG v2\n\n").replace('\n', "\r\n")).is_ok());
    for (damage, why) in [
        (text.replace("=PCHg", "=AAAA"), "its checksum does not match"),
        (text.replace("-----END", "----END"), "it does not end with a line END PGP SIGNATURE"),
        (format!("{text}{text}"), "it does not end with a line END PGP SIGNATURE"),
        (text.replace("\n\n", "\n"), "no empty line after the headers"),
        (text.replace("iQIz", "!!!!"), "its text is not base64"),
        (text.replace(" SIGNATURE", " MESSAGE"), "it does not begin with a line BEGIN PGP SIGNATURE"),
        (String::new(), "it does not begin with a line BEGIN PGP SIGNATURE"),
    ] {
        assert_eq!(verify(damage), Err(Refused::Malformed(why)));
    }
}

/// Gives each byte of Ubuntu's signature, or a part of it, another value.
fn changed(at: usize, value: u8) -> Vec<u8> {
    let mut binary = armor::read(LIST_SIGNATURE).unwrap();
    let at = at % binary.len();
    binary[at] = value;
    binary
}

proptest! {
    #[test]
    fn a_signature_with_one_other_byte_is_never_good(at in 0..600_usize, value: u8) {
        let signature = changed(at, value);
        let same = signature == armor::read(LIST_SIGNATURE).unwrap();
        let left = signature[..at % signature.len()].to_vec();
        // Who made it stands in two places, and the quick look at the digest is not taken: those bytes change nothing.
        let result = verify(LIST, &signature, UBUNTU, UBUNTU_KEY);
        prop_assert!(same || result.is_err() || UNSIGNED.contains(&(at % signature.len())), "{at}: {result:?}");
        prop_assert!(verify(LIST, &left, UBUNTU, UBUNTU_KEY).is_err());
    }

    #[test]
    fn no_bytes_are_too_odd(signature in any::<Vec<u8>>(), keyring in any::<Vec<u8>>()) {
        prop_assert!(verify(LIST, &signature, UBUNTU, UBUNTU_KEY).is_err());
        prop_assert!(verify(LIST, LIST_SIGNATURE, &keyring, UBUNTU_KEY).is_err());
    }
}

/// The bytes of Ubuntu's signature that are not signed: the area of unhashed subpackets, with the issuer's id, and two
/// bytes of the digest.
const UNSIGNED: std::ops::Range<usize> = 38..52;

/// A folder of gpg's, with keys of its own.
struct Gpg(TempDir);

impl Gpg {
    /// None if there is no gpg.
    fn start() -> Option<Self> {
        test_tools::present("gpg").then(|| {
            // Its agent's socket wants a short path.
            let folder = tempfile::Builder::new().prefix("gpg-").tempdir_in("/tmp").unwrap();
            Self(folder)
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.0.path()).args(["--batch", "--yes", "--quiet", "--passphrase", ""]);
        command.args(["--pinentry-mode", "loopback"]).args(arguments).current_dir(self.0.path());
        command.output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key and returns its fingerprint.
    fn key(&self, name: &str, kind: &str, faked_time: &str, expires: &str) -> String {
        self.done(&["--faked-system-time", faked_time, "--quick-generate-key", name, kind, "sign", expires]);
        let listed = String::from_utf8(self.done(&["--with-colons", "--list-keys", name])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn keyring(&self) -> Vec<u8> {
        self.done(&["--export"])
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Signs the file `text` and returns the signature.
    fn sign(&self, key: &str, options: &[&str]) -> Vec<u8> {
        let mut arguments = vec!["--local-user", key, "--output", "signature"];
        arguments.extend(options);
        arguments.push("text");
        self.done(&arguments);
        fs::read(self.path("signature")).unwrap()
    }

    /// Says whether gpg itself finds a signature good.
    fn agrees(&self, signature: &[u8]) -> bool {
        fs::write(self.path("asked"), signature).unwrap();
        self.run(&["--verify", "asked", "text"]).status.success()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let folder: &Path = self.0.path();
        let _ = Command::new("gpgconf").arg("--homedir").arg(folder).args(["--kill", "all"]).output();
    }
}

const NOW: &str = "20260701T000000";

#[test]
fn gpg_and_we_agree_on_its_signatures() {
    let Some(gpg) = Gpg::start() else { return };
    let (text, other) = (b"abc *image\n".as_slice(), b"abd *image\n".as_slice());
    fs::write(gpg.path("text"), text).unwrap();
    let key = gpg.key("signer", "rsa2048", NOW, "never");
    let stranger = gpg.key("stranger", "rsa3072", NOW, "never");
    let keyring = gpg.keyring();
    for hash in ["SHA256", "SHA512"] {
        for armor in ["--armor", "--no-armor"] {
            let signature = gpg.sign(&key, &["--digest-algo", hash, armor, "--detach-sign"]);
            assert!(gpg.agrees(&signature));
            assert!(verify(text, &signature, &keyring, &key).is_ok(), "{hash} {armor}");
            assert_eq!(verify(other, &signature, &keyring, &key), Err(Refused::Wrong(key.clone())));
            let found = vec![key.clone()];
            let wanted = stranger.clone();
            assert_eq!(
                verify(text, &signature, &keyring, &stranger),
                Err(Refused::OtherKey { wanted, found })
            );
        }
    }
    // As while one key follows another.
    let both = gpg.sign(&key, &["--local-user", &stranger, "--detach-sign"]);
    assert!(gpg.agrees(&both));
    assert!(verify(text, &both, &keyring, &key).is_ok() && verify(text, &both, &keyring, &stranger).is_ok());
}

#[test]
fn what_is_not_needed_is_refused_though_gpg_takes_it() {
    let Some(gpg) = Gpg::start() else { return };
    fs::write(gpg.path("text"), "abc\n").unwrap();
    let key = gpg.key("signer", "rsa2048", NOW, "never");
    let modern = gpg.key("modern", "ed25519", NOW, "never");
    let keyring = gpg.keyring();
    let refused = |key: &str, options: &[&str]| {
        let signature = gpg.sign(key, options);
        verify(b"abc\n", &signature, &keyring, key).unwrap_err().to_string()
    };
    let says = |options: &[&str], words: &str| {
        let text = refused(&key, options);
        assert!(text.contains(words), "{options:?}: {text}");
    };
    says(&["--digest-algo", "SHA1", "--detach-sign"], "the digest algorithm 2");
    says(&["--digest-algo", "SHA384", "--detach-sign"], "the digest algorithm 9");
    says(&["--textmode", "--detach-sign"], "a signature of type 0x01");
    says(&["--default-sig-expire", "10y", "--detach-sign"], "a signature that expires");
    says(&["--sig-notation", "!a@example.org=b", "--detach-sign"], "a critical subpacket of kind 20");
    says(&["--sign"], "a packet without a length");
    assert!(refused(&modern, &["--detach-sign"]).contains("has no RSA key"));
}

#[test]
fn a_pinned_key_does_not_expire() {
    let Some(gpg) = Gpg::start() else { return };
    fs::write(gpg.path("text"), "abc\n").unwrap();
    let key = gpg.key("signer", "rsa2048", "20200101T000000", "1y");
    let signature = gpg.sign(&key, &["--faked-system-time", "20200601T000000", "--detach-sign"]);
    assert!(verify(b"abc\n", &signature, &gpg.keyring(), &key).is_ok());
}
