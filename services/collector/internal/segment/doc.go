// Package segment reads what senders of the Segment HTTP API put on the wire and makes events of it: bodies, batches, messages,
// by the rules of docs/semantics.md, section 1.
//
// A body is first split by its brackets (Split), so that one broken message spoils no other; each message is then read and
// checked in a single pass (Parser.Event). What the event's own fields do not take stays as the bytes that were sent. The
// package is pure: bytes and the time of receipt in, events out; it knows neither HTTP nor Kafka nor a clock.
package segment
