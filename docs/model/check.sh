#!/usr/bin/env bash
# Checks the models with spin, as they are and with each mechanism taken away. Needs spin and a C compiler.
set -eu
models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

run() { # MODEL DEFINE...: prints the number of errors and of states
	local model=$1
	shift
	spin -a "$@" "$models/$model"
	cc -w -O2 -DSAFETY -DCOLLAPSE -o pan pan.c
	./pan -E -m100000 | awk '/errors:/ { print $NF } /states, stored/ { print $1 }' | tr '\n' ' '
}

check() { # MODEL FAULT...
	local model=$1 errors states
	shift
	read -r errors states <<<"$(run "$model")"
	[ "$errors" = 0 ] || { echo "$model: an assertion fails"; exit 1; }
	echo "$model holds in $states states"
	for fault in "$@"; do
		read -r errors states <<<"$(run "$model" "-D$fault")"
		[ "$errors" != 0 ] || { echo "$model: $fault goes unnoticed"; exit 1; }
		echo "$fault is found"
	done
}

check commit.pml PREPARE_BELOW_FLOOR DECIDE_BELOW_PREPARE NO_COMMIT_WAIT ABORT_UNASKED FORGET_PREPARED IGNORE_PREPARED NO_FLOOR
check locks.pml NO_PROMISE NO_TOKEN FORGET_PAST
