# Everyday commands; `just` lists them. CI runs `.ci/run`, which is these and more.

[private]
list:
    @just --list --unsorted

# Types and lints, with and without the simulated Fusion
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo clippy --no-default-features -- -D warnings

# Unit tests and whole sessions; `just test up` runs those whose name holds `up`
test *names:
    cargo test -- {{ names }}

# A lab from nothing and back, on the real Fusion if there is one, otherwise on the simulated one
demo:
    cargo run --release -- up
    cargo run --release -- status
    cargo run --release -- destroy

# Types on macOS, checked from any machine (no C compiled, nothing linked)
check-mac:
    .ci/check-mac

# Licences, bans and sources of the dependency tree (needs cargo-deny)
deny:
    cargo deny check licenses bans sources

# Everything that CI runs, from a clean machine's point of view
ci:
    .ci/run

# Fuzz each parser of src/formats, ten minutes each or as many seconds as are given (needs cargo-fuzz; see fuzz/README.md)
fuzz seconds="600":
    for target in $(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" -- -max_total_time={{ seconds }} -max_len=2048 -timeout=10 -malloc_limit_mb=256 -rss_limit_mb=1024 -print_final_stats=1 || exit 1; done

# The pictures of terminals in docs/ anew, or only those that are named; as PNG in target/pictures/png/, too (needs Python)
pictures *names:
    docs/pictures/take {{ names }}

# How long the networking file takes to read, write and edit
bench:
    cargo bench --bench networking

# How long a first `up` takes by the plan's own figures, and what planning and scheduling cost
bench-schedule:
    cargo bench --bench schedule

# How long people wait for `--help`, `status` and an `up` with nothing to do, of seven machines on the simulated Fusion
bench-answers rounds="21":
    benches/answers.sh {{ rounds }}

# How long the VIPs are away when something happens to a gateway, on real guests (root and Linux; docs/failover.md)
bench-gateway runs="5" soak="600" control_planes="3" only="":
    FUSIONLAB_BENCH_RUNS={{ runs }} FUSIONLAB_BENCH_SOAK={{ soak }} FUSIONLAB_BENCH_CONTROL_PLANES={{ control_planes }} \
        FUSIONLAB_BENCH_ONLY="{{ only }}" cargo test --test main -- --ignored --exact failover::bench --nocapture

# How long a cloud image takes to become a disk, beside qemu-img (needs qemu-img and /usr/bin/time)
bench-convert rounds="5":
    benches/convert.sh {{ rounds }}

# So many whole runs in virtual time, each with faults that its seed decides; `just simulate 1 from=SEED` is one of them again
simulate seeds="1000" from="from=1":
    FUSIONLAB_SEEDS={{ seeds }} FUSIONLAB_SEEDS_FROM={{ trim_start_match(from, "from=") }} \
        cargo test --test simulate -- no_seed --nocapture

# The same, built with optimisation: minutes more to build, and each seed in half the time
simulate-many seeds="20000" from="from=1":
    FUSIONLAB_SEEDS={{ seeds }} FUSIONLAB_SEEDS_FROM={{ trim_start_match(from, "from=") }} CARGO_INCREMENTAL=0 \
        cargo test --config profile.dev.package.fusionlab.opt-level=1 --config profile.dev.package.fusionlab.debug=false \
        --config profile.dev.package.fusionlab.codegen-units=1 --test simulate -- no_seed --nocapture

# Breaks rules of ours one at a time, and looks whether the simulation notices; `just simulate-broken no-fsync` breaks one
simulate-broken *rules:
    tests/simulate/broken.sh {{ rules }}
