#!/bin/sh
# fuzz/run.sh TARGET SECONDS [libFuzzer options]
#
# Fuzzes one target with libFuzzer and AddressSanitizer on the stable toolchain: the flags that cargo-fuzz would
# pass, without cargo-fuzz and without clang (libfuzzer-sys builds its C++ part with g++). Starts from
# corpus/TARGET, which is not modified; what is new goes to artifacts/TARGET (not in git): `found` are inputs that
# reach new code, `crash-*`, `oom-*` and `timeout-*` are findings, and make the exit code non-zero.
# SANITIZER=none leaves AddressSanitizer out.
#
# A new target: a [[bin]] in Cargo.toml, a file in targets/, a folder in corpus/.
set -eu

target=${1:?usage: fuzz/run.sh TARGET SECONDS}
seconds=${2:?usage: fuzz/run.sh TARGET SECONDS}
shift 2
cd "$(dirname "$0")"
[ -d "corpus/$target" ] || { echo "fuzz: no such target: $target (there are: $(ls corpus | tr '\n' ' '))" >&2; exit 2; }

host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
if [ "${SANITIZER:-address}" = address ]; then
    flags="$flags -Zsanitizer=address"
fi

# With --target the flags do not reach build scripts. They are nightly's, hence RUSTC_BOOTSTRAP.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$(echo $flags) CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-target} \
    cargo build --quiet --release --locked --target "$host" --bin "$target"

# What is freed stays poisoned for a while; by default 256 MiB of it would eat half of the memory limit.
export ASAN_OPTIONS="${ASAN_OPTIONS:-quarantine_size_mb=32}"
found=artifacts/$target/found
mkdir -p "$found"
exec "${FUZZ_TARGET_DIR:-target}/$host/release/$target" "$found" "corpus/$target" \
    -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10 \
    -max_len=16384 -print_final_stats=1 "$@"
