package batch

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/pkg/chdb"
)

// row is one row of the ledger. The first arrays have an element for each partition of the lane, the dead ones for each of
// its partitions of deadletter, the frame ones for each frame of the batch.
type row struct {
	Lane             uint16      `ch:"lane"`
	Seq              uint64      `ch:"seq"`
	Generation       uint32      `ch:"generation"`
	Loader           string      `ch:"loader"`
	WrittenAt        time.Time   `ch:"written_at"`
	Partition        []uint16    `ch:"partition"`
	FactsNext        []int64     `ch:"facts_next"`
	FactsEnd         []int64     `ch:"facts_end"`
	TouchpointsNext  []int64     `ch:"touchpoints_next"`
	TouchpointsEnd   []int64     `ch:"touchpoints_end"`
	Clock            []time.Time `ch:"clock"`
	Hash             []uint64    `ch:"hash"`
	DeadPartition    []uint16    `ch:"dead_partition"`
	DeadFrom         []int64     `ch:"dead_from"`
	DeadNext         []int64     `ch:"dead_next"`
	DeadEnd          []int64     `ch:"dead_end"`
	FramePartition   []uint16    `ch:"frame_partition"`
	FrameOffset      []int64     `ch:"frame_offset"`
	FrameParts       []uint32    `ch:"frame_parts"`
	FrameFrom        []int64     `ch:"frame_from"`
	FrameTo          []int64     `ch:"frame_to"`
	FrameNone        []uint32    `ch:"frame_none"`
	FrameEvents      []uint32    `ch:"frame_events"`
	FrameDuplicate   []uint32    `ch:"frame_duplicate"`
	FrameTooLate     []uint32    `ch:"frame_too_late"`
	FrameSuppressed  []uint32    `ch:"frame_suppressed"`
	FrameForwarded   []uint32    `ch:"frame_forwarded"`
	FrameSessions    []uint32    `ch:"frame_sessions"`
	FrameEntrants    []uint32    `ch:"frame_entrants"`
	FrameMoves       []uint32    `ch:"frame_moves"`
	FrameTransitions []uint32    `ch:"frame_transitions"`
	FrameCarts       []uint32    `ch:"frame_carts"`
}

// add enters a frame.
func (r *row) add(s *span) {
	c := s.counts()
	r.FramePartition = append(r.FramePartition, uint16(s.partition))
	r.FrameOffset = append(r.FrameOffset, s.offset)
	r.FrameParts = append(r.FrameParts, uint32(len(s.parts)))
	r.FrameFrom = append(r.FrameFrom, s.from)
	r.FrameTo = append(r.FrameTo, s.to)
	r.FrameNone = append(r.FrameNone, c.none)
	r.FrameEvents = append(r.FrameEvents, c.events)
	r.FrameDuplicate = append(r.FrameDuplicate, c.duplicate)
	r.FrameTooLate = append(r.FrameTooLate, c.tooLate)
	r.FrameSuppressed = append(r.FrameSuppressed, c.suppressed)
	r.FrameForwarded = append(r.FrameForwarded, c.forwarded)
	r.FrameSessions = append(r.FrameSessions, c.sessions)
	r.FrameEntrants = append(r.FrameEntrants, c.entrants)
	r.FrameMoves = append(r.FrameMoves, c.moves)
	r.FrameTransitions = append(r.FrameTransitions, c.transitions)
	r.FrameCarts = append(r.FrameCarts, c.carts)
}

// token identifies the batch's inserts: it is the same whenever the batch is written again, and for nothing else.
func (r *row) token() string {
	h := xxhash.New()
	number := func(n int64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = h.Write(b[:])
	}
	for i := range r.FramePartition {
		number(int64(r.FramePartition[i]))
		number(r.FrameOffset[i])
		number(r.FrameFrom[i])
		number(r.FrameTo[i])
	}
	for i := range r.DeadPartition {
		number(int64(r.DeadPartition[i]))
		number(r.DeadFrom[i])
		number(r.DeadNext[i])
	}
	return fmt.Sprintf("%d:%d:%d:%016x", r.Generation, r.Lane, r.Seq, h.Sum64())
}

