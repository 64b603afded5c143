#!/usr/bin/env bash
# How long people wait for an answer: `--help`, `status` and an `up` with nothing to do, of the document's lab of seven
# machines on the simulated Fusion.
#
#   benches/answers.sh [ROUNDS]
#
# Each figure is the median of the rounds, with the slowest beside it, from the start of the process to its end. What it may be
# is what nobody feels as waiting.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROUNDS=${1:-21}
PROGRAM=${FUSIONLAB:-${CARGO_TARGET_DIR:-target}/release/fusionlab}

[[ -n ${FUSIONLAB:-} ]] || cargo build --release
PROGRAM=$(realpath "$PROGRAM")
FUSIONLAB_HOME=$(mktemp -d /tmp/fl-bench-XXXXXX)
export FUSIONLAB_HOME
trap '"$PROGRAM" destroy --yes >/dev/null 2>&1 || true; rm -rf "$FUSIONLAB_HOME"' EXIT
cd "$FUSIONLAB_HOME"

# Prints the microseconds that a command takes.
once() {
    local began=${EPOCHREALTIME/./}
    "$PROGRAM" "$@" >/dev/null 2>&1
    printf '%d\n' "$((${EPOCHREALTIME/./} - began))"
}

# Measures one command against what it may take, in milliseconds; returns 1 if its median takes longer.
measure() {
    local limit=$1 round all=()
    shift
    "$PROGRAM" "$@" >/dev/null 2>&1
    for ((round = 0; round < ROUNDS; round++)); do all+=("$(once "$@")"); done
    mapfile -t all < <(printf '%s\n' "${all[@]}" | sort -n)
    local median=${all[ROUNDS / 2]} slowest=${all[-1]}
    printf '%-24s %8d.%01d ms %8d.%01d ms %8d ms\n' "fusionlab $*" \
        "$((median / 1000))" "$((median % 1000 / 100))" "$((slowest / 1000))" "$((slowest % 1000 / 100))" "$limit"
    ((median <= limit * 1000))
}

"$PROGRAM" up --yes >/dev/null 2>&1
printf '%-24s %13s %13s %11s\n' '' median slowest 'may take'
met=0
measure 10 --help || met=1
measure 300 status || met=1
measure 1000 up --yes || met=1
exit "$met"
