#!/bin/sh
# fuzz/quietly.sh TARGET SECONDS: run.sh with its output in artifacts/TARGET.log; one line of it where nothing is found,
# the end of it where something is.
target=${1:?usage: fuzz/quietly.sh TARGET SECONDS}
cd "$(dirname "$0")" || exit 2
mkdir -p artifacts
./run.sh "$@" >"artifacts/$target.log" 2>&1
code=$?
if [ "$code" -eq 0 ]; then
    echo "fuzz $target: nothing found in $(sed -n 's/^stat::number_of_executed_units: *//p' "artifacts/$target.log") inputs"
else
    echo "fuzz $target: exit code $code; the input is in fuzz/artifacts/$target" >&2
    tail -n 60 "artifacts/$target.log" >&2
fi
exit "$code"
