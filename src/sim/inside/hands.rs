//! What people do to the simulated Mac itself: they cut its power, start it anew, let it sleep, set its clock, and work on
//! its machines' consoles.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Inside, State, draw};
use crate::sim::command::{self, Listener};
use crate::sim::seam::Chunk;
use crate::sim::{install, network, pace};

/// How long a Mac takes from a power cut until somebody logs in and goes on.
const REBOOT: Duration = Duration::from_secs(90);

impl Inside {
    /// Sets the Mac's clock.
    pub fn set_clock(&self, by_ms: i64) {
        self.note(format!("the clock jumps by {} s", by_ms / 1000));
        self.state().jumped_ms += by_ms;
    }

    /// Takes the power from everything, and gives it back: machines are off, no network runs, and of the files there is
    /// what was synced.
    ///
    /// # Errors
    /// If the networks' state cannot be written.
    pub async fn power_cut(&self) -> io::Result<()> {
        self.note("the Mac loses power");
        self.pull_plugs();
        let lost = {
            let mut state = self.state();
            let State { unsynced, draws, .. } = &mut *state;
            unsynced.lose(&mut || draw(draws))
        };
        lost.into_iter().for_each(|text| self.note(text));
        self.boot().await
    }

    /// Starts the Mac anew, in good order: nothing of its files is lost.
    ///
    /// # Errors
    /// If the networks' state cannot be written.
    pub async fn reboot(&self) -> io::Result<()> {
        self.note("the Mac is started anew");
        self.pull_plugs();
        self.boot().await
    }

    /// Ends the programs that hang, as whoever reads that they keep a lab does.
    pub fn end_hanging_programs(&self) {
        std::mem::replace(&mut self.state().patience, CancellationToken::new()).cancel();
    }

    /// Returns what is cancelled when the Mac's power goes.
    pub fn power(&self) -> CancellationToken {
        self.state().power.clone()
    }

    /// Ends every machine, every program that is at work, and whoever called it.
    fn pull_plugs(&self) {
        self.kill_all();
        let (world, power) = {
            let mut state = self.state();
            (state.world.take(), std::mem::replace(&mut state.power, CancellationToken::new()))
        };
        power.cancel();
        if let Some(world) = world {
            world.quit();
        }
    }

    async fn boot(&self) -> io::Result<()> {
        network::stop(&self.places)?;
        pace::wait(REBOOT).await;
        Ok(())
    }

    /// Lets the Mac sleep.
    ///
    /// # Errors
    /// If the world does not answer.
    pub async fn sleep(&self, time: Duration) -> io::Result<()> {
        self.note(format!("the Mac sleeps for {} h", time.as_secs() / 3600));
        install::sleep(self.places.root(), time).await
    }

    /// Runs a command as root on the console of a machine with power; returns its exit status and what it printed.
    pub async fn at_console(&self, vmx: &Path, line: &str, input: &str) -> Option<(i32, String)> {
        let vm = self.world()?.find(vmx)?;
        let (tell, mut told) = mpsc::unbounded_channel();
        let power_lost = vm.power_lost().clone();
        let console = Console(tell);
        let running = command::run(&vm, "root", line, input.into(), &console);
        let status = power_lost.run_until_cancelled(running).await?;
        let mut text = Vec::new();
        while let Ok(bytes) = told.try_recv() {
            text.extend(bytes);
        }
        Some((status, String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Somebody who reads a command's standard output.
struct Console(mpsc::UnboundedSender<Vec<u8>>);

impl Listener for Console {
    async fn hear(&self, chunk: Chunk) -> bool {
        match chunk {
            Chunk::Stdout(bytes) => self.0.send(bytes).is_ok(),
            Chunk::Stderr(_) => true,
        }
    }
}
