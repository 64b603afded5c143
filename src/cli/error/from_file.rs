//! Advice on paths: what is not there, where it was looked for, and what to do about it.

use std::io::{Error, ErrorKind};
use std::path::Path;

use super::{Kind, Report};
use crate::cli::words::either;
use crate::formats::command::Command;
use crate::host::HostError;
use crate::lab::spec::closest;

/// What is done to a file that is there; anything else makes one.
const OF_WHAT_IS_THERE: [&str; 9] =
    ["read", "look at", "open", "list", "resolve", "find", "change", "remove", "set the mode of"];

/// Returns the report of a file operation that failed.
pub(super) fn failed(action: &str, path: &Path, source: &Error) -> Report {
    let what = format!("{action} {}: {}", path.display(), reason(source));
    let look = Command::new(["ls", "-ld", &path.display().to_string()]).shell_line();
    match source.kind() {
        ErrorKind::PermissionDenied => Report::new("file-denied", Kind::HostCheck, what)
            .because("the file belongs to another user, or macOS denies this terminal access to the folder")
            .run(look),
        ErrorKind::ReadOnlyFilesystem => Report::new("file-denied", Kind::HostCheck, what)
            .because("the disk that it is on is mounted read-only")
            .advise("see where it is mounted, and mount it so that it can be written:")
            .run("mount"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Report::new("disk-full", Kind::HostCheck, what)
            .because("there is no room left on this disk")
            .run("df -h ~")
            .run("fusionlab template prune"),
        ErrorKind::NotFound if OF_WHAT_IS_THERE.contains(&action) => nothing_there(path),
        ErrorKind::NotFound => no_folder(path),
        ErrorKind::AlreadyExists => super::from_image::exists(path),
        ErrorKind::IsADirectory => {
            Report::new("no-such-file", Kind::HostCheck, format!("{} is a folder", path.display()))
                .at(absolute(path))
                .because("a file is wanted here")
                .advise("name a file in it, or another one; these are there:")
                .run(Command::new(["ls", &path.display().to_string()]).shell_line())
        }
        ErrorKind::NotADirectory => {
            Report::new("no-such-file", Kind::HostCheck, format!("{} cannot be there", path.display()))
                .at(absolute(path))
                .because("a part of the path is a file, and no folder")
                .advise("see which, and name another path:")
                .run(Command::new(["ls", "-ld", &folder_of(path)]).shell_line())
        }
        _ => Report::new("file-failed", Kind::Unexpected, what).at(absolute(path)).run(look),
    }
}

impl Report {
    /// What the system takes for no path at all, such as an empty one; `advice` says where another one is named.
    pub fn no_path(path: &Path, error: &Error, advice: &str) -> Self {
        let what = match path.as_os_str().is_empty() {
            true => "an empty path names no place".to_owned(),
            false => format!("{} is no usable path: {}", path.display(), reason(error)),
        };
        Self::usage(what).advise(advice)
    }
}

fn nothing_there(path: &Path) -> Report {
    Report::new("no-such-file", Kind::HostCheck, format!("there is no {}", path.display()))
        .at(absolute(path))
        .because("the path is mistyped, or something removed it")
        .advise("see what is there, and name that:")
        .run(Command::new(["ls", &folder_of(path)]).shell_line())
}

fn no_folder(path: &Path) -> Report {
    Report::new("no-such-file", Kind::HostCheck, format!("{} cannot be written", path.display()))
        .at(absolute(path))
        .because("the folder that it would lie in is not there")
        .advise("make the folder, then run the same command again; or choose another place:")
        .run(Command::new(["mkdir", "-p", &folder_of(path)]).shell_line())
}

/// Returns the report of a lab file that is there, and cannot be read: whatever the reason, it is the lab file's.
pub fn lab_unreadable(path: &Path, error: &HostError) -> Report {
    let report = Report::from(error);
    let what = match error {
        HostError::Content { reason, .. } => format!("the lab file {} is no text: {reason}", path.display()),
        HostError::File { source, .. } if source.kind() == ErrorKind::IsADirectory => {
            format!("the lab file {} is a folder", path.display())
        }
        HostError::File { source, .. } => {
            format!("the lab file {} cannot be read: {}", path.display(), reason(source))
        }
        _ => format!("the lab file {} cannot be read: {error}", path.display()),
    };
    Report { id: "lab-file-unreadable", kind: Kind::LabFile, what, ..report }.at(absolute(path))
}

/// Other lab files that are named where one is missing: no more than the eye takes in.
const NAMED: usize = 5;

/// Returns the report of a lab file that was named and is not there. `by_variable` says whether the environment named it;
/// `others` are those that its folder has.
pub fn lab_missing(path: &Path, by_variable: bool, others: &[String]) -> Report {
    let report =
        Report::new("lab-file-missing", Kind::LabFile, format!("there is no lab file {}", path.display()))
            .at(absolute(path));
    let report = if by_variable {
        report.because("FUSIONLAB_LAB in the environment names it; an option --lab FILE comes before that")
    } else {
        report.because("--lab names it")
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = |other: &str| path.with_file_name(other).display().to_string();
    let report = match (closest(&name, others.iter().map(String::as_str)), others) {
        (Some(meant), _) => report.advise(format!("did you mean {}?", beside(meant))),
        (None, []) => report,
        (None, others) => {
            let more = if others.len() > NAMED { ", …" } else { "" };
            let named = &others[..others.len().min(NAMED)];
            report.advise(format!("its folder has {}{more}", either(named, "and")))
        }
    };
    let make = Command::new(["fusionlab", "init", "--out", &path.display().to_string()]).shell_line();
    report.advise("one is made by:").run(make)
}

/// Returns the folder of a path, as it was typed.
fn folder_of(path: &Path) -> String {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
        _ => ".".to_owned(),
    }
}

/// Returns where a path leads from the current folder.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Returns the system's words, without the number behind them, which says the same to nobody.
fn reason(source: &Error) -> String {
    let text = source.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::Fix;
    use super::super::catalogue;
    use super::*;

    fn of(action: &'static str, path: &str, kind: ErrorKind) -> Report {
        let report = failed(action, Path::new(path), &kind.into());
        assert!(catalogue::find(report.id).is_some() && !report.fix.is_empty(), "{action} {kind:?}");
        report
    }

    #[test]
    fn what_is_not_there_is_told_from_a_place_that_is_not_there() {
        let read = of("read", "/home/me/a b/notes.txt", ErrorKind::NotFound);
        assert_eq!(read.what, "there is no /home/me/a b/notes.txt");
        assert_eq!(read.fix.last(), Some(&Fix::Run("ls '/home/me/a b'".into())));
        let write = of("create", "/home/me/a b/notes.txt", ErrorKind::NotFound);
        assert_eq!(write.what, "/home/me/a b/notes.txt cannot be written");
        assert_eq!(write.fix.last(), Some(&Fix::Run("mkdir -p '/home/me/a b'".into())));
        let here = of("read", "notes.txt", ErrorKind::NotFound);
        assert!(here.place.is_some_and(|place| place.starts_with('/') && place.ends_with("/notes.txt")));
        assert_eq!(here.fix.last(), Some(&Fix::Run("ls .".into())));
    }

    #[test]
    fn no_number_of_the_systems_is_shown_and_each_kind_says_what_to_do() {
        let denied = failed("read", Path::new("/x"), &Error::from_raw_os_error(13));
        assert_eq!((denied.id, denied.what.as_str()), ("file-denied", "read /x: permission denied"));
        for kind in [
            ErrorKind::IsADirectory,
            ErrorKind::NotADirectory,
            ErrorKind::AlreadyExists,
            ErrorKind::StorageFull,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::Other,
        ] {
            of("write", "/x/y", kind);
        }
    }

    #[test]
    fn a_lab_file_that_is_missing_says_who_named_it_and_which_there_are() {
        let others = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let fixes = |by_variable, names: &[&str]| {
            let report = lab_missing(Path::new("a b/offise.yml"), by_variable, &others(names));
            assert!(report.place.as_deref().is_some_and(|place| place.ends_with("/a b/offise.yml")));
            let fixes: Vec<String> =
                report.fix.iter().map(|(Fix::Say(text) | Fix::Run(text))| text.clone()).collect();
            (report.why.unwrap(), fixes.join("; "))
        };
        let make = "one is made by:; fusionlab init --out 'a b/offise.yml'";
        assert_eq!(fixes(false, &[]), ("--lab names it".to_owned(), make.to_owned()));
        let (why, fix) = fixes(true, &["home.yaml", "office.yaml"]);
        assert!(why.starts_with("FUSIONLAB_LAB"), "{why}");
        assert_eq!(fix, format!("did you mean a b/office.yaml?; {make}"));
        let (_, fix) = fixes(false, &["a.yaml", "b.yml"]);
        assert_eq!(fix, format!("its folder has a.yaml and b.yml; {make}"));
        let (_, fix) = fixes(false, &["1.yml", "2.yml", "3.yml", "4.yml", "5.yml", "6.yml"]);
        assert!(fix.contains("4.yml and 5.yml, …;"), "{fix}");
    }

    #[test]
    fn what_is_no_path_at_all_is_told_with_where_another_one_is_named() {
        let report = Report::no_path(Path::new(""), &ErrorKind::InvalidInput.into(), "name another one");
        assert_eq!((report.what.as_str(), report.fix.len()), ("an empty path names no place", 1));
    }

    #[test]
    fn a_lab_file_that_cannot_be_read_ends_alike_whatever_the_reason() {
        let path = Path::new("/x/lab.yaml");
        let file =
            |kind: ErrorKind| HostError::File { action: "read", path: path.to_owned(), source: kind.into() };
        let content = HostError::Content { path: path.to_owned(), reason: "not UTF-8 after byte 3".into() };
        let errors = [
            file(ErrorKind::IsADirectory),
            file(ErrorKind::PermissionDenied),
            file(ErrorKind::Other),
            content,
        ];
        for error in errors {
            let report = lab_unreadable(path, &error);
            assert_eq!((report.id, report.kind), ("lab-file-unreadable", Kind::LabFile));
            assert!(
                report.what.starts_with("the lab file /x/lab.yaml ") && !report.fix.is_empty(),
                "{report:?}"
            );
        }
    }
}
