//! OpenSSH's files for Ed25519 keys: the private key, the one-line public key and `known_hosts`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest, Sha256};

/// The algorithm's name in every OpenSSH file.
const ALGORITHM: &str = "ssh-ed25519";
/// What a private key's binary form begins with (OpenSSH PROTOCOL.key).
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The private section is padded to a multiple of this; an unencrypted key counts as a block cipher of 8 bytes.
const BLOCK: usize = 8;
/// Base64 characters in one line of the PEM form.
const PEM_COLUMNS: usize = 70;

/// An Ed25519 key pair with its comment.
#[derive(Clone)]
pub struct KeyPair {
    seed: [u8; 32],
    public: [u8; 32],
    comment: String,
}

impl KeyPair {
    /// Returns the key pair that this seed stands for; the same seed always gives the same files.
    pub fn from_seed(seed: [u8; 32], comment: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are an Ed25519 seed");
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Self { seed, public, comment: comment.to_owned() }
    }

    /// Returns the private key in OpenSSH's PEM form, unencrypted. The text is a secret.
    pub fn private_pem(&self) -> String {
        let mut blob = MAGIC.to_vec();
        for none in ["none", "none", ""] {
            put_string(&mut blob, none.as_bytes());
        }
        blob.extend(1_u32.to_be_bytes());
        put_string(&mut blob, &self.public_blob());
        put_string(&mut blob, &self.private_section());
        let encoded = STANDARD.encode(blob);
        let mut pem = "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned();
        for start in (0..encoded.len()).step_by(PEM_COLUMNS) {
            pem.push_str(&encoded[start..encoded.len().min(start + PEM_COLUMNS)]);
            pem.push('\n');
        }
        pem.push_str("-----END OPENSSH PRIVATE KEY-----\n");
        pem
    }

    /// Returns `ssh-ed25519 AAAA… comment`, without a newline.
    pub fn public_line(&self) -> String {
        let line = format!("{ALGORITHM} {} {}", STANDARD.encode(self.public_blob()), self.comment);
        line.trim_end().to_owned()
    }

    fn public_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put_string(&mut blob, ALGORITHM.as_bytes());
        put_string(&mut blob, &self.public);
        blob
    }

    fn private_section(&self) -> Vec<u8> {
        // Readers compare the two check numbers to see whether decryption worked; any number will do.
        let digest = Sha256::new().chain_update(b"openssh check number").chain_update(self.seed).finalize();
        let mut section = Vec::new();
        section.extend(&digest[..4]);
        section.extend(&digest[..4]);
        put_string(&mut section, ALGORITHM.as_bytes());
        put_string(&mut section, &self.public);
        put_string(&mut section, &[self.seed, self.public].concat());
        put_string(&mut section, self.comment.as_bytes());
        for byte in 1_u8.. {
            if section.len().is_multiple_of(BLOCK) {
                break;
            }
            section.push(byte);
        }
        section
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public_line())
    }
}

/// Returns the line of `known_hosts` that pins a host's key; the public line's comment is left out.
pub fn known_hosts_line(host: &str, public_line: &str) -> String {
    let key: Vec<&str> = public_line.split_whitespace().take(2).collect();
    format!("{host} {}", key.join(" "))
}

/// Appends an SSH string: its length, then its bytes (RFC 4251 §5).
fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("the parts of a key are short");
    to.extend(length.to_be_bytes());
    to.extend(bytes);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "asks ssh-keygen, if there is one")]

    use super::*;
    use crate::formats::test_tools;

    #[test]
    fn the_same_seed_gives_the_same_files() {
        let pair = KeyPair::from_seed([7; 32], "lab");
        assert_eq!(pair.private_pem(), KeyPair::from_seed([7; 32], "lab").private_pem());
        assert_ne!(pair.private_pem(), KeyPair::from_seed([8; 32], "lab").private_pem());
        assert!(pair.private_pem().lines().all(|line| line.len() <= PEM_COLUMNS));
        // Public key of RFC 8032 §7.1, test 1.
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let known = KeyPair::from_seed(seed.try_into().unwrap(), "");
        assert_eq!(
            hex::encode(known.public),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn a_key_pair_does_not_show_its_secret() {
        let pair = KeyPair::from_seed([7; 32], "lab");
        assert_eq!(format!("{pair:?}"), format!("KeyPair({})", pair.public_line()));
        assert!(pair.public_line().ends_with(" lab"));
    }

    #[test]
    fn a_known_host_is_its_name_and_key() {
        assert_eq!(
            known_hosts_line("10.10.0.131", "ssh-ed25519 AAAA root@x"),
            "10.10.0.131 ssh-ed25519 AAAA"
        );
    }

    #[cfg(feature = "sim")]
    #[test]
    fn russh_reads_the_private_key() {
        for length in 0..9 {
            let pair = KeyPair::from_seed([length; 32], &"c".repeat(usize::from(length)));
            let read = russh::keys::decode_secret_key(&pair.private_pem(), None).unwrap();
            assert_eq!(read.public_key().to_openssh().unwrap().trim_end(), pair.public_line());
        }
    }

    #[test]
    fn ssh_keygen_reads_the_private_key() {
        if !test_tools::present("ssh-keygen") {
            return;
        }
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let pair = KeyPair::from_seed([9; 32], "someone@somewhere");
        std::fs::write(&path, pair.private_pem()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let output =
            std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), pair.public_line());
    }
}
