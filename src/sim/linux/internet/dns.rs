//! Names: every one of the world's is the internet's one address; names of this network, and addresses, have no entry.

use crate::sim::linux::net::INTERNET;

/// The longest question, and the longest answer, over UDP.
pub const MESSAGE: usize = 1232;

const HEAD: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
const TTL: u32 = 60;
const NO_ERROR: u8 = 0;
const MALFORMED: u8 = 1;
const NO_SUCH_NAME: u8 = 3;
const NOT_DONE: u8 = 4;
/// In the head's third byte: an answer, what was asked for, whether to ask others.
const IS_ANSWER: u8 = 0x80;
const OPERATION: u8 = 0x78;
const WANTS_RECURSION: u8 = 0x01;
/// In its fourth: others would be asked.
const ASKS_OTHERS: u8 = 0x80;
/// Ends of names that nobody outside a home network knows.
const NOT_OF_THE_WORLD: &[&str] =
    &["arpa", "local", "lan", "internal", "home", "test", "localhost", "invalid"];
/// A name that is the one of the question, by where that stands.
const SAME_NAME: u16 = 0xc00c;

/// What was asked.
struct Question {
    labels: Vec<String>,
    kind: u16,
    /// Bytes from the head to the question's end.
    end: usize,
}

/// Answers a message; none if it is too short to be answered, or an answer itself.
pub fn answer(message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < HEAD || message[2] & IS_ANSWER != 0 {
        return None;
    }
    if message[2] & OPERATION != 0 {
        return Some(head(message, NOT_DONE, [0; 3]));
    }
    let Some(question) = read(message) else { return Some(head(message, MALFORMED, [0; 3])) };
    let is_of_the_world = question.labels.len() > 1
        && question.labels.last().is_some_and(|last| !NOT_OF_THE_WORLD.contains(&last.as_str()));
    let code = if is_of_the_world { NO_ERROR } else { NO_SUCH_NAME };
    let has_address = is_of_the_world && question.kind == TYPE_A;
    let has_options = asks_with_options(message, question.end);
    let mut answer = head(message, code, [1, u16::from(has_address), u16::from(has_options)]);
    answer.extend(&message[HEAD..question.end]);
    if has_address {
        for word in [SAME_NAME, TYPE_A, CLASS_IN] {
            answer.extend(word.to_be_bytes());
        }
        answer.extend(TTL.to_be_bytes());
        answer.extend(4_u16.to_be_bytes());
        answer.extend(INTERNET.octets());
    }
    if has_options {
        // The root's name, the kind, how much we take, no flags, no options.
        answer.push(0);
        answer.extend(TYPE_OPT.to_be_bytes());
        answer.extend((MESSAGE as u16).to_be_bytes());
        answer.extend([0; 6]);
    }
    Some(answer)
}

/// Returns a head with the counts of questions, answers and additions.
fn head(message: &[u8], code: u8, [questions, answers, additions]: [u16; 3]) -> Vec<u8> {
    let flags = IS_ANSWER | message[2] & (OPERATION | WANTS_RECURSION);
    let mut head = vec![message[0], message[1], flags, ASKS_OTHERS | code];
    for count in [questions, answers, 0, additions] {
        head.extend(count.to_be_bytes());
    }
    head
}

fn read(message: &[u8]) -> Option<Question> {
    if message[4..6] != [0, 1] {
        return None;
    }
    let mut at = HEAD;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {
                let label = message.get(at..at + length)?;
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at += length;
            }
            // Questions have nothing to point at.
            _ => return None,
        }
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    message.get(at + 2..at + 4)?;
    Some(Question { labels, kind, end: at + 4 })
}

/// Says whether an addition right behind the question tells what its sender understands (RFC 6891).
fn asks_with_options(message: &[u8], end: usize) -> bool {
    message[10..12] != [0, 0] && message.get(end..end + 3) == Some(&[0, 0, TYPE_OPT as u8][..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16, options: bool) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(options)];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        if options {
            message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        }
        message
    }

    fn told(name: &str, kind: u16) -> (u8, u16, Vec<u8>) {
        let answer = answer(&question(name, kind, false)).unwrap();
        (answer[3] & 0x0f, u16::from_be_bytes([answer[6], answer[7]]), answer)
    }

    #[test]
    fn every_name_of_the_world_has_the_one_address() {
        let (code, answers, bytes) = told("pkgs.K8s.io", TYPE_A);
        assert_eq!((code, answers), (NO_ERROR, 1));
        assert!(bytes.ends_with(&INTERNET.octets()));
        // No other kind of entry, and no name that only a home knows.
        assert_eq!(told("pkgs.k8s.io", 28).1, 0);
        assert_eq!(told("pkgs.k8s.io", 28).0, NO_ERROR);
        assert_eq!(told("k8s-master1", TYPE_A).0, NO_SUCH_NAME);
        assert_eq!(told("1.68.168.192.in-addr.arpa", 12).0, NO_SUCH_NAME);
    }

    #[test]
    fn options_are_answered_by_options() {
        let answer = answer(&question("a.org", TYPE_A, true)).unwrap();
        assert_eq!(answer[10..12], [0, 1]);
        assert_eq!(answer[answer.len() - 11..][..3], [0, 0, 41]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(answer(&[0; 5]), None);
        let mut cut = question("a.org", TYPE_A, false);
        cut.truncate(15);
        assert_eq!(answer(&cut).unwrap()[3] & 0x0f, MALFORMED);
        let mut reply = question("a.org", TYPE_A, false);
        reply[2] |= IS_ANSWER;
        assert_eq!(answer(&reply), None);
    }
}
