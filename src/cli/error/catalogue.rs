//! Every error's id with a sentence and an explanation: what `fusionlab explain` prints, and `docs/errors.md`.

use super::Kind;

/// One explained id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    pub id: &'static str,
    pub summary: &'static str,
    pub explanation: &'static str,
}

const fn explained(id: &'static str, summary: &'static str, explanation: &'static str) -> Explained {
    Explained { id, summary, explanation }
}

/// Every error of the program, by id. Rules of the lab file stand in `lab::lint`.
pub const ERRORS: &[Explained] = &[
    explained(
        "cluster-not-right",
        "the cluster is not as it must be",
        "Something was asked of Kubernetes and answered otherwise than it must be. The last lines printed are shown; the \
         whole output is in the lab's `logs` folder.",
    ),
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
        "deadline",
        "something did not happen within its limit",
        "Every wait has a limit, so that nothing hangs for ever. The limits stand in one table (`src/lab/limits.rs`); \
         a lab file overrides one by its name under `limits:`, in seconds. They are generous: what runs into one is \
         usually stuck rather than slow.",
    ),
    explained(
        "digest-mismatch",
        "a downloaded file is not the one that was asked for",
        "Images are compared with the digest in the catalogue, or in the lab file, while they arrive. A difference means \
         that the file was replaced at its source, or changed on the way. The file is kept for you to look at, as \
         `.wrong` in the cache, only the latest, and never used.",
    ),
    explained(
        "disk-full",
        "there is no room left on the disk",
        "A template takes a few gigabytes, each linked clone grows with what its guest writes. `fusionlab template \
         prune` removes templates that no lab uses; `fusionlab destroy` gives back what a lab takes.",
    ),
    explained(
        "doctor-failed",
        "a check of this machine failed",
        "`fusionlab doctor` looks at Fusion, its networking file and its services, and at the routes of this machine, \
         and changes nothing. A cross is something that keeps the lab from being made or from working; an exclamation \
         mark is something that has harmed others. Below each stands what to do.",
    ),
    explained(
        "download-failed",
        "a download did not complete",
        "Downloads go on where they stopped, so running the same command again costs nothing. A connection that breaks and \
         a server that is busy are tried again a few times first; a server that says no is not.\n\
         Proxies are taken from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY. `image.mirror`, FUSIONLAB_IMAGE_MIRROR or \
         --image-mirror names another server with the same files. An image that is in the cache needs no network.",
    ),
    explained(
        "file-content",
        "a file holds something that cannot be used",
        "The file exists and could be read, but not understood. Nothing was changed in it: fusionlab does not edit \
         what it does not understand.",
    ),
    explained(
        "file-denied",
        "the system denies access to a file",
        "Fusion's networking file belongs to root and is changed only in the one step that asks for your password. \
         Everything else belongs to you; a folder under ~/.fusionlab that belongs to root was made by running \
         fusionlab with sudo, which is never needed. macOS asks once whether a terminal may see a folder such as \
         Documents: System Settings, Privacy & Security, Files and Folders.",
    ),
    explained(
        "file-exists",
        "something stands where something new is to be",
        "Disks and seeds are written to new places only: what is there could be a disk that a VM uses. \
         Nothing was changed.",
    ),
    explained(
        "file-failed",
        "a file operation failed",
        "The message names the operation, the file and the system's reason.",
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
        "host-key-mismatch",
        "a guest shows another host key than its own",
        "Host keys are made on this machine before a guest boots and are pinned, so a different key means a different \
         machine: an address given twice, a leftover of an older lab, or somebody in between. Nothing was sent to it.",
    ),
    explained(
        "identity-unusable",
        "the lab's keys and certificates cannot be used",
        "They lie in the lab's `identity` folder, were made before anything booted, and are not stored anywhere else. Without \
         them the lab's machines cannot be reached any more; `fusionlab destroy`, then `fusionlab up`, makes new ones.",
    ),
    explained(
        "image-backed",
        "the image is a layer over another file",
        "It holds only what differs from its backing file or parent disk, whose name is shown. Images for a \
         lab must be whole; `qemu-img convert` makes a whole one where both files are.",
    ),
    explained(
        "image-busy",
        "another process writes the same disk",
        "A disk is written under the name NAME.part and locked meanwhile. The kernel lets go of that lock \
         when the writer ends, however it ends, and what a killed one left is taken away by the next.",
    ),
    explained(
        "image-corrupt",
        "the image is damaged",
        "A table or a compressed piece of the image is not what it should be. Nothing of the new disk was \
         kept. The digest that the image's maker publishes tells whether the file is the one that was meant.",
    ),
    explained("image-encrypted", "the image is encrypted", "Encrypted qcow2 images are not read."),
    explained(
        "image-external-data",
        "the image keeps its data in another file",
        "The file holds only tables, and the disk's bytes are in a second file. `qemu-img convert` makes one \
         image of both.",
    ),
    explained(
        "image-not-a-disk",
        "the file is no disk image",
        "Files are known by their content, whatever their name: qcow2, VMDK (monolithicSparse, \
         monolithicFlat, streamOptimized), or a raw disk with a partition table. A web page that says that \
         the image is gone is a frequent case.",
    ),
    explained(
        "image-size",
        "the disk cannot have that size",
        "A disk can be made larger than the image, never smaller, since its file systems would be cut off. A \
         VMDK has 2 TiB at most. Sizes are bytes, or numbers with K, M, G or T, of 1024: `40G` and `40GiB` \
         are the same.",
    ),
    explained(
        "image-truncated",
        "the image ends too early",
        "The image's tables lead beyond the end of its file. Nothing of the new disk was kept.",
    ),
    explained(
        "image-unsupported",
        "the image uses something that is not read",
        "The feature is named. `fusionlab image info FILE` lists all that keeps an image from being read.",
    ),
    explained(
        "in-the-way",
        "something of somebody else stands in the way",
        "A machine without the lab's mark, a network that is taken, a window of Fusion that is open: fusionlab does not touch \
         what is not the lab's, so it stops before it changes anything. All of it is listed together.",
    ),
    explained(
        "interrupted",
        "the run was stopped by Ctrl-C or a signal",
        "The first Ctrl-C starts nothing new and stops waiting; the second leaves at once. Both are safe: what was \
         finished stands, what was half done is recognised and redone by the next run of the same command.",
    ),
    explained(
        "kubeconfig-missing",
        "the lab has no kubeconfig yet",
        "`fusionlab up` writes the kubeconfig once the API server answers. It lies in the lab's folder, readable by you \
         alone, with the LAN VIP as its server; `fusionlab destroy` removes it.",
    ),
    explained(
        "lab-file-invalid",
        "the lab file is not accepted",
        "All problems are shown together, each with its place and the name of the rule; `fusionlab explain RULE` says \
         more about one. Nothing was changed. `fusionlab schema` prints the JSON Schema for editors.",
    ),
    explained(
        "lab-file-missing",
        "the lab file that was named is not there",
        "Without --lab, ./fusionlab.yaml is used if it is there, else the built-in lab: the networking document's. A \
         file that is named with --lab must exist.",
    ),
    explained(
        "list-not-believed",
        "a list of digests is not certainly the distribution's",
        "The catalogue's images are pinned: each is one file with one digest. Distributions take such files away after some \
         months; then what is newest takes its place, and a list on the server says its digest. Whoever could change that \
         list could put any system into every machine of the lab. So Ubuntu's list must bear the signature of Ubuntu's \
         key, which came with fusionlab; Debian signs none, so its list is believed only from an HTTPS server.\n\
         Nothing was downloaded. A mirror with an older or newer list than its signature says so within minutes; try \
         again, or without the mirror. An image with a digest of your own (`image.url`, `image.digest`) needs no list.",
    ),
    explained(
        "locked",
        "another run works on the same thing",
        "A lab takes one run at a time, and so do Fusion's networks and the templates. The lock names the process that \
         holds it; it is free again when that process ends, however it ends.",
    ),
    explained(
        "login-refused",
        "a guest does not let us in with the lab's key",
        "The lab's own key is given to each guest by cloud-init before its first boot. Right after boot a refusal is \
         retried until the limit; a guest that refuses later was changed, or was made with keys that are gone.",
    ),
    explained(
        "network-not-applied",
        "Fusion's networks did not come to the wished state",
        "The networking file is replaced as a whole and Fusion's networks are restarted; then it is observed whether \
         they run. If not, the file is put back and the networks are restarted once more. Fusion's own window \
         overwrites the file on Apply, so it must not be open in its network settings.",
    ),
    explained(
        "not-for-sudoers",
        "a path cannot stand in a sudoers line",
        "A sudoers line names our program and its request by their paths. Characters that are patterns, quotes or comments \
         there would make it cover more than that one command.",
    ),
    explained(
        "partly-done",
        "several things failed, for several reasons",
        "A failure stops only what needs the failed step; everything else is finished. The first failure is shown in \
         full, the others by name. The next run of the same command redoes only what is missing.",
    ),
    explained(
        "program-failed",
        "one of Fusion's programs failed",
        "The program's own output is shown, and its command line ready to be pasted.",
    ),
    explained(
        "program-not-started",
        "one of Fusion's programs could not be started",
        "vmrun, vmnet-cli, vmrest and vmware-vdiskmanager are part of the Fusion app. One that is missing means an \
         incomplete installation, or that --fusion points elsewhere.",
    ),
    explained(
        "program-of-others",
        "a sudoers line would be a way to root for others",
        "`fusionlab network sudoers` gives a line that runs our own program as root without a password. That is safe only \
         if nobody but root can change the program or a folder above it; a copy in a folder of root's own is. The line \
         holds for that copy alone, so it is the one to run.",
    ),
    explained(
        "requirement-unmet",
        "something that must become true did not in time",
        "Every wait names what it waits for, how it looks and by when it must be. The last thing seen is shown. The limits \
         stand in one table; a lab file overrides one by its name under `limits:`, in seconds.",
    ),
    explained(
        "root-denied",
        "sudo did not let us change Fusion's networks",
        "Fusion's networking file belongs to root. The one step that changes it runs as root, by sudo, and sudo is asked \
         for your password before anything else begins. Nothing else of fusionlab needs root, and it must not be started \
         with sudo itself.",
    ),
    explained(
        "root-distrusts",
        "root must not run a program that somebody else could have changed",
        "As root, fusionlab runs Fusion's network programs and writes into its folders only if they and every folder above \
         them belong to root and nobody else may write to them. The first that is not so is named, with its owner and mode. \
         Folders such as /tmp, where nobody can rename root's entries, and /Applications, which a Mac's administrators may \
         write to, are no obstacle.",
    ),
    explained(
        "seed-ignored",
        "cloud-init would not take the file for what it is meant to be",
        "A user-data begins with `#cloud-config`, `#!`, or another of cloud-init's headers, on its first line; a meta-data \
         has an `instance-id`, by which a machine knows whether a seed is new to it. cloud-init passes over anything else \
         without an error.",
    ),
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
        "a guest image cannot be built on this machine",
        "It is built on Linux, as root, since its files belong to its own users. Each thing that is missing is named with \
         what brings it. An image that was built elsewhere can be used: `FUSIONLAB_SIM_IMAGES` names the folder of images.",
    ),
    explained(
        "ssh-failed",
        "a guest's SSH server did not do as wished",
        "The connection stood, and the SSH session did not. Right after boot this is retried until the limit; later it \
         means a full disk, too little memory, or a changed sshd in the guest.",
    ),
    explained(
        "sudoers-differ",
        "the sudoers line that is installed is not the one that is wanted",
        "The line names our program, its user and the folder of its requests; when one of them changes, so must the line. \
         Without it nothing is lost: sudo asks for the password. `sudo cat FILE | fusionlab network sudoers --check -` \
         compares a file that only root may read.",
    ),
    explained(
        "template-differs",
        "the template holds other versions than the lab wants",
        "Before a template is used, the versions that its bake read off the installed programs are compared with the lab \
         file's. Kubernetes, Cilium, the Gateway API and Helm must be the very ones, containerd at least the one named. A \
         difference means that a package's repository gave something else than it was asked for.",
    ),
    explained(
        "template-failed",
        "the template could not be made",
        "The template is booted once, installs what every node needs and powers itself off; then its versions are \
         checked. It needs the internet for that. A template that failed is thrown away and made anew by the next run.",
    ),
    explained(
        "template-unfit",
        "the template cannot be cloned",
        "When a template is finished, the id of its disk's content (the CID) is written down, and the disk is made \
         read-only. It is compared before and after each clone, and with what the clone says of its parent: a clone of a \
         disk that changed would not open. Most likely the template's machine was started, or its disk edited.",
    ),
    explained(
        "unexpected",
        "something that should not happen",
        "This is a mistake in fusionlab, not in your lab. The message helps to find it.",
    ),
    explained(
        "usage",
        "the command cannot be carried out as it was typed",
        "`fusionlab help VERB` shows what a verb takes. Verbs that ask a question need --yes where nobody can answer.",
    ),
    explained(
        "verification-failed",
        "the lab does not do all that it should",
        "`fusionlab verify` walks a packet's way, hop by hop, and compares with what the lab file promises. The first \
         failing hop is usually the cause of those after it.",
    ),
    explained(
        "vm-locked",
        "somebody has a VM's files open, or crashed with them",
        "While a VM runs, or its window is open in Fusion, a folder NAME.lck stands beside each file in use, with the process \
         in it. A lock whose process runs on this machine is respected. One whose process is gone was left by a crash and \
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
        "vmx-invalid",
        "a VMX file is not one that VMware would load",
        "A VMX file has one `key = \"value\"` a line, each key once in whatever case, in the encoding that its line \
         `.encoding` names. A quote in a value is written |22 and a pipe |7C. All that is wrong is told at once, by line and \
         column. The file was not touched.",
    ),
];

