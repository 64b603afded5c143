//! The guest image of real guests: which one this run takes.

use std::path::PathBuf;

use super::context::Context;
use super::error::{Failure, Report};
use crate::sim::settings::Guests;

/// Returns the folder of the image that guests of this kind start from; none for models.
pub fn image(context: &Context, guests: Guests) -> Result<Option<PathBuf>, Failure> {
    match guests {
        Guests::Model => Ok(None),
        Guests::Linux | Guests::Qemu => {
            Err(Report::usage(format!("{}: not in this build yet", context.home.0.display())).into())
        }
    }
}
