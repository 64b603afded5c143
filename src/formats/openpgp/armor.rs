//! ASCII armor: binary data as text between two lines, with a checksum (RFC 4880 §6.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Refused;

const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";
/// Every packet begins with this bit, and no text does.
const PACKET_BIT: u8 = 0x80;

/// Returns the binary form of a signature that may be in armor.
pub fn read(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    if bytes.first().is_some_and(|first| first & PACKET_BIT != 0) {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Malformed("neither packets nor text"))?;
    let mut lines = text.trim().lines().map(str::trim_end);
    if lines.next() != Some(BEGIN) {
        return Err(Refused::Malformed("it does not begin with a line BEGIN PGP SIGNATURE"));
    }
    // Headers such as `Version: …`, up to an empty line.
    if !lines.by_ref().any(str::is_empty) {
        return Err(Refused::Malformed("no empty line after the headers"));
    }
    let (mut body, mut checksum, mut ended) = (String::new(), None, false);
    for line in lines.by_ref() {
        match line.strip_prefix('=') {
            _ if line == END => {
                ended = true;
                break;
            }
            Some(sum) => checksum = Some(sum),
            None => body.push_str(line),
        }
    }
    if !ended || lines.next().is_some() {
        return Err(Refused::Malformed("it does not end with a line END PGP SIGNATURE"));
    }
    let binary = STANDARD.decode(body).map_err(|_| Refused::Malformed("its text is not base64"))?;
    match checksum.map(|sum| STANDARD.decode(sum)) {
        None => Ok(binary),
        Some(Ok(sum)) if sum == crc24(&binary) => Ok(binary),
        Some(_) => Err(Refused::Malformed("its checksum does not match")),
    }
}

/// Returns the checksum of armor (RFC 4880 §6.1).
fn crc24(bytes: &[u8]) -> [u8; 3] {
    const START: u32 = 0x00b7_04ce;
    const POLYNOMIAL: u32 = 0x0186_4cfb;
    const OVERFLOW: u32 = 1 << 24;
    let crc = bytes.iter().fold(START, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc, _| {
            let shifted = crc << 1;
            if shifted & OVERFLOW == 0 { shifted } else { shifted ^ POLYNOMIAL }
        })
    });
    let [_, high, middle, low] = crc.to_be_bytes();
    [high, middle, low]
}
