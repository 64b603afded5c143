//! A login shell for people: it reads lines as they are typed, and gives each to the machine.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::seam::Chunk;
use super::world::Vm;

/// What one reads who logs in: nobody is to take the model for a machine.
const GREETING: &str = "This machine is simulated: fusionlab's model of a guest, no Linux behind it.\r\n\
     It knows the commands that a lab needs, in plain words; no pipes, no wildcards.\r\n\r\n";
const BACKSPACE: [u8; 2] = [0x7f, 0x08];
const INTERRUPT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;
/// Chunks of a command's output that may wait for the terminal.
const OUTPUT_BUFFER: usize = 64;

/// Where a shell's output goes.
pub trait Terminal: Send + Sync {
    /// Shows bytes; false once nobody looks.
    fn show(&self, bytes: Vec<u8>) -> impl Future<Output = bool> + Send;
}

/// Runs until the user leaves or hangs up; returns the last command's exit status.
pub async fn run(
    vm: Arc<Vm>,
    user: &str,
    mut typed: mpsc::UnboundedReceiver<Vec<u8>>,
    terminal: &impl Terminal,
) -> i32 {
    let prompt = format!("{user}@{}:~$ ", vm.hardware.name);
    let mut status = 0;
    let mut line = String::new();
    terminal.show(GREETING.as_bytes().to_vec()).await;
    terminal.show(prompt.clone().into_bytes()).await;
    while let Some(bytes) = typed.recv().await {
        for byte in bytes {
            let entered = match byte {
                b'\r' | b'\n' => true,
                END_OF_INPUT if line.is_empty() => return status,
                INTERRUPT => {
                    line.clear();
                    terminal.show(b"^C\r\n".to_vec()).await;
                    terminal.show(prompt.clone().into_bytes()).await;
                    false
                }
                byte if BACKSPACE.contains(&byte) => {
                    if line.pop().is_some() {
                        terminal.show(b"\x08 \x08".to_vec()).await;
                    }
                    false
                }
                byte if byte.is_ascii_graphic() || byte == b' ' => {
                    line.push(char::from(byte));
                    terminal.show(vec![byte]).await;
                    false
                }
                _ => false,
            };
            if !entered {
                continue;
            }
            terminal.show(b"\r\n".to_vec()).await;
            match std::mem::take(&mut line).trim() {
                "" => {}
                "exit" | "logout" => return status,
                command => status = execute(&vm, user, command, terminal).await,
            }
            if !terminal.show(prompt.clone().into_bytes()).await {
                return status;
            }
        }
    }
    status
}

async fn execute(vm: &Arc<Vm>, user: &str, line: &str, terminal: &impl Terminal) -> i32 {
    let (output, mut chunks) = mpsc::channel(OUTPUT_BUFFER);
    let machine = vm.machine();
    let show = async {
        while let Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = chunks.recv().await {
            let text = String::from_utf8_lossy(&bytes).replace('\n', "\r\n");
            terminal.show(text.into_bytes()).await;
        }
    };
    let (status, ()) = tokio::join!(machine.exec(user, line, Vec::new(), output), show);
    status
}
