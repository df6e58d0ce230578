#!/usr/bin/env bash
# Installs the pinned tools into ./bin: all of them, or those named. A tool already there in its version is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# name, package, version
tools='
buf                 github.com/bufbuild/buf/cmd/buf                             v1.75.0
golangci-lint       github.com/golangci/golangci-lint/v2/cmd/golangci-lint      v2.15.0
gotestsum           gotest.tools/gotestsum                                      v1.13.0
protoc-gen-go       google.golang.org/protobuf/cmd/protoc-gen-go                v1.36.12
protoc-gen-go-vtproto github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto v0.6.0
shfmt               mvdan.cc/sh/v3/cmd/shfmt                                    v3.14.1
'

wanted=" $* "
while read -r name package version; do
	[[ -n $name ]] || continue
	[[ $wanted == "  " || $wanted == *" $name "* ]] || continue
	wanted=${wanted/ $name / }
	# go install names the module's version in the binary itself.
	if [[ -x bin/$name ]] && go version -m "bin/$name" | grep -q "^	mod	.*	$version	"; then
		continue
	fi
	echo "installing $name $version into bin" >&2
	GOBIN=$PWD/bin go install "$package@$version"
done <<<"$tools"
if [[ -n ${wanted// /} && $# -gt 0 ]]; then
	echo "tools.sh: no such tool:$wanted" >&2
	exit 2
fi
