//go:build linux && amd64 && !noengine

package chengine

import (
	"fmt"
	"runtime"

	"github.com/ebitengine/purego"
)

// runLibrary loads the engine's library and runs it as clickhouse with these arguments, the first being its name. It returns
// when the engine has ended.
func runLibrary(path string, args []string) error {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	var run func(argc int32, argv **byte) uintptr
	purego.RegisterLibFunc(&run, lib, "query_stable_v2")
	argv := make([]*byte, 0, len(args)+1)
	for _, arg := range args {
		text := append([]byte(arg), 0)
		argv = append(argv, &text[0])
	}
	argv = append(argv, nil)
	run(int32(len(args)), &argv[0])
	runtime.KeepAlive(argv)
	return nil
}
