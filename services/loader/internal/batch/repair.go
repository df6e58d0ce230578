package batch

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// repeat writes the last row's batch again. While the tables remember its tokens that is enough, and is verified by counting.
// Otherwise, and where the count is short, the rows that are there are looked up and only the others are written.
func (l *Lane) repeat(ctx context.Context, spans []*span, letters []*kgo.Record) error {
	fresh, err := l.fresh(ctx)
	if err != nil {
		return err
	}
	if fresh && l.short != l.row.Seq {
		if err := l.write(ctx, spans, letters, nil); err != nil {
			return err
		}
		want, have := uint64(0), uint64(0)
		for _, n := range l.row.FrameEvents {
			want += uint64(n)
		}
		if want > 0 {
			var out []struct {
				N uint64 `ch:"n"`
			}
			sql := "SELECT count() AS n FROM " + chdb.Store + ".events WHERE " + ranges(spans)
			if err := l.try(ctx, "events", func() error { out = nil; return l.d.Store.Select(ctx, &out, sql) }); err != nil {
				return err
			}
			have = out[0].N
		}
		switch {
		case have == want:
			return nil
		case have > want:
			return &corrupt{fmt.Errorf("batch %d: %d events are stored in its ranges, the ledger has %d: rows are doubled", l.row.Seq, have, want)}
		}
		l.d.Log.Warn("rows of the last batch are missing although their tokens are known, writing those",
			zap.Int("lane", l.c.Lane), zap.Uint64("seq", l.row.Seq), zap.Uint64("missing", want-have))
		l.short = l.row.Seq
		return errShort // the records were read: the next round reads them again
	}
	there, err := l.lookUp(ctx, spans, letters)
	if err != nil {
		return err
	}
	if err := l.write(ctx, spans, letters, there); err != nil {
		return err
	}
	return l.rebuild(ctx, spans)
}

// errShort begins the lane anew, to look rows up.
var errShort = errors.New("rows of the last batch are missing")

// fresh says whether the tables surely remember the tokens of the last batch: every batch since then took one, in each lane.
func (l *Lane) fresh(ctx context.Context) (bool, error) {
	var out []struct {
		N uint64 `ch:"n"`
	}
	err := l.try(ctx, "batches", func() error {
		out = nil
		return l.d.Store.Select(ctx, &out, "SELECT count() AS n FROM "+chdb.Store+".batches WHERE written_at >= ?", l.row.WrittenAt)
	})
	if err != nil {
		return false, err
	}
	return out[0].N < uint64(l.c.Window) && time.Since(l.row.WrittenAt) < maxAge, nil
}

// maxAge is half of the time for which replicated tables are to remember tokens.
const maxAge = 84 * time.Hour

// ranges is a condition for the records of spans of touchpoints.
func ranges(spans []*span) string {
	from, to := map[int32]int64{}, map[int32]int64{}
	var order []int32
	for _, s := range spans {
		if _, ok := from[s.partition]; !ok {
			from[s.partition], order = s.from, append(order, s.partition)
		}
		to[s.partition] = s.to
	}
	var terms []string
	for _, p := range order {
		terms = append(terms, fmt.Sprintf("(_partition = %d AND _offset >= %d AND _offset < %d)", p, from[p], to[p]))
	}
	return "(" + strings.Join(append(terms, "0"), " OR ") + ")"
}

// offsets is a condition for the facts of spans.
func offsets(spans []*span) string {
	var terms []string
	for _, s := range spans {
		terms = append(terms, fmt.Sprintf("(_partition = %d AND _offset >= %d AND _offset < %d)", s.partition, s.offset, s.next))
	}
	return "(" + strings.Join(append(terms, "0"), " OR ") + ")"
}

// there is which rows of a batch the tables have.
type there struct {
	events, late, refused map[place]bool
	sessions, entrants    *signed
	transitions, carts    *signed
}

type place struct {
	partition int32
	offset    int64
}

// signed is what a collapsing table has of a batch.
type signed struct {
	added map[string]bool // +1 rows of the batch's frames
	live  map[string]bool // rows that a -1 row of the batch cancels and that are not cancelled yet
	self  map[string]int  // +1 rows less -1 rows within the batch
}

func sessionKey(id string, version uint64) string { return fmt.Sprintf("%s %d", id, version) }

