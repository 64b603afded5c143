//! Our own standard input, on its way to a guest's command while both run.

use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PIECE: usize = 64 * 1024;
/// Pieces that are read ahead of what the guest takes.
const AHEAD: usize = 16;

/// Says whether somebody types there: then nothing is read, since nobody would end it.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Reads it in a thread of its own, until its end or until nobody takes it any more.
pub fn feed() -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(AHEAD);
    let read = move || {
        let mut input = io::stdin().lock();
        let mut piece = vec![0; PIECE];
        loop {
            match input.read(&mut piece) {
                Ok(0) => return,
                Ok(count) if sender.send(piece[..count].to_vec()).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    // If the system has no thread left, the input is empty.
    drop(std::thread::Builder::new().name("input".to_owned()).spawn(read));
    receiver
}

/// Reads single keys in a thread of its own, for as long as somebody takes them.
pub fn keys() -> UnboundedReceiver<u8> {
    let (sender, receiver) = unbounded_channel();
    let read = move || {
        for key in io::stdin().lock().bytes() {
            match key {
                Ok(key) if sender.send(key).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    // If the system has no thread left, nothing is typed.
    drop(std::thread::Builder::new().name("keys".to_owned()).spawn(read));
    receiver
}
