//! What is kept on disk between runs, as JSON: each record carries the version of its form, and only ours is read.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::{HostError, files};

use crate::engine::error::Result;

/// A record with a field `version`.
pub trait Versioned: Serialize + DeserializeOwned {
    /// Version of the form that is written and read.
    const VERSION: u32;
    /// What it is, with its article: `a network record`.
    const WHAT: &'static str;
}

/// The one field that every form has.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// Reads a record; none if there is no such file.
///
/// # Errors
/// If it is not understood, or of another version's form.
pub fn read<R: Versioned>(path: &Path) -> Result<Option<R>> {
    let Some(bytes) = files::read_if_exists(path)? else { return Ok(None) };
    let unusable = |reason: String| HostError::Content { path: path.to_owned(), reason };
    let unreadable = |error: serde_json::Error| unusable(format!("not {}: {error}", R::WHAT));
    // Before the rest, for another version's fields may be others.
    let Form { version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if version != R::VERSION {
        let known = R::VERSION;
        return Err(unusable(format!("of version {version}; this fusionlab knows version {known}")).into());
    }
    Ok(Some(serde_json::from_slice(&bytes).map_err(unreadable)?))
}

/// Writes a record, whole, with these permissions.
pub fn write(path: &Path, record: &impl Versioned, mode: u32) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(record).expect("a record is plain data");
    text.push(b'\n');
    Ok(files::write_atomic(path, &text, mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        version: u32,
        said: String,
    }

    impl Versioned for Note {
        const VERSION: u32 = 2;
        const WHAT: &'static str = "a note";
    }

    #[test]
    fn what_was_written_is_read_and_another_form_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.json");
        assert_eq!(read::<Note>(&path).unwrap(), None);
        let note = Note { version: 2, said: "hello".to_owned() };
        write(&path, &note, files::PRIVATE_FILE).unwrap();
        assert_eq!(read(&path).unwrap(), Some(note));
        let refused = |text: &str| {
            files::write_atomic(&path, text.as_bytes(), files::PRIVATE_FILE).unwrap();
            read::<Note>(&path).unwrap_err().to_string()
        };
        let newer = refused(r#"{"version": 3, "heard": "nothing"}"#);
        assert!(newer.ends_with("note.json: of version 3; this fusionlab knows version 2"), "{newer}");
        for hostile in ["", "{", "[]", r#"{"version": 2}"#, r#"{"version": -1}"#, "\u{0}\u{1b}[2J"] {
            assert!(refused(hostile).contains("note.json: not a note: "), "{hostile:?}");
        }
    }
}
