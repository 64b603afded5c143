#!/usr/bin/env bash
# How long a compressed cloud image takes to become a disk, by fusionlab and by qemu-img, side by side.
#
#   benches/convert.sh [ROUNDS]
#
# Makes the image once, under target/: a qcow2 as clouds publish them (zlib, clusters of 64 KiB) with 1.4 GB of this
# machine's own programs and libraries in it. Each round runs both, one after the other. fusionlab's time ends when the
# disk is safe on the host's disk; qemu-img does not wait for that, so the time that `sync` then takes stands beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-5} BYTES=1400000000 SIZE=3584M
readonly FOLDER=${CARGO_TARGET_DIR:-target}/bench-convert
readonly IMAGE=$FOLDER/image.qcow2
readonly PROGRAM=${FUSIONLAB:-${CARGO_TARGET_DIR:-target}/release/fusionlab}

for tool in qemu-img tar; do
    command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done
[[ -x /usr/bin/time ]] || { echo "/usr/bin/time is missing (package time)" >&2; exit 1; }
[[ -n ${FUSIONLAB:-} ]] || cargo build --release

mkdir -p "$FOLDER"
if [[ ! -f $IMAGE ]]; then
    echo "making $IMAGE; this takes a minute or two"
    # tar is cut off on purpose.
    { tar -c -C / usr/lib usr/share usr/bin "$(cd / && echo "${HOME#/}/.cargo")" "${HOME#/}/.rustup" 2>/dev/null || true; } |
        head -c "$BYTES" >"$FOLDER/raw"
    [[ $(wc -c <"$FOLDER/raw") -eq $BYTES ]] || { echo "there are not $BYTES bytes of programs here" >&2; exit 1; }
    truncate -s "$SIZE" "$FOLDER/raw"
    qemu-img convert -c -f raw -O qcow2 "$FOLDER/raw" "$IMAGE.part"
    rm "$FOLDER/raw"
    mv "$IMAGE.part" "$IMAGE"
fi
FUSIONLAB_HOME=$(mktemp -d /tmp/fl-bench-XXXXXX)
export FUSIONLAB_HOME
trap 'rm -rf "$FUSIONLAB_HOME" "$FOLDER"/*.vmdk' EXIT

# Prints seconds, seconds of processor time, and MiB of peak memory of a command.
measured() {
    if [[ $(uname) == Darwin ]]; then
        /usr/bin/time -l "$@" 2>&1 >/dev/null | awk '/ real /{r=$1; c=$3+$5} /maximum resident/{m=$1/1048576} END{print r, c, m}'
    else
        /usr/bin/time -f '%e %U %S %M' "$@" 2>&1 >/dev/null | awk 'END{print $1, $2+$3, $4/1024}'
    fi
}

ours=() theirs=() theirs_safe=()
printf '%-7s %-10s %9s %9s %9s %9s\n' round program seconds 'cpu s' 'peak MiB' '+ sync s'
for ((round = 1; round <= ROUNDS; round++)); do
    rm -f "$FOLDER"/*.vmdk
    sync
    read -r real cpu peak < <(measured "$PROGRAM" image convert --quiet "$IMAGE" "$FOLDER/ours.vmdk")
    printf '%-7s %-10s %9.2f %9.2f %9.1f %9s\n' "$round" fusionlab "$real" "$cpu" "$peak" -
    ours+=("$real")
    sync
    read -r real cpu peak < <(measured qemu-img convert -O vmdk -o subformat=monolithicSparse "$IMAGE" "$FOLDER/theirs.vmdk")
    read -r flush _ < <(measured sync)
    printf '%-7s %-10s %9.2f %9.2f %9.1f %9.2f\n' "$round" qemu-img "$real" "$cpu" "$peak" "$flush"
    theirs+=("$real")
    theirs_safe+=("$(awk "BEGIN{print $real + $flush}")")
done
qemu-img compare "$FOLDER/ours.vmdk" "$FOLDER/theirs.vmdk"

median() {
    printf '%s\n' "$@" | sort -n | awk '{v[NR]=$1} END{print (NR % 2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'
}
awk -v ours="$(median "${ours[@]}")" -v theirs="$(median "${theirs[@]}")" -v safe="$(median "${theirs_safe[@]}")" 'BEGIN {
    printf "medians: fusionlab %.2f s, qemu-img %.2f s: %.2f times its speed, %.2f times with its sync\n", ours, theirs, theirs / ours, safe / ours
}'
