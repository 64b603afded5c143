//! Ids of the machines: Fusion, its virtual machines and their guests.

use super::{Explained, explained};

pub const MACHINES: &[Explained] = &[
    explained(
        "connection-failed",
        "a TCP connection to a machine could not be made",
        "fusionlab reaches the guests over the internal network that Fusion makes, from the Mac's own address on it.\n\
         Refused means that the guest is up and the service is not. No answer means that the guest is down, or that \
         something between swallows the packets: a VPN that claims the subnet, or a firewall. No way there means that \
         Fusion's network is not running, or that macOS denies the terminal access to the local network (System \
         Settings, Privacy & Security, Local Network).",
    ),
    explained(
        "connection-lost",
        "the connection broke while a guest worked",
        "Whether the command did its work is not known, so nothing is assumed: the next run looks at the guest and does \
         what is missing.",
    ),
    explained(
        "fusion-not-found",
        "VMware Fusion was not found",
        "Fusion is looked for where its installer puts it, and where --fusion (or FUSIONLAB_FUSION) says. The simulated \
         Fusion needs no installation: `fusionlab up --sim` runs the same lab on machines that are only models.",
    ),
    explained(
        "fusion-refused",
        "Fusion refused an operation on a virtual machine",
        "Fusion's programs seldom say why. The reason is looked for in vmware.log beside the VM: a locked disk, too \
         little memory, a network that is not there. A VM that is open in Fusion's window can be locked by it.",
    ),
    explained(
        "fusion-too-old",
        "this release of VMware Fusion cannot be used",
        "The lab needs a Fusion that makes its own networks with NAT and DHCP by vmnet-cli. The message says what this \
         release lacks.",
    ),
    explained(
        "guest-command-failed",
        "a command in a guest failed",
        "The command and its last lines are shown; the whole output is in the lab's `logs` folder. A command that changes \
         something is made so that it can be run again, and the next run does.",
    ),
    explained(
        "guest-not-right",
        "a guest is not as it must be",
        "What was found in the guest contradicts the lab file: another address, another name, an old version. A machine that \
         was made for another lab file is made anew after `fusionlab destroy`.",
    ),
    explained(
        "guest-off",
        "a machine of the lab does not run",
        "`exec`, `ssh`, `cp` and their like go into a guest, and Fusion does not run its machine. `fusionlab status` shows \
         which machines run; `fusionlab up` starts those that do not, and makes those that are missing. What Fusion and the \
         guest said last is in vmware.log and console.log in the machine's folder.",
    ),
    explained(
        "host-key-mismatch",
        "a guest shows another host key than its own",
        "Host keys are made on this Mac before a guest boots and are pinned, so a different key means a different \
         machine: an address given twice, a leftover of an older lab, or somebody in between. Nothing was sent to it.",
    ),
    explained(
        "lab-not-up",
        "the lab has no machines on this Mac",
        "The keys by which guests are reached are made by `fusionlab up` and kept in the lab's folder below FUSIONLAB_HOME; \
         `destroy` removes them. Another home, or another lab file, names another lab. `verify` and `drill` end with 10 then, as \
         for every lab that is not proved; the others with 8.",
    ),
    explained(
        "local-network-denied",
        "this terminal is kept from the lab's machines by macOS",
        "From macOS 15 on a program reaches the local network, Fusion's networks among it, only if the app that it was started from \
         was allowed to: iTerm, an editor's terminal. macOS asks the first time; a no, or a window that nobody saw, stays until it is \
         changed in System Settings, Privacy & Security, Local Network. To the program it looks as if there were no way to any \
         machine. The machines themselves are well: nothing was switched off, and `fusionlab up` goes on from what stands. \
         `fusionlab doctor` says whether a machine that runs can be reached.",
    ),
    explained(
        "login-refused",
        "a guest does not let us in with the lab's key",
        "The lab's own key is given to each guest by cloud-init before its first boot. Right after boot a refusal is \
         retried until the limit; a guest that refuses later was changed, or was made with keys that are gone.",
    ),
    explained(
        "machines-share-identity",
        "two machines of the lab have the same machine-id or hardware UUID",
        "Kubernetes, Cilium and DHCP tell machines apart by /etc/machine-id and by the UUID of the hardware. Two that share \
         one overwrite each other's lease and each other's node. fusionlab's template has no machine-id, so that each clone \
         makes its own at its first boot, and Fusion gives each clone a UUID.",
    ),
    explained(
        "requirement-unmet",
        "something that must become true did not in time",
        "Every wait names what it waits for, how it looks and by when it must be. The last thing seen is shown. The limits \
         stand in one table; a lab file overrides one by its name under `limits:`, in seconds.",
    ),
    explained(
        "seed-ignored",
        "cloud-init would not take the file for what it is meant to be",
        "A user-data begins with `#cloud-config`, `#!`, or another of cloud-init's headers, on its first line; a meta-data \
         has an `instance-id`, by which a machine knows whether a seed is new to it. cloud-init passes over anything else \
         without an error.",
    ),
    explained(
        "ssh-failed",
        "a guest's SSH server did not do as wished",
        "The connection stood, and the SSH session did not. Right after boot this is retried until the limit; later it \
         means a full disk, too little memory, or a changed sshd in the guest.",
    ),
    explained(
        "vm-locked",
        "somebody has a VM's files open, or crashed with them",
        "While a VM runs, or its window is open in Fusion, a folder NAME.lck stands beside each file in use, with the process \
         in it. A lock whose process runs on this Mac is respected. One whose process is gone was left by a crash and \
         is no obstacle to us, but Fusion itself may refuse it; it is never removed without you, since another Mac may have \
         the VM open on a shared disk.",
    ),
    explained(
        "vm-of-others",
        "a VM's file belongs to another user",
        "Everything about a VM is per user: what runs, the library, the locks. A VM that was started with sudo leaves files \
         of root's beside ours, and Fusion then says no more than that it cannot connect to the VM.",
    ),
    explained(
        "vm-runs",
        "a VM that runs cannot be edited",
        "Fusion reads a VM's VMX file when it is powered on and writes it anew when it is powered off; what was changed in \
         between is lost. So it is changed only while the VM is off and not open.",
    ),
    explained(
        "vmrest-refused",
        "Fusion's REST server answered with an error",
        "With `driver: rest` in the lab file, fusionlab starts vmrest for itself with credentials of its own. vmrest reads \
         the library when it starts, and does less than vmrun; `driver: vmrun`, the default, does without it.",
    ),
    explained(
        "vms-unseen",
        "a template may be needed by a VM that cannot be seen",
        "A linked clone's disk holds only what differs from its template's: without that it is lost. So no template is removed \
         while a VM may be where nobody can look: the library is a link to a disk that is away, Fusion's window knows of VMs on \
         such a disk, or a folder or VMX file cannot be read. Each such place is named. Nothing was removed.",
    ),
    explained(
        "vmx-invalid",
        "a VMX file is not one that VMware would load",
        "A VMX file has one `key = \"value\"` a line, each key once in whatever case, in the encoding that its line \
         `.encoding` names. A quote in a value is written |22 and a pipe |7C. All that is wrong is told at once, by line and \
         column. The file was not touched.",
    ),
];
