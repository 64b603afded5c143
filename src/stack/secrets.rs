//! The lab's secrets as they can appear in what a guest prints, line by line, and their removal from it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::identity::{Identity, StoredFile};

/// Shorter pieces of a secret's text are not looked for: they would be found everywhere.
const LEAST_PIECE: usize = 16;
/// What the lines around a key in PEM's form begin with; they tell nothing.
const FRAME: &str = "-----";

/// Pieces of secrets, each with what is shown instead.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Gathers every line of every secret file, as it is and as base64 and JSON write the whole.
    pub fn of(identity: &Identity) -> Self {
        let mut pieces = Vec::new();
        for StoredFile { name, content, .. } in identity.files().iter().filter(|file| file.secret) {
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
}
