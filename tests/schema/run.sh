#!/bin/bash
#
# JSON Schemas of messages, with npm's ajv as the oracle: run.sh BUILD-DIRECTORY
# PROGRAM. Installs the pinned ajv below BUILD-DIRECTORY, once.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly version=8.17.1
npm=${1:?usage: run.sh BUILD-DIRECTORY PROGRAM}/npm-ajv
[[ -e $npm/node_modules/ajv/package.json ]] ||
	npm install --prefix "$npm" --no-fund --no-audit --loglevel=error "ajv@$version" >&2
NODE_PATH=$npm/node_modules exec node tests/schema/run.js "$2"
