//! Screens as they were last agreed on, in `tests/golden/screens/`: `VERB.txt` without colours, `VERB.ansi` with them (`cat`
//! shows it as a terminal does). `UPDATE_SCREENS=1` writes them anew; look at the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use similar::TextDiff;

use super::picture::Picture;
use super::typed::DOCUMENT;
use crate::support::shown;

/// What differs from Mac to Mac or from run to run besides what [`shown::varying`] knows, and what is put in its place.
static OF_THIS_RUN: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // The run's stopwatch.
        (r"^(\d+ of \d+ steps?.*) \d+:\d\d$", "$1 [TIME]"),
        // The last line of what is looked at again and again may be half there.
        (r"^looked at \[CLOCK\].*$", "looked at [CLOCK], again"),
        // Room on the disk counts among them.
        (r"^(\d+ checks), .*$", "$1"),
        // A drill's measurements, and whether anything was felt at all.
        (r" +(none|\[TIME\]) +(\[TIME\]) +\d+ of \d+$", " [TIME] $2 [COUNT]"),
        (r"the longest outage was \[TIME\]|nobody felt anything", "the longest outage was [TIME]"),
        // How many files a bundle has, some of which a run writes only if it has something to say, and their sizes.
        (r"^(\D+?) +\d+ +\d+(\.\d+)? ([KM]i)?B$", "$1 [SIZE]"),
        (r"^\d+(\.\d+)? ([KM]i)?B(, and you alone)", "[SIZE]$3"),
        // What is right-aligned moves what stands before it.
        (r" +\[TIME\]", " [TIME]"),
        (r" +(OUTAGE|LIMIT|UNANSWERED)\b", " $1"),
        (r"^HOLDS +FILES +SIZE$", "HOLDS FILES SIZE"),
    ]
    .map(|(pattern, with)| (Regex::new(pattern).expect("a pattern is well-formed"), with))
    .into()
});

/// Of several nodes: which got its certificate first, and which got more pods than others.
static OF_SEVERAL_NODES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"(^ {14}|, on )k8s-(master|worker)\d$", "${1}[NODE]"),
        (r"^(k8s-\w+) +\d\S*( [KMG]iB)? of (\S+ GiB) +", "$1 [MEMORY] of $3 "),
        // How wide the widest of these is.
        (r"^(NAME +MEMORY) +DISK", "$1 DISK"),
        (r"^(gateway\d +\S+ of \S+ MiB) +", "$1 "),
    ]
    .map(|(pattern, with)| (Regex::new(pattern).expect("a pattern is well-formed"), with))
    .into()
});

/// A duration at the right edge.
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r" {2,}\[TIME\]$").expect("a pattern is well-formed"));

/// What begins lines that this computer's disk and clock decide: also where they are broken, and whether advice follows.
const OF_THIS_COMPUTER: [&str; 6] = [
    "disk  ",
    "this Mac  ",
    "✓ room for their disks",
    "! room for their disks",
    "✗ room for their disks",
    "✓ the clock  ",
];

/// Puts a word in the place of a certificate's digest, which takes more than a line on most screens.
pub fn without_digests(written: &str) -> String {
    static DIGEST: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b").expect("a pattern is well-formed"));
    DIGEST.replace_all(written, "[DIGEST]").into_owned()
}

/// One verb's screens.
pub struct Screens<'a> {
    /// The folder of its files: what stands while it runs.
    pub place: &'a str,
    pub verb: &'a str,
    pub all: Vec<Screen>,
}

/// What one verb wrote to a terminal of some width.
pub struct Screen {
    pub width: u16,
    pub coloured: Picture,
    /// The same without colours; none of what is drawn anew all the time.
    pub plain: Option<Picture>,
}

impl Screens<'_> {
    /// Compares with what was agreed on, or writes it. Returns what differs; `home` is where the run's own paths begin.
    pub fn compare(self, home: &Path) -> Vec<String> {
        let (mut bare, mut coloured, mut wrong) = (String::new(), String::new(), Vec::new());
        for mut screen in self.all {
            name(&mut screen.coloured, self.place, home);
            let head = format!("── {} · {} columns ──\n", self.verb, screen.width);
            bare.push_str(&format!("{head}{}\n", screen.coloured.bare()));
            coloured.push_str(&format!("{head}{}\n", screen.coloured.coloured()));
            if let Some(mut plain) = screen.plain {
                name(&mut plain, self.place, home);
                if plain.bare() != screen.coloured.bare() {
                    wrong.push(format!("{head}without colours it is another:\n{}", plain.bare()));
                }
            }
        }
        let words = self.verb.replace(|letter: char| !letter.is_ascii_alphanumeric(), " ");
        let file = words.split_whitespace().collect::<Vec<_>>().join("-");
        let file = |kind: &str| folder().join(self.place).join(format!("{file}.{kind}"));
        wrong.extend([agree(&file("txt"), &bare), agree(&file("ansi"), &coloured)].into_iter().flatten());
        wrong
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/screens")
}

/// Puts names in the place of what varies.
fn name(picture: &mut Picture, place: &str, home: &Path) {
    let home = Regex::new(&regex::escape(&home.to_string_lossy())).expect("an escaped text is well-formed");
    picture.replace(&home, "[LAB]");
    OF_THIS_COMPUTER.iter().for_each(|line| picture.leave_out(line));
    for (pattern, with) in shown::varying() {
        picture.replace(pattern, with);
    }
    // Which checks took long enough to say how long.
    picture.cut(&["✓ ", "✗ "], &DURATION);
    let of_several = OF_SEVERAL_NODES.iter().filter(|_| place == DOCUMENT);
    for (pattern, with) in OF_THIS_RUN.iter().chain(of_several) {
        picture.replace(pattern, with);
    }
}

fn agree(file: &Path, now: &str) -> Option<String> {
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("the folder can be made");
        fs::write(file, now).expect("the file can be written");
        return None;
    }
    let agreed = fs::read_to_string(file).unwrap_or_default();
    if agreed == now {
        return None;
    }
    let changes = TextDiff::from_lines(agreed.as_str(), now);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Control sequences are shown, not obeyed.
    let changes = changes.unified_diff().context_radius(1).to_string().replace('\u{1b}', "␛");
    Some(format!("{name} is another (UPDATE_SCREENS=1 takes it):\n{changes}"))
}