// rowKey names a row of a person whose version takes in all of its values.
func rowKey(project, person string, version uint64) string {
	return fmt.Sprintf("%q %q %d", project, person, version)
}

func entrantKey(project, funnel, scope, person, id string, version uint64) string {
	return fmt.Sprintf("%q %q %s %q %s %d", project, funnel, scope, person, id, version)
}

// lookUp asks for the rows of a batch. A row that the batch itself cancels may have been merged away with its cancellation, and
// need not be there.
func (l *Lane) lookUp(ctx context.Context, spans []*span, letters []*kgo.Record) (*there, error) {
	t := &there{sessions: newSigned(), entrants: newSigned(), transitions: newSigned(), carts: newSigned()}
	var err error
	if t.events, err = l.places(ctx, "events", ranges(spans)); err != nil {
		return nil, err
	}
	if t.late, err = l.places(ctx, "events_too_late", ranges(spans)); err != nil {
		return nil, err
	}
	dead := []string{"0"}
	for _, r := range letters {
		dead = append(dead, fmt.Sprintf("(_partition = %d AND _offset = %d)", r.Partition, r.Offset))
	}
	if t.refused, err = l.places(ctx, "refused", "("+strings.Join(dead, " OR ")+")"); err != nil {
		return nil, err
	}
	cancelled := map[string][]uint64{} // versions of -1 rows
	for _, s := range spans {
		for _, p := range s.parts {
			for _, row := range p.frame.Sessions {
				t.sessions.self[sessionKey(hex.EncodeToString(row.SessionId), row.Version)] += int(row.Sign)
				if row.Sign < 0 {
					cancelled["sessions"] = append(cancelled["sessions"], row.Version)
				}
			}
			for _, row := range p.frame.Transitions {
				t.transitions.self[rowKey(row.Project, row.Person, row.Version)] += int(row.Sign)
				if row.Sign < 0 {
					cancelled["transitions"] = append(cancelled["transitions"], row.Version)
				}
			}
			for _, row := range p.frame.Carts {
				t.carts.self[rowKey(row.Project, row.Person, row.Version)] += int(row.Sign)
				if row.Sign < 0 {
					cancelled["carts"] = append(cancelled["carts"], row.Version)
				}
			}
			for _, row := range p.frame.Entrants {
				d := p.frame.Funnels[row.Funnel]
				t.entrants.self[entrantKey(d.Project, d.Name, d.Scope, row.Person, hex.EncodeToString(row.SessionId), row.Version)] += int(row.Sign)
				if row.Sign < 0 {
					cancelled["entrants"] = append(cancelled["entrants"], row.Version)
				}
			}
		}
	}
	for table, into := range map[string]*signed{"sessions": t.sessions, "entrants": t.entrants, "transitions": t.transitions, "carts": t.carts} {
		columns := "project, '' AS funnel, '' AS scope, person, '' AS session_id, version"
		switch table {
		case "sessions":
			columns = "project, '' AS funnel, '' AS scope, person, session_id, version"
		case "entrants":
			columns = "project, funnel, scope, person, session_id, version"
		}
		if err := l.identities(ctx, "SELECT DISTINCT "+columns+" FROM "+chdb.Store+"."+table+" WHERE sign = 1 AND "+offsets(spans), table, into.added); err != nil {
			return nil, err
		}
		err := l.identities(ctx, "SELECT "+columns+" FROM "+chdb.Store+"."+table+" WHERE version IN ("+numbers(cancelled[table])+
			") GROUP BY project, funnel, scope, person, session_id, version HAVING sum(sign) > 0", table, into.live)
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

func numbers(versions []uint64) string {
	out := []string{"0"}
	for _, v := range versions {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}

func (l *Lane) places(ctx context.Context, table, where string) (map[place]bool, error) {
	var out []struct {
		Partition uint16 `ch:"_partition"`
		Offset    int64  `ch:"_offset"`
	}
	err := l.try(ctx, table, func() error {
		out = nil
		return l.d.Store.Select(ctx, &out, "SELECT _partition, _offset FROM "+chdb.Store+"."+table+" WHERE "+where)
	})
	if err != nil {
		return nil, fmt.Errorf("look up rows of %s: %w", table, err)
	}
	have := make(map[place]bool, len(out))
	for _, r := range out {
		have[place{int32(r.Partition), r.Offset}] = true
	}
	return have, nil
}

func (l *Lane) identities(ctx context.Context, sql, table string, into map[string]bool) error {
	var out []struct {
		Project   string `ch:"project"`
		Funnel    string `ch:"funnel"`
		Scope     string `ch:"scope"`
		Person    string `ch:"person"`
		SessionID string `ch:"session_id"`
		Version   uint64 `ch:"version"`
	}
	if err := l.try(ctx, table, func() error { out = nil; return l.d.Store.Select(ctx, &out, sql) }); err != nil {
		return fmt.Errorf("look up rows of %s: %w", table, err)
	}
	for _, r := range out {
		switch table {
		case "sessions":
			into[sessionKey(r.SessionID, r.Version)] = true
		case "transitions", "carts":
			into[rowKey(r.Project, r.Person, r.Version)] = true
		default:
			into[entrantKey(r.Project, r.Funnel, r.Scope, r.Person, r.SessionID, r.Version)] = true
		}
	}
	return nil
}

func newSigned() *signed {
	return &signed{added: map[string]bool{}, live: map[string]bool{}, self: map[string]int{}}
}

func (t *there) transition(r *facts.Transition) bool {
	return t == nil || t.transitions.missing(rowKey(r.Project, r.Person, r.Version), r.Sign)
}

func (t *there) cart(r *facts.Cart) bool {
	return t == nil || t.carts.missing(rowKey(r.Project, r.Person, r.Version), r.Sign)
}

// missing says whether a row of the batch is to be written.
func (s *signed) missing(key string, sign int32) bool {
	switch {
	case s.self[key] == 0:
		return false // cancelled within the batch
	case sign > 0:
		return !s.added[key]
	}
	return s.live[key]
}

func (t *there) session(r *facts.Session) bool {
	return t == nil || t.sessions.missing(sessionKey(hex.EncodeToString(r.SessionId), r.Version), r.Sign)
}

func (t *there) entrant(d *facts.FunnelDef, r *facts.Entrant) bool {
	return t == nil || t.entrants.missing(entrantKey(d.Project, d.Name, d.Scope, r.Person, hex.EncodeToString(r.SessionId), r.Version), r.Sign)
}

// rebuild sets the roll-up right in the buckets that the batch touches, from the entrants: whether the view had written its
// part cannot be seen.
func (l *Lane) rebuild(ctx context.Context, spans []*span) error {
	from, to := int64(0), int64(-1)
	for _, s := range spans {
		for _, p := range s.parts {
			for _, e := range p.frame.Entrants {
				if to < 0 || e.StartedAt < from {
					from = e.StartedAt
				}
				to = max(to, e.StartedAt)
			}
		}
	}
	if to < 0 {
		return nil
	}
	const keys = "project, funnel, scope, bucket, channel, device, country, campaign, app_version, step_no"
	// The end of the last bucket is in, so whole buckets are compared.
	const quarter = int64(15 * time.Minute / time.Millisecond)
	from, to = from-from%quarter, to-to%quarter+quarter
	sql := fmt.Sprintf(`INSERT INTO %[1]s.funnel_rollup (%[2]s, reached)
SELECT %[2]s, sum(n) AS reached FROM (
    SELECT project, funnel, scope, toStartOfInterval(toDateTime(started_at, 'UTC'), INTERVAL 15 MINUTE, 'UTC') AS bucket,
        channel, device, country, campaign, app_version, step_no, toInt64(sign) AS n
    FROM %[1]s.entrants ARRAY JOIN step_nos AS step_no
    WHERE started_at >= fromUnixTimestamp64Milli(%[3]d, 'UTC') AND started_at < fromUnixTimestamp64Milli(%[4]d, 'UTC')
    UNION ALL
    SELECT %[2]s, -reached AS n FROM %[1]s.funnel_rollup
    WHERE bucket >= toDateTime(%[5]d, 'UTC') AND bucket < toDateTime(%[6]d, 'UTC')
) GROUP BY %[2]s HAVING reached != 0
SETTINGS insert_deduplicate = 0`, chdb.Store, keys, from, to, from/1000, to/1000)
	if err := l.try(ctx, "funnel_rollup", func() error { return l.d.Store.Exec(ctx, sql) }); err != nil {
		return fmt.Errorf("rebuild roll-ups: %w", err)
	}
	return nil
}
