// Package httpapi is what the collector answers over HTTP: the Segment API, the pixel, receipts, the importer's endpoints and
// the process's health. It owns keys, limits, cross-origin rules and status codes; what a message means is package segment's,
// when it is safe is package intake's.
//
// A 200 says that every event of the request is in Kafka, as an event or, with its reason, among the refused. 400 is only for
// what can never be read, 413 for what is too large, 401 for a wrong key; 429 and 503 ask for the same request again, later.
package httpapi
