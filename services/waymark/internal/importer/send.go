package importer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Bounds of a request.
const (
	requestRows  = 2000
	requestBytes = 2 << 20
)

// vocabulary is what the collector says of a project's rules.
type vocabulary struct {
	Steps    map[string]string `json:"steps"` // plain event name -> step
	Lateness int64             `json:"lateness"`
}

func (c *client) vocabulary(ctx context.Context, project string) (vocabulary, error) {
	var v vocabulary
	err := c.call(ctx, http.MethodGet, "/v1/import/vocabulary?project="+url.QueryEscape(project), nil, &v)
	return v, err
}

// request collects rows for one request.
type request struct {
	body  []byte
	items []item // data is not kept
}

// fits says whether a row of this size may join the request.
func (q *request) fits(size int) bool {
	return len(q.items) == 0 || len(q.items) < requestRows && len(q.body)+size+16 <= requestBytes
}

func (q *request) add(it item, data []byte) {
	q.body = binary.AppendUvarint(q.body, uint64(len(data)))
	q.body = append(q.body, data...)
	it.data = nil
	q.items = append(q.items, it)
}

func (q *request) reset() { q.body, q.items = q.body[:0], q.items[:0] }

// sendRows sends the sorted rows behind those acknowledged already.
func (im *importer) sendRows(ctx context.Context) error {
	next, err := im.rows.sorted()
	if err != nil {
		return err
	}
	if err := im.begin(ctx); err != nil {
		return err
	}
	q := &request{}
	var data []byte
	im.progress(Sending, im.journal.Rows, im.rows.count)
	for n := int64(0); ; n++ {
		it, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if n < im.journal.Rows {
			continue
		}
		if data, err = im.complete(it, data[:0]); err != nil {
			return err
		}
		if !q.fits(len(data)) {
			if err := im.sendRequest(ctx, q); err != nil {
				return err
			}
		}
		q.add(it, data)
	}
	if len(q.items) > 0 {
		return im.sendRequest(ctx, q)
	}
	return nil
}

// complete is the row as it is sent: with its message id, made of the import and the row where the file has none.
func (im *importer) complete(it item, out []byte) (data []byte, err error) {
	_, n := binary.Varint(it.data)
	if n <= 0 {
		return nil, fmt.Errorf("row %d of the spool is damaged", it.row)
	}
	out = append(out, it.data[n+1:]...)
	if it.data[n] == withoutID {
		id := messageID(im.id, it.row)
		out = append(out, 3<<3|2) // a field that comes again replaces the one before
		out = binary.AppendUvarint(out, uint64(len(id)))
		out = append(out, id...)
	}
	return out, nil
}

// messageID is the id of a row: ids in their byte order are the rows in theirs.
func messageID(id string, row int64) string { return fmt.Sprintf("%s-%012d", id, row) }

// begin notes where the log ends before the first row is sent: what a lost answer leaves in doubt lies behind it.
func (im *importer) begin(ctx context.Context) error {
	if im.journal.Begun {
		return nil
	}
	var answer struct {
		Offsets map[string]int64 `json:"offsets"`
	}
	if err := im.client.call(ctx, http.MethodGet, "/v1/import/offsets", nil, &answer); err != nil {
		return err
	}
	im.journal.Begun = true
	im.journal.passed(answer.Offsets)
	return im.journal.save()
}

// sendRequest sends rows and notes that they are acknowledged. The first request of a run, and one that was not answered, may be
// in the log in part: the collector looks, behind the offsets of the last answer, and writes what is missing. So nothing is
// written twice, and no row comes a second time when the log is far past it.
func (im *importer) sendRequest(ctx context.Context, q *request) error {
	var answer struct {
		Accepted int64 `json:"accepted"`
		Refused  []struct {
			Index  int    `json:"index"`
			Reason string `json:"reason"`
		} `json:"refused"`
		Offsets map[string]int64 `json:"offsets"`
	}
	path := "/v1/import/events?offsets=1"
	err := im.client.try(ctx, "POST /v1/import/events", func(ctx context.Context, t Target) error {
		doubt := ""
		if !im.certain {
			since, err := json.Marshal(im.journal.Offsets)
			if err != nil {
				return permanent{err}
			}
			doubt = "&since=" + url.QueryEscape(string(since))
		}
		im.certain = false
		return im.client.once(ctx, t, http.MethodPost, path+doubt, q.body, &answer)
	})
	if err != nil {
		return err
	}
	im.certain = true
	for _, r := range answer.Refused {
		if r.Index < 0 || r.Index >= len(q.items) {
			return fmt.Errorf("POST /v1/import/events: the answer refuses row %d of %d", r.Index, len(q.items))
		}
		it := q.items[r.Index]
		im.bad(Bad{File: im.cfg.Files[it.file], Line: it.line, Reason: r.Reason, Detail: "refused by the collector"})
	}
	im.journal.Rows += int64(len(q.items))
	im.journal.Refused += int64(len(answer.Refused))
	im.journal.passed(answer.Offsets)
	if err := im.journal.save(); err != nil {
		return err
	}
	im.progress(Sending, im.journal.Rows, im.rows.count)
	q.reset()
	return im.tooMany()
}

