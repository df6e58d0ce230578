// Package embedded carries the package list and the lock file with which the embedded ClickHouse engine is fetched.
package embedded

import _ "embed"

// The npm package that holds the engine's library, as the lock file pins it.
const (
	Package = "@chdb/lib-linux-x64-gnu"
	Version = "26.7.3-stable.1"
	Library = "libchdb.so"
	// SHA256 is the checksum of the library file.
	SHA256 = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5"
)

// PackageJSON is package.json.
//
//go:embed package.json
var PackageJSON []byte

// PackageLock is package-lock.json.
//
//go:embed package-lock.json
var PackageLock []byte
