//! Ids of Fusion's networks and of what root does.

use super::{Explained, explained};

pub const NETWORKS: &[Explained] = &[
    explained(
        "in-the-way",
        "something of somebody else stands in the way",
        "A machine without the lab's mark, a network that is taken, a window of Fusion that is open: fusionlab does not touch \
         what is not the lab's, so it stops before it changes anything. All of it is listed together. The exit code says what \
         it is about: 6 machines and templates, 7 networks, 9 the cluster, 4 this Mac, or several of these.",
    ),
    explained(
        "lan-address-taken",
        "somebody in the home network has the address of one of the lab's gateways",
        "Before the gateways take the VIP for the first time, one of them asks the home network for the VIP and for each gateway's own \
         address. Somebody else has answered for a gateway's. The gateway has that address from its first boot on, so that now one of \
         the two is heard and now the other: a printer that is there and gone, a VIP that comes and goes. The MAC says which machine \
         it is: the home router lists it. Addresses outside the router's DHCP range avoid that, in the lab file and for good.",
    ),
    explained(
        "lan-elsewhere",
        "this Mac is not in the built-in lab's home network",
        "Without a lab file the lab is that of the networking document, whose gateways and VIP have addresses of \
         192.168.68.0/24. They are bridged to the network that the Mac is in: in another one nobody reaches them, and the proof \
         would fail after minutes of work. So `up` stops before it changes anything. `fusionlab init` finds the network that is \
         here and writes a lab file for it; `fusionlab init --yes` does so without a question. A lab file that names a LAN is \
         somebody's choice: `plan` and `up` then warn (`other-lan`) and go on. A lab that stands already is not refused.",
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
        "resolver-taken",
        "the file for the lab's domain in /etc/resolver is somebody else's",
        "macOS asks the name server of `/etc/resolver/<domain>` for every name below that domain. fusionlab writes such a \
         file on wish (`fusionlab names --resolver`), and replaces or removes only one that it wrote for this lab and that \
         nobody has changed since. Two labs of one domain cannot both have it: give one of them another `domain:`, or take the \
         file back where it is the other's (`fusionlab names --no-resolver`).",
    ),
    explained(
        "root-denied",
        "sudo did not let us change Fusion's networks, or the file of the lab's domain",
        "Fusion's networking file belongs to root, and so does /etc/resolver, which `fusionlab names --resolver` writes one file \
         into. Each such change is one step that runs as root, by sudo, shown before; for the networks sudo is asked for your \
         password before anything else begins. Nothing else of fusionlab needs root, and it must not be started with sudo \
         itself.",
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
        "router-id-taken",
        "somebody else's VRRP router has the id of the lab's gateways",
        "Keepalived's gateways know each other by a VRRP router id. Before they take the VIP for the first time, one of them \
         listens on the LAN and on the lab's own network: adverts with that id from a machine that is not of the lab mean \
         that two routers would take each other for a peer. Another `gateways: {router_id: …}` in the lab file, from 1 \
         to 255, avoids that.",
    ),
    explained(
        "sudoers-differ",
        "the sudoers line that is installed is not the one that is wanted",
        "The line names our program, its user and the folder of its requests; when one of them changes, so must the line. \
         Without it nothing is lost: sudo asks for the password. `sudo cat FILE | fusionlab network sudoers --check -` \
         compares a file that only root may read.",
    ),
    explained(
        "vip-taken",
        "somebody in the home network has the lab's VIP",
        "Before the gateways take the VIP for the first time, one of them asks the home network for it, as RFC 5227 has it: three times, \
         without an address of its own. A machine that is not a gateway of the lab has answered, so taking the VIP would cut \
         that machine off, or send the lab's users to it. The MAC says which machine it is: the home router lists it. Another \
         `lan: {vip: …}`, outside the router's DHCP range, avoids that.",
    ),
];
