//! How long things take on a real Mac, and how much of that the simulation waits.
#![expect(clippy::disallowed_methods, reason = "the simulation lets time pass by name: one table, one place")]

use std::time::Duration;

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident = $millis:literal,)+) => {
        /// Something of Fusion that takes time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Operation {
            /// Returns how long it takes on a real Mac.
            pub const fn real(self) -> Duration {
                Duration::from_millis(match self {
                    $(Self::$name => $millis,)+
                })
            }
        }
    };
}

operations! {
    /// `vmrun list` and other questions; a small program's start and one answer (estimate).
    Question = 150,
    /// `vmrun start` until it returns; guests boot afterwards (estimate; vagrant allows 300 s).
    Start = 3_000,
    /// A hard stop (estimate; aquarium-fish allows 60 s).
    StopHard = 1_000,
    /// From leaving `vmrun list` to the last lock folder gone (facts/vmrun-vmrest.md §1.5, §7).
    Unlock = 100,
    /// Suspending and resuming: memory to and from the disk (estimate).
    Suspend = 4_000,
    /// A snapshot of a stopped VM: a few small files (estimate).
    Snapshot = 800,
    /// A linked clone: 1 to 3 s (facts/vmrun-vmrest.md §1.5).
    CloneLinked = 2_000,
    /// A full clone of a small VM: 4 s by vmrun (packer's log, facts/vmrun-vmrest.md §1.5).
    CloneFull = 4_000,
    /// Deleting a VM (estimate).
    Delete = 500,
    /// `vmnet-cli --stop`, all networks (estimate).
    NetworksStop = 2_000,
    /// `vmnet-cli --configure` (estimate).
    NetworksConfigure = 1_000,
    /// `vmnet-cli --start`, all networks (estimate).
    NetworksStart = 3_000,
    /// Converting or growing a disk (estimate).
    Disk = 2_000,
    /// A DHCP exchange, with ISC's ping check of a new address.
    Lease = 1_000,
    /// Nobody answers ARP for an address: the Mac gives up.
    Unreachable = 1_000,
}

/// The simulation's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// Makes time pass `speed` times as fast as on a real Mac.
    pub fn new(speed: f64) -> Self {
        Self(if speed.is_finite() && speed > 0.0 { speed } else { 1.0 })
    }

    /// Returns the simulation's time for a real one.
    pub fn scaled(self, real: Duration) -> Duration {
        Duration::try_from_secs_f64(real.as_secs_f64() / self.0).unwrap_or(Duration::MAX)
    }

    /// Waits as long as something takes that needs `real` on a real Mac.
    pub async fn pass(self, real: Duration) {
        let scaled = self.scaled(real);
        // The timer's grain is a millisecond; what is shorter costs a turn, not a wait.
        if scaled < Duration::from_millis(1) {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(scaled).await;
        }
    }

    pub async fn take(self, operation: Operation) {
        self.pass(operation.real()).await;
    }
}

/// Waits in the computer's own time, for the simulation's machinery rather than what it simulates.
pub async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_divides_time() {
        assert_eq!(Pace::new(60.0).scaled(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(Pace::new(0.0).scaled(Operation::Start.real()), Operation::Start.real());
    }
}
