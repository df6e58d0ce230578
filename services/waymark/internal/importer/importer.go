package importer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Config is what is imported, and how.
type Config struct {
	Files    []string
	Mapping  *Mapping // nil with format Events
	Format   string   // over the mapping's and the file's ending
	AsIs     bool     // keep the order of the files instead of sorting by time
	NoEnd    bool     // live traffic follows: send no end markers
	Wait     bool     // return when all can be queried
	ImportID string   // "": a hash of the content
	MaxBad   int64    // stop after so many refused rows; negative: never
	GiveUp   time.Duration
	Journals string // folder; "" keeps none
	TempDir  string // "" is the system's
	Memory   int    // bytes of a sorted run; 0 is the default
}

// Phase is what an import is doing.
type Phase string

// The phases, in their order.
const (
	Reading Phase = "reading" // in bytes
	Sending Phase = "sending" // in rows
	Waiting Phase = "waiting" // in records of the log
)

// Bad is a refused row.
type Bad struct {
	File   string
	Line   int64
	Reason string
	Detail string
}

// Deps is what an import works with.
type Deps struct {
	Find     func() (Target, error) // asked again before every try
	HTTP     *http.Client
	Progress func(phase Phase, done, of int64)
	Bad      func(b Bad)
	Notice   func(text string)
	Now      func() time.Time
}

// Summary is what came of an import.
type Summary struct {
	ImportID string           `json:"import_id"`
	Rows     int64            `json:"rows"`     // read, however they ended
	Accepted int64            `json:"accepted"` // in the log, now or before
	Refused  int64            `json:"refused"`
	Left     int64            `json:"left_out"` // by the mapping's where
	Kept     int64            `json:"kept"`     // values that are no numbers, kept as properties
	Resumed  int64            `json:"resumed"`  // of the accepted: acknowledged by an earlier run
	Reasons  map[string]int64 `json:"reasons"`  // of the refused
	Projects []string         `json:"projects"`
	Took     int64            `json:"took"` // ms
}

// ErrTooMany says that an import stopped because of its bound on refused rows.
var ErrTooMany = errors.New("too many rows are refused")

const defaultMemory = 32 << 20

// Values of the byte between time and event in the spool.
const (
	withID    = 0
	withoutID = 1
)

type project struct {
	name       string
	vocabulary vocabulary
	oldest     int64
}

type importer struct {
	certain  bool // the request before was answered
	cfg      Config
	deps     Deps
	client   *client
	id       string
	rows     *spool
	rejects  *spool
	projects []project
	index    map[string]int
	journal  *journal
	summary  Summary
	room     []byte
	read     atomic.Int64
}

// Run imports. Its summary is also of use with an error.
func Run(ctx context.Context, cfg Config, deps Deps) (Summary, error) {
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	im := &importer{
		cfg: cfg, deps: deps, index: map[string]int{},
		client:  &client{http: deps.HTTP, find: deps.Find, giveUp: cfg.GiveUp, pause: 50 * time.Millisecond, notice: deps.Notice},
		summary: Summary{Reasons: map[string]int64{}},
	}
	began := im.now()
	err := im.run(ctx)
	im.summary.Took = im.now().Sub(began).Milliseconds()
	for _, p := range im.projects {
		im.summary.Projects = append(im.summary.Projects, p.name)
	}
	return im.summary, err
}

func (im *importer) now() time.Time { return im.deps.Now() }

func (im *importer) progress(phase Phase, done, of int64) { im.deps.Progress(phase, done, of) }

