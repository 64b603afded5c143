//! What a step that was cut off may have left, and who sees to it: a table, held to `docs/journal.md` and to every plan.
//!
//! The record "started" is on the disk before the step's first effect, so a crash leaves nothing but effects of steps that
//! are open in the journal. None of these is undone from the journal: each is recognised in the world by whoever needs the
//! thing next, because the journal may be lost, and the world may have changed since.

use serde::Serialize;

use crate::plan::kind::Kind;

/// How an effect that a crash left is seen and mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Known by its name and removed, with the lock held under which it was made.
    Swept,
    /// Known by a mark of ours that goes on first or off last.
    Marked,
    /// Known by a record that was written before it.
    Recorded,
    /// Nothing tells it from what a user or time may do: the next plan finds what differs, and does it again.
    Planned,
    /// Ends by itself: the kernel, Fusion or the guest brings it to its end.
    Ends,
}

/// Something that may be there after a crash in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// A noun phrase, such as "half a clone".
    pub what: &'static str,
    pub remedy: Remedy,
    /// Who sees to it, and how: a clause.
    pub how: &'static str,
}

use Remedy::{Ends, Marked, Planned, Recorded, Swept};

const fn effect(what: &'static str, remedy: Remedy, how: &'static str) -> Effect {
    Effect { what, remedy, how }
}

const HALF_WRITTEN: Effect =
    effect("a half-written file beside the right one", Swept, "the next run removes `.fusionlab-??????`");
const PENDING_NETWORKS: [Effect; 3] = [
    effect(
        "Fusion's networks stopped",
        Recorded,
        "the next change finishes the one in `network/pending.json`",
    ),
    effect(
        "Fusion's networking file replaced, and not in effect",
        Recorded,
        "the next change finishes the one in `network/pending.json`",
    ),
    effect("a half-written networking file beside it", Swept, "the next change removes `.fusionlab-??????`"),
];
const POWER: Effect = effect("a machine on its way up or down", Ends, "the next run asks Fusion what runs");
const GUEST_FILES: [Effect; 2] = [
    effect(
        "a half-written file in the guest",
        Planned,
        "it has another name until it is whole, and is written again",
    ),
    effect(
        "files in place, and their services not restarted",
        Marked,
        "a mark in the guest goes last; with it, all is done again",
    ),
];
const HALF_KUBEADM: Effect = effect(
    "a node that kubeadm has half set up",
    Planned,
    "the step finishes it, or resets it if it holds nothing",
);
const HALF_TEMPLATE: Effect = effect(
    "a template half removed",
    Marked,
    "without its manifest it is none; the next step clears it away",
);

