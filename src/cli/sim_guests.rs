//! What real guests of the simulated Fusion need: this computer's abilities, and a guest image.

use std::path::PathBuf;

use super::context::Context;
use super::error::{Failure, Kind, Report};
use super::sim_image;
use crate::sim::linux::image::{self, GuestImage, Options};
use crate::sim::linux::needs;
use crate::sim::settings::{Guests, Settings};

/// Returns the folder of the image that guests of this kind start from, whether it was built or not; none for models.
pub fn image(context: &Context, guests: Guests) -> Result<Option<PathBuf>, Failure> {
    let Some(options) = options(guests) else { return Ok(None) };
    let images = sim_image::folder(context)?;
    let found = image::find(&images, &options).map_err(|error| sim_image::broken(&error))?;
    Ok(Some(found.map_or_else(|| images.join(image::key(&options)), |image| image.folder)))
}

/// Makes sure that machines of this kind can be made here: what they need is there, and their image is built.
pub async fn make_ready(context: &Context, guests: Guests) -> Result<(), Failure> {
    if let Err(missing) = needs::check(guests) {
        let what = format!("guests of kind {} cannot run here", guests.name());
        let report = Report::new("sim-guests-needs", Kind::HostCheck, what)
            .because("they are real systems, which need more of a computer than models do");
        let each = |report: Report, need: needs::Need| report.advise(format!("{}: {}", need.what, need.how));
        return Err(missing.into_iter().fold(report, each).into());
    }
    if let Some(options) = options(guests) {
        sim_image::bring(context, &options).await?;
    }
    Ok(())
}

/// Returns the disk that machines start from, with its SHA-256; none where it is a system's folder that they start from,
/// or the image was not built yet.
pub fn disk(settings: &Settings) -> Result<Option<(PathBuf, String)>, Failure> {
    let folder = settings.image.as_deref().filter(|folder| folder.is_dir());
    let Some(folder) = folder.filter(|_| settings.guests == Guests::Qemu) else { return Ok(None) };
    let image = GuestImage::open(folder).map_err(|error| sim_image::broken(&error))?;
    Ok(image.disk().zip(image.manifest.disk_digest))
}

/// Returns how the image of this kind is made; none for models.
fn options(guests: Guests) -> Option<Options> {
    match guests {
        Guests::Model => None,
        Guests::Linux => Some(Options::default()),
        Guests::Qemu => Some(Options { disk: true, ..Options::default() }),
    }
}