// block is the row as it is inserted.
func (r *row) block() *chdb.Block {
	b := chdb.NewBlock("batches")
	b.UInt16("lane").Append(r.Lane)
	b.UInt64("seq").Append(r.Seq)
	b.UInt32("generation").Append(r.Generation)
	b.Text("loader").Append(r.Loader)
	b.Time("written_at").Append(r.WrittenAt.UnixMilli())
	clocks := make([]int64, 0, len(r.Clock))
	for _, at := range r.Clock {
		clocks = append(clocks, at.UnixMilli())
	}
	b.TimeLists("clock").Append(clocks)
	b.UInt16Lists("partition").Append(r.Partition)
	b.Int64Lists("facts_next").Append(r.FactsNext)
	b.Int64Lists("facts_end").Append(r.FactsEnd)
	b.Int64Lists("touchpoints_next").Append(r.TouchpointsNext)
	b.Int64Lists("touchpoints_end").Append(r.TouchpointsEnd)
	b.UInt64Lists("hash").Append(r.Hash)
	b.UInt16Lists("dead_partition").Append(r.DeadPartition)
	b.Int64Lists("dead_from").Append(r.DeadFrom)
	b.Int64Lists("dead_next").Append(r.DeadNext)
	b.Int64Lists("dead_end").Append(r.DeadEnd)
	b.UInt16Lists("frame_partition").Append(r.FramePartition)
	b.Int64Lists("frame_offset").Append(r.FrameOffset)
	b.UInt32Lists("frame_parts").Append(r.FrameParts)
	b.Int64Lists("frame_from").Append(r.FrameFrom)
	b.Int64Lists("frame_to").Append(r.FrameTo)
	b.UInt32Lists("frame_none").Append(r.FrameNone)
	b.UInt32Lists("frame_events").Append(r.FrameEvents)
	b.UInt32Lists("frame_duplicate").Append(r.FrameDuplicate)
	b.UInt32Lists("frame_too_late").Append(r.FrameTooLate)
	b.UInt32Lists("frame_suppressed").Append(r.FrameSuppressed)
	b.UInt32Lists("frame_forwarded").Append(r.FrameForwarded)
	b.UInt32Lists("frame_sessions").Append(r.FrameSessions)
	b.UInt32Lists("frame_entrants").Append(r.FrameEntrants)
	b.UInt32Lists("frame_moves").Append(r.FrameMoves)
	b.UInt32Lists("frame_transitions").Append(r.FrameTransitions)
	b.UInt32Lists("frame_carts").Append(r.FrameCarts)
	return b
}

// claim is the token of the row: of two that write a number only the first one's row is stored.
func (r *row) claim() string { return fmt.Sprintf("%d:%d", r.Lane, r.Seq) }

// last is the newest row of a lane, nil if it has none.
func last(ctx context.Context, store Store, lane uint16) (*row, error) {
	var rows []row
	err := store.Select(ctx, &rows, "SELECT * FROM "+chdb.Store+".batches WHERE lane = ? ORDER BY seq DESC LIMIT 1", lane)
	if err != nil {
		return nil, fmt.Errorf("read the ledger of lane %d: %w", lane, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// writers are the loaders of the rows of a lane from a number on, with those numbers.
func writers(ctx context.Context, store Store, lane uint16, seq uint64) ([]writer, error) {
	var rows []writer
	err := store.Select(ctx, &rows, "SELECT seq, loader FROM "+chdb.Store+".batches WHERE lane = ? AND seq >= ? ORDER BY seq", lane, seq)
	if err != nil {
		return nil, fmt.Errorf("read the ledger of lane %d from %d: %w", lane, seq, err)
	}
	return rows, nil
}

type writer struct {
	Seq    uint64 `ch:"seq"`
	Loader string `ch:"loader"`
}
