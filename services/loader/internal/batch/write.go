package batch

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// A block is cut where it reaches either of these, so always at the same row of a batch: the server would cut a larger one
// itself, and memory is to stay bounded.
const (
	maxBlockRows  = 200_000
	maxBlockBytes = 64 << 20
)

// tables are the blocks of one batch.
type tables struct {
	events, late *eventBlock
	moves        *moveBlock
	sessions     *sessionBlock
	entrants     *entrantBlock
	transitions  *transitionBlock
	carts        *cartBlock
	watermarks   *watermarkBlock
	refused      *refusedBlock
	funnels      *funnelBlock
	known        map[string]string // funnels as written last
	projects     map[string]bool   // whose funnels were written from their rules

	event  touchpoint.Event
	letter deadletter.Letter
	hex    []byte
}

func newTables() *tables {
	return &tables{
		events: newEventBlock("events"), late: newEventBlock("events_too_late"), moves: newMoveBlock(), sessions: newSessionBlock(),
		entrants: newEntrantBlock(), transitions: newTransitionBlock(), carts: newCartBlock(), watermarks: newWatermarkBlock(), refused: newRefusedBlock(), funnels: newFunnelBlock(),
		known: map[string]string{}, projects: map[string]bool{},
	}
}

// all are the blocks in the order in which they are begun.
func (t *tables) all() []*chdb.Block {
	return []*chdb.Block{
		t.events.Block, t.late.Block, t.moves.Block, t.sessions.Block, t.entrants.Block, t.transitions.Block, t.carts.Block,
		t.watermarks.Block, t.refused.Block,
	}
}

// writing is the state of one batch on its way into the tables.
type writing struct {
	l      *Lane
	token  string
	have   *there
	chunks map[string]int // how many blocks of a table were written
	bytes  map[string]int // in the block of a table
}

// write brings a batch into all tables: the same rows in the same blocks with the same tokens, however often it is called. If
// have is given, only the rows that are not there go out, with a token never used before.
func (l *Lane) write(ctx context.Context, spans []*span, letters []*kgo.Record, have *there) error {
	w := &writing{l: l, token: l.row.token(), have: have, chunks: map[string]int{}, bytes: map[string]int{}}
	if have != nil {
		w.token = fmt.Sprintf("%s:rest:%s:%d", w.token, l.c.Loader, time.Now().UnixNano())
	}
	for _, b := range l.w.all() {
		b.Reset()
	}
	if err := w.defs(ctx, spans); err != nil {
		return err
	}
	for _, s := range spans {
		if err := w.facts(ctx, s); err != nil {
			return err
		}
		if err := w.records(ctx, s); err != nil {
			return err
		}
	}
	for _, r := range letters {
		if have != nil && have.refused[place{r.Partition, r.Offset}] {
			continue
		}
		l.w.letter.Reset()
		if err := l.w.letter.UnmarshalVTUnsafe(r.Value); err != nil {
			return &corrupt{fmt.Errorf("deadletter partition %d offset %d: no letter: %w", r.Partition, r.Offset, err)}
		}
		l.w.refused.append(&l.w.letter, r.Partition, r.Offset)
		if err := w.cut(ctx, l.w.refused.Block, 0); err != nil {
			return err
		}
	}
	var group errgroup.Group
	for _, b := range l.w.all() {
		group.Go(func() error { return l.insert(ctx, b, w.tokenOf(b)) })
	}
	return group.Wait()
}

// facts adds the rows of a frame.
func (w *writing) facts(ctx context.Context, s *span) error {
	t := w.l.w
	for _, p := range s.parts {
		for _, row := range p.frame.Sessions {
			if !w.have.session(row) {
				continue
			}
			t.sessions.append(row, s.partition, p.offset)
			if err := w.cut(ctx, t.sessions.Block, 0); err != nil {
				return err
			}
		}
		for _, row := range p.frame.Entrants {
			if int(row.Funnel) >= len(p.frame.Funnels) {
				return &corrupt{fmt.Errorf("facts partition %d offset %d: an entrant of funnel %d of %d", s.partition, p.offset, row.Funnel, len(p.frame.Funnels))}
			}
			if !w.have.entrant(p.frame.Funnels[row.Funnel], row) {
				continue
			}
			if err := t.entrants.append(p.frame.Funnels[row.Funnel], row, s.partition, p.offset); err != nil {
				return &corrupt{fmt.Errorf("facts partition %d offset %d: %w", s.partition, p.offset, err)}
			}
			if err := w.cut(ctx, t.entrants.Block, 0); err != nil {
				return err
			}
		}
		if err := w.journeys(ctx, s, p); err != nil {
			return err
		}
		for _, row := range p.frame.Moves {
			t.moves.append(row, s.partition)
			if err := w.cut(ctx, t.moves.Block, 0); err != nil {
				return err
			}
		}
		for _, row := range p.frame.Watermarks {
			t.watermarks.append(row, w.l.gap(row.Project), s.partition, p.offset)
		}
	}
	return nil
}

// gap is the pause that ends a session of a project, 0 where that is not known here.
func (l *Lane) gap(project string) time.Duration {
	if l.d.Rules == nil {
		return 0
	}
	return l.d.Rules(project).Session.Gap
}

