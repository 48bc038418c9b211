#!/bin/sh
# Makes, once, what the cluster of compose.yaml needs before it starts, in the folder given or
# /state: certificates of the mesh, and what `posthorn dev` makes for clients and their tokens.
set -eu
state=${1:-/state}

if [ ! -e "$state/dev/cluster.json" ]; then
    # A development cluster for a moment: its certificate, its identity provider.
    posthorn dev --data "$state" --listen 127.0.0.1:0 --admin 127.0.0.1:0 >/dev/null 2>&1 &
    pid=$!
    until [ -e "$state/dev/cluster.json" ]; do
        kill -0 "$pid" # It has ended if this fails.
        sleep 0.1
    done
    kill -TERM "$pid"
    wait "$pid" || true
    # Where `posthorn send --data` and the others find this cluster, within edge-1.
    echo '{"address": "127.0.0.1:4433", "admin": "127.0.0.1:4434"}' >"$state/dev/cluster.json"
fi

if [ ! -e "$state/mesh/ca.key" ]; then
    posthorn admin mesh-ca new "$state/mesh"
fi
for name in edge-1 edge-2 worker-1 worker-2; do
    [ -e "$state/mesh/$name.key" ] ||
        posthorn admin mesh-ca issue "$state/mesh" --name "$name" --role "${name%-*}"
done
