//! Packets: RSA public keys and signatures of version 4 (RFC 4880 §4.2, §5.2, §5.5).

use ring::digest;

use super::Refused;

/// Kinds of packets.
pub const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;

const VERSION: u8 = 4;
/// RSA for anything, and RSA for signatures only.
const RSA: [u8; 2] = [1, 3];
const SHA256: u8 = 8;
const SHA512: u8 = 10;
/// A signature over a document as it is, byte by byte.
const OF_BINARY: u8 = 0;

/// Kinds of subpackets that mean something here.
const MADE: u8 = 2;
const EXPIRES: u8 = 3;
const ISSUER_ID: u8 = 16;
const ISSUER_FINGERPRINT: u8 = 33;
/// What its maker wants a reader not to pass over if it does not know it.
const CRITICAL: u8 = 0x80;

/// A packet's kind and content.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

/// Takes bytes apart from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refused::Malformed("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        Ok(self.take(1)?[0])
    }

    /// Takes a number of up to four bytes, the highest first.
    fn number(&mut self, bytes: usize) -> Result<usize, Refused> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Takes a number of any size: its length in bits, then its bytes without leading zeros.
    fn big_number(&mut self) -> Result<&'a [u8], Refused> {
        let bits = self.number(2)?;
        let number = self.take(bits.div_ceil(8))?;
        let zeros = number.first().map_or(0, |first| first.leading_zeros() as usize);
        match number.len() * 8 - zeros == bits {
            true => Ok(number),
            false => Err(Refused::Malformed("a number's length is not its own")),
        }
    }

    /// Takes a length as new packets and subpackets have it; one byte says how many follow.
    fn length(&mut self, first: u8, two_bytes_below: u8) -> Result<usize, Refused> {
        const ONE_BYTE: u8 = 191;
        const FOUR_BYTES: u8 = 255;
        match first {
            0..=ONE_BYTE => Ok(usize::from(first)),
            FOUR_BYTES => self.number(4),
            _ if first < two_bytes_below => {
                Ok(((usize::from(first) - 192) << 8) + usize::from(self.byte()?) + 192)
            }
            _ => Err(Refused::NotAccepted("a packet in parts".to_owned())),
        }
    }
}

/// The packets of a file, one after another; ends after the first error.
pub struct Packets<'a>(Bytes<'a>);

impl<'a> Packets<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Bytes(bytes))
    }

    fn read(&mut self) -> Result<Packet<'a>, Refused> {
        const IS_PACKET: u8 = 0x80;
        const IS_NEW: u8 = 0x40;
        const PARTS_FROM: u8 = 224;
        let bytes = &mut self.0;
        let head = bytes.byte()?;
        if head & IS_PACKET == 0 {
            return Err(Refused::Malformed("a packet begins with a wrong byte"));
        }
        let (tag, length) = if head & IS_NEW == 0 {
            let length = match head & 3 {
                0 => bytes.number(1)?,
                1 => bytes.number(2)?,
                2 => bytes.number(4)?,
                _ => return Err(Refused::NotAccepted("a packet without a length".to_owned())),
            };
            (head >> 2 & 0x0f, length)
        } else {
            let first = bytes.byte()?;
            (head & 0x3f, bytes.length(first, PARTS_FROM)?)
        };
        Ok(Packet { tag, body: bytes.take(length)? })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let packet = self.read();
        if packet.is_err() {
            self.0 = Bytes(&[]);
        }
        Some(packet)
    }
}

/// An RSA key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    fingerprint: Vec<u8>,
    pub modulus: Vec<u8>,
    pub exponent: Vec<u8>,
}

impl PublicKey {
    /// Reads a primary key; none if the packet is something else, or a key of another kind.
    pub fn read(packet: &Packet<'_>) -> Option<Self> {
        const MADE: usize = 4;
        let mut bytes = Bytes(packet.body);
        if packet.tag != PUBLIC_KEY || bytes.byte().ok()? != VERSION {
            return None;
        }
        bytes.take(MADE).ok()?;
        if !RSA.contains(&bytes.byte().ok()?) {
            return None;
        }
        let (modulus, exponent) = (bytes.big_number().ok()?, bytes.big_number().ok()?);
        bytes.0.is_empty().then(|| Self {
            fingerprint: fingerprint(packet.body),
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// Returns the fingerprint in capital hexadecimal digits.
    pub fn fingerprint_shown(&self) -> String {
        hex::encode_upper(&self.fingerprint)
    }

    /// The last bytes of the fingerprint.
    fn id(&self) -> &[u8] {
        const ID: usize = 8;
        &self.fingerprint[self.fingerprint.len() - ID..]
    }
}

/// RFC 4880 §12.2: SHA-1 over the packet as an old one with a length of two bytes. That a second key with the same
/// fingerprint can be made is not known of SHA-1.
fn fingerprint(body: &[u8]) -> Vec<u8> {
    const OLD_PUBLIC_KEY: u8 = 0x99;
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&[OLD_PUBLIC_KEY]);
    context.update(&length.to_be_bytes());
    context.update(body);
    context.finish().as_ref().to_vec()
}

/// What a signature's number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha512,
}

/// A signature packet of version 4, taken apart.
#[derive(Clone, Debug)]
pub struct Signature<'a> {
    body: &'a [u8],
    kind: u8,
    key_algorithm: u8,
    hash_algorithm: u8,
    hashed: Vec<Subpacket<'a>>,
    hashed_length: usize,
    unhashed: Vec<Subpacket<'a>>,
    number: &'a [u8],
}

