#!/bin/sh
# A container's first process: keeps `finetide up` true until it is told to stop. PREFECT_API_URL names the server.
set -eu
trap 'finetide down; exit 0' TERM INT

finetide up
tail -n +1 -F .finetide/prefect/worker.log &
# `up` starts again what died; what is up stays up. In the background, because a shell that waits hears its signals.
while sleep 60 & wait $!; do
    finetide up > /dev/null || echo "finetide up failed; again in a minute" >&2
done
