//! VMs of somebody else's: beside ours, in the folder of our lab, and with a MAC that is ours.

use std::fs;
use std::path::{Path, PathBuf};

use fusionlab::engine::error::EngineError;
use tokio_util::sync::CancellationToken;

use super::invariants::{Before, Violation};
use super::mac::{Mac, Verb};
use super::story::words;

const VMX: &str = ".encoding = \"UTF-8\"\nconfig.version = \"8\"\nvirtualHW.version = \"20\"\n";

/// Puts a VM without our marks into the lab's folder.
pub fn in_our_folder(mac: &Mac) {
    mac.inside.note("there is a stranger's VM in the lab's folder");
    write(&mac.fusion.library.join(&mac.lab.name).join("stranger.vmwarevm/stranger.vmx"), VMX);
}

/// Puts a VM into the library whose card has a MAC of the lab's: `up` refuses to begin, and goes on once it is gone.
pub async fn with_our_mac(mac: &Mac, before: &Before) -> Result<(), Violation> {
    mac.inside.note("there is a stranger's VM with a MAC of ours");
    let node = mac.lab.nodes.last().expect("a lab has nodes");
    let card = node.nics.first().expect("a node has a card");
    let text = format!(
        "{VMX}ethernet0.present = \"TRUE\"\nethernet0.addressType = \"static\"\nethernet0.address = \"{}\"\n",
        card.mac
    );
    let bundle = mac.fusion.library.join("twin.vmwarevm");
    write(&bundle.join("twin.vmx"), &text);
    let ended = mac.run(Verb::Up, &CancellationToken::new()).await;
    let refused = matches!(ended, Err(EngineError::Obstacles(_)));
    fs::remove_dir_all(&bundle).expect("it can be removed");
    if refused {
        return before.still_holds(mac, Verb::Up);
    }
    let said = ended.err().map_or_else(|| "it came up".to_owned(), |error| words(&error));
    Err(Violation::of("no second MAC", said))
}

fn write(path: &Path, text: &str) {
    let folder: PathBuf = path.parent().expect("a file is in a folder").to_owned();
    fs::create_dir_all(folder).expect("the library takes a folder");
    fs::write(path, text).expect("it can be written");
}
