#!/usr/bin/env bash
# Breaks rules of ours one at a time, and looks whether the simulation notices: each patch in `broken/` is applied to a copy
# of the checkout, which then runs seeds until one of them finds something wrong.
#
#   tests/simulate/broken.sh            all of them
#   tests/simulate/broken.sh RULE…      only these, such as `no-fsync no-rename`
#
# FUSIONLAB_SEEDS says after how many seeds a broken rule counts as unnoticed. A seed that finds something is told once more
# with nothing broken: if it finds something then as well, that was not the patch's doing, and later seeds are told.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

LIMIT=${FUSIONLAB_SEEDS:-1000}
PATCHES=tests/simulate/broken

main() {
    local rules=("$@") unnoticed=()
    if ((${#rules[@]} == 0)); then
        mapfile -t rules < <(cd "$PATCHES" && printf '%s\n' *.patch | sed 's/\.patch$//')
    fi
    mkdir -p "${CARGO_TARGET_DIR:-target}/broken"
    work=$(cd "${CARGO_TARGET_DIR:-target}/broken" && pwd)
    tree=$work/tree
    # One patch after the other changes few files of the same crate.
    export CARGO_TARGET_DIR=$work/target CARGO_INCREMENTAL=1

    copy
    build whole
    printf '%-24s %5s %8s  %s\n' 'BROKEN RULE' SEED SECONDS 'FOUND BY'
    local rule
    for rule in "${rules[@]}"; do
        look "$rule" || unnoticed+=("$rule")
    done
    ((${#unnoticed[@]} == 0)) || fail "broken and unnoticed: ${unnoticed[*]}"
}

# Copies the checkout as it stands, with what is not committed. Its files are new, so that nothing that an earlier run has
# built of a broken one passes for theirs.
copy() {
    rm -rf "$tree"
    mkdir -p "$tree"
    local file
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
        tar --null -T - -cf - | tar -xmf - -C "$tree"
}

# Builds the simulation from the copy and keeps it under this name.
build() {
    local program
    program=$(cd "$tree" && cargo test --locked --test simulate --no-run --message-format=json 2>"$work/build.txt" |
        sed -n 's/.*"executable":"\([^"]*deps\/simulate-[^"]*\)".*/\1/p') ||
        { cat "$work/build.txt" >&2; fail "$1 does not compile"; }
    cp "$program" "$work/$1" || fail "there is no program of $1"
}

# Applies a patch to the copy, or takes it out of it again. The checkout around the copy is none of git's business here.
patch_copy() {
    (cd "$tree" && GIT_CEILING_DIRECTORIES=$work git apply "$@")
}

# Tells seeds from one on, so many at most, until one finds something; prints what it finds.
tell() {
    local program=$1 from=$2 count=$3
    FUSIONLAB_SEEDS_FROM=$from FUSIONLAB_SEEDS=$count FUSIONLAB_SEEDS_ENOUGH=1 "$work/$program" no_seed --nocapture \
        >"$work/$program.txt" 2>&1 || true
    { grep -a '^seed [0-9]* breaks a rule: ' "$work/$program.txt" || true; } | sort -n -k 2 | head -n 1
}

# Looks for the first seed that notices a broken rule.
look() {
    # The copy's own, so that whoever goes on in the checkout changes nothing here.
    local rule=$1 patch=$PATCHES/$1.patch from=1 found seed began
    patch_copy "$patch" || fail "$patch does not apply"
    build broken
    patch_copy -R "$patch" || fail "$patch cannot be taken out again"
    began=$SECONDS
    while found=$(tell broken "$from" "$((LIMIT - from + 1))") && [[ -n $found ]]; do
        mv "$work/broken.txt" "$work/$rule.txt"
        seed=${found#seed }
        seed=${seed%% *}
        if [[ -z $(tell whole "$seed" 1) ]]; then
            printf '%-24s %5d %8d  %.120s\n' "$rule" "$seed" "$((SECONDS - began))" "${found#*breaks a rule: }"
            return
        fi
        from=$((seed + 1))
    done
    grep -q 'test result: ok' "$work/broken.txt" || fail "$rule: neither found nor run to the end: $work/broken.txt"
    printf '%-24s %5s %8d  nobody\n' "$rule" - "$((SECONDS - began))"
    return 1
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

main "$@"
