//! The work of a conversion, shared among threads.
//!
//! A worker takes an empty buffer, then the next window with its number, unpacks, and hands the buffer on; the calling
//! thread writes the windows in the order of their numbers and gives the buffers back. Who waits for a buffer has no number
//! yet, so the lowest number is always being worked on: nothing can come to a standstill.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::formats::block::{BadDisk, ReadAt};
use crate::formats::image::{Image, Windows};
use crate::formats::unpack::Unpacker;
use crate::formats::vmdk::data_runs;
use crate::host::{HostError, Result};

/// Bytes of all windows in memory. Each worker also holds a packed piece, which is at most as large as a window.
const BUDGET: usize = 32 << 20;
/// Windows for each worker: one that is unpacked, one that waits to be written.
const PER_WORKER: usize = 2;

/// Where workers get their work: one at a time.
struct Desk {
    windows: Windows,
    empty: Receiver<Vec<u8>>,
    next_number: u64,
}

/// A window that was unpacked.
struct Unpacked {
    number: u64,
    outcome: Result<Content, BadDisk>,
}

struct Content {
    start: u64,
    buffer: Vec<u8>,
    /// The parts that are not zeros.
    runs: Vec<Range<usize>>,
}

/// Unpacks the whole image and calls `write` with each stretch of data and its place on the disk, in order.
///
/// # Errors
/// Of `write`; of the image, as `unreadable` says it; or [`HostError::Interrupted`].
pub(super) fn run(
    image: Image,
    unreadable: impl Fn(BadDisk) -> HostError,
    write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
    cancelled: &dyn Fn() -> bool,
) -> Result<()> {
    let (windows, file) = image.windows();
    let (total, size) = (windows.disk_size(), windows.window_size());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let buffers = (cores * PER_WORKER).min(BUDGET / size);
    let workers = buffers.div_ceil(PER_WORKER);
    let (give_back, empty) = channel();
    for _ in 0..buffers {
        // The receiver lives until the workers end.
        let _ = give_back.send(vec![0; size]);
    }
    let desk = Mutex::new(Desk { windows, empty, next_number: 0 });
    let (hand_on, unpacked) = channel();
    thread::scope(|scope| {
        // Moved in, so that both ends are gone when this returns early, which ends the workers.
        let (unpacked, give_back) = (unpacked, give_back);
        for _ in 0..workers {
            let (hand_on, file, desk) = (hand_on.clone(), &*file, &desk);
            scope.spawn(move || work(desk, file, &hand_on));
        }
        drop(hand_on);
        let mut waiting = BTreeMap::new();
        for next in 0.. {
            if cancelled() {
                return Err(HostError::Interrupted);
            }
            while !waiting.contains_key(&next) {
                let Ok(Unpacked { number, outcome }) = unpacked.recv() else {
                    progress(total, total);
                    return Ok(());
                };
                waiting.insert(number, outcome);
            }
            let outcome = waiting.remove(&next).expect("the window just came");
            let Content { start, buffer, runs } = outcome.map_err(&unreadable)?;
            for run in runs {
                write(start + run.start as u64, &buffer[run])?;
            }
            progress((start + size as u64).min(total), total);
            // Workers that ended need no more buffers.
            let _ = give_back.send(buffer);
        }
        unreachable!("there are fewer windows than numbers")
    })
}

/// Works until there is nothing left to unpack, or nobody to unpack for.
fn work(desk: &Mutex<Desk>, file: &dyn ReadAt, hand_on: &Sender<Unpacked>) {
    let mut unpacker = Unpacker::default();
    loop {
        let (number, mut buffer, window) = {
            // A worker that panicked ends the program when the scope ends; until then the others may go on.
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(buffer) = desk.empty.recv() else { return };
            let window = match desk.windows.next_window() {
                Ok(Some(window)) => Ok(window),
                Ok(None) => return,
                Err(bad) => Err(bad),
            };
            desk.next_number += 1;
            (desk.next_number - 1, buffer, window)
        };
        let outcome = window.and_then(|window| {
            window.fill(file, &mut unpacker, &mut buffer)?;
            let runs = data_runs(&buffer);
            Ok(Content { start: window.start, buffer, runs })
        });
        let failed = outcome.is_err();
        if hand_on.send(Unpacked { number, outcome }).is_err() || failed {
            return;
        }
    }
}
