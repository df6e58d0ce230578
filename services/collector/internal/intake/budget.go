package intake

import "sync/atomic"

// Budget bounds the bytes that requests hold at one time: bodies being read, and records not yet acknowledged. It is safe
// for concurrent use.
type Budget struct {
	most int64
	used atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(most int64) *Budget { return &Budget{most: most} }

// Take takes bytes, all or none.
func (b *Budget) Take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give gives bytes back.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// Used is the number of bytes taken.
func (b *Budget) Used() int64 { return b.used.Load() }
