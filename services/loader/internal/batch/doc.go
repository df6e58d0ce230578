// Package batch turns the frames of a lane's partitions into numbered batches of rows in ClickHouse, each exactly once. A
// lane's whole state is its ledger there: Run reads the last row, repeats that batch, and goes on behind it. The package
// decides nothing about events: what becomes of a record is written in the frames.
package batch
