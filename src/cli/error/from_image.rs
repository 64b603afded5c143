//! Advice on disk images that cannot be read, and on disks that cannot be written.

use std::path::Path;

use super::{Kind, Report};
use crate::cli::words;
use crate::formats::block::BadDisk;
use crate::formats::command::Command;

/// Returns what is told of an image that cannot be read.
pub(super) fn unreadable(path: &Path, bad: &BadDisk) -> Report {
    let report = |id| Report::new(id, Kind::HostCheck, bad.to_string()).at(path.display().to_string());
    let convert = |report: Report| {
        report.advise("with qemu-img, on any machine that has it, one without can be made of it:").run(
            Command::new(["qemu-img", "convert", "-O", "qcow2", &path.display().to_string(), "whole.qcow2"])
                .shell_line(),
        )
    };
    match bad {
        BadDisk::Io(_) => report("file-failed"),
        BadDisk::NotADisk(_) => report("image-not-a-disk")
            .because("the link leads to something else, or the file must be unpacked first")
            .advise("images are read as qcow2, VMDK, or a raw disk with a partition table")
            .run(Command::new(["file", &path.display().to_string()]).shell_line()),
        BadDisk::Encrypted => report("image-encrypted")
            .because("there is no way to say its key here")
            .advise("use the image that its maker publishes without encryption, or decrypt it first"),
        BadDisk::Backed(_) => {
            convert(report("image-backed").because("without the other file it is only a part of a disk"))
        }
        BadDisk::ExternalData => convert(
            report("image-external-data").because("the file has the tables of a disk, and not the disk"),
        ),
        BadDisk::Unsupported(_) => convert(report("image-unsupported").because("few images use it")),
        BadDisk::Truncated(_) => report("image-truncated")
            .because("a copy or a download of it was cut off")
            .advise("compare its size and digest with those of the original, and fetch it anew"),
        BadDisk::Corrupt(_) => report("image-corrupt")
            .because("the file was damaged, on a disk or on its way here")
            .advise("compare its digest with the original's, and fetch it anew"),
    }
}

/// Returns what is told of a disk that does not fit.
pub(super) fn capacity(path: &Path, size: u64, wished: u64) -> Report {
    let what = format!("a disk of {} cannot become one of {}", words::bytes(size), words::bytes(wished));
    Report::new("image-size", Kind::Usage, what)
        .at(path.display().to_string())
        .because("a disk only grows, and a VMDK has from 64 KiB to 2 TiB")
        .advise(format!("leave the size out, or choose one from {size} bytes to 2 TiB"))
}

/// Returns what is told where something stands already.
pub(super) fn exists(path: &Path) -> Report {
    Report::new("file-exists", Kind::Usage, format!("{} exists already", path.display()))
        .because("nothing is overwritten that somebody may still want")
        .advise("choose another name, or move the file away")
}

/// Returns what is told where another process is at work.
pub(super) fn being_written(path: &Path) -> Report {
    Report::new("image-busy", Kind::Locked, format!("{} is being written by another process", path.display()))
        .because("two would spoil each other's work")
        .advise("wait until it is done; one that was killed is not in the way")
}
