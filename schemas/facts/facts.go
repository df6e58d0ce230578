package facts

// The verdicts of a frame: what became of the record at an offset.
const (
	VerdictNone       = 0 // a tick or a control record: no event
	VerdictDuplicate  = 1 // an event that stands earlier in the log
	VerdictTooLate    = 2 // an event older than the watermark by more than the lateness
	VerdictSuppressed = 3 // an event dropped by a privacy request
	VerdictForwarded  = 4 // an event that another partition answers for
	VerdictPassive    = 5 // an applied event that belongs to no session
	VerdictSession    = 8 // plus n: an applied event of session n of Frame.session_ids
)

// SessionIDBytes is the length of a session id on the wire.
const SessionIDBytes = 16
