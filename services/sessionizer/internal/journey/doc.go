// Package journey is the state machine of a partition: a pure function from its log to facts. It has no clock, does no I/O and
// draws no random numbers, so that a replay of the same records concludes the same.
package journey
