#!/usr/bin/env bash
# Everything that can be said of the tree without running it. Each check runs, whatever the others said.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/tools.sh

# What a machine lacks is a failure in CI and a line elsewhere.
lacking() { # COMMAND WHAT
	say "$1 is not installed: $2 not checked"
	[[ ${CI:-} != true ]]
}

build() {
	go build ./... && go vet ./...
}

portable() { # without cgo, and on the other platforms that the commands are said to run on
	local target
	for target in linux/amd64 darwin/arm64; do
		CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -o /dev/null ./services/waymark || {
			say "does not build for $target without cgo"
			return 1
		}
	done
}

# Generates in a copy, so that work in progress is neither mistaken for stale output nor overwritten.
generated() {
	local copy status=0
	copy=$(mktemp -d)
	tar -c --exclude=./bin --exclude=./data --exclude=./.git --exclude=node_modules . | tar -x -C "$copy"
	ln -s "$PWD/bin" "$copy/bin"
	if [[ -d ../shared ]]; then mkdir -p "$copy/shared"; fi
	(cd "$copy" && scripts/generate.sh) &&
		diff -r --brief --exclude=bin --exclude=data --exclude=.git --exclude=node_modules --exclude=shared . "$copy" || {
		say "generated files are not what their sources make: run make generate"
		status=1
	}
	rm -rf "$copy"
	return $status
}

shell() {
	mapfile -t scripts < <(grep -rlE '^#!.*\bbash' scripts .ci --include='*.sh' --include=run)
	shfmt -d "${scripts[@]}" scripts/lib.sh
	if need shellcheck shellcheck; then
		shellcheck -x "${scripts[@]}"
	else
		lacking shellcheck "the scripts are"
	fi
}

# Any password will do to read the file, but none is an error.
compose() {
	need docker-compose docker-compose || {
		lacking docker-compose "docker-compose.yml is"
		return
	}
	local profile
	for profile in '' cluster; do
		env CLICKHOUSE_PASSWORD=any WAYMARK_IMPORT_KEY=any COMPOSE_PROFILES=$profile docker-compose --env-file deploy/docker/env.example config --quiet || return
	done
	if env -u CLICKHOUSE_PASSWORD -u WAYMARK_IMPORT_KEY docker-compose --env-file deploy/docker/env.example config --quiet 2>/dev/null; then
		say "docker-compose.yml can be read without passwords: one of them has a default"
		return 1
	fi
}

stage "go build, go vet" build
stage "builds without cgo and for other platforms" portable
stage "golangci-lint" golangci-lint run ./...
stage "buf lint" buf lint
stage "generated code" generated
stage "scripts" shell
stage "docker-compose config" compose
stages_done
