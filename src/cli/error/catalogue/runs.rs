//! Ids of any run: files, the lab file, locks, programs, limits.

use super::{Explained, explained};

pub const RUNS: &[Explained] = &[
    explained(
        "deadline",
        "something did not happen within its limit",
        "Every wait has a limit, so that nothing hangs for ever. A lab file overrides a limit by its \
         name under `limits:`, in seconds; `docs/lab-file.md` lists all of them. They are generous: what runs into one is \
         usually stuck rather than slow.",
    ),
    explained(
        "disk-full",
        "there is no room left on the disk",
        "A template takes a few gigabytes, each linked clone grows with what its guest writes. `fusionlab template \
         prune` removes templates that no lab uses; `fusionlab destroy` gives back what a lab takes.",
    ),
    explained(
        "doctor-failed",
        "a check of this Mac failed",
        "`fusionlab doctor` looks at Fusion, its networking file and its services, and at its routes, \
         at this Mac and at what labs have left on it. A cross is something that keeps the lab from being made or from \
         working; an exclamation mark is something that has harmed others; a question mark is something that this \
         system does not tell, and fails nothing. Below each stands what to do. Nothing is changed without `--fix`, \
         which puts away what killed runs have left, and says so first.",
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
        "Disks, seeds, lab files and support bundles are written to new places only: what is there could be a disk that a VM uses. \
         Nothing was changed.",
    ),
    explained(
        "file-failed",
        "a file operation failed",
        "The message names the operation, the file and the system's reason.",
    ),
    explained(
        "identity-unusable",
        "the lab's keys and certificates cannot be used",
        "They lie in the lab's `identity` folder, were made before anything booted, and are not stored anywhere else. Without \
         them the lab's machines cannot be reached any more; `fusionlab destroy`, then `fusionlab up`, makes new ones.",
    ),
    explained(
        "interrupted",
        "the run was stopped by Ctrl-C or a signal",
        "After the first Ctrl-C nothing new begins, nothing is waited for any more, and what runs has five seconds \
         (`limits.stop`) to finish its atomic pieces; what has not by then is cut off, as by a crash. Only a change of \
         Fusion's networks and a drill are brought to their end, since they would leave something in pieces. The second \
         Ctrl-C leaves at once. So do SIGTERM and a terminal that is closed. All of it is safe: what was finished \
         stands and is listed, what was half done is recognised and redone by the next run of the same command.",
    ),
    explained(
        "journal-newer",
        "the lab's journal was written by a newer fusionlab",
        "Each line of `journal.jsonl` carries a version. A newer fusionlab may have begun something that this one would \
         neither recognise nor clear away, so that nothing is changed. The journal is never the truth, only an account: \
         if the newer fusionlab is gone for good, move the file aside, and the next run goes by what stands.",
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
         file that is named, with --lab or by FUSIONLAB_LAB in the environment, must exist.",
    ),
    explained(
        "lab-file-unreadable",
        "the lab file is there, and cannot be read",
        "It is a folder, belongs to another user, or is no text in UTF-8. Whatever the reason, the exit code is that of a \
         lab file that is not valid. Nothing was changed.",
    ),
    explained(
        "locked",
        "another run works on the same thing",
        "A lab takes one run at a time, and so do Fusion's networks and the templates. The lock names the process that \
         holds it; it is free again when that process ends, however it ends. With --wait the command waits for it, an \
         hour (`limits: {turn: …}`) or as long as it is told: --wait=10m. Whoever holds a lock touches it every few \
         seconds; one that has not for a minute is stopped (Ctrl-Z, a debugger) and still has the lock: let it go on \
         with `fg`, or end it. A `vmrun clone`, `snapshot` or `deleteVM` goes on when the run is killed that gave the \
         order; the next run waits for its end, five minutes at most (`limits: {vm_clone: …}`), since it would put a \
         machine down, or take one away, behind that run's back.",
    ),
    explained(
        "no-such-file",
        "a path leads nowhere",
        "What was to be read is not there, or the folder is not that something was to be written into: fusionlab makes \
         no folders that nobody named. A path without a leading `/` begins in the current folder; beside `where` stands \
         the whole of it.",
    ),
    explained(
        "partly-done",
        "several things failed, for several reasons",
        "A failure stops only what needs the failed step; everything else is finished. The first failure is shown in \
         full, the others by name; beside `stands` is how far each machine came and what comes next there. The next run \
         of the same command does only what is missing. Failures that are all of one kind end with that kind's exit code.",
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
        "secret-left",
        "a secret was in what was gathered for a helper",
        "`fusionlab support` takes the lab's keys and tokens out of all that it gathers, then searches the result for them in \
         another way: any 24 characters that are one's alone, also in base64, in hexadecimal, or broken into other lines. One was \
         still there, so nothing was written. The file that is named can be left out with `--without`.",
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
];
