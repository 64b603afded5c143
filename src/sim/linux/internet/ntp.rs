//! Time: answers as an NTP server of the second stratum does (RFC 5905), by this computer's clock.

use crate::sim::linux::net::INTERNET;

/// Bytes of a message without extensions.
pub const MESSAGE: usize = 48;

/// Seconds from 1900 to 1970.
const EPOCH: u64 = 2_208_988_800;
const MODE: u8 = 0x07;
const VERSION: u8 = 0x38;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const STRATUM: u8 = 2;
/// The clock is read in units of 2^-10 seconds, about a millisecond.
const PRECISION: i8 = -10;
/// A millisecond in units of 2^-16 seconds.
const MILLISECOND: u32 = 66;
/// What the server itself goes by: some address.
const REFERENCE: [u8; 4] = INTERNET.octets();

/// Answers a client; none if it asks for something else.
pub fn answer(message: &[u8], now_ms: u64) -> Option<[u8; MESSAGE]> {
    if message.len() < MESSAGE || message[0] & MODE != CLIENT {
        return None;
    }
    let now = timestamp(now_ms);
    let mut answer = [0; MESSAGE];
    answer[0] = message[0] & VERSION | SERVER;
    answer[1] = STRATUM;
    answer[2] = message[2];
    answer[3] = PRECISION.to_be_bytes()[0];
    answer[4..8].copy_from_slice(&MILLISECOND.to_be_bytes());
    answer[8..12].copy_from_slice(&MILLISECOND.to_be_bytes());
    answer[12..16].copy_from_slice(&REFERENCE);
    answer[16..24].copy_from_slice(&now);
    // What the client sent comes back, so that it knows which of its questions this answers.
    answer[24..32].copy_from_slice(&message[40..48]);
    answer[32..40].copy_from_slice(&now);
    answer[40..48].copy_from_slice(&now);
    Some(answer)
}

/// Returns seconds since 1900, and 2^-32 of them.
fn timestamp(ms: u64) -> [u8; 8] {
    let seconds = ((ms / 1000 + EPOCH) as u32).to_be_bytes();
    let fraction = (((ms % 1000) << 32) / 1000) as u32;
    let mut timestamp = [0; 8];
    timestamp[..4].copy_from_slice(&seconds);
    timestamp[4..].copy_from_slice(&fraction.to_be_bytes());
    timestamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_time_and_its_own_stamp_back() {
        let mut question = [0; MESSAGE];
        question[0] = 0x23;
        question[40..].copy_from_slice(b"ABCDEFGH");
        let answer = answer(&question, 1_500).unwrap();
        assert_eq!(answer[0], 0x24);
        assert_eq!(&answer[24..32], b"ABCDEFGH");
        assert_eq!(answer[40..48], [0x83, 0xaa, 0x7e, 0x81, 0x80, 0, 0, 0]);
    }

    #[test]
    fn others_get_nothing() {
        assert_eq!(answer(&[0x24; MESSAGE], 0), None);
        assert_eq!(answer(&[0x23; 12], 0), None);
    }
}
