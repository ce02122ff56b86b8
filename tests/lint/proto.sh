#!/bin/bash
#
# buf: names and comments of our protos, and that nothing of the published
# interface (contract.binpb) changed or vanished. Usage: proto.sh BUILD-DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:?usage: proto.sh BUILD-DIRECTORY}
buf=$(tests/support/buf.sh "$build")

# No look at the user's own configuration and credentials.
export BUF_CACHE_DIR=$build/npm/buf-cache
"$buf" lint
"$buf" breaking --against tests/lint/contract.binpb
echo "proto: lint clean, compatible with the contract"
