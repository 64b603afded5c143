//! Just enough DNS to ask a name server for one name's addresses, and to be such a server (RFC 1035, over TCP).

use std::net::Ipv4Addr;

const HEAD: usize = 12;
/// Type A: an IPv4 address.
pub const ADDRESS: u16 = 1;
const CLASS_IN: u16 = 1;
/// In the head's third byte: an answer, which is the server's own, and the question of a client that wants all of it.
const IS_ANSWER: u8 = 0x80;
const IS_AUTHORITY: u8 = 0x04;
const WANTS_ALL: u8 = 0x01;
const CODE: u8 = 0x0f;
/// A length whose two highest bits are set says where the rest of the name stands.
const POINTER: u8 = 0xc0;
const LONGEST_LABEL: usize = 63;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Good,
    /// There is no such name.
    NoSuchName,
    /// The server has nothing to do with that name.
    Refused,
    /// Any other code.
    Other(u8),
}

impl Code {
    fn number(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::NoSuchName => 3,
            Self::Refused => 5,
            Self::Other(code) => code,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            0 => Self::Good,
            3 => Self::NoSuchName,
            5 => Self::Refused,
            other => Self::Other(other),
        }
    }
}

/// A question as a server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub id: u16,
    /// In lower case, without the last dot.
    pub name: String,
    pub kind: u16,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    pub addresses: Vec<Ipv4Addr>,
}

/// Returns the question for a name's addresses, with its length before it, as TCP wants it. None if it is no name.
pub fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([WANTS_ALL, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(encoded(name)?);
    message.extend(ADDRESS.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(framed(&message))
}

/// Reads a question, without its length.
pub fn read_question(message: &[u8]) -> Option<Question> {
    if message.get(2)? & IS_ANSWER != 0 || message.get(4..6)? != [0, 1] {
        return None;
    }
    let (name, at) = name_at(message, HEAD)?;
    message.get(at + 2..at + 4)?;
    Some(Question { id: number(message, 0)?, name, kind: number(message, at)? })
}

/// Returns a server's answer to a question, with its length before it.
pub fn answer(question: &Question, answer: &Answer, seconds: u32) -> Vec<u8> {
    let mut message = question.id.to_be_bytes().to_vec();
    message.extend([IS_ANSWER | IS_AUTHORITY | WANTS_ALL, answer.code.number(), 0, 1]);
    message.extend(u16::try_from(answer.addresses.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend([0; 4]);
    message.extend(encoded(&question.name).unwrap_or_else(|| vec![0]));
    message.extend(question.kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    for address in &answer.addresses {
        message.extend([POINTER, HEAD as u8]);
        message.extend(ADDRESS.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        message.extend(seconds.to_be_bytes());
        message.extend([0, 4]);
        message.extend(address.octets());
    }
    framed(&message)
}

/// Reads an answer to a question of this number, without its length; none if it is something else.
pub fn read_answer(id: u16, message: &[u8]) -> Option<Answer> {
    if number(message, 0)? != id || message.get(2)? & IS_ANSWER == 0 {
        return None;
    }
    let code = Code::of(message.get(3)? & CODE);
    let (questions, answers) = (number(message, 4)?, number(message, 6)?);
    let mut at = HEAD;
    for _ in 0..questions {
        at = name_at(message, at)?.1 + 4;
    }
    let mut addresses = Vec::new();
    for _ in 0..answers {
        at = name_at(message, at)?.1;
        let (kind, length) = (number(message, at)?, usize::from(number(message, at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if let (ADDRESS, Ok(octets)) = (kind, <[u8; 4]>::try_from(data)) {
            addresses.push(Ipv4Addr::from(octets));
        }
        at += 10 + length;
    }
    Some(Answer { code, addresses })
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=LONGEST_LABEL).contains(&usize::from(*length)))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    Some(bytes)
}

/// Reads a name; returns it with the place behind it.
fn name_at(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut labels, mut at, mut end) = (Vec::new(), start, None);
    // Each pointer leads to an earlier place, so this ends.
    let mut bound = message.len();
    loop {
        let length = *message.get(at)?;
        if length & POINTER == POINTER {
            let target = usize::from(number(message, at)? & !(u16::from(POINTER) << 8));
            end.get_or_insert(at + 2);
            if target >= bound.min(at) {
                return None;
            }
            (bound, at) = (target, target);
            continue;
        }
        let length = usize::from(length);
        if length == 0 {
            return Some((labels.join("."), end.unwrap_or(at + 1)));
        }
        if length > LONGEST_LABEL {
            return None;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_its_answer_are_understood() {
        let asked = question(7, "Echo.lab.test").unwrap();
        assert_eq!(usize::from(number(&asked, 0).unwrap()), asked.len() - 2);
        let read = read_question(&asked[2..]).unwrap();
        assert_eq!(read, Question { id: 7, name: "echo.lab.test".to_owned(), kind: ADDRESS });
        let said = Answer { code: Code::Good, addresses: vec![Ipv4Addr::new(192, 168, 68, 200)] };
        let message = answer(&read, &said, 60);
        assert_eq!(read_answer(7, &message[2..]), Some(said));
        assert_eq!(read_answer(8, &message[2..]), None, "of another question");
        let refused = Answer { code: Code::Refused, addresses: Vec::new() };
        assert_eq!(read_answer(7, &answer(&read, &refused, 60)[2..]), Some(refused));
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        for name in ["", ".", "a..b", &"x".repeat(64)] {
            assert_eq!(question(1, name), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_reading_panic_or_go_round(message: Vec<u8>) {
            let _ = read_question(&message);
            let _ = read_answer(0, &message);
            let pointing = [&[0, 0, IS_ANSWER, 0, 0, 1, 0, 1, 0, 0, 0, 0][..], &message].concat();
            let _ = read_answer(0, &pointing);
        }
    }
}
