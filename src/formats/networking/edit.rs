//! Editing the networking file: the least change that fulfils a wish, and the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::change::undoable;
use super::directive::{Directive, Row};
use super::model::{HASH, Model};
use super::wish::{Conflict, Ours, Wanted, Wish, conflicts};
use super::{Document, Line, strict};
use crate::formats::lines::{self, Ending};
use crate::formats::mac::Mac;

impl Document {
    /// Returns this file with the wish fulfilled: only lines that must change do, others are appended, and
    /// a file that fulfils it already comes back as it is.
    ///
    /// # Errors
    /// Every conflict with what is there and not ours.
    pub fn ensure(&self, wish: &Wish, ours: Ours) -> Result<Self, Vec<Conflict>> {
        let conflicts = conflicts(&self.model, wish, &ours);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut lines = self.lines.clone();
        // A network that is there and not ours has all it needs, or there would have been a conflict.
        if ours.vmnet || !self.model.vmnet(wish.vmnet).exists {
            answer(&mut lines, &self.model, wish.vmnet, wish.answers());
        }
        reserve(&mut lines, &self.model, wish, &ours);
        Ok(Self::of(lines))
    }

    /// Returns this file without our lines: with `made_vmnet` every answer and reservation of the vmnet,
    /// those that Fusion added included; else only the given reservations.
    pub fn without(&self, vmnet: u8, made_vmnet: bool, reservations: &[(Mac, Ipv4Addr)]) -> Self {
        let given: BTreeSet<_> = reservations.iter().copied().collect();
        self.retaining(|directive| match directive {
            Directive::Answer { .. }
            | Directive::RemoveAnswer { .. }
            | Directive::RemoveReservation { .. } => !made_vmnet || directive.vmnet() != Some(vmnet),
            Directive::AddReservation { vmnet: of, mac, address } => {
                *of != vmnet || !(made_vmnet || given.contains(&(*mac, *address)))
            }
            _ => true,
        })
    }

    /// Returns this file with those of its known lines that are to stay, and all others.
    pub(super) fn retaining(&self, stays: impl Fn(&Directive) -> bool) -> Self {
        let lines = self.lines.iter().filter(|line| line.text.directive().is_none_or(&stays));
        Self::of(lines.cloned().collect())
    }

    /// Says whether every comment, and every line that we do not know, was in an earlier file too.
    fn says_nothing_new(&self, earlier: &Self) -> bool {
        let words = |document: &Self| -> BTreeSet<Vec<u8>> {
            let others = document.lines.iter().filter(|line| line.text.is_others());
            others.map(|line| line.text.as_ref().to_vec()).collect()
        };
        words(self).is_subset(&words(earlier))
    }

    /// Returns this file with a network's answers as they were in another one.
    fn with_answers_of(&self, former: &Model, vmnet: u8) -> Self {
        let mut answers = former.answers(vmnet);
        // Whatever else was said of it is still there: we change no other answers.
        answers.retain(|key, value| key != HASH && strict::answer(key, value).is_ok());
        let mut lines = self.lines.clone();
        answer(&mut lines, &self.model, vmnet, answers);
        Self::of(lines)
    }
}

/// Gives a network's answers that are not in effect: each in its place if it has one, else as a new last line.
pub(super) fn answer<K: AsRef<str>>(
    lines: &mut Vec<Line<Row>>,
    model: &Model,
    vmnet: u8,
    answers: impl IntoIterator<Item = (K, String)>,
) {
    let in_effect = |key: &str, value: &str| {
        model.answer(vmnet, key).is_some_and(|there| there.eq_ignore_ascii_case(value))
    };
    let mut places: Option<BTreeMap<String, usize>> = None;
    for (key, value) in answers {
        let key = key.as_ref();
        if in_effect(key, &value) {
            continue;
        }
        let row = Row::new(format!("answer VNET_{vmnet}_{key} {value}").as_bytes());
        match places.get_or_insert_with(|| places_of_answers(lines, vmnet)).get(key) {
            Some(&place) => {
                // A new line has the file's own ending, whatever the old one in its place had.
                let usual = lines::ending_of(lines);
                let line = &mut lines[place];
                line.text = row;
                if line.ending != Ending::None {
                    line.ending = usual;
                }
            }
            None => lines::append(lines, row),
        }
    }
}

