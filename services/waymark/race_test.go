//go:build race

package main

// raceEnabled says that this test binary is slow: whole installations are tested with a plain one.
const raceEnabled = true
