//! Makes text comparable that holds paths, times and ports of one run.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// What differs between two runs of the same thing, and what is put in its place. The order matters.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // First of all: see `varying`.
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d[:-]?\d\d[:-]?\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?", "[WHEN]"),
        // Not the bytes of a MAC address.
        (r"(^|[^:\w])\d\d:\d\d:\d\d(\.\d+)?([^:\w]|$)", "${1}[CLOCK]$3"),
        (r"\b(\d+ h )?(\d+ min )?\d+(\.\d+)? ?(ms|s|min|h)\b", "[TIME]"),
        (r"\b(127\.0\.0\.1|localhost|\[::1\]):\d{2,5}\b", "$1:[PORT]"),
        (r"\b(pid|process) \d+\b", "$1 [PID]"),
        (r"[ \t]+\n", "\n"),
    ]
    .map(|(pattern, replacement)| (Regex::new(pattern).expect("a pattern is well-formed"), replacement))
    .into()
});

/// Returns what varies in what a terminal shows, and what is put in its place, in this order.
pub fn varying() -> impl Iterator<Item = (&'static Regex, &'static str)> {
    // A terminal obeys control sequences, which are the first of them.
    VARYING.iter().skip(1).map(|(pattern, replacement)| (pattern, *replacement))
}

/// Puts names in the place of what varies: the folder becomes `[LAB]`, a time `[TIME]`, a port `[PORT]`.
pub fn shown(text: &str, folder: &Path) -> String {
    let mut text = text.to_owned();
    // On macOS /tmp is a link, and resolved paths name where it leads.
    let resolved = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    for path in [resolved.as_path(), folder] {
        text = text.replace(&*path.to_string_lossy(), "[LAB]");
    }
    for (pattern, replacement) in &*VARYING {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text
}

#[test]
fn what_varies_is_named_and_the_rest_is_kept() {
    let shown = |text: &str| shown(text, Path::new("/tmp/fl-x1"));
    assert_eq!(shown("/tmp/fl-x1/home/a and /tmp/fl-x2"), "[LAB]/home/a and /tmp/fl-x2");
    assert_eq!(
        shown("up in 48 s, 1.2 s, 12 ms, 3 min 20 s and 1 h 05 min"),
        "up in [TIME], [TIME], [TIME], [TIME] and [TIME]"
    );
    assert_eq!(shown("at 2026-08-01T10:03:07.250Z, 12:03:07"), "at [WHEN], [CLOCK]");
    assert_eq!(shown("socks5://127.0.0.1:41077, process 4711"), "socks5://127.0.0.1:[PORT], process [PID]");
    assert_eq!(shown("\x1b[1;31merror\x1b[0m: no\t\nend"), "error: no\nend");
    for kept in ["10.10.0.131:6443", "3 masters", "00:50:56:00:01:02", "v1.36.4", "64 MiB", "exit 11"] {
        assert_eq!(shown(kept), kept);
    }
}
