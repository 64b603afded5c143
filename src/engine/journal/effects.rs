//! What a step that was cut off may have left, and who sees to it: a table, held to `docs/journal.md` and to every plan.
//!
//! The record "started" is on the disk before the step's first effect, so a crash leaves nothing but effects of steps that
//! are open in the journal. None of these is undone from the journal: each is recognised in the world by whoever needs the
//! thing next, because the journal may be lost, and the world may have changed since.

use serde::Serialize;

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

/// What each kind of step may leave, by the first part of its id.
pub const TABLE: &[(&str, &[Effect])] = &[
    (
        "identity.create",
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
    ("network.apply", &PENDING_NETWORKS),
    ("network.restore", &PENDING_NETWORKS),
    ("image.fetch", &[effect("a part of the image", Recorded, "the next download goes on with it")]),
    (
        "image.convert",
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
        "template.bake",
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
        "template.freeze",
        &[effect(
            "a snapshot of a template that is not frozen",
            Recorded,
            "the manifest says so; it is frozen again",
        )],
    ),
    ("template.discard", &[HALF_TEMPLATE]),
    ("template.remove", &[HALF_TEMPLATE]),
    (
        "vm.clone",
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
        "vm.configure",
        &[
            effect("a new seed under an old VMX", Planned, "the digest in the VMX goes last, and differs"),
            HALF_WRITTEN,
        ],
    ),
    ("vm.start", &[POWER]),
    ("vm.stop", &[POWER]),
    (
        "vm.delete",
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
    ("guest.ready", &[POWER]),
    ("guest.clock", &[]),
    ("node.back", &[]),
    ("lan.probe", &[effect("a guest that listens on the LAN", Ends, "it listens for seconds")]),
    ("gateway.configure", &GUEST_FILES),
    ("gateway.vips", &[]),
    ("node.prepare", &GUEST_FILES),
    ("kube.init", &[HALF_KUBEADM]),
    (
        "kube.join",
        &[
            HALF_KUBEADM,
            effect("an etcd member that never started", Planned, "the step removes it before it joins again"),
        ],
    ),
    (
        "kube.certificates",
        &[effect(
            "new certificates, and servers that still show the old ones",
            Marked,
            "a mark in the guest goes last; with it, all is done again",
        )],
    ),
    ("kube.endpoint", &[]),
    (
        "gateway-api.install",
        &[effect("some of the definitions", Planned, "the server is given all of them again")],
    ),
    (
        "cilium.install",
        &[effect(
            "a Helm release that is pending",
            Planned,
            "the step sees its state, and installs or rolls back",
        )],
    ),
    ("kube.nodes", &[]),
    ("ingress.configure", &[effect("some of the objects", Planned, "the server is given all of them again")]),
    (
        "kubeconfig.write",
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
        "kubeconfig.unmerge",
        &[effect("kubectl's lock on the user's kubeconfig", Recorded, "it bears our name and is taken away")],
    ),
    (
        "names.unresolve",
        &[effect("the file gone, its record not", Recorded, "the next `destroy` forgets the record")],
    ),
    (
        "lab.forget",
        &[effect("a part of the lab's folder", Swept, "the next run removes `labs/.leaving-<lab>`")],
    ),
    (
        "drill",
        &[effect(
            "what the drill broke",
            Recorded,
            "`drill.json` says what; the next `up` or `drill` puts it back",
        )],
    ),
    (
        "drill.restore",
        &[effect("what the drill broke", Recorded, "the record goes last; it is put back again")],
    ),
];

/// Returns what a step of this id may have left.
pub fn of(step: &str) -> &'static [Effect] {
    let kind = step.split('/').next().unwrap_or_default();
    let row = |wanted: &str| TABLE.iter().find(|(known, _)| *known == wanted).map(|(_, effects)| *effects);
    row(kind).or_else(|| row(kind.split('.').next().unwrap_or_default())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::World;
    use crate::plan::step::Plan;

    fn is_in_the_table(plan: &Plan) {
        for step in &plan.steps {
            let kind = step.action.kind().name();
            assert!(TABLE.iter().any(|(known, _)| *known == kind), "the table lacks {kind}");
            assert_eq!(of(&step.id.0), of(kind), "{}", step.id);
        }
    }

    #[test]
    fn every_step_of_every_plan_is_in_the_table() {
        let world = World::empty();
        let up = world.up().unwrap();
        assert!(up.steps.len() > 50, "the whole lab");
        is_in_the_table(&up);
        let wish = crate::plan::drill::Wish { scenarios: Vec::new(), on: None };
        let complete = World::complete();
        is_in_the_table(&crate::plan::drill::plan(&complete.lab, &complete.facts, &wish).plan);
        let network = crate::plan::networks::without(&complete.facts, &[]);
        is_in_the_table(&crate::plan::destroy::plan(&complete.lab.name, &complete.facts, &network).unwrap());
        is_in_the_table(&crate::plan::template::plan(&complete.lab, &complete.facts.template, true).unwrap());
    }

    #[test]
    fn the_page_about_the_journal_has_every_row() {
        let page = include_str!("../../../docs/journal.md");
        for (step, effects) in TABLE {
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
