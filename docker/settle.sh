#!/bin/sh
# Ends a RUN step of a Dockerfile so that the same inputs give the same layer, byte for byte:
# removes what differs by run (logs, caches, backups) and gives every file the step changed one date.
#
#   docker/settle.sh begin         before the step's work
#   docker/settle.sh end           after it; needs SOURCE_DATE_EPOCH
set -eu

mark=/dev/shm/settle
case $1 in
  begin)
    touch "$mark"
    sleep 0.02 # the clock that dates files ticks every few milliseconds
    ;;
  end)
    rm -rf /var/log/* /var/cache/apt/* /var/cache/ldconfig/* /var/lib/apt/lists/* /tmp/* /root/.cache
    rm -f /var/cache/debconf/*-old /var/lib/dpkg/*-old
    find / -xdev -cnewer "$mark" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    ;;
esac
