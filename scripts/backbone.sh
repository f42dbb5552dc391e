#!/bin/sh
# Prints the backbone that demo and hpo take when none is named: ResNet50 if its weights can be had, else
# EfficientNet-Lite0, whose weights come as a package.
#
#   WEIGHTS=[folder] scripts/backbone.sh
set -eu

if ls "${WEIGHTS:-docker/weights}"/resnet50*.pth >/dev/null 2>&1 ||
  { .venv/bin/python scripts/fetch_weights.py --optional >&2 && ls docker/weights/resnet50*.pth >/dev/null 2>&1; }; then
  backbone=resnet50
else
  backbone=efficientnet_lite0
fi
echo "backbone $backbone" >&2
echo $backbone
