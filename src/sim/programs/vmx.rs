//! `vmware-vmx`: the process behind VMs. Here one of them is the whole world.

use std::sync::Arc;

use super::{FAILED, Screen};
use crate::sim::control::WORLD_ARGUMENT;
use crate::sim::guest::Models;
use crate::sim::install::BUILD;
use crate::sim::places::Places;
use crate::sim::serve;
use crate::sim::settings::Settings;
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
        Some(WORLD_ARGUMENT) => match World::new(places.clone(), Arc::new(Models::default())) {
            Ok(world) => match serve::serve(world).await {
                Ok(()) => 0,
                Err(error) => {
                    screen.error_line(&format!("vmware-vmx: {error}"));
                    FAILED
                }
            },
            Err(error) => {
                screen.error_line(&format!("vmware-vmx: {error}"));
                FAILED
            }
        },
        _ => FAILED,
    }
}