/// A signature that can be checked.
pub struct Accepted<'a> {
    pub hash: Hash,
    pub made: u32,
    /// What is hashed after the text.
    pub trailer: Vec<u8>,
    pub number: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Subpacket<'a> {
    kind: u8,
    is_critical: bool,
    body: &'a [u8],
}

impl<'a> Signature<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Refused> {
        let mut bytes = Bytes(body);
        let version = bytes.byte()?;
        if version != VERSION {
            return Err(Refused::NotAccepted(format!("a signature of version {version}")));
        }
        let (kind, key_algorithm, hash_algorithm) = (bytes.byte()?, bytes.byte()?, bytes.byte()?);
        let hashed_length = bytes.number(2)?;
        let hashed = subpackets(bytes.take(hashed_length)?)?;
        let unhashed_length = bytes.number(2)?;
        let unhashed = subpackets(bytes.take(unhashed_length)?)?;
        // Two bytes of the digest, for those who want to be quick.
        bytes.take(2)?;
        // Other algorithms have other numbers; of those signatures, only who made them is asked.
        let number = if RSA.contains(&key_algorithm) {
            let number = bytes.big_number()?;
            if !bytes.0.is_empty() {
                return Err(Refused::Malformed("something stands after the signature"));
            }
            number
        } else {
            &[]
        };
        Ok(Self { body, kind, key_algorithm, hash_algorithm, hashed, hashed_length, unhashed, number })
    }

    /// Says whether the signature names this key as its maker. Whether it is true is what [`Signature::accepted`] and
    /// the key tell.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        self.all().any(|packet| match packet.kind {
            ISSUER_FINGERPRINT => packet.body.strip_prefix(&[VERSION]) == Some(&key.fingerprint),
            ISSUER_ID => packet.body == key.id(),
            _ => false,
        })
    }

    /// Returns its maker as it names itself.
    pub fn issuer_shown(&self) -> String {
        let of = |kind| self.all().find(|packet| packet.kind == kind).map(|packet| packet.body);
        match (of(ISSUER_FINGERPRINT), of(ISSUER_ID)) {
            (Some([_, fingerprint @ ..]), _) => hex::encode_upper(fingerprint),
            (_, Some(id)) => hex::encode_upper(id),
            _ => "nobody in particular".to_owned(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Subpacket<'a>> {
        self.hashed.iter().chain(&self.unhashed)
    }

    /// Returns what there is to check, if it is a signature of the kind that is accepted here.
    pub fn accepted(&self) -> Result<Accepted<'a>, Refused> {
        let refused = |what: String| Err(Refused::NotAccepted(what));
        let hash = match self.hash_algorithm {
            SHA256 => Hash::Sha256,
            SHA512 => Hash::Sha512,
            other => return refused(format!("the digest algorithm {other}")),
        };
        if self.kind != OF_BINARY {
            return refused(format!("a signature of type {:#04x}", self.kind));
        }
        if !RSA.contains(&self.key_algorithm) {
            return refused(format!("the key algorithm {}", self.key_algorithm));
        }
        let mut made = None;
        for packet in &self.hashed {
            match packet.kind {
                MADE => made = packet.body.try_into().ok().map(u32::from_be_bytes),
                EXPIRES if packet.body.iter().any(|byte| *byte != 0) => {
                    return refused("a signature that expires".to_owned());
                }
                EXPIRES | ISSUER_ID | ISSUER_FINGERPRINT => {}
                kind if packet.is_critical => return refused(format!("a critical subpacket of kind {kind}")),
                _ => {}
            }
        }
        let Some(made) = made else { return Err(Refused::Malformed("no time at which it was made")) };
        const BEFORE_HASHED: usize = 6;
        let hashed = &self.body[..BEFORE_HASHED + self.hashed_length];
        let mut trailer = hashed.to_vec();
        trailer.extend([VERSION, u8::MAX]);
        trailer.extend(u32::try_from(hashed.len()).unwrap_or(u32::MAX).to_be_bytes());
        Ok(Accepted { hash, made, trailer, number: self.number })
    }
}

fn subpackets(area: &[u8]) -> Result<Vec<Subpacket<'_>>, Refused> {
    /// Subpackets come whole: all other first bytes mean two bytes of length.
    const NEVER_IN_PARTS: u8 = 255;
    let mut bytes = Bytes(area);
    let mut found = Vec::new();
    while !bytes.0.is_empty() {
        let first = bytes.byte()?;
        let length = bytes.length(first, NEVER_IN_PARTS)?;
        let (kind, body) =
            bytes.take(length)?.split_first().ok_or(Refused::Malformed("an empty subpacket"))?;
        found.push(Subpacket { kind: kind & !CRITICAL, is_critical: kind & CRITICAL != 0, body });
    }
    Ok(found)
}