func (im *importer) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(im.cfg.TempDir, "waymark-import-")
	if err != nil {
		return fmt.Errorf("sort on disk: %w", err)
	}
	im.rows, im.rejects = newSpool(dir, im.cfg.Memory), newSpool(dir, im.cfg.Memory/8)
	defer func() {
		_ = im.rows.close()
		_ = im.rejects.close()
		_ = os.RemoveAll(dir)
	}()
	content, err := im.readAll(ctx)
	if err != nil {
		return err
	}
	if im.id = im.cfg.ImportID; im.id == "" {
		im.id = content[:16]
	}
	im.summary.ImportID = im.id
	work, err := im.work(ctx, content)
	if err != nil {
		return err
	}
	if im.journal, err = openJournal(im.cfg.Journals, im.id, work); err != nil {
		return err
	}
	im.summary.Resumed = im.journal.Rows - im.journal.Refused
	defer func() { im.summary.Accepted = im.journal.Rows - im.journal.Refused }()
	im.summary.Refused += im.journal.Refused
	if im.journal.Rows > 0 {
		im.deps.Notice(fmt.Sprintf("%d rows of import %s are stored already: going on behind them", im.journal.Rows, im.id))
	} else {
		im.warnLate(ctx)
	}
	if err := im.sendRejects(ctx); err != nil {
		return err
	}
	if err := im.sendRows(ctx); err != nil {
		return err
	}
	if err := im.sendEnd(ctx); err != nil {
		return err
	}
	if im.cfg.Wait {
		return im.wait(ctx)
	}
	return nil
}

// work is the hash of all that decides which rows are sent where and in which order. It waits for the installation: one that is
// just starting is no other one.
func (im *importer) work(ctx context.Context, content string) (string, error) {
	mapping := ""
	if im.cfg.Mapping != nil {
		mapping = string(im.cfg.Mapping.text)
	}
	var key string
	err := im.client.try(ctx, "find the installation", func(_ context.Context, t Target) error {
		key = t.ImportKey
		return nil
	})
	return hashOf(content, im.id, mapping, strconv.FormatBool(im.cfg.AsIs), key), err
}

func hashOf(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readAll reads every file to its end and returns the hash of their content.
func (im *importer) readAll(ctx context.Context) (content string, err error) {
	var size int64
	for _, name := range im.cfg.Files {
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("open input: %w", err)
		}
		size += info.Size()
	}
	var p *plan
	if im.cfg.Mapping != nil {
		i, err := im.project(ctx, im.cfg.Mapping.Project)
		if err != nil {
			return "", err
		}
		steps := im.projects[i].vocabulary.Steps
		p = newPlan(im.cfg.Mapping, func(name string) string { return steps[event.Plain(name)] })
	}
	var hashes []string
	headless := false
	for i := range im.cfg.Files {
		hash, format, err := im.readFile(ctx, i, size, p)
		if err != nil {
			return "", err
		}
		hashes = append(hashes, hash)
		headless = headless || format == NDJSON
	}
	if p != nil {
		im.summary.Kept = p.kept
		if headless {
			for _, column := range im.cfg.Mapping.columns() {
				if !p.seen[column] {
					im.deps.Notice(fmt.Sprintf("no row has the column %q that the mapping names", column))
				}
			}
		}
	}
	im.progress(Reading, size, size)
	if len(hashes) == 1 {
		return hashes[0], nil
	}
	return hashOf(hashes...), nil
}

func (im *importer) readFile(ctx context.Context, index int, size int64, p *plan) (hash, format string, err error) {
	name := im.cfg.Files[index]
	form := im.cfg.Format
	if form == "" && im.cfg.Mapping != nil {
		form = im.cfg.Mapping.Format
	}
	in, err := open(name, form, &im.read)
	if err != nil {
		return "", "", err
	}
	defer in.close()
	count := 0
	take := func(r row) error {
		if count++; count%1024 == 0 {
			im.progress(Reading, min(im.read.Load(), size), size)
			if err := ctx.Err(); err != nil {
				return err //nolint:wrapcheck // the caller asked for it
			}
		}
		return im.take(ctx, r, index)
	}
	switch in.format {
	case CSV:
		err = readCSV(in.r, p, take)
	case NDJSON:
		err = readNDJSON(in.r, p, take)
	case Events:
		err = readEvents(in.r, func(project, name string) (string, error) {
			i, err := im.project(ctx, project)
			if err != nil {
				return "", err
			}
			return im.projects[i].vocabulary.Steps[event.Plain(name)], nil
		}, take)
	case Parquet:
		if err = in.hashAll(); err == nil {
			err = readParquet(in.f, in.size, p, take)
		}
	}
	if errors.Is(err, ErrTooMany) {
		return "", "", err
	}
	if err != nil {
		return "", "", fmt.Errorf("read %s (nothing of it was sent): %w", name, err)
	}
	return hex.EncodeToString(in.hash.Sum(nil)), in.format, nil
}

