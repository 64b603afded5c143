//! The lab's secrets as they can appear in what a guest prints, line by line, and their removal from it; and what looks like
//! somebody else's.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::identity::{Identity, StoredFile};

/// Shorter pieces of a secret's text are not looked for: they would be found everywhere.
const LEAST_PIECE: usize = 16;
/// What the lines around a key in PEM's form begin with; they tell nothing.
const FRAME: &str = "-----";

/// Letters of each part of a bootstrap token.
const TOKEN_PARTS: [usize; 2] = [6, 16];

/// Pieces of secrets, each with what is shown instead.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Gathers every line of every secret file, as it is and as base64 and JSON write the whole.
    pub fn of(identity: &Identity) -> Self {
        Self::of_files(&identity.files())
    }

    /// As [`Self::of`], for files that need not be a whole identity.
    pub fn of_files(files: &[StoredFile]) -> Self {
        let mut pieces = Vec::new();
        for StoredFile { name, content, .. } in files.iter().filter(|file| file.secret) {
            let text = String::from_utf8_lossy(content);
            let shown = format!("[{name}]");
            let encoded = BASE64_STANDARD.encode(content);
            let lines = text.lines().chain([encoded.as_str()]).map(str::trim);
            let told = lines.filter(|line| line.len() >= LEAST_PIECE && !line.starts_with(FRAME));
            pieces.extend(told.map(|line| (line.to_owned(), shown.clone())));
        }
        Self(pieces)
    }

    /// Returns a text without them.
    pub fn conceal(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (piece, shown) in &self.0 {
            if text.contains(piece) {
                text = text.replace(piece, shown);
            }
        }
        text
    }
}

/// Returns a text without what looks like a secret, whoever's it is: private keys in PEM's form, names and passwords in
/// URLs, kubeadm's tokens.
pub fn conceal_strangers(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        let is_frame = |word: &str| line.contains(word) && line.contains("PRIVATE KEY-----");
        let is_end = is_frame("-----END ");
        if is_end && !in_key {
            // Its beginning was cut away: what came before may be a key's.
            shown.truncate(without_last_of_a_key(&shown));
        }
        if is_end || is_frame("-----BEGIN ") {
            // One that stands in one line, such as JSON's, begins and ends there.
            if !in_key {
                shown.push_str("[private key]\n");
            }
            in_key = !is_end;
        } else if !in_key {
            shown.push_str(&without_tokens(&without_credentials(line)));
        }
    }
    shown
}

/// A line of a key in PEM's form has 64 letters (RFC 7468 §2), but for its last.
const SHORTEST_IN_KEY: usize = 40;

/// Returns how long a text is without the lines of a key at its end; a log's lines begin with words of their own.
fn without_last_of_a_key(text: &str) -> usize {
    let mut end = text.len();
    for (place, line) in text.split_inclusive('\n').rev().enumerate() {
        let word = line.split_whitespace().next_back().unwrap_or_default();
        let is_base64 = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        if !is_base64 || (place > 0 && word.len() < SHORTEST_IN_KEY) {
            break;
        }
        end -= line.len();
    }
    end
}

/// Takes `user:password` out of URLs.
fn without_credentials(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end =
            part.find(|letter: char| letter == '/' || letter.is_whitespace() || "\"'<>`".contains(letter));
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        shown.push_str("://");
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.push_str(&format!("[credentials]@{host}")),
            None => shown.push_str(authority),
        }
        shown.push_str(rest);
    }
    shown
}

/// Takes out words of the form of kubeadm's bootstrap tokens: six letters and digits, a dot, and sixteen.
fn without_tokens(line: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '.';
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        shown.push_str(&rest[..start]);
        let after = &rest[start..];
        let (word, after) = after.split_at(after.find(|letter| !is_part(letter)).unwrap_or(after.len()));
        // A sentence may end with it.
        let token = word.trim_end_matches('.');
        let is_token = token.split('.').map(str::len).eq(TOKEN_PARTS);
        shown.push_str(if is_token { "[token]" } else { token });
        shown.push_str(&word[token.len()..]);
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn no_line_of_any_secret_file_is_left_in_what_a_guest_prints() {
        let (_, identity) = fixture::document();
        let secrets = Secrets::of(&identity);
        for file in identity.files() {
            let text = String::from_utf8_lossy(&file.content).into_owned();
            for line in text.lines().filter(|line| !line.starts_with(FRAME) && line.len() >= LEAST_PIECE) {
                let said = secrets.conceal(&format!("read: {line}."));
                assert_eq!(said.contains(line), !file.secret, "{}: {said}", file.name);
            }
        }
        assert!(secrets.conceal("[bootstrap-token] Using token: abc").ends_with("abc"));
    }

    #[test]
    fn a_key_whose_beginning_was_cut_away_is_taken_out_too() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKB";
        let text = format!(
            "10:01 app it began\n10:01 app {line}\n10:01 app {line}\n10:01 app wIcv\n\
10:01 app -----END PRIVATE KEY-----\n10:02 app it goes on\n"
        );
        let shown = "10:01 app it began\n[private key]\n10:02 app it goes on\n";
        assert_eq!(conceal_strangers(&text), shown);
    }

    #[test]
    fn what_looks_like_a_strangers_secret_is_taken_out_and_the_rest_is_as_it_was() {
        let text = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n\
                    get https://ada:pw@host:8080/x and socks5://host:1, http://user@[::1]\n\
                    kubeadm join --token 0123ab.0123456789abcdef. See 1.2.3 and k8s.io\n";
        let shown = "a\n[private key]\n\
                     get https://[credentials]@host:8080/x and socks5://host:1, http://[credentials]@[::1]\n\
                     kubeadm join --token [token]. See 1.2.3 and k8s.io\n";
        assert_eq!(conceal_strangers(text), shown);
        for whole in ["", "no line's end", "mail ada@example.org\n", "image.v1234567890abcdef\n"] {
            assert_eq!(conceal_strangers(whole), whole);
        }
    }
}
