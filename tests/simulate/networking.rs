//! Fusion's networking file: every line of others' stays as it is, byte for byte, but for what they write themselves.

use std::cell::RefCell;
use std::fs;

use fusionlab::sim::inside::{self, Inside};

use super::invariants::{Found, Violation};
use super::mac::Mac;

const RULE: &str = "networking file";

/// What others have in the file.
pub struct Others {
    /// The file before fusionlab came.
    original: Vec<u8>,
    /// The file as somebody else left it last.
    last: RefCell<Vec<u8>>,
    /// The file as others had left it before.
    earlier: RefCell<Vec<Vec<u8>>>,
}

impl Others {
    pub fn of(mac: &Mac) -> Self {
        // What the Mac's own making wrote is looked at by nobody.
        mac.inside.rewrites();
        let original = read(mac);
        Self { last: RefCell::new(original.clone()), earlier: RefCell::default(), original }
    }

    /// Looks whether others' lines are theirs. What Fusion, its window or a person wrote meanwhile is theirs from then on.
    pub fn still_hold(&self, mac: &Mac) -> Found {
        for (before, after) in mac.inside.rewrites() {
            self.follows(mac, before)?;
            let before = self.last.replace(after);
            self.earlier.borrow_mut().push(before);
        }
        self.follows(mac, read(mac))
    }

    /// Looks whether a file is what others left last. What Fusion's rewriting lost, or its window with what it had read
    /// before, may come back with our lines gone, but for what people have written since.
    fn follows(&self, mac: &Mac, now: Vec<u8>) -> Found {
        let mut last = self.last.borrow_mut();
        let kept =
            lines(&last).into_iter().filter(|line| is_note(line)).all(|line| lines(&now).contains(&line));
        let foreign = self.foreign(mac, &now);
        let is_back = |state: &Vec<u8>| self.foreign(mac, state) == foreign;
        if kept && (now == self.original || self.earlier.borrow().iter().any(is_back)) {
            *last = now;
            return Ok(());
        }
        same(&self.foreign(mac, &last), &foreign)
    }

    /// Returns the lines that are not about our labs' networks, without the names that Fusion has given to others' since:
    /// it gives them again whenever it looks.
    fn foreign(&self, mac: &Mac, bytes: &[u8]) -> Vec<Vec<u8>> {
        let original = lines(&self.original);
        let mut kept = foreign(mac, bytes);
        kept.retain(|line| {
            original.contains(line) || !String::from_utf8_lossy(line).contains("_HOSTONLY_UUID ")
        });
        kept
    }

    /// Says whether the file is the one from before our labs.
    pub fn is_original(&self, mac: &Mac) -> bool {
        read(mac) == self.original
    }

    /// Looks whether the file is as before our labs: to the byte, unless somebody else has changed their lines since, or
    /// two labs' lines went out in another order than they came: then the last line may have got its end.
    pub fn is_back(&self, mac: &Mac) -> Found {
        self.still_hold(mac)?;
        let (now, last) = (read(mac), self.last.borrow());
        if now == self.original {
            return Ok(());
        }
        let (now, original) = (lines(&now), lines(&self.original));
        if mac.second().is_none() && self.foreign(mac, &last) == self.foreign(mac, &self.original) {
            return Err(Violation::of("world as before", difference(&original, &now)));
        }
        match now.iter().find(|line| is_ours(mac, line)) {
            Some(line) => Err(Violation::of("nothing left", String::from_utf8_lossy(line))),
            None => Ok(()),
        }
    }
}

pub fn read(mac: &Mac) -> Vec<u8> {
    fs::read(mac.fusion.networking()).unwrap_or_default()
}

/// Lets somebody else change the file, and takes note of it.
pub fn edit(inside: &Inside, change: impl FnOnce(Vec<Vec<u8>>) -> Vec<Vec<u8>>) {
    let path = inside.places.networking();
    let before = fs::read(&path).unwrap_or_default();
    let after = change(lines(&before)).join(&b'\n');
    let what = difference(&lines(&before), &lines(&after));
    inside.note(format!("{EDITED}: {what}"));
    inside::networking_rewritten(&before, &after);
    fs::write(path, after).expect("it can be written");
}

/// What a note begins with of somebody who edited the file.
pub const EDITED: &str = "somebody edits the networking file";