// project is the place of a project, whose vocabulary is asked for when it is met for the first time.
func (im *importer) project(ctx context.Context, name string) (int, error) {
	if i, ok := im.index[name]; ok {
		return i, nil
	}
	v, err := im.client.vocabulary(ctx, name)
	if err != nil {
		return 0, err
	}
	if v.Lateness <= 0 {
		v.Lateness = (24 * time.Hour).Milliseconds()
	}
	im.projects = append(im.projects, project{name: name, vocabulary: v, oldest: math.MaxInt64})
	im.index[name] = len(im.projects) - 1
	return len(im.projects) - 1, nil
}

// take spools one row.
func (im *importer) take(ctx context.Context, r row, file int) error {
	im.summary.Rows++
	if r.left {
		im.summary.Left++
		return nil
	}
	it := item{row: im.summary.Rows, file: file, line: r.line}
	if r.refused != nil {
		im.bad(Bad{File: im.cfg.Files[file], Line: r.line, Reason: r.refused.reason, Detail: r.refused.detail})
		im.summary.Refused++
		data, err := im.letter(r, file, im.projectOf(r.event)).MarshalVT()
		if err != nil {
			return fmt.Errorf("encode a refused row: %w", err)
		}
		it.data = data
		if err := im.rejects.add(it); err != nil {
			return err
		}
		return im.tooMany()
	}
	i, err := im.project(ctx, r.event.Project)
	if err != nil {
		return err
	}
	it.project = i
	im.projects[i].oldest = min(im.projects[i].oldest, r.event.OccurredAt)
	if !im.cfg.AsIs {
		it.key = r.event.OccurredAt
	}
	if it.data, err = im.encode(r.event); err != nil {
		return err
	}
	return im.rows.add(it)
}

// projectOf is the project that a refused row is counted for: its own, else the first one met.
func (im *importer) projectOf(e *touchpoint.Event) string {
	switch {
	case e != nil && e.Project != "":
		return clean(e.Project)
	case len(im.projects) > 0:
		return im.projects[0].name
	}
	return "default"
}

// encode is an event as it is spooled: its time, whether it needs an id, and itself. The slice is good until the next call.
func (im *importer) encode(e *touchpoint.Event) ([]byte, error) {
	id := byte(withID)
	if e.MessageId == "" {
		id = withoutID
	}
	im.room = append(binary.AppendVarint(im.room[:0], e.OccurredAt), id)
	head, size := len(im.room), e.SizeVT()
	im.room = append(im.room, make([]byte, size)...)
	if _, err := e.MarshalToSizedBufferVT(im.room[head:]); err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return im.room, nil
}

func (im *importer) bad(b Bad) {
	im.summary.Reasons[b.Reason]++
	im.deps.Bad(b)
}

// tooMany is an error once as many rows are refused as are allowed.
func (im *importer) tooMany() error {
	refused := im.summary.Refused
	if im.journal != nil {
		refused = max(refused, im.rejects.count+im.journal.Refused)
		im.summary.Refused = refused
	}
	if im.cfg.MaxBad >= 0 && refused > 0 && refused >= im.cfg.MaxBad {
		return fmt.Errorf("%w: %d (--max-bad %d)", ErrTooMany, refused, im.cfg.MaxBad)
	}
	return nil
}

// warnLate says so if a project has events already that rows of the import are too late for. It is a help, no promise.
func (im *importer) warnLate(ctx context.Context) {
	for _, p := range im.projects {
		target, err := im.deps.Find()
		if err != nil || target.ClickHouse == "" {
			return
		}
		rows, err := im.client.query(ctx, target, "SELECT toUnixTimestamp64Milli(max(occurred_at)) FROM waymark.events WHERE project = {p:String}",
			map[string]string{"p": escapeParam(p.name)})
		if err != nil || len(rows) != 1 || len(rows[0]) != 1 {
			return
		}
		latest, _ := strconv.ParseInt(rows[0][0], 10, 64)
		if border := latest - p.vocabulary.Lateness; p.oldest < border {
			im.deps.Notice(fmt.Sprintf("project %s has events up to %s already: rows before %s are stored as too late and not counted (also if they are there already)",
				p.name, stamp(latest), stamp(border)))
		}
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }

// escapeParam writes a text as a parameter of a query wants it.
func escapeParam(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(text)
}
