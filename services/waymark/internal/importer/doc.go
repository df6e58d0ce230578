// Package importer brings history from files into an installation: CSV, NDJSON or Parquet by a mapping, or normalised events.
//
// It reads all rows once into a spool on disk, sorted by time (in the file's order if asked), and then sends them to the
// collector, one request after the other: a row leaves only when all rows before it are acknowledged or in the same request.
// A row that cannot be read is refused alone, with its line and a reason, and goes to the dead letters. Message ids are the
// import's id and the row's number, so that sending anything twice changes nothing; a journal beside the endpoints remembers
// how far the collector has acknowledged, so that a repeated import goes on there. Nothing is sent before every file has been
// read to its end: half a file would give other ids than the whole one.
package importer
