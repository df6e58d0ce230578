//go:build !linux || !amd64 || noengine

package chengine

import "errors"

func runLibrary(string, []string) error {
	return errors.New("this program was built without the embedded engine: give the address of a ClickHouse server")
}
