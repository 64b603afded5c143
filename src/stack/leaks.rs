//! The last look at what leaves this Mac: whether a secret of the lab is in it, however it is spelt.
//!
//! [`super::secrets`] takes out what it knows by the line. This looks in another way, so that what one overlooks the other
//! finds: any `WINDOW` characters in a row that are one secret's alone, whatever stands between them (line ends of other widths, quotes,
//! JSON's and a URL's escapes), as they are, in base64 and in hexadecimal.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::identity::StoredFile;

/// So many characters of a secret in a row are a leak: 144 bits of base64.
const WINDOW: usize = 24;
/// A secret that is shorter than a window is looked for as a whole, if it has this many characters.
const LEAST: usize = 16;
/// Base64 of a text looks different at each of three places where it may begin in a longer one.
const ALIGNMENTS: usize = 3;
/// What the lines around a key in PEM's form begin with.
const FRAME: &str = "-----";
/// What ends the line before a private key in PEM's form, whoever's it is, as [`bare`] leaves it.
const PRIVATE_KEY: &[u8] = b"PRIVATEKEY+++++";

/// What stands for a window that several secrets share: it is the form of their kind, and tells nothing.
const SHARED: usize = usize::MAX;

/// Looks for secrets.
#[derive(Clone, Debug)]
pub struct Watch {
    windows: HashMap<[u8; WINDOW], usize>,
    short: Vec<(Vec<u8>, usize)>,
    names: Vec<String>,
}

impl Watch {
    /// Looks for the secret ones of these files. What stands in the others as well is no secret, such as a public key.
    pub fn of(files: &[StoredFile]) -> Self {
        let mut watch = Self { windows: HashMap::new(), short: Vec::new(), names: Vec::new() };
        let mut seen = HashSet::new();
        // A copy would make all of a secret look like what several share.
        for file in files.iter().filter(|file| file.secret && seen.insert(file.content.as_slice())) {
            let kind = watch.names.len();
            watch.names.push(file.name.clone());
            spellings(&file.content).iter().for_each(|spelling| watch.add(spelling, kind));
            // A bootstrap token's first part is its name; the second one is what opens the door.
            file.content.split(|byte| *byte == b'.').for_each(|part| watch.add(&bare(part), kind));
        }
        for spelling in files.iter().filter(|file| !file.secret).flat_map(|file| spellings(&file.content)) {
            for window in spelling.windows(WINDOW) {
                watch.windows.remove(window);
            }
        }
        watch
    }

    fn add(&mut self, secret: &[u8], kind: usize) {
        if (LEAST..WINDOW).contains(&secret.len()) {
            self.short.push((secret.to_owned(), kind));
        }
        for window in secret.windows(WINDOW) {
            let window = window.try_into().expect("a window has its length");
            let held = self.windows.entry(window).or_insert(kind);
            if *held != kind {
                *held = SHARED;
            }
        }
    }

    /// Returns the name of a secret that is in some content.
    pub fn finds(&self, content: &[u8]) -> Option<&str> {
        let bare = bare(content);
        let unescaped = bare.contains(&b'%').then(|| without_percents(&bare));
        self.find_in(&bare).or_else(|| self.find_in(&unescaped?))
    }

    fn find_in(&self, text: &[u8]) -> Option<&str> {
        let short = self.short.iter().find(|(secret, _)| has(text, secret)).map(|(_, kind)| *kind);
        let long = || {
            let found = text.windows(WINDOW).filter_map(|window| self.windows.get(window));
            found.copied().find(|kind| *kind != SHARED)
        };
        let name = short.or_else(long).map(|kind| self.names[kind].as_str());
        name.or_else(|| has(text, PRIVATE_KEY).then_some("a private key"))
    }
}

