//! Backups of Fusion's networking file as a table.

use serde::Serialize;

use super::table::{Cell, Table};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::networking::Scope;

/// Characters of a digest that are shown; a beginning is enough to name a backup.
const DIGEST: usize = 12;

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupLine {
    pub name: String,
    /// When it was taken, in RFC 3339.
    pub taken: String,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    pub bytes: u64,
    /// What putting it back would change; none if it cannot be read.
    pub differs: Option<Scope>,
}

/// Returns a line for each backup.
pub fn lines(backups: &[BackupLine], pen: &Pen) -> Vec<String> {
    let mut table = Table::new(["BACKUP", "TAKEN", "DIGEST", ">SIZE", "DIFFERS IN"])
        .leaving_out(["DIGEST", "SIZE", "TAKEN"]);
    for backup in backups {
        table.row([
            Cell::plain(&backup.name),
            Cell::plain(&backup.taken),
            Cell::plain(backup.digest.get(..DIGEST).unwrap_or(&backup.digest)),
            Cell::plain(words::bytes(backup.bytes)),
            match backup.differs {
                None => Cell::inked(Ink::Bad, "unreadable"),
                Some(Scope::Nothing) => Cell::inked(Ink::Dim, "nothing"),
                Some(Scope::Text) => Cell::plain("comments"),
                Some(Scope::Reservations) => Cell::plain("reservations"),
                Some(Scope::Networks) => Cell::plain("networks"),
            },
        ]);
    }
    table.lines(pen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_a_line_that_ends_with_what_differs() {
        let backup = |differs| BackupLine {
            name: "20260801T100307Z-0011aabbccdd".to_owned(),
            taken: "2026-08-01T10:03:07Z".to_owned(),
            digest: "0011aabbccddeeff".to_owned(),
            bytes: 643,
            differs,
        };
        let backups = [backup(Some(Scope::Networks)), backup(Some(Scope::Nothing)), backup(None)];
        let lines = lines(&backups, &Pen::plain(100));
        assert_eq!(
            lines[..2],
            [
                "BACKUP                         TAKEN                 DIGEST         SIZE  DIFFERS IN",
                "20260801T100307Z-0011aabbccdd  2026-08-01T10:03:07Z  0011aabbccdd  643 B  networks",
            ]
        );
        assert!(lines[2].ends_with("nothing") && lines[3].ends_with("unreadable"));
        let narrow = super::lines(&backups, &Pen::plain(50));
        assert_eq!(narrow[1], "20260801T100307Z-0011aabbccdd  networks");
    }
}
