package httpapi

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/services/collector/internal/intake"
	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

// worker is what one request works with; it is used again for others.
type worker struct {
	a        *API
	rd       reader
	split    segment.Splitter
	parse    segment.Parser
	letter   deadletter.Letter
	verdicts []byte // of the answer, where the sender asks for them

	accepted, refused, bots, clamped int
	reasons                          map[string]int
}

func (a *API) newWorker() *worker {
	return &worker{a: a, rd: reader{budget: a.deps.Budget}, reasons: map[string]int{}}
}

// worker takes one for a request; the caller calls done.
func (a *API) worker() *worker {
	w, _ := a.workers.Get().(*worker)
	w.accepted, w.refused, w.bots, w.clamped = 0, 0, 0, 0
	w.verdicts = w.verdicts[:0]
	clear(w.reasons)
	return w
}

func (w *worker) done() {
	w.rd.release()
	w.a.workers.Put(w)
}

// largestShare bounds what a batch grows to when each event gets the batch's context.
const largestShare = 8 << 20

// messages takes a body of one message, or of a batch (Any).
func (a *API) messages(r *http.Request, rw http.ResponseWriter, kind segment.Kind) *answer {
	w := a.worker()
	defer w.done()
	body, err := w.rd.read(r.Body, a.cfg.MaxBatchBytes)
	a.metrics.bytes.Add(float64(len(body)))
	if err != nil {
		return w.unread(r, rw, body, err)
	}
	parts, err := w.split.Split(body, a.cfg.MaxBatchEvents)
	said := key(r, parts.WriteKey)
	src := a.keys[said]
	switch {
	case src == nil && (said != "" || err == nil):
		return w.stranger(said)
	case errors.Is(err, segment.ErrTooMany):
		return w.unreadable(src, http.StatusRequestEntityTooLarge, event.TooLarge, body, err)
	case err != nil:
		return w.unreadable(src, http.StatusBadRequest, event.BadJSON, body, err)
	case kind == segment.Any && !parts.HasBatch:
		return w.unreadable(src, http.StatusBadRequest, event.Schema, body, errors.New("the body has no list of events called batch"))
	}
	if kind == segment.Any && (len(parts.Context) > event.MaxBytes || len(parts.Context)*len(parts.Events) > largestShare) {
		return w.unreadable(src, http.StatusRequestEntityTooLarge, event.TooLarge, body, errors.New("the context of the batch, which each of its events gets, is too large"))
	}
	if kind != segment.Any {
		// The message is the body; its context is its own.
		parts.Events = append(parts.Events[:0], segment.Span{From: 0, To: len(body)})
		parts.Context = nil
	}
	if src.limit != nil {
		now := a.deps.Now()
		if wait := src.limit.ReserveN(now, len(parts.Events)); wait.DelayFrom(now) > 0 {
			after := wait.DelayFrom(now)
			wait.CancelAt(now)
			return later(http.StatusTooManyRequests, after, "this write key sends more events than it may")
		}
	}
	received := a.deps.Now()
	if err := w.parse.Begin(w.request(r, src, parts, received)); err != nil {
		return w.unreadable(src, http.StatusBadRequest, event.BadJSON, body, errors.New("the context of the batch cannot be read: "+err.Error()))
	}
	verdicts := r.URL.RawQuery != "" && r.URL.Query().Get("verdicts") == "1"
	batch := a.deps.Intake.Begin()
	for _, span := range parts.Events {
		fault, err := w.message(batch, src, body[span.From:span.To], kind, received)
		if err != nil {
			batch.Drop()
			return w.pressure(err)
		}
		if kind != segment.Any && fault != nil && fault.Broken {
			batch.Drop()
			return w.unreadable(src, http.StatusBadRequest, fault.Reason, body, errors.New(fault.Detail))
		}
		if verdicts {
			w.verdict(fault)
		}
	}
	if _, err := batch.Commit(); err != nil {
		return w.pressure(err)
	}
	w.count()
	if verdicts {
		if len(w.verdicts) == 0 {
			return &answer{body: []byte(`{"verdicts":[]}`)}
		}
		return &answer{body: append(append([]byte(nil), w.verdicts...), `]}`...)}
	}
	return &answer{body: success}
}

// request is what the messages of a body share.
func (w *worker) request(r *http.Request, src *source, parts segment.Body, received time.Time) segment.Request {
	at := w.a.clientAddress(r)
	req := segment.Request{
		Project: src.Project, Source: src.Name, Channel: src.channel, WriteKey: src.WriteKey,
		Step:       w.a.deps.Rules(src.Project).Step,
		ReceivedAt: received.UnixMilli(),
		SentAt:     parts.SentAt, Context: parts.Context,
		Agent: w.a.agents.Parse,
		Staff: src.staff.event,
	}
	if w.isStaff(r, src, at) {
		req.Staff = func(string, string) bool { return true }
	}
	// A browser speaks for itself. A server's HTTP library says nothing of its customers.
	if agent := r.UserAgent(); src.Kind == "web" && strings.HasPrefix(agent, "Mozilla/") {
		req.UserAgent = agent
	}
	return req
}

func (w *worker) isStaff(r *http.Request, src *source, at netip.Addr) bool {
	return src.staff.request(r, at)
}

