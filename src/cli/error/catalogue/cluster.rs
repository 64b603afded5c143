//! Ids of Kubernetes and of the proof.

use super::{Explained, explained};

pub const CLUSTER: &[Explained] = &[
    explained(
        "authority-missing",
        "the lab has no certificate authority yet",
        "The first step of `fusionlab up` makes the lab's keys and certificates, among them the authority that signs for \
         https://*.<domain>. Its certificate lies in the lab's folder as `lab-ca.crt`.",
    ),
    explained(
        "cluster-data-kept",
        "a control plane that does not answer is not reset, since it may hold data",
        "The node has etcd's data and its API server does not answer. fusionlab makes such a node anew by itself if it is \
         the only control plane with data and no pod but the control plane's own ever ran there: then the cluster cannot \
         hold anything of yours. Here that could not be proved. The logs of the API server and of etcd are shown; a full \
         disk, a changed clock and expired certificates are usual causes. Where most control planes were deleted, by a \
         `destroy` that was cut off or in the Finder, etcd cannot answer any more: put their folders back, or begin anew.",
    ),
    explained(
        "cluster-not-right",
        "the cluster is not as it must be",
        "Something was asked of Kubernetes and answered otherwise than it must be. The last lines printed are shown; the \
         whole output is in the lab's `logs` folder.",
    ),
    explained(
        "drill-impossible",
        "the lab cannot do without what a drill was to take",
        "A drill takes only what the lab has twice: one gateway of two, one worker of two, one control plane of three, since \
         etcd needs more than half of its members. `fusionlab drill --list` says what that is in this lab, and without a \
         name `fusionlab drill` leaves out what it cannot do without.",
    ),
    explained(
        "drill-not-put-back",
        "something that a drill broke is not as it was",
        "The drill gave back what it took, and the lab is not whole again within `limits: {drill_whole: …}`. What is missing \
         is said. `drill.json` in the lab's folder keeps what was taken, so that the next `fusionlab drill` or \
         `fusionlab up` gives it back again.",
    ),
    explained(
        "drill-outage",
        "an outage in a drill was longer than it may be",
        "While something was lost, one of the ways into the lab had no answer for longer than its limit: `drill_gateway`, \
         `drill_worker` or `drill_control_plane`. Everything was put back. An outage is counted from the last answer to the \
         next, so it is a little longer than what was lost; a machine under load answers late.",
    ),
    explained(
        "drill-refused",
        "a drill begins only in a lab that is whole",
        "With something missing already, a loss would say nothing, and could be one too many. Nothing was broken. Whole means \
         that every machine answers and holds its addresses, its services run, one gateway holds both VIPs, every node is \
         Ready, every API server is ready, and every way into the lab is answered five times in a row.",
    ),
    explained(
        "kubeconfig-locked",
        "another program holds the kubeconfig",
        "Whoever changes a kubeconfig first makes a file of its name with `.lock` behind it, as kubectl does, and removes it \
         afterwards. fusionlab waits for it (`limits: {kubeconfig_lock: …}`). A program that was ended in the middle \
         leaves the file behind, and nobody can change the kubeconfig until it is removed by hand; one of fusionlab's \
         own is recognised and taken away.",
    ),
    explained(
        "kubeconfig-missing",
        "the lab has no kubeconfig yet",
        "`fusionlab up` writes the kubeconfig once the API server answers. It lies in the lab's folder, readable by you \
         alone, with the LAN VIP as its server; `fusionlab destroy` removes it.",
    ),
    explained(
        "kubeconfig-taken",
        "the kubeconfig has an entry of that name that is not this lab's",
        "`fusionlab kubeconfig --merge` adds a cluster and a context of the lab's name and a user `<name>-admin`, each with an \
         extension `fusionlab.dev` that says whose they are. An entry of such a name without it, or of another home of \
         fusionlab's, is somebody else's: it is neither replaced nor removed.",
    ),
    explained(
        "kubeconfig-unusable",
        "the kubeconfig cannot be changed safely",
        "The file is edited in place, so that comments and everything of others stay, and then read again: it must say \
         exactly what was to be. Where that cannot be had (it is not YAML, no kubeconfig, or written in a form with anchors \
         or in one line), it is left as it is.",
    ),
    explained(
        "verification-failed",
        "the lab does not do all that it should",
        "`fusionlab verify` walks a packet's way, hop by hop, and compares with what the lab file promises. The first \
         failing hop is usually the cause of those after it.",
    ),
];
