#!/usr/bin/env bash
# Makes the generated files anew: the Go code of the schemas, and whatever //go:generate lines make.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/bin:$PATH"

scripts/tools.sh buf protoc-gen-go protoc-gen-go-vtproto
buf generate
go generate ./...