// message puts one message into the batch, as an event or as a letter. The fault is why it was refused, the error why nothing
// can be taken now.
func (w *worker) message(batch *intake.Batch, src *source, raw []byte, kind segment.Kind, received time.Time) (*segment.Fault, error) {
	e, fault := w.parse.Event(raw, kind)
	if fault != nil {
		w.refused++
		w.reasons[fault.Reason]++
		return fault, w.refuse(batch, src, fault.Reason, fault.Detail, raw, received)
	}
	w.accepted++
	if e.Bot {
		w.bots++
	}
	if len(e.Flags) > 0 {
		w.clamped++
	}
	return nil, batch.Event(e)
}

func (w *worker) refuse(batch *intake.Batch, src *source, reason, detail string, raw []byte, received time.Time) error {
	w.letter = deadletter.Letter{
		Project: src.Project, Source: src.Name, Reason: reason, Detail: detail,
		MessageId: w.parse.MessageID(), AppVersion: w.parse.AppVersion(),
		ReceivedAt: received.UnixMilli(), Body: raw[:min(len(raw), event.MaxBytes)],
	}
	return batch.Letter(&w.letter)
}

func (w *worker) verdict(fault *segment.Fault) {
	if len(w.verdicts) == 0 {
		w.verdicts = append(w.verdicts, `{"verdicts":[`...)
	} else {
		w.verdicts = append(w.verdicts, ',')
	}
	verdict, reason := "accepted", ""
	if fault != nil {
		verdict, reason = "refused", fault.Reason
	}
	w.verdicts = append(w.verdicts, `{"message_id":`...)
	w.verdicts = append(w.verdicts, quote(w.parse.MessageID())...)
	w.verdicts = append(w.verdicts, `,"verdict":"`...)
	w.verdicts = append(w.verdicts, verdict...)
	w.verdicts = append(w.verdicts, `","reason":"`...)
	w.verdicts = append(w.verdicts, reason...)
	w.verdicts = append(w.verdicts, `"}`...)
}

func (w *worker) count() {
	m := w.a.metrics
	m.events.WithLabelValues("accepted").Add(float64(w.accepted))
	m.events.WithLabelValues("refused").Add(float64(w.refused))
	m.bots.Add(float64(w.bots))
	m.clamped.Add(float64(w.clamped))
	for reason, n := range w.reasons {
		m.refused.WithLabelValues(reason).Add(float64(n))
	}
}

// stranger answers a request with a key that no source has.
func (w *worker) stranger(key string) *answer {
	if key == "" {
		return refuse(http.StatusUnauthorized, "no write key: give it as the user of Basic authorization, as writeKey in the body, or as ?writeKey=")
	}
	return refuse(http.StatusUnauthorized, "no source has this write key")
}

// unread answers a request whose body could not be read to its end.
func (w *worker) unread(r *http.Request, rw http.ResponseWriter, body []byte, err error) *answer {
	known := w.a.keys[key(r, "")]
	var ans *answer
	switch {
	case errors.Is(err, errFull):
		ans = w.pressure(intake.ErrFull)
	case errors.Is(err, errTimeout):
		ans = refuse(http.StatusRequestTimeout, err.Error())
	case errors.Is(err, errGone):
		ans = refuse(http.StatusBadRequest, err.Error()) // nobody reads it
	case errors.Is(err, errTooLarge) && known == nil && key(r, "") != "":
		ans = w.stranger(key(r, ""))
	case errors.Is(err, errTooLarge):
		ans = w.unreadable(known, http.StatusRequestEntityTooLarge, event.TooLarge, body, err)
	case known == nil && key(r, "") != "":
		ans = w.stranger(key(r, ""))
	default:
		ans = w.unreadable(known, http.StatusBadRequest, event.BadJSON, body, err)
	}
	drain(rw, r, w.a.deps.Now())
	ans.close = true
	return ans
}

// unreadable answers a body of which no event can be taken, now or ever. Where the sender is known, the body goes to the
// refused.
func (w *worker) unreadable(src *source, status int, reason string, body []byte, why error) *answer {
	if src != nil {
		batch := w.a.deps.Intake.Begin()
		w.letter = deadletter.Letter{
			Project: src.Project, Source: src.Name, Reason: reason, Detail: why.Error(),
			ReceivedAt: w.a.deps.Now().UnixMilli(), Body: body[:min(len(body), event.MaxBytes)],
		}
		if err := batch.Letter(&w.letter); err != nil {
			batch.Drop()
			return w.pressure(err)
		}
		if _, err := batch.Commit(); err != nil {
			return w.pressure(err)
		}
		w.a.metrics.refused.WithLabelValues(reason).Inc()
	}
	return refuse(status, why.Error())
}

// pressure answers a request that cannot be taken now.
func (w *worker) pressure(err error) *answer {
	if errors.Is(err, intake.ErrFull) {
		return later(http.StatusServiceUnavailable, time.Second, "the collector has too much under way")
	}
	w.a.deps.Log.Warn("kafka did not take a request's events", zap.Error(err))
	return later(http.StatusServiceUnavailable, time.Second, "the events could not be stored")
}
