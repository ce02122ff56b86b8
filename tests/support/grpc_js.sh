#!/bin/bash
#
# grpc_js.sh BUILD-DIRECTORY: installs what examples/handlers/collector-handlers.js
# needs from npm below that directory, unless it is there; prints where.
set -euo pipefail

grpc_js=1.10.11
protobufjs=7.4.0
npm_dir=${1:?usage: grpc_js.sh BUILD-DIRECTORY}/npm-grpc
stamp=$npm_dir/$grpc_js-$protobufjs

if [[ ! -e $stamp ]]; then
	npm install --prefix "$npm_dir" --no-save --no-audit --no-fund --loglevel=error \
		"@grpc/grpc-js@$grpc_js" "protobufjs@$protobufjs" >&2
	touch "$stamp"
fi
echo "$(cd "$npm_dir" && pwd)/node_modules"
