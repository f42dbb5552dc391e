#!/bin/sh
# What `make demo` runs: everything from a clean machine to named breeds, each stage timed.
#
#   BACKEND=docker|process BACKBONE=[name] PICTURES=folder WEIGHTS=[folder] MAKE=make scripts/demo.sh [options of scripts/demo.py]
#
# Without a name scripts/backbone.sh chooses the backbone.
set -eu

stages=
stage() { # stage NAME COMMAND...: run the command and note how long it took
  stage_name=$1
  shift
  stage_started=$(date +%s.%N)
  "$@"
  stages="$stages --stage $stage_name=$(echo "$(date +%s.%N) $stage_started" | awk '{printf "%.1f", $1 - $2}')"
}

choose_backbone() {
  BACKBONE=$(WEIGHTS=$WEIGHTS sh scripts/backbone.sh)
}

if [ "$BACKEND" = process ]; then
  echo "demo: without Docker: the same toolkits run as processes on this machine" >&2
fi
stage set-up $MAKE setup
[ "$PICTURES" = data/drawn ] || .venv/bin/python scripts/prepare_data.py --check "$PICTURES" >&2
[ -n "$BACKBONE" ] || stage weights choose_backbone
if [ "$BACKEND" = docker ]; then
  stage images $MAKE build
fi
if [ "$PICTURES" = data/drawn ]; then
  stage drawings $MAKE data/drawn
  set -- --epochs 20 "$@" # so few pictures make few steps an epoch
fi
# shellcheck disable=SC2086 # stages holds several words
exec .venv/bin/python scripts/demo.py --backend "$BACKEND" --data "$PICTURES" --backbone "$BACKBONE" $stages "$@"
