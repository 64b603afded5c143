//! A command that a guest's SSH server runs: its output on the way to whoever listens, and the faults that befall it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::faults;
use super::seam::Chunk;
use super::world::Vm;

/// Chunks of a command's output that may wait for the network.
const OUTPUT_BUFFER: usize = 64;
/// How far a command gets before a fault cuts it short, in a real Mac's time.
const MIDDLE_OF_A_COMMAND: Duration = Duration::from_millis(500);
/// A flood: a hundred megabytes in pieces.
const FLOOD_PIECE: usize = 64 * 1024;
const FLOOD_PIECES: usize = 1_600;
/// A line that is no text, clears the screen, names the window, rings, and ends with a character that nobody sees.
const BABBLE: &[u8] = b"\xff\xfe\x1b[2J\x1b]0;pwned\x07\x07\x00babble\xe2\x80\xae\n";

/// Whoever ran a command.
pub trait Listener: Send + Sync {
    /// Takes a piece of its output; false once nobody listens.
    fn hear(&self, chunk: Chunk) -> impl Future<Output = bool> + Send;
}

/// Runs a command to its end, whether or not somebody still listens; returns its exit status.
pub async fn run(vm: &Arc<Vm>, user: &str, line: &str, input: Vec<u8>, listener: &impl Listener) -> i32 {
    let (output, mut chunks) = mpsc::channel(OUTPUT_BUFFER);
    let machine = vm.machine();
    let pump = async {
        while let Some(chunk) = chunks.recv().await {
            if !listener.hear(chunk).await {
                break;
            }
        }
        // A command that still writes must not wait for ever.
        while chunks.recv().await.is_some() {}
    };
    let (status, ()) = tokio::join!(machine.exec(user, line, input, output), pump);
    status
}

/// Does what a guest must not do before it runs a command, if a fault was planted for it.
pub async fn misbehave(vm: &Vm, listener: &impl Listener) {
    if vm.fault(faults::GUEST_STALLS) {
        std::future::pending::<()>().await;
    }
    if vm.fault(faults::GUEST_BABBLES) {
        listener.hear(Chunk::Stderr(BABBLE.to_vec())).await;
    }
    if vm.fault(faults::GUEST_FLOODS) {
        for _ in 0..FLOOD_PIECES {
            if !listener.hear(Chunk::Stdout(vec![b'x'; FLOOD_PIECE])).await {
                break;
            }
        }
    }
}

/// Returns when the connection breaks in the middle of the command, if a fault was planted for it; otherwise never.
pub async fn broken(vm: &Arc<Vm>) {
    let drops = vm.fault(faults::SSH_DROPS);
    let dies = vm.fault(faults::POWER_LOST);
    if !drops && !dies {
        std::future::pending::<()>().await;
    }
    vm.pass(MIDDLE_OF_A_COMMAND).await;
    if dies {
        vm.lose_power();
    }
}
