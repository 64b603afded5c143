//! `vmware-vmx`: the process behind VMs. Here one of them is the whole world.

use std::io;
use std::sync::Arc;

use super::{FAILED, Screen};
use crate::sim::control::WORLD_ARGUMENT;
use crate::sim::guest::Models;
use crate::sim::install::BUILD;
use crate::sim::linux::Linux;
use crate::sim::linux::qemu::Qemu;
use crate::sim::places::Places;
use crate::sim::seam::Kind;
use crate::sim::serve;
use crate::sim::settings::{Guests, Settings};
use crate::sim::world::World;

/// Prints the version, or becomes the world.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    match args.first().map(String::as_str) {
        Some("-v") => {
            let release = Settings::load(places).unwrap_or_default().fusion;
            screen.error_line(&format!("VMware Fusion {release} build-{BUILD} Release"));
            0
        }
        Some("--query-license") => {
            screen.line("");
            0
        }
        Some(WORLD_ARGUMENT) => match be_the_world(places).await {
            Ok(()) => 0,
            Err(error) => {
                screen.error_line(&format!("vmware-vmx: {error}"));
                FAILED
            }
        },
        _ => FAILED,
    }
}

async fn be_the_world(places: &Places) -> io::Result<()> {
    let settings = Settings::load(places)?;
    let kind: Arc<dyn Kind> = match settings.guests {
        Guests::Model => Arc::new(Models::default()),
        Guests::Linux => Linux::begin(places, &settings).await?,
        Guests::Qemu => Qemu::begin(places, &settings).await?,
    };
    serve::serve(World::new(places.clone(), kind)?).await
}