// records adds the events of a frame's range, each by its verdict.
func (w *writing) records(ctx context.Context, s *span) error {
	t, head := w.l.w, s.parts[0].frame
	return w.l.source.records(ctx, s.partition, s.from, s.to, func(r *kgo.Record) error {
		verdict := head.Verdicts[r.Offset-s.from]
		into := t.events
		t.hex = t.hex[:0]
		switch {
		case verdict == facts.VerdictTooLate:
			into = t.late
		case verdict >= facts.VerdictSession:
			at := int(verdict-facts.VerdictSession) * facts.SessionIDBytes
			if at+facts.SessionIDBytes > len(head.SessionIds) {
				return &corrupt{fmt.Errorf("facts partition %d offset %d: a verdict about session %d of %d", s.partition, s.offset,
					verdict-facts.VerdictSession, len(head.SessionIds)/facts.SessionIDBytes)}
			}
			t.hex = hex.AppendEncode(t.hex, head.SessionIds[at:at+facts.SessionIDBytes])
		case verdict != facts.VerdictPassive:
			return nil
		}
		if w.have != nil && (w.have.events[place{r.Partition, r.Offset}] || w.have.late[place{r.Partition, r.Offset}]) {
			return nil
		}
		if r.Key == nil {
			return &corrupt{fmt.Errorf("touchpoints partition %d offset %d: a control record with the verdict of an event", r.Partition, r.Offset)}
		}
		e := &t.event
		e.Reset()
		if err := e.UnmarshalVTUnsafe(r.Value); err != nil {
			return &corrupt{fmt.Errorf("touchpoints partition %d offset %d: no event: %w", r.Partition, r.Offset, err)}
		}
		into.append(e, t.hex, r.Partition, r.Offset)
		return w.cut(ctx, into.Block, len(r.Value))
	})
}

// defs writes the funnels that the frames refer to, and those of projects met for the first time, which may have nothing but open
// sessions yet, where they differ from those written last. The newest one of a funnel counts, so it may be written any number
// of times.
func (w *writing) defs(ctx context.Context, spans []*span) error {
	t := w.l.w
	t.funnels.Reset()
	fresh := map[string]string{}
	note := func(d *facts.FunnelDef, version int64) error {
		key := d.Project + "\x00" + d.Scope + "\x00" + d.Name
		text, err := d.MarshalVT()
		if err != nil {
			return &corrupt{fmt.Errorf("funnel %s of project %s: %w", d.Name, d.Project, err)}
		}
		if t.known[key] == string(text) || fresh[key] == string(text) {
			return nil
		}
		t.funnels.append(d, version)
		fresh[key] = string(text)
		return nil
	}
	var met []string
	for _, s := range spans {
		for _, p := range s.parts {
			for _, row := range p.frame.Watermarks {
				if w.l.d.Rules == nil || t.projects[row.Project] || slices.Contains(met, row.Project) {
					continue
				}
				met = append(met, strings.Clone(row.Project))
				for _, d := range funnelsOf(row.Project, w.l.d.Rules(row.Project)) {
					if err := note(d, s.clock-1); err != nil {
						return err
					}
				}
			}
			for _, d := range p.frame.Funnels {
				if err := note(d, s.clock); err != nil {
					return err
				}
			}
		}
	}
	if err := w.l.insert(ctx, t.funnels.Block, ""); err != nil {
		return err
	}
	maps.Copy(t.known, fresh)
	for _, project := range met {
		t.projects[project] = true
	}
	return nil
}

func (w *writing) tokenOf(b *chdb.Block) string {
	if n := w.chunks[b.Table]; n > 0 {
		return fmt.Sprintf("%s:%d", w.token, n)
	}
	return w.token
}

// cut writes a block that is full, so that the next rows go to another.
func (w *writing) cut(ctx context.Context, b *chdb.Block, bytes int) error {
	w.bytes[b.Table] += bytes
	if b.Rows() < maxBlockRows && w.bytes[b.Table] < maxBlockBytes {
		return nil
	}
	if err := w.l.insert(ctx, b, w.tokenOf(b)); err != nil {
		return err
	}
	w.chunks[b.Table]++
	w.bytes[b.Table] = 0
	b.Reset()
	return nil
}

// insert writes one block, and waits for as long as the server is to blame.
func (l *Lane) insert(ctx context.Context, b *chdb.Block, token string) error {
	if b.Rows() == 0 {
		return nil
	}
	if err := l.hook("before " + b.Table); err != nil {
		return err
	}
	err := l.try(ctx, b.Table, func() error {
		return l.d.Store.Insert(ctx, b, token)
	})
	if err != nil {
		return err
	}
	l.d.Metrics.rows(b.Table, b.Rows())
	return l.hook("after " + b.Table)
}

// try does something with the server until it works or waiting cannot help. It logs the first failure and the recovery.
func (l *Lane) try(ctx context.Context, table string, do func() error) error {
	pause := 50 * time.Millisecond
	began := time.Now()
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil {
			if attempt > 0 {
				l.d.Log.Info("clickhouse takes rows again", zap.String("table", table), zap.Duration("took", time.Since(began)))
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if class := chdb.ClassOf(err); class != chdb.Retryable {
			return err
		}
		l.d.Metrics.retry(table)
		if attempt == 0 {
			l.d.Log.Warn("waiting for clickhouse", zap.String("table", table), zap.Error(err))
		}
		if time.Since(began) > 10*time.Second {
			l.note(ctx, err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}
