# shellcheck shell=bash
# What the scripts share; read by them, not run. It puts the shell into the repository's root, with ./bin on the PATH.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export PATH="$PWD/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND DEBIAN-PACKAGE: true if the command is there. In CI, as root, it is installed; elsewhere that is the user's to do.
need() {
	have "$1" && return
	if [[ ${CI:-} == true && $(id -u) == 0 ]] && have apt-get; then
		say "installing $2 for $1"
		[[ -n ${apt_updated:-} ]] || apt-get update -qq >&2
		apt_updated=1
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
		have "$1" && return
	fi
	return 1
}

# Stages: each is timed, a failing one does not stop those after it. In a stage bash does not stop at the first failing command
# (set -e is off in a list with ||): a function says so itself, with || return.
stage_log='' stage_failed=0

stage() { # NAME COMMAND...
	local name=$1 begun=$SECONDS result=ok
	shift
	say "== $name: $*"
	"$@" || {
		result=FAILED
		stage_failed=$((stage_failed + 1))
	}
	stage_log+=$(printf '%-7s %5ds  %s' "$result" $((SECONDS - begun)) "$name")$'\n'
}

stages_done() {
	say "== stages"
	printf '%s' "$stage_log" >&2
	((stage_failed == 0))
}