/// What each kind of step may leave.
pub const TABLE: &[(Kind, &[Effect])] = &[
    (
        Kind::IdentityCreate,
        &[
            effect(
                "half a set of keys",
                Marked,
                "they lie in `identity.new` until they are whole, and are made anew",
            ),
            effect(
                "a whole set beside the old one",
                Marked,
                "whoever has the lab's lock next puts it in its place",
            ),
            HALF_WRITTEN,
        ],
    ),
    (Kind::NetworkApply, &PENDING_NETWORKS),
    (Kind::NetworkRestore, &PENDING_NETWORKS),
    (Kind::ImageFetch, &[effect("a part of the image", Recorded, "the next download goes on with it")]),
    (
        Kind::ImageConvert,
        &[
            effect("half a disk", Marked, "it is called `.part` until it is whole, and is written anew"),
            effect(
                "a disk without a manifest",
                Marked,
                "without its manifest it is no template; it is made anew",
            ),
        ],
    ),
    (
        Kind::TemplateBake,
        &[
            effect(
                "a machine that bakes on",
                Recorded,
                "the manifest says so, and the next run waits for it",
            ),
            effect(
                "a machine that was switched off while it baked",
                Recorded,
                "the manifest says so; the disk is made anew",
            ),
        ],
    ),
    (
        Kind::TemplateFreeze,
        &[effect(
            "a snapshot of a template that is not frozen",
            Recorded,
            "the manifest says so; it is frozen again",
        )],
    ),
    (Kind::TemplateDiscard, &[HALF_TEMPLATE]),
    (Kind::TemplateRemove, &[HALF_TEMPLATE]),
    (
        Kind::VmClone,
        &[
            effect(
                "half a clone",
                Marked,
                "its folder's name or mark tells; the next clone or `destroy` clears it away",
            ),
            effect("a clone without its VMX", Marked, "the mark of an unfinished one goes last"),
            effect("a folder with nothing in it", Planned, "the next clone takes it; `destroy` removes it"),
        ],
    ),
    (
        Kind::VmConfigure,
        &[
            effect("a new seed under an old VMX", Planned, "the digest in the VMX goes last, and differs"),
            HALF_WRITTEN,
        ],
    ),
    (Kind::VmStart, &[POWER]),
    (Kind::VmStop, &[POWER]),
    (
        Kind::VmDelete,
        &[
            effect(
                "half a machine's folder",
                Marked,
                "its name tells; the next `up` or `destroy` clears it away",
            ),
            effect(
                "the lab's folder in Fusion's library, empty",
                Planned,
                "whoever deletes next, or forgets the lab, removes it",
            ),
        ],
    ),
    (Kind::GuestReady, &[POWER]),
    (Kind::GuestClock, &[]),
    (Kind::NodeBack, &[]),
    (Kind::LanProbe, &[effect("a guest that listens on the LAN", Ends, "it listens for seconds")]),
    (Kind::GatewayConfigure, &GUEST_FILES),
    (Kind::GatewayVips, &[]),
    (Kind::NodePrepare, &GUEST_FILES),
    (Kind::KubeInit, &[HALF_KUBEADM]),
    (
        Kind::KubeJoin,
        &[
            HALF_KUBEADM,
            effect("an etcd member that never started", Planned, "the step removes it before it joins again"),
        ],
    ),
    (
        Kind::KubeCertificates,
        &[effect(
            "new certificates, and servers that still show the old ones",
            Marked,
            "a mark in the guest goes last; with it, all is done again",
        )],
    ),
    (Kind::KubeEndpoint, &[]),
    (
        Kind::GatewayApiInstall,
        &[effect("some of the definitions", Planned, "the server is given all of them again")],
    ),
    (
        Kind::CiliumInstall,
        &[effect(
            "a Helm release that is pending",
            Planned,
            "the step sees its state, and installs or rolls back",
        )],
    ),
    (Kind::KubeNodes, &[]),
    (
        Kind::IngressConfigure,
        &[effect("some of the objects", Planned, "the server is given all of them again")],
    ),
    (
        Kind::KubeconfigWrite,
        &[
            HALF_WRITTEN,
            effect(
                "kubectl's lock on the user's kubeconfig",
                Recorded,
                "it bears our name and is taken away",
            ),
        ],
    ),
    (
        Kind::KubeconfigUnmerge,
        &[effect("kubectl's lock on the user's kubeconfig", Recorded, "it bears our name and is taken away")],
    ),
    (
        Kind::NamesUnresolve,
        &[effect("the file gone, its record not", Recorded, "the next `destroy` forgets the record")],
    ),
    (
        Kind::LabForget,
        &[effect("a part of the lab's folder", Swept, "the next run removes `labs/.leaving-<lab>`")],
    ),
    (
        Kind::Drill,
        &[effect(
            "what the drill broke",
            Recorded,
            "`drill.json` says what; the next `up` or `drill` puts it back",
        )],
    ),
    (
        Kind::DrillRestore,
        &[effect("what the drill broke", Recorded, "the record goes last; it is put back again")],
    ),
];

/// Returns what a step of this id may have left.
pub fn of(step: &str) -> &'static [Effect] {
    let row = Kind::of_id(step).and_then(|kind| TABLE.iter().find(|(known, _)| *known == kind));
    row.map(|(_, effects)| *effects).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_step_is_in_the_table_once() {
        for kind in Kind::ALL {
            let rows = TABLE.iter().filter(|(known, _)| known == kind);
            assert_eq!(rows.count(), 1, "{}", kind.name());
        }
    }

    #[test]
    fn the_page_about_the_journal_has_every_row() {
        let page = include_str!("../../../docs/journal.md");
        for (kind, effects) in TABLE {
            let step = kind.name();
            if effects.is_empty() {
                assert!(page.contains(&format!("`{step}`")), "{step} is not in docs/journal.md");
            }
            for effect in *effects {
                let row = format!(
                    "| `{step}` | {} | {} | {} |",
                    effect.what,
                    format!("{:?}", effect.remedy).to_lowercase(),
                    effect.how
                );
                assert!(page.contains(&row), "docs/journal.md lacks:\n{row}");
            }
        }
    }

    #[test]
    fn what_a_drill_leaves_is_found_by_its_scenario() {
        assert_eq!(of("drill.gateway-vm"), of("drill"));
        assert_eq!(of("vm.clone/k8s-worker1")[0].what, "half a clone");
        assert_eq!(of("of.a/later-version"), []);
    }
}