/// Returns the forms in which a file's content may be written.
fn spellings(content: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(content);
    let is_body = |line: &&str| !line.starts_with(FRAME);
    let body: String = text.lines().map(str::trim).filter(is_body).collect();
    let mut spellings = vec![bare(body.as_bytes()), hex::encode(content).into_bytes()];
    for skipped in 0..ALIGNMENTS.min(content.len()) {
        // The last characters depend on what follows.
        let encoded = BASE64_STANDARD.encode(&content[skipped..]);
        spellings.push(bare(encoded.trim_end_matches('=').as_bytes()));
    }
    spellings
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns what is left without spaces, quotes and escapes of line ends; base64 for URLs as the usual one.
fn bare(content: &[u8]) -> Vec<u8> {
    let mut bare = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next_if(|next| b"nrt".contains(next));
            }
            b'_' => bare.push(b'/'),
            b'-' => bare.push(b'+'),
            byte if byte.is_ascii_whitespace() || byte == b'"' || byte == b'\'' => {}
            byte => bare.push(byte),
        }
    }
    bare
}

/// Returns a text without a URL's escapes.
fn without_percents(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let mut byte = [0];
        let digits = after.get(..2).filter(|_| *first == b'%');
        let is_escape = digits.is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok());
        plain.push(if is_escape { byte[0] } else { *first });
        rest = if is_escape { &after[2..] } else { after };
    }
    bare(&plain)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::identity::Identity;
    use super::*;

    fn secrets() -> (Watch, Vec<StoredFile>) {
        let files = fixture::document().1.files();
        (Watch::of(&files), files)
    }

    fn wrapped(text: &str, width: usize, before: &str) -> String {
        let lines = text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned());
        lines.map(|line| format!("{before}{line}\n")).collect()
    }

    #[test]
    fn every_secret_file_is_found_however_it_is_spelt_and_no_other() {
        let (watch, files) = secrets();
        for file in &files {
            let text = String::from_utf8_lossy(&file.content).into_owned();
            let body: String = text.lines().filter(|line| !line.starts_with(FRAME)).collect();
            let json = serde_json::to_string(&text).unwrap();
            let encoded = BASE64_STANDARD.encode([b"ab", file.content.as_slice()].concat());
            let spelt = [
                body.clone(),
                wrapped(&body, 40, ""),
                wrapped(&body, 40, "        "),
                json.clone(),
                serde_json::to_string(&json).unwrap(),
                body.replace('+', "%2B").replace('/', "%2F"),
                body.replace('+', "-").replace('/', "_"),
                wrapped(&encoded, 76, ""),
                hex::encode(&file.content),
            ];
            for text in spelt {
                let found = watch.finds(format!("before {text} after").as_bytes());
                assert_eq!(found.is_some(), file.secret, "{}: {text}: {found:?}", file.name);
            }
        }
    }

    #[test]
    fn what_all_keys_and_certificates_have_in_common_is_no_leak_and_a_copy_makes_no_secret_common() {
        let (lab, identity) = fixture::document();
        let mut files = identity.files();
        let key = files.iter().find(|file| file.name == "ca.key").unwrap().content.clone();
        files.push(StoredFile { name: "ca.key.bak".into(), secret: true, content: key.clone() });
        let watch = Watch::of(&files);
        let strangers = Identity::generate(&lab, fixture::NOW, &mut fixture::random(9)).unwrap().files();
        for certificate in strangers.iter().filter(|file| !file.secret) {
            let encoded = BASE64_STANDARD.encode(&certificate.content);
            assert_eq!(watch.finds(&certificate.content), None, "{}", certificate.name);
            assert_eq!(watch.finds(encoded.as_bytes()), None, "{}", certificate.name);
        }
        let body = String::from_utf8(key).unwrap().lines().nth(2).unwrap().to_owned();
        assert_eq!(watch.finds(body.as_bytes()), Some("ca.key"));
    }

    #[test]
    fn the_half_of_a_token_that_opens_the_door_and_anybodys_private_key_are_found() {
        let (watch, files) = secrets();
        let token = files.iter().find(|file| file.name == "token").unwrap();
        let token = String::from_utf8_lossy(&token.content).into_owned();
        let (id, secret) = token.trim().split_once('.').unwrap();
        assert_eq!(watch.finds(format!("token-id: {id}").as_bytes()), None);
        assert_eq!(watch.finds(format!("token-secret: {secret}").as_bytes()), Some("token"));
        let strangers = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n";
        assert_eq!(watch.finds(strangers.as_bytes()), Some("a private key"));
        assert_eq!(Watch::of(&[]).finds(b"nothing to be seen"), None);
    }
}
