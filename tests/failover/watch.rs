//! Who holds the VIPs, looked at all the time from inside the gateways' own namespaces.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::pair::{GATEWAYS, Holds, Pair};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What each gateway held at a moment.
pub type Look = (Instant, [Holds; 2]);

/// A watch over both gateways.
pub struct Watch {
    ending: Arc<AtomicBool>,
    /// Of each gateway whether its time stands still: what it holds then, nobody can tell from outside.
    still: Arc<[AtomicBool; 2]>,
    thread: JoinHandle<Vec<Look>>,
}

impl Watch {
    pub fn start(pair: &Pair) -> Self {
        let files = GATEWAYS.map(|gateway| pair.process_file(gateway));
        let (ending, still) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicBool; 2]>::default());
        let (told, frozen) = (ending.clone(), still.clone());
        let thread = std::thread::spawn(move || {
            let mut looks = Vec::new();
            while !told.load(Ordering::Relaxed) {
                looks.push((Instant::now(), look(&files, &frozen)));
                std::thread::sleep(LOOK);
            }
            looks
        });
        Self { ending, still, thread }
    }

    pub fn stands_still(&self, gateway: usize, still: bool) {
        self.still[gateway].store(still, Ordering::Relaxed);
    }

    pub fn end(self) -> Vec<Look> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only looks")
    }
}

fn look(files: &[PathBuf; 2], still: &[AtomicBool; 2]) -> [Holds; 2] {
    std::array::from_fn(|gateway| match still[gateway].load(Ordering::Relaxed) {
        true => Holds::default(),
        false => Holds::of(&files[gateway]),
    })
}

/// What was seen of the holders between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holders {
    /// Seconds in which a VIP had two holders.
    pub two: f64,
    /// Seconds in which a VIP had none.
    pub none: f64,
    /// How often a VIP went to the other gateway.
    pub moves: usize,
}

impl Holders {
    pub fn between(looks: &[Look], from: Instant, to: Instant) -> Self {
        let mut seen = Self::default();
        let inside: Vec<&Look> = looks.iter().filter(|(at, _)| (from..to).contains(at)).collect();
        for pair in inside.windows(2) {
            let [(at, holds), (next, _)] = [*pair[0], *pair[1]];
            let lasted = next.duration_since(at).as_secs_f64();
            let counts = [holds.map(|one| one.lan), holds.map(|one| one.internal)]
                .map(|vip| vip.into_iter().filter(|held| *held).count());
            seen.two += if counts.contains(&2) { lasted } else { 0.0 };
            seen.none += if counts.contains(&0) { lasted } else { 0.0 };
        }
        let one = |holds: &[Holds; 2]| match holds.map(|one| one.lan) {
            [true, false] => Some(0),
            [false, true] => Some(1),
            _ => None,
        };
        let mut holders: Vec<usize> = inside.iter().filter_map(|(_, holds)| one(holds)).collect();
        holders.dedup();
        seen.moves = holders.len().saturating_sub(1);
        seen
    }
}

#[test]
fn holders_are_counted_by_how_long_they_were_seen() {
    let (yes, no) = (Holds { lan: true, internal: true }, Holds::default());
    let began = Instant::now();
    let at = |milliseconds| began + Duration::from_millis(milliseconds);
    let looks = [
        (at(0), [yes, no]),
        (at(100), [no, no]),
        (at(300), [yes, no]),
        (at(400), [yes, yes]),
        (at(900), [no, yes]),
        (at(1000), [no, yes]),
    ];
    let seen = Holders::between(&looks, at(0), at(1001));
    assert!((seen.none - 0.2).abs() < 1e-9 && (seen.two - 0.5).abs() < 1e-9, "{seen:?}");
    assert_eq!(seen.moves, 1, "gone and back is no move");
}
