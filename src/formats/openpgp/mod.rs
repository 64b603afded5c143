//! Says whether a text was signed by a known key: detached OpenPGP signatures, as distributions put beside their lists
//! of digests.
//!
//! Read is what such signatures are today: packets of version 4 (RFC 4880 §4, RFC 9580 §4), made by an RSA key of 2048
//! bits or more over a binary document with SHA-256 or SHA-512. Everything else is refused, and so is what a reader
//! could overlook: critical subpackets that are not known here, signatures that expire, partial lengths.
//!
//! Who may sign is decided by the fingerprint of a primary key, which the caller knows beforehand and by which the key
//! is found in a keyring. So nothing else in the keyring is believed: no name, no subkey, no expiry. A key that is to
//! be trusted no longer is taken out of the program, not out of date.

mod armor;
mod packet;
#[cfg(test)]
mod tests;

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};

use packet::{Packets, PublicKey, SIGNATURE, Signature};

/// A signature that was made by the wanted key over exactly this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// When it says it was made, in seconds since 1970.
    pub made: u32,
}

/// Why a text does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is no OpenPGP data: {0}")]
    Malformed(&'static str),
    #[error("it has {0}, which is not accepted here")]
    NotAccepted(String),
    #[error("the keyring has no RSA key {0}")]
    NoKey(String),
    /// `found` are the ids or fingerprints of those who did sign.
    #[error("it was made by another key than {wanted}: {}", found.join(", "))]
    OtherKey { wanted: String, found: Vec<String> },
    #[error("the text is not the one that was signed, or the signature is not of the key {0}")]
    Wrong(String),
}

/// Checks a detached signature, in binary or in ASCII armor, over a text. The key is the one of the (binary) keyring
/// whose fingerprint is `signer`, in hexadecimal.
///
/// Signatures of other keys beside it are passed over, since lists are signed by two keys while one follows another;
/// a bad one of the wanted key is not.
///
/// # Errors
/// The signature is not, or not certainly, that key's over this text.
pub fn verify(text: &[u8], signature: &[u8], keyring: &[u8], signer: &str) -> Result<Good, Refused> {
    let key = find(keyring, signer)?;
    let binary = armor::read(signature)?;
    let mut found = Vec::new();
    for packet in Packets::new(&binary) {
        let packet = packet?;
        if packet.tag != SIGNATURE {
            return Err(Refused::NotAccepted(format!(
                "a packet of kind {} beside the signature",
                packet.tag
            )));
        }
        let signature = Signature::read(packet.body)?;
        if signature.is_by(&key) {
            return check(text, &signature, &key);
        }
        found.push(signature.issuer_shown());
    }
    match found.is_empty() {
        true => Err(Refused::Malformed("it is empty")),
        false => Err(Refused::OtherKey { wanted: key.fingerprint_shown(), found }),
    }
}

fn find(keyring: &[u8], signer: &str) -> Result<PublicKey, Refused> {
    for packet in Packets::new(keyring) {
        let packet = packet?;
        // Keys of other kinds cannot be the wanted one.
        if let Some(key) = PublicKey::read(&packet)
            && key.fingerprint_shown().eq_ignore_ascii_case(signer)
        {
            return Ok(key);
        }
    }
    Err(Refused::NoKey(signer.to_owned()))
}

fn check(text: &[u8], signature: &Signature<'_>, key: &PublicKey) -> Result<Good, Refused> {
    let signed = signature.accepted()?;
    let algorithm = match signed.hash {
        packet::Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        packet::Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    };
    let mut hashed = text.to_vec();
    hashed.extend(&signed.trailer);
    // A number is written without leading zeros; ring wants as many bytes as the modulus has.
    let missing = key.modulus.len().checked_sub(signed.number.len());
    let missing = missing.ok_or_else(|| Refused::Wrong(key.fingerprint_shown()))?;
    let mut number = vec![0; missing];
    number.extend_from_slice(signed.number);
    RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent }
        .verify(algorithm, &hashed, &number)
        .map_err(|_| Refused::Wrong(key.fingerprint_shown()))?;
    Ok(Good { made: signed.made })
}