/// Returns where each answer of a network stands that is in effect.
fn places_of_answers(lines: &[Line<Row>], vmnet: u8) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (place, line) in lines.iter().enumerate() {
        match line.text.directive() {
            Some(Directive::Answer { vmnet: of, key, .. }) if *of == vmnet => {
                places.insert(key.clone(), place);
            }
            Some(Directive::RemoveAnswer { vmnet: of, key }) if *of == vmnet => {
                places.remove(key);
            }
            _ => {}
        }
    }
    places
}

/// Reserves the wished addresses. Reservations that contradict them go, and those of ours that are no longer
/// wished.
fn reserve(lines: &mut Vec<Line<Row>>, model: &Model, wish: &Wish, ours: &Ours) {
    let wanted = Wanted::of(wish);
    let own: BTreeSet<_> = ours.reservations.iter().copied().collect();
    let is_stale = |there: &(Mac, Ipv4Addr)| {
        wanted.contradicts(*there) || (own.contains(there) && !wanted.contains(*there))
    };
    let stale: BTreeSet<Mac> = model.reserved(wish.vmnet).filter(is_stale).map(|(mac, _)| mac).collect();
    if !stale.is_empty() {
        // Every line of such a MAC goes: an earlier one would come into effect again in the last one's place.
        lines.retain(|line| match line.text.directive() {
            Some(Directive::AddReservation { vmnet, mac, .. }) => {
                *vmnet != wish.vmnet || !stale.contains(mac)
            }
            _ => true,
        });
    }
    let there: BTreeSet<_> = model.reserved(wish.vmnet).filter(|(mac, _)| !stale.contains(mac)).collect();
    for &(mac, address) in &wish.reservations {
        if wanted.contains((mac, address)) && !there.contains(&(mac, address)) {
            let line = format!("add_dhcp_mac_to_ip {} {mac} {address}", wish.vmnet);
            lines::append(lines, Row::new(line.as_bytes()));
        }
    }
}

/// Returns the file's bytes once our lines are out of it.
///
/// If that leaves what the file meant before our first change, these are the bytes of back then, so that
/// comments, order and the final newline come back too; Fusion's own hashes do not count. If Fusion or
/// somebody else has changed something since, were it only a comment, it is kept, and only our lines go,
/// except that leavings of an older network under our number come back. The same holds if the bytes of back
/// then spell somebody else's lines in a way that root would not write ([`confined`](super::confined)). A
/// current file that we cannot read stays as it is.
pub fn restore(
    current: &[u8],
    before: Option<&[u8]>,
    vmnet: u8,
    made_vmnet: bool,
    reservations: &[(Mac, Ipv4Addr)],
) -> Vec<u8> {
    let Ok(document) = Document::parse(current) else { return current.to_vec() };
    let left = document.without(vmnet, made_vmnet, reservations);
    let Some(original) = before.and_then(|bytes| Document::parse(bytes).ok()) else { return left.render() };
    let meaning = |document: &Document| document.model.clone().without_answers(&[HASH]);
    let same = meaning(&left) == meaning(&original.without(vmnet, made_vmnet, reservations));
    if same && left.says_nothing_new(&original) && undoable(&document, &original, vmnet) {
        return original.render();
    }
    if !made_vmnet {
        return left.render();
    }
    // Leavings of an older network are not ours: its identity above all. Lines that say what was said before
    // stay where they are.
    let former = &original.model;
    document
        .retaining(|directive| match directive {
            Directive::Answer { vmnet: of, key, value } if *of == vmnet => {
                key != HASH && former.answer(vmnet, key) == Some(value)
            }
            Directive::RemoveAnswer { .. }
            | Directive::AddReservation { .. }
            | Directive::RemoveReservation { .. } => directive.vmnet() != Some(vmnet),
            _ => true,
        })
        .with_answers_of(former, vmnet)
        .render()
}