/// Finds an error by its id.
pub fn find(id: &str) -> Option<&'static Explained> {
    ERRORS.iter().find(|error| error.id == id)
}

/// Returns the page `docs/errors.md`: exit codes, errors, and the lab file's rules.
pub fn page(rules: &[Explained]) -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Made by `fusionlab explain --page`; a test compares. -->\n\n\
         `fusionlab explain ID` prints one of these in the terminal.\n\n\
         ## Exit codes\n\n\
         | code | meaning |\n|---|---|\n| 0 | done |\n",
    );
    let mut rows: Vec<(u8, &str)> =
        Kind::TABLE.iter().map(|(kind, meaning)| (kind.exit_code(), *meaning)).collect();
    rows.push((super::Success::Changes.exit_code(), "the plan has changes (`plan --detailed-exitcode`)"));
    rows.sort_unstable();
    for (code, meaning) in rows {
        page.push_str(&format!("| {code} | {meaning} |\n"));
    }
    page.push_str("\n## Errors by id\n");
    ERRORS.iter().for_each(|error| section(&mut page, error));
    if !rules.is_empty() {
        page.push_str("\n## Rules of the lab file\n");
        rules.iter().for_each(|rule| section(&mut page, rule));
    }
    page
}

fn section(page: &mut String, explained: &Explained) {
    page.push_str(&format!("\n### {}\n\n", explained.id));
    let mut letters = explained.summary.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    page.push_str(&format!("{first}{}.\n\n{}\n", letters.as_str(), explained.explanation));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_unique_and_easy_to_type() {
        assert!(ERRORS.windows(2).all(|pair| pair[0].id < pair[1].id));
        for error in ERRORS {
            assert!(error.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", error.id);
            assert!(!error.summary.ends_with('.') && error.explanation.ends_with('.'), "{}", error.id);
        }
    }

    #[test]
    fn the_page_in_docs_is_this_one() {
        let rules = crate::cli::calls::rules();
        assert!(
            page(&rules) == include_str!("../../../docs/errors.md"),
            "run: cargo run -- explain --page > docs/errors.md"
        );
    }
}
