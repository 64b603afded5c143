//! Ids of Fusion's networks and of what root does.

use super::{Explained, explained};

pub const NETWORKS: &[Explained] = &[
    explained(
        "in-the-way",
        "something of somebody else stands in the way",
        "A machine without the lab's mark, a network that is taken, a window of Fusion that is open: fusionlab does not touch \
         what is not the lab's, so it stops before it changes anything. All of it is listed together.",
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
        "program-of-others",
        "a sudoers line would be a way to root for others",
        "`fusionlab network sudoers` gives a line that runs our own program as root without a password. That is safe only \
         if nobody but root can change the program or a folder above it; a copy in a folder of root's own is. The line \
         holds for that copy alone, so it is the one to run.",
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
        "sudoers-differ",
        "the sudoers line that is installed is not the one that is wanted",
        "The line names our program, its user and the folder of its requests; when one of them changes, so must the line. \
         Without it nothing is lost: sudo asks for the password. `sudo cat FILE | fusionlab network sudoers --check -` \
         compares a file that only root may read.",
    ),
];