// sendRejects sends the refused rows behind those acknowledged already to the dead letters.
func (im *importer) sendRejects(ctx context.Context) error {
	next, err := im.rejects.sorted()
	if err != nil {
		return err
	}
	var body []byte
	count := int64(0)
	flush := func() error {
		if count == 0 {
			return nil
		}
		var answer struct{}
		if err := im.client.call(ctx, http.MethodPost, "/v1/import/rejects", body, &answer); err != nil {
			return err
		}
		im.journal.Rejects += count
		body, count = body[:0], 0
		return im.journal.save()
	}
	for n := int64(0); ; n++ {
		it, err := next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		if n < im.journal.Rejects {
			continue
		}
		if count == requestRows || len(body)+len(it.data)+16 > requestBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		body = binary.AppendUvarint(body, uint64(len(it.data)))
		body = append(body, it.data...)
		count++
	}
}

// letter is a refused row as a dead letter.
func (im *importer) letter(r row, file int, project string) *deadletter.Letter {
	e := r.event
	if e == nil {
		e = &touchpoint.Event{}
	}
	source := e.Source
	if source == "" {
		source = "import"
	}
	return &deadletter.Letter{
		Project: project, Source: clean(source), Reason: r.refused.reason,
		Detail:    fmt.Sprintf("%s, line %d: %s", clean(im.cfg.Files[file]), r.line, clean(r.refused.detail)),
		MessageId: clean(e.MessageId), AppVersion: clean(e.AppVersion), ReceivedAt: im.now().UnixMilli(),
		Body: r.raw[:min(len(r.raw), event.MaxBytes)],
	}
}

// sendEnd writes the end markers.
func (im *importer) sendEnd(ctx context.Context) error {
	if im.cfg.NoEnd || im.journal.End || len(im.projects) == 0 {
		return nil
	}
	var names []string
	for _, p := range im.projects {
		names = append(names, p.name)
	}
	body, err := json.Marshal(map[string][]string{"projects": names})
	if err != nil {
		return fmt.Errorf("encode end: %w", err)
	}
	var answer struct {
		Offsets map[string]int64 `json:"offsets"`
	}
	if err := im.client.call(ctx, http.MethodPost, "/v1/import/end", body, &answer); err != nil {
		return err
	}
	im.journal.End = true
	im.journal.passed(answer.Offsets)
	return im.journal.save()
}

// wait returns when everything that follows from the rows can be queried.
func (im *importer) wait(ctx context.Context) error {
	if len(im.journal.Offsets) == 0 {
		return nil
	}
	most, least, moved := int64(0), int64(math.MaxInt64), time.Now()
	for {
		var now int64
		var causes string
		err := im.client.try(ctx, "wait for the tables", func(ctx context.Context, t Target) error {
			rows, err := im.client.query(ctx, t, "SELECT partition, next_offset, cause FROM waymark.progress WHERE topic = 'touchpoints'", nil)
			if err != nil {
				return err
			}
			now, causes, err = behind(im.journal.Offsets, rows)
			return err
		})
		if err != nil {
			return err
		}
		if now == 0 {
			if most > 0 {
				im.progress(Waiting, most, most)
			}
			return nil
		}
		most = max(most, now)
		if now < least {
			least, moved = now, time.Now()
		}
		if time.Since(moved) > im.cfg.GiveUp {
			return fmt.Errorf("wait for the tables: given up: they did not move for %v, %d records before the end%s", im.cfg.GiveUp, now, because(causes))
		}
		im.progress(Waiting, most-now, most)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func because(cause string) string {
	if cause == "" {
		return ""
	}
	return ": " + cause
}

// behind is how many records of the log the tables do not have yet, up to the offsets, and why they stand still.
func behind(offsets map[string]int64, rows [][]string) (records int64, causes string, err error) {
	next := map[string]int64{}
	for _, r := range rows {
		if len(r) != 3 {
			return 0, "", fmt.Errorf("view progress: %d columns in the answer, expected 3", len(r))
		}
		n, err := strconv.ParseInt(r[1], 10, 64)
		if err != nil {
			return 0, "", fmt.Errorf("view progress: next_offset: %w", err)
		}
		next[r[0]] = n
		if r[2] != "" {
			causes = r[2]
		}
	}
	for partition, offset := range offsets {
		records += max(0, offset-next[partition])
	}
	return records, causes, nil
}
