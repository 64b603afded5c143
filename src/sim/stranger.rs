//! A VM of somebody else's: a whole bundle in the user's library, without a mark of ours.

use std::io;
use std::path::{Path, PathBuf};

use super::control::Power;
use super::orders::Orders;
use super::places::Places;
use super::{disk, files, image};
use crate::formats::vmx::Vmx;

const NAME: &str = "Windows for the tax";
/// The disk's size in bytes, and the number that its format identifies it by.
const DISK: u64 = 8 << 30;
const CONTENT_ID: u32 = 0x5712_a9e1;

/// Starts the VM, and makes it before if it is not there.
pub async fn start(places: &Places) -> io::Result<()> {
    let vmx = places.library().join(format!("{NAME}.vmwarevm/{NAME}.vmx"));
    if !vmx.exists() {
        make(&vmx)?;
    }
    let orders = Orders::new(places)?;
    let refused = |refusal: super::refusal::Refusal| io::Error::other(refusal.to_string());
    if orders.view(&vmx).await.map_err(refused)?.power == Power::Off {
        orders.start(&vmx).await.map_err(refused)?;
    }
    Ok(())
}

fn make(vmx: &Path) -> io::Result<()> {
    let whole = beside(vmx, "disk.vmdk");
    files::make_folder(vmx.parent().unwrap_or(vmx))?;
    let image = beside(vmx, "image");
    image::write(&image, image::MODEL)?;
    files::remove(&whole)?;
    disk::of_image(&image, DISK, CONTENT_ID, &whole).map_err(io::Error::other)?;
    files::remove(&image)?;
    files::write(vmx, text())
}

fn beside(vmx: &Path, name: &str) -> PathBuf {
    vmx.with_file_name(name)
}

/// Returns a VMX as Fusion's own assistant writes it, with one card on the network that is shared with the Mac.
fn text() -> String {
    let mut vmx = Vmx::new();
    for (key, value) in [
        ("config.version", "8"),
        ("virtualHW.version", "20"),
        ("displayName", NAME),
        ("guestOS", "arm-other-64"),
        ("firmware", "efi"),
        ("memsize", "2048"),
        ("numvcpus", "2"),
        ("pciBridge4.present", "TRUE"),
        ("nvme0.present", "TRUE"),
        ("nvme0:0.present", "TRUE"),
        ("nvme0:0.fileName", "disk.vmdk"),
        ("ethernet0.present", "TRUE"),
        ("ethernet0.virtualDev", "vmxnet3"),
        ("ethernet0.connectionType", "nat"),
        ("ethernet0.addressType", "generated"),
        ("uuid.action", "create"),
    ] {
        vmx.set(key, value);
    }
    vmx.to_text()
}
