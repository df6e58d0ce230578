// Package keyhash places events: it is the one definition of which partition a person's events go to.
package keyhash

import "github.com/cespare/xxhash/v2"

// Of is the 64-bit hash of a person of a project.
func Of(project, person string) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(project)
	_, _ = d.Write([]byte{0})
	_, _ = d.WriteString(person)
	return d.Sum64()
}

// Partition is the partition, of n, of a person's events.
func Partition(project, person string, n int) int32 {
	return int32(Of(project, person) % uint64(n))
}
