// Package state is the memory of a partition: blocks of bytes without pointers, so that the garbage collector has nothing to
// walk however many persons there are, and texts kept once. It knows nothing of what is stored. Not safe for concurrent use.
package state
