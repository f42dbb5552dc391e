#!/bin/sh
# What `make demo` runs: everything from a clean machine to named breeds, each stage timed.
#
#   BACKEND=docker|process BACKBONE=auto|NAME PICTURES=folder MAKE=make scripts/demo.sh [options of scripts/demo.py]
#
# BACKBONE=auto is ResNet50 when its weights can be had, else EfficientNet-Lite0, whose weights come as a package.
set -eu

stages=
stage() { # stage NAME COMMAND...: run the command and note how long it took
  stage_name=$1
  shift
  stage_started=$(date +%s.%N)
  "$@"
  stages="$stages --stage $stage_name=$(echo "$(date +%s.%N) $stage_started" | awk '{printf "%.1f", $1 - $2}')"
}

fetch_weights() {
  [ "$BACKBONE" = efficientnet_lite0 ] || .venv/bin/python scripts/fetch_weights.py --optional
}

if [ "$BACKEND" = process ]; then
  echo "demo: without Docker: the same toolkits run as processes on this machine" >&2
fi
stage set-up $MAKE setup
stage weights fetch_weights
if ls docker/weights/resnet50*.pth >/dev/null 2>&1; then
  found=resnet50
else
  found=efficientnet_lite0
fi
if [ "$BACKBONE" = auto ]; then
  BACKBONE=$found
  echo "demo: backbone $BACKBONE" >&2
fi
if [ "$BACKEND" = docker ]; then
  stage images $MAKE build
fi
if [ "$PICTURES" = data/drawn ]; then
  stage drawings $MAKE data/drawn
fi
# shellcheck disable=SC2086 # stages holds several words
exec .venv/bin/python scripts/demo.py --backend "$BACKEND" --data "$PICTURES" --backbone "$BACKBONE" $stages "$@"
