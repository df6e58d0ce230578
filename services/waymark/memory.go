package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// tuneMemory makes the garbage collector rarer while there is room, and keeps the heap to a share of the machine's memory (or the
// container's), so that an engine beside it has its own. GOGC and GOMEMLIMIT, where they are set, win.
func tuneMemory(share float64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	if total := machineMemory(); os.Getenv("GOMEMLIMIT") == "" && total > 0 {
		debug.SetMemoryLimit(max(int64(float64(total)*share), 256<<20))
	}
}

// machineMemory is the memory there is for this process, 0 where it cannot be told.
func machineMemory() int64 {
	var total int64
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
				total = kb << 10
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if data, err := os.ReadFile(path); err == nil {
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 && (total == 0 || limit < total) {
				total = limit
			}
		}
	}
	return total
}
