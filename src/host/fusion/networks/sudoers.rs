//! The sudoers line that lets a user change one of Fusion's networks without a password, and nothing else.
//!
//! It names our own program by its path, the network by its number, and a request whose content root checks. Sudo may not be given a way to root for
//! whoever can write to that program, so there is a line only for one that nobody but root could have changed.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::root_step;
use super::{ChangeKind, Result};
use crate::host::{HostError, system, trust};

/// Where sudo looks for files such as ours.
pub const FILE: &str = "/etc/sudoers.d/fusionlab";
/// What sudoers gives a meaning to in a path or an argument, unless a backslash stands before it.
const ESCAPED: &[char] = &[' ', ',', ':', '=', '\\'];
/// What no backslash makes plain in every place: patterns, comments, quotes.
const REFUSED: &[char] = &['*', '?', '[', ']', '!', '#', '"', '\'', '^', '$'];
const LINES_AROUND: usize = 1;

/// How an installed sudoers file compares with the one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Equal,
    /// Nothing is installed.
    Missing,
    /// What differs, as a diff from the installed to the wanted.
    Differs(String),
}

/// Returns the sudoers file for the user who runs this, for `program`, one network and the request in `request`.
///
/// The line names the program that runs now. Another copy of it, say a newer one in the user's own folder, still asks
/// for the password: it is the installed copy that has to be run.
///
/// # Errors
/// [`HostError::ProgramOfOthers`] if somebody other than root could change the program, [`HostError::NotForSudoers`]
/// for a path that sudoers cannot hold.
pub(super) fn text(program: &Path, vmnet: u8, request: &Path) -> Result<String> {
    if let Err(error) = trust::program(program) {
        return Err(of_others(program, error));
    }
    line(&user(), program, vmnet, request)
}

fn of_others(program: &Path, error: HostError) -> HostError {
    match error {
        HostError::Untrusted { path, user, mode, reason, .. } => {
            HostError::ProgramOfOthers { program: program.to_owned(), path, user, mode, reason }
        }
        other => other,
    }
}

/// Returns the file's text for a user, whatever becomes of the program.
pub fn line(user: &str, program: &Path, vmnet: u8, request: &Path) -> Result<String> {
    let verb = root_step::verb(ChangeKind::OfOneNetwork, vmnet).join(" ");
    let (program, request) = (escape(program)?, escape(request)?);
    Ok(format!(
        "# Lets this user change vmnet{vmnet} of VMware Fusion through\n\
         # fusionlab without a password. As root, fusionlab checks\n\
         # the request again: that network alone, in Fusion's own\n\
         # networking file, with programs that only root can have\n\
         # changed. It does nothing else.\n\
         {user} ALL=(root) NOPASSWD:NOSETENV: {program} {verb} {request}\n"
    ))
}

/// Compares an installed sudoers file with the wanted one.
pub fn check(installed: &str, wanted: &str) -> Check {
    if installed == wanted {
        return Check::Equal;
    }
    if installed.trim().is_empty() {
        return Check::Missing;
    }
    let diff = TextDiff::from_lines(installed, wanted);
    let text = diff.unified_diff().context_radius(LINES_AROUND).header("installed", "wanted").to_string();
    Check::Differs(text)
}

/// Returns the user as sudoers names one; by number if the name holds what has a meaning there.
fn user() -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    match system::user_name() {
        Some(name)
            if name.starts_with(|char: char| char.is_ascii_alphabetic()) && name.chars().all(plain) =>
        {
            name
        }
        _ => format!("#{}", system::user_id()),
    }
}

fn escape(path: &Path) -> Result<String> {
    let refuse = |character: char| HostError::NotForSudoers { path: PathBuf::from(path), character };
    let Some(text) = path.to_str() else { return Err(refuse(char::REPLACEMENT_CHARACTER)) };
    if let Some(character) = text.chars().find(|char| char.is_control() || REFUSED.contains(char)) {
        return Err(refuse(character));
    }
    let mut escaped = String::new();
    for char in text.chars() {
        if ESCAPED.contains(&char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "/Users/me/.fusionlab/network/request.json";

    #[test]
    fn the_line_covers_one_command_of_one_user() {
        let text = line("me", Path::new("/usr/local/libexec/fusionlab"), 2, Path::new(REQUEST)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (last, comments) = lines.split_last().unwrap();
        assert!(comments.iter().all(|line| line.starts_with("# ")));
        assert_eq!(
            *last,
            "me ALL=(root) NOPASSWD:NOSETENV: /usr/local/libexec/fusionlab network apply-as-root --vmnet 2 \
             --request /Users/me/.fusionlab/network/request.json"
        );
    }

    #[test]
    fn what_sudoers_gives_a_meaning_to_is_escaped_or_refused() {
        assert_eq!(escape(Path::new(r"/a b,c:d=e\f")).unwrap(), r"/a\ b\,c\:d\=e\\f");
        for path in ["/a*", "/a?", "/[a]", "/a!", "/#a", "/a\nroot ALL=ALL", "/\"a\"", "/a\tb"] {
            let refused = escape(Path::new(path));
            assert!(matches!(refused, Err(HostError::NotForSudoers { .. })), "{path:?}");
        }
    }

    #[test]
    fn there_is_no_line_for_a_program_that_others_could_change() {
        let folder = tempfile::tempdir().unwrap();
        let folder = crate::host::files::canonicalize(folder.path()).unwrap();
        let program = folder.join("fusionlab");
        crate::host::files::write_atomic(&program, b"", 0o755).unwrap();
        if system::is_root() {
            assert!(text(&program, 2, Path::new(REQUEST)).unwrap().contains("NOPASSWD"));
            crate::host::files::set_mode(&folder, 0o775).unwrap();
        }
        let refused = text(&program, 2, Path::new(REQUEST)).unwrap_err();
        let HostError::ProgramOfOthers { path, .. } = refused else { panic!("{refused}") };
        assert_eq!(path, folder);
    }

    #[test]
    fn an_installed_file_is_compared_with_the_wanted_one() {
        assert_eq!(check("a\nb\n", "a\nb\n"), Check::Equal);
        assert_eq!(check(" \n", "a\n"), Check::Missing);
        let Check::Differs(diff) = check("a\nold\n", "a\nnew\n") else { panic!("they differ") };
        assert!(diff.contains("-old\n+new\n"), "{diff}");
    }
}
