//! Signs as `gpg --clearsign` does, with an Ed25519 key (RFC 9580 §5.2, §5.5, §7): what apt wants of a repository.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA512};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

const VERSION: u8 = 4;
/// EdDSA as keys of version 4 have it.
const EDDSA: u8 = 22;
const SHA512_ID: u8 = 10;
/// The curve's name: 1.3.6.1.4.1.11591.15.1.
const ED25519: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// Begins a point that is given as it is.
const NATIVE: u8 = 0x40;
/// Kinds of packets.
const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;
const USER_ID: u8 = 13;
/// Kinds of signatures.
const OF_TEXT: u8 = 0x01;
const OF_USER_ID: u8 = 0x13;
/// Kinds of subpackets.
const MADE: u8 = 2;
const ISSUER_ID: u8 = 16;
const KEY_FLAGS: u8 = 27;
const ISSUER_FINGERPRINT: u8 = 33;
/// It may certify and sign.
const CERTIFIES_AND_SIGNS: u8 = 0x03;
const ARMOR_WIDTH: usize = 64;
const SEED_LENGTH: usize = 32;

/// A key that signs.
pub struct SigningKey {
    name: String,
    seed: [u8; SEED_LENGTH],
    pair: Ed25519KeyPair,
    /// Seconds since 1970.
    made: u64,
}

impl SigningKey {
    pub fn generate(name: &str, made: u64) -> io::Result<Self> {
        let mut seed = [0; SEED_LENGTH];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| io::Error::other("this computer has no random numbers"))?;
        Self::new(name, seed, made)
    }

    fn new(name: &str, seed: [u8; SEED_LENGTH], made: u64) -> io::Result<Self> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|why| io::Error::other(why.to_string()))?;
        Ok(Self { name: name.to_owned(), seed, pair, made })
    }

    /// Returns the secret as it is kept: when it was made, and the seed.
    pub fn to_text(&self) -> String {
        format!("{} {}\n", self.made, hex::encode(self.seed))
    }

    pub fn from_text(name: &str, text: &str) -> io::Result<Self> {
        let read = || {
            let (made, seed) = text.trim().split_once(' ')?;
            Some((made.parse().ok()?, hex::decode(seed).ok()?.try_into().ok()?))
        };
        let (made, seed) = read()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the repositories' key is damaged"))?;
        Self::new(name, seed, made)
    }

    /// Returns the public key with its name, as a keyring holds it.
    pub fn public(&self) -> Vec<u8> {
        let mut certified = self.hashed_key();
        certified.push(0xb4);
        certified.extend(number(self.name.len()));
        certified.extend(self.name.as_bytes());
        let flags = subpacket(KEY_FLAGS, &[CERTIFIES_AND_SIGNS]);
        let signature = self.sign(OF_USER_ID, &certified, self.made, &flags);
        [
            packet(PUBLIC_KEY, &self.body()),
            packet(USER_ID, self.name.as_bytes()),
            packet(SIGNATURE, &signature),
        ]
        .concat()
    }

    /// Returns the public key as text.
    pub fn public_armored(&self) -> String {
        armor("PUBLIC KEY BLOCK", &self.public())
    }

    /// Returns the text with its signature below, as an InRelease file is.
    pub fn clear_sign(&self, text: &str, made: u64) -> String {
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        let escaped: String = lines
            .iter()
            .map(|line| if line.starts_with('-') { format!("- {line}\n") } else { format!("{line}\n") })
            .collect();
        // What is signed ends lines as the network does, and the last one not at all.
        let signature = self.sign(OF_TEXT, lines.join("\r\n").as_bytes(), made, &[]);
        let signature = armor("SIGNATURE", &packet(SIGNATURE, &signature));
        format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{escaped}{signature}")
    }

    /// Returns a public key packet's content.
    fn body(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        body.extend(number(self.made as usize));
        body.push(EDDSA);
        body.push(ED25519.len() as u8);
        body.extend(ED25519);
        body.extend(big_number(&[&[NATIVE], self.pair.public_key().as_ref()].concat()));
        body
    }

    /// Returns the key as it is hashed.
    fn hashed_key(&self) -> Vec<u8> {
        let body = self.body();
        let length = (body.len() as u16).to_be_bytes();
        [&[0x99], &length[..], &body].concat()
    }

    fn fingerprint(&self) -> Vec<u8> {
        digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.hashed_key()).as_ref().to_vec()
    }

    /// Returns a signature packet's content.
    fn sign(&self, kind: u8, signed: &[u8], made: u64, more: &[u8]) -> Vec<u8> {
        let fingerprint = self.fingerprint();
        let issuer = subpacket(ISSUER_FINGERPRINT, &[&[VERSION], &fingerprint[..]].concat());
        let hashed = [&subpacket(MADE, &number(made as usize)), &issuer[..], more].concat();
        let mut signature = vec![VERSION, kind, EDDSA, SHA512_ID];
        signature.extend((hashed.len() as u16).to_be_bytes());
        signature.extend(hashed);
        let trailer = [&[VERSION, 0xff], &number(signature.len())[..]].concat();
        let digest = digest::digest(&SHA512, &[signed, &signature, &trailer].concat());
        let unhashed = subpacket(ISSUER_ID, &fingerprint[fingerprint.len() - 8..]);
        signature.extend((unhashed.len() as u16).to_be_bytes());
        signature.extend(unhashed);
        signature.extend(&digest.as_ref()[..2]);
        let made = self.pair.sign(digest.as_ref());
        let (r, s) = made.as_ref().split_at(SEED_LENGTH);
        signature.extend(big_number(r));
        signature.extend(big_number(s));
        signature
    }
}

/// Four bytes, the highest first.
fn number(number: usize) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

/// A number of any size: its length in bits, then its bytes without leading zeros.
fn big_number(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let bits = bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    [&(bits as u16).to_be_bytes(), bytes].concat()
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | tag, 0xff], &number(body.len())[..], body].concat()
}

/// A subpacket; all here are shorter than 192 bytes.
fn subpacket(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8 + 1, kind], body].concat()
}

fn armor(kind: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: String = text
        .as_bytes()
        .chunks(ARMOR_WIDTH)
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    let sum = STANDARD.encode(&crc24(bytes).to_be_bytes()[1..]);
    format!("-----BEGIN PGP {kind}-----\n\n{lines}={sum}\n-----END PGP {kind}-----\n")
}

fn crc24(bytes: &[u8]) -> u32 {
    const BEGIN: u32 = 0x00b7_04ce;
    const POLYNOMIAL: u32 = 0x0186_4cfb;
    const HIGHEST: u32 = 0x0100_0000;
    bytes.iter().fold(BEGIN, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 16, |sum, _| {
            let sum = sum << 1;
            if sum & HIGHEST == 0 { sum } else { sum ^ POLYNOMIAL }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = SigningKey::generate("a name", 1_700_000_000).unwrap();
        let again = SigningKey::from_text("a name", &key.to_text()).unwrap();
        assert_eq!(key.public(), again.public());
        assert!(SigningKey::from_text("a name", "12 zz").is_err());
    }

    #[test]
    fn armor_ends_in_the_sum_that_the_standard_defines() {
        assert_eq!(crc24(b"123456789"), 0x0021_cf02);
    }

    #[test]
    fn a_line_that_looks_like_armor_is_escaped() {
        let key = SigningKey::generate("a name", 1_700_000_000).unwrap();
        let signed = key.clear_sign("Origin: x\n-----BEGIN\n", 1_700_000_000);
        assert!(signed.contains("\nOrigin: x\n- -----BEGIN\n-----BEGIN PGP SIGNATURE-----\n"));
    }
}