/// What others write, who know nothing of us.
const NOTES: &[&[&str]] = &[
    &["# Asked the network people."],
    &["answer VNET_8_NAT_PARAM_UDP_TIMEOUT 45"],
    &["add_dhcp_mac_to_ip 8 00:0C:29:77:00:01 192.168.215.77"],
    &[
        "answer VNET_9_DHCP yes",
        "answer VNET_9_HOSTONLY_NETMASK 255.255.255.0",
        "answer VNET_9_HOSTONLY_SUBNET 172.16.99.0",
        "answer VNET_9_VIRTUAL_ADAPTER yes",
    ],
];

fn is_note(line: &[u8]) -> bool {
    NOTES.iter().flat_map(|notes| notes.iter()).any(|note| note.as_bytes() == line)
}

/// Lets somebody else write something of theirs into the file, at its beginning or its end.
pub fn others_write(inside: &Inside, chance: u64) {
    let notes = NOTES[usize::try_from(chance).unwrap_or(0) % NOTES.len()];
    edit(inside, |mut lines| {
        let unfinished = lines.last().is_some_and(|last| !last.is_empty());
        let at = if notes[0].starts_with('#') { 1 } else { lines.len() - usize::from(!unfinished) };
        for (number, note) in notes.iter().enumerate() {
            lines.insert((at + number).min(lines.len()), note.as_bytes().to_vec());
        }
        lines
    });
}

/// Returns the file's lines with their carriage returns, and without what ends the last of them.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Says whether a line is about a network of our labs.
pub fn is_ours(mac: &Mac, line: &[u8]) -> bool {
    mac.labs().any(|lab| is_of_network(lab.internal.vmnet, line))
}

/// Says whether a line is about one network of ours.
fn is_of_network(vmnet: u8, line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let vmnet = vmnet.to_string();
    match words.as_slice() {
        ["answer" | "remove_answer", key, ..] => key.starts_with(&format!("VNET_{vmnet}_")),
        ["add_dhcp_mac_to_ip", number, mac, ..] => *number == vmnet && !is_strangers(mac),
        _ => false,
    }
}

/// Returns the lines that say how one network of ours is to be, in order.
pub fn of_network(mac: &Mac, vmnet: u8) -> Vec<Vec<u8>> {
    let mut kept = ours(mac);
    kept.retain(|line| is_of_network(vmnet, line));
    kept
}

/// Says whether a MAC is one that VMware gave: ours are ours to choose.
fn is_strangers(mac: &str) -> bool {
    mac.to_ascii_lowercase().starts_with("00:0c:29")
}

/// Returns the lines that say how our labs' networks are to be, in order; Fusion's own notes of them are none.
pub fn ours(mac: &Mac) -> Vec<Vec<u8>> {
    let mut kept = lines(&read(mac));
    kept.retain(|line| is_ours(mac, line) && !is_fusions_own(line));
    kept.iter_mut().for_each(|line| line.retain(|byte| *byte != b'\r'));
    kept.sort();
    kept
}

/// Says whether a line is Fusion's own note of what it made of the others, which it makes anew each time that it looks.
fn is_fusions_own(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().nth(1).is_some_and(|key| key.ends_with("_CFG_HASH"))
}

/// Returns the lines that are not about our labs' networks.
fn foreign(mac: &Mac, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut kept = lines(bytes);
    kept.retain(|line| !is_ours(mac, line) && !is_fusions_own(line));
    // The last line's end comes and goes with what follows it.
    while kept.last().is_some_and(|line| line.iter().all(u8::is_ascii_whitespace)) {
        kept.pop();
    }
    if let Some(last) = kept.last_mut() {
        last.retain(|byte| *byte != b'\r');
    }
    kept
}

fn same(was: &[Vec<u8>], is: &[Vec<u8>]) -> Found {
    if was == is { Ok(()) } else { Err(Violation::of(RULE, difference(was, is))) }
}

pub fn difference(was: &[Vec<u8>], is: &[Vec<u8>]) -> String {
    let show = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
    let gone: Vec<String> = was.iter().filter(|line| !is.contains(line)).map(show).collect();
    let new: Vec<String> = is.iter().filter(|line| !was.contains(line)).map(show).collect();
    format!("gone: {gone:?}, new: {new:?}, lines {} and {}", was.len(), is.len())
}
