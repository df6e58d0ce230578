#!/usr/bin/env bash
# A real Apache Kafka broker for tests: one node, broker and controller in one JVM, on loopback, run from its Maven jars.
#
#   scripts/kafka.sh fetch            copy the jars into the cache folder, once
#   scripts/kafka.sh start DIR PORT   start a broker on 127.0.0.1:PORT (its controller takes PORT+1); its data is kept in DIR
#   scripts/kafka.sh stop DIR         end it in order
#   scripts/kafka.sh kill DIR         end it as a crash would
#
# A broker started again on the same DIR has the records it had. Needs java 17 or newer, and mvn for the first fetch.
# KAFKA_HEAP (512m) is its memory, WAYMARK_CACHE (~/.cache/waymark) is where the jars go.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/kafka/pom.xml")
jars=${WAYMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waymark}/kafka-$version

fail() {
	echo "kafka.sh: $*" >&2
	exit 1
}

fetch() {
	[[ -d $jars ]] && return
	command -v mvn >/dev/null || fail "mvn is not installed: it fetches the broker's jars"
	local part=$jars.part.$$
	mkdir -p "$part"
	if ! mvn -q -B -Dstyle.color=never -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$part" >&2; then
		rm -rf "$part"
		fail "mvn could not fetch the jars of Kafka $version"
	fi
	mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part" # another run was first
}

run_java() { # HEAP CLASS ARGS...
	local heap=$1
	shift
	java "-Xms$heap" "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
		"-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" -cp "$jars/*" "$@"
}

running() { # DIR
	[[ -s $1/pid ]] && kill -0 "$(<"$1/pid")" 2>/dev/null
}

properties() { # DIR PORT
	cat <<-P
		process.roles=broker,controller
		node.id=1
		listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))
		advertised.listeners=PLAINTEXT://127.0.0.1:$2
		controller.listener.names=CONTROLLER
		controller.quorum.voters=1@127.0.0.1:$(($2 + 1))
		log.dirs=$1/log

		# One node keeps the only copy of everything.
		default.replication.factor=1
		offsets.topic.replication.factor=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1

		# Tests make many short-lived groups and transactions on a small machine.
		offsets.topic.num.partitions=4
		transaction.state.log.num.partitions=4
		group.initial.rebalance.delay.ms=0
		num.network.threads=2
		num.io.threads=2
		background.threads=2

		# What the product makes itself must be enough; and history is written with times of long ago.
		auto.create.topics.enable=false
		message.max.bytes=16777216
		replica.fetch.max.bytes=16777216
		log.message.timestamp.before.max.ms=9223372036854775807
	P
}

start() { # DIR PORT
	local dir=$1 port=$2
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	running "$dir" && fail "a broker runs on $dir already (process $(<"$dir/pid"))"
	command -v java >/dev/null || fail "java is not installed: the broker runs on it"
	fetch
	properties "$dir" "$port" >"$dir/server.properties"
	if [[ ! -e $dir/log/meta.properties ]]; then
		run_java 64m kafka.tools.StorageTool format --cluster-id waymark-test-broker00 --config "$dir/server.properties" \
			>"$dir/format.log" 2>&1 || {
			cat "$dir/format.log" >&2
			fail "could not format $dir/log"
		}
	fi
	# Away from this shell's terminal and process group, so that Ctrl-C in a test run leaves the ending to the script.
	run_java_broker "$dir"
	local deadline=$((SECONDS + 60))
	until grep -q 'Kafka Server started' "$dir/broker.log" && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		if ! running "$dir" || ((SECONDS > deadline)); then
			tail -n 15 "$dir/broker.log" >&2
			end "$dir" KILL
			fail "the broker of $dir did not start; the end of its log is above"
		fi
		sleep 0.2
	done
}

run_java_broker() { # DIR
	: >"$1/broker.log"
	local heap=${KAFKA_HEAP:-512m}
	setsid java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -Djava.awt.headless=true \
		"-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" -cp "$jars/*" \
		kafka.Kafka "$1/server.properties" </dev/null >"$1/broker.log" 2>&1 &
	echo $! >"$1/pid"
}

end() { # DIR SIGNAL
	if running "$1"; then
		local pid deadline=$((SECONDS + 30))
		pid=$(<"$1/pid")
		kill "-$2" "$pid"
		while kill -0 "$pid" 2>/dev/null; do
			((SECONDS < deadline)) || fail "process $pid did not end within 30 s"
			sleep 0.1
		done
	fi
	rm -f "$1/pid"
}

case "${1:-} $#" in
"fetch 1") fetch ;;
"start 3") start "$2" "$3" ;;
"stop 2") end "$2" TERM ;;
"kill 2") end "$2" KILL ;;
*)
	sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
	exit 2
	;;
esac
