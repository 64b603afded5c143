//! Ids of the simulated Fusion.

use super::{Explained, explained};

pub const SIMULATED: &[Explained] = &[
    explained(
        "sim-guests-needs",
        "this computer lacks what real guests of the simulated Fusion need",
        "`--sim-guests linux` makes each machine a Debian system in Linux's namespaces, `qemu` a machine of QEMU. Both take \
         root and a few programs, each named with its package. `--sim-guests model` needs nothing.",
    ),
    explained(
        "sim-image-failed",
        "the guest image of the simulated Fusion could not be built",
        "Real guests (`--sim-guests linux` and `qemu`) start from a Debian system that mmdebstrap installs from Debian's \
         packages; the last lines printed are shown. Nothing is left of a build that failed or was killed.",
    ),
    explained(
        "sim-image-needs",
        "a guest image cannot be built on this computer",
        "It is built on Linux, as root, since its files belong to its own users. Each thing that is missing is named with \
         what brings it. An image that was built elsewhere can be used: `FUSIONLAB_SIM_IMAGES` names the folder of images.",
    ),
];
