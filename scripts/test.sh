#!/usr/bin/env bash
# All tests, in three stages: packages and services, under the race detector; whole installations end to end, on the embedded
# broker and the embedded engine; what can run on a real Kafka broker, on one.
#
#   WAYMARK_KAFKA=HOST:PORT  that broker is used for the third stage
#   WAYMARK_KAFKA=required   one is started; that it cannot be is a failure
#   unset                    one is started where java and mvn are there, else the stage is skipped with the reason
#   WAYMARK_SENDERS=required all SDKs must have run against the collector
#   RACE=0                   without the race detector (it needs a C compiler)
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kafka=${WAYMARK_KAFKA:-}
unset WAYMARK_KAFKA # the first two stages have no real broker
scratch=$(mktemp -d "${TMPDIR:-/tmp}/waymark-test.XXXXXX")
broker=''
finish() {
	[[ -z $broker ]] || scripts/kafka.sh stop "$broker" || scripts/kafka.sh kill "$broker" || true
	rm -rf "$scratch"
}
trap finish EXIT

scripts/tools.sh gotestsum

# The embedded engine is a library for one platform, fetched with npm on first use. Where it can be had, its absence is a
# failure, not a skip.
if [[ -z ${WAYMARK_ENGINE_REQUIRED:-} && $(uname -sm) == "Linux x86_64" ]] && { need npm npm || [[ -n ${WAYMARK_ENGINE:-} ]]; }; then
	export WAYMARK_ENGINE_REQUIRED=1
fi
if [[ -z ${WAYMARK_ENGINE_REQUIRED:-} ]]; then
	say "the embedded ClickHouse engine needs Linux on x86-64, and npm to fetch it: tests with it are skipped"
fi

# The SDKs that are run against the collector, each by its own means. A missing one is skipped, unless WAYMARK_SENDERS=required.
if [[ ${WAYMARK_SENDERS:-} == required ]]; then
	need node nodejs || true
	need npm npm || true
	need chromium chromium || true
	need pip3 python3-pip || true
	need java default-jdk-headless || true
	need mvn maven || true
fi

race=-race
if [[ ${RACE:-1} == 0 ]]; then
	race=''
elif ! have "$(go env CC)" || [[ $(go env CGO_ENABLED) != 1 ]]; then
	say "no C compiler: tests run without the race detector"
	race=''
fi

run() { # NAME GO-TEST-ARGS...
	local json=$scratch/$1.json
	shift
	gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile "$json" -- -vet=off "$@"
}

mapfile -t plain < <(go list ./... | grep -v '/services/waymark$')
# shellcheck disable=SC2086 # an empty $race is no argument
stage "unit, property, fuzz seeds, services" run unit $race -timeout 20m "${plain[@]}"
stage "whole installations, embedded" run installations -timeout 20m ./services/waymark

free_port() { # the first of two neighbours that nobody listens on
	local port
	for port in $(shuf -i 20000-29998 -n 50); do
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
	say "no free port between 20000 and 29998"
	return 1
}

start_broker() {
	local port
	port=$(free_port) || return
	broker=$scratch/kafka
	scripts/kafka.sh start "$broker" "$port" || return
	kafka=127.0.0.1:$port
}

on_real_kafka() {
	if [[ $kafka != *:* ]]; then
		start_broker || return
	fi
	mapfile -t packages < <(grep -rlE --include='*_test.go' 'kafkatest\.Real|Getenv\("WAYMARK_KAFKA"\)' pkg services | xargs -r -n1 dirname | sort -u | sed 's|^|./|')
	WAYMARK_KAFKA=$kafka run kafka -count=1 -p 1 -timeout 20m "${packages[@]}"
}

if [[ $kafka == required ]]; then
	need java default-jdk-headless || true
	need mvn maven || true
fi
if [[ $kafka == *:* || $kafka == required ]] || { have java && have mvn; }; then
	stage "on a real Kafka broker" on_real_kafka
else
	say "== on a real Kafka broker: skipped, java and mvn are needed to run one (or name one: WAYMARK_KAFKA=HOST:PORT)"
fi

outcome() { # pass, fail or skip: how many tests ended so, in all stages
	cat "$scratch"/*.json 2>/dev/null | grep -c "\"Action\":\"$1\".*\"Test\":" || true
}
status=0
stages_done || status=1
failed=$(outcome fail)
((status == 0 || failed > 0)) || failed=1 # a package that did not compile, a broker that did not start
echo "$(outcome pass) passed, $failed failed, $(outcome skip) skipped"
exit $status
