package batch

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/pkg/chdb"
)

// row is one row of the ledger. The first arrays have an element for each partition of the lane, the dead ones for each of
// its partitions of deadletter, the frame ones for each frame of the batch.
type row struct {
	Lane            uint16      `ch:"lane"`
	Seq             uint64      `ch:"seq"`
	Generation      uint32      `ch:"generation"`
	Loader          string      `ch:"loader"`
	WrittenAt       time.Time   `ch:"written_at"`
	Partition       []uint16    `ch:"partition"`
	FactsNext       []int64     `ch:"facts_next"`
	FactsEnd        []int64     `ch:"facts_end"`
	TouchpointsNext []int64     `ch:"touchpoints_next"`
	TouchpointsEnd  []int64     `ch:"touchpoints_end"`
	Clock           []time.Time `ch:"clock"`
	Hash            []uint64    `ch:"hash"`
	DeadPartition   []uint16    `ch:"dead_partition"`
	DeadFrom        []int64     `ch:"dead_from"`
	DeadNext        []int64     `ch:"dead_next"`
	DeadEnd         []int64     `ch:"dead_end"`
	FramePartition  []uint16    `ch:"frame_partition"`
	FrameOffset     []int64     `ch:"frame_offset"`
	FrameParts      []uint32    `ch:"frame_parts"`
	FrameFrom       []int64     `ch:"frame_from"`
	FrameTo         []int64     `ch:"frame_to"`
	FrameNone       []uint32    `ch:"frame_none"`
	FrameEvents     []uint32    `ch:"frame_events"`
	FrameDuplicate  []uint32    `ch:"frame_duplicate"`
	FrameTooLate    []uint32    `ch:"frame_too_late"`
	FrameSuppressed []uint32    `ch:"frame_suppressed"`
	FrameForwarded  []uint32    `ch:"frame_forwarded"`
	FrameSessions   []uint32    `ch:"frame_sessions"`
	FrameEntrants   []uint32    `ch:"frame_entrants"`
	FrameMoves      []uint32    `ch:"frame_moves"`
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

func (r *row) insert() chdb.Insert {
	b := &block{table: "batches"}
	b.uint16("lane").Append(r.Lane)
	b.uint64("seq").Append(r.Seq)
	b.uint32("generation").Append(r.Generation)
	b.text("loader").Append(r.Loader)
	b.time("written_at").Append(r.WrittenAt)
	list(b, "partition", new(proto.ColUInt16), r.Partition)
	list(b, "facts_next", new(proto.ColInt64), r.FactsNext)
	list(b, "facts_end", new(proto.ColInt64), r.FactsEnd)
	list(b, "touchpoints_next", new(proto.ColInt64), r.TouchpointsNext)
	list(b, "touchpoints_end", new(proto.ColInt64), r.TouchpointsEnd)
	list(b, "clock", new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli), r.Clock)
	list(b, "hash", new(proto.ColUInt64), r.Hash)
	list(b, "dead_partition", new(proto.ColUInt16), r.DeadPartition)
	list(b, "dead_from", new(proto.ColInt64), r.DeadFrom)
	list(b, "dead_next", new(proto.ColInt64), r.DeadNext)
	list(b, "dead_end", new(proto.ColInt64), r.DeadEnd)
	list(b, "frame_partition", new(proto.ColUInt16), r.FramePartition)
	list(b, "frame_offset", new(proto.ColInt64), r.FrameOffset)
	list(b, "frame_parts", new(proto.ColUInt32), r.FrameParts)
	list(b, "frame_from", new(proto.ColInt64), r.FrameFrom)
	list(b, "frame_to", new(proto.ColInt64), r.FrameTo)
	list(b, "frame_none", new(proto.ColUInt32), r.FrameNone)
	list(b, "frame_events", new(proto.ColUInt32), r.FrameEvents)
	list(b, "frame_duplicate", new(proto.ColUInt32), r.FrameDuplicate)
	list(b, "frame_too_late", new(proto.ColUInt32), r.FrameTooLate)
	list(b, "frame_suppressed", new(proto.ColUInt32), r.FrameSuppressed)
	list(b, "frame_forwarded", new(proto.ColUInt32), r.FrameForwarded)
	list(b, "frame_sessions", new(proto.ColUInt32), r.FrameSessions)
	list(b, "frame_entrants", new(proto.ColUInt32), r.FrameEntrants)
	list(b, "frame_moves", new(proto.ColUInt32), r.FrameMoves)
	// Of two that write this number only the first one's row is stored.
	return chdb.Insert{Table: b.table, Token: fmt.Sprintf("%d:%d", r.Lane, r.Seq), Input: b.input}
}

func list[T any](b *block, name string, column proto.ColumnOf[T], values []T) {
	add(b, name, proto.NewArray(column)).Append(values)
}

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
