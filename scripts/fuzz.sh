#!/usr/bin/env bash
# Every fuzz target of the tree, one after the other, FUZZTIME (10s) each.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

while IFS=: read -r file line; do
	target=${line#func }
	target=${target%%(*}
	stage "$target" go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$(dirname "$file")"
done < <(grep -rE --include='*_test.go' '^func Fuzz' pkg services)
stages_done
