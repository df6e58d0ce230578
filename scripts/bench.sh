#!/usr/bin/env bash
# Runs the Go benchmarks of all packages, or of those named, and writes bench/results: benchmarks.txt as Go prints them (for
# benchstat), benchmarks.json, and benchmarks.md as a table. COUNT (1) is how often each is run, BENCH (.) which of them,
# BENCHTIME (1s) how long each. Other work on the machine makes all figures worse: say so beside any that you publish.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

results=bench/results
mkdir -p "$results"
if (($# == 0)); then
	mapfile -t found < <(grep -rl --include='*_test.go' '^func Benchmark' pkg services | xargs -r -n1 dirname | sort -u | sed 's|^|./|')
	set -- "${found[@]}"
fi

status=0
go test -vet=off -run '^$' -bench "${BENCH:-.}" -benchmem -benchtime "${BENCHTIME:-1s}" -count "${COUNT:-1}" -timeout 60m "$@" |
	tee "$results/benchmarks.txt" || status=$?

# A line is: name, iterations, then values each with its unit.
awk '
	function text(s) { gsub(/[\\"]/, "\\\\&", s); return "\"" s "\"" }
	/^(goos|goarch|pkg|cpu): / { key = $1; sub(/:$/, "", key); sub(/^[a-z]+: /, ""); about[key] = $0; next }
	/^Benchmark/ && NF >= 4 {
		if (!n++) printf "{\"goos\": %s, \"goarch\": %s, \"cpu\": %s, \"benchmarks\": [", text(about["goos"]), text(about["goarch"]), text(about["cpu"])
		printf "%s\n  {\"package\": %s, \"name\": %s, \"runs\": %s", (n > 1 ? "," : ""), text(about["pkg"]), text($1), $2
		for (i = 3; i < NF; i += 2) printf ", %s: %s", text($(i + 1)), $i
		printf "}"
	}
	END { print n ? "\n]}" : "{\"benchmarks\": []}" }
' "$results/benchmarks.txt" >"$results/benchmarks.json"

{
	echo '# Benchmarks'
	echo
	echo "$(sed -n 's/^cpu: //p' "$results/benchmarks.txt" | head -n 1), $(nproc) cores, $(go env GOVERSION), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
	echo
	echo '| package | benchmark | time/op | B/op | allocs/op | others |'
	echo '|---|---|---:|---:|---:|---|'
	awk '
		/^pkg: / { pkg = $2; sub(/^github.com\/waymark-analytics\/waymark\//, "", pkg) }
		/^Benchmark/ && NF >= 4 {
			name = $1; sub(/^Benchmark/, "", name); time = bytes = allocs = others = ""
			for (i = 3; i < NF; i += 2) {
				if ($(i + 1) == "ns/op") time = ($i >= 1e6 ? sprintf("%.1f ms", $i / 1e6) : $i >= 1e3 ? sprintf("%.1f us", $i / 1e3) : $i " ns")
				else if ($(i + 1) == "B/op") bytes = $i
				else if ($(i + 1) == "allocs/op") allocs = $i
				else others = others (others == "" ? "" : ", ") $i " " $(i + 1)
			}
			print "| " pkg " | " name " | " time " | " bytes " | " allocs " | " others " |"
		}
	' "$results/benchmarks.txt"
} >"$results/benchmarks.md"

say "written: $results/benchmarks.txt, .json, .md"
exit $status
