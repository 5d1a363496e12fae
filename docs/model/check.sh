#!/usr/bin/env bash
# Checks commit.pml with spin, as it is and with each mechanism taken away. Needs spin and a C compiler.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/commit.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

run() { # DEFINE...: prints the number of errors and of states
	spin -a "$@" "$model"
	cc -w -O2 -DSAFETY -DCOLLAPSE -o pan pan.c
	./pan -E -m100000 | awk '/errors:/ { print $NF } /states, stored/ { print $1 }' | tr '\n' ' '
}

read -r errors states <<<"$(run)"
[ "$errors" = 0 ] || { echo "commit.pml: an assertion fails"; exit 1; }
echo "commit.pml holds in $states states"
for fault in PREPARE_BELOW_FLOOR DECIDE_BELOW_PREPARE NO_COMMIT_WAIT ABORT_UNASKED FORGET_PREPARED IGNORE_PREPARED NO_FLOOR; do
	read -r errors states <<<"$(run -D$fault)"
	[ "$errors" != 0 ] || { echo "$fault goes unnoticed"; exit 1; }
	echo "$fault is found"
done
