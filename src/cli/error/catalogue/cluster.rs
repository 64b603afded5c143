//! Ids of Kubernetes and of the proof.

use super::{Explained, explained};

pub const CLUSTER: &[Explained] = &[
    explained(
        "cluster-not-right",
        "the cluster is not as it must be",
        "Something was asked of Kubernetes and answered otherwise than it must be. The last lines printed are shown; the \
         whole output is in the lab's `logs` folder.",
    ),
    explained(
        "kubeconfig-missing",
        "the lab has no kubeconfig yet",
        "`fusionlab up` writes the kubeconfig once the API server answers. It lies in the lab's folder, readable by you \
         alone, with the LAN VIP as its server; `fusionlab destroy` removes it.",
    ),
    explained(
        "verification-failed",
        "the lab does not do all that it should",
        "`fusionlab verify` walks a packet's way, hop by hop, and compares with what the lab file promises. The first \
         failing hop is usually the cause of those after it.",
    ),
];
