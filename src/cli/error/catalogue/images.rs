//! Ids of disk images, downloads and templates.

use super::{Explained, explained};

pub const IMAGES: &[Explained] = &[
    explained(
        "digest-mismatch",
        "a downloaded file is not the one that was asked for",
        "Images are compared with the digest in the catalogue, or in the lab file, while they arrive. A difference means \
         that the file was replaced at its source, or changed on the way. The file is kept for you to look at, as \
         `.wrong` in the cache, only the latest, and never used.",
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
        "template-differs",
        "the template holds other versions than the lab wants",
        "Before a template is used, the versions that its bake read off the installed programs are compared with the lab \
         file's. Kubernetes, Cilium, the Gateway API and Helm must be the very ones, containerd at least the one named. A \
         difference means that a package's repository gave something else than it was asked for.",
    ),
    explained(
        "template-failed",
        "the template could not be made",
        "The template is booted once, installs what every machine needs and powers itself off; then its versions are \
         checked. It needs the internet for that. A template that failed is thrown away and made anew by the next run.",
    ),
    explained(
        "template-unfit",
        "the template cannot be cloned",
        "When a template is finished, the id of its disk's content (the CID) is written down, and the disk is made \
         read-only. It is compared before and after each clone, and with what the clone says of its parent: a clone of a \
         disk that changed would not open. Most likely the template's machine was started, or its disk edited. \
         A template that is gone altogether, as after `template prune` beside a lab's first `up`, is made anew by the next run.",
    ),
];
