package httpapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/collector/internal/intake"
	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

// lastMilli is the last millisecond of the year 9999.
const lastMilli = 253402300799999

// largestEvent is the size of an encoded event beyond which it is refused, whatever its fields.
const largestEvent = 4 * event.MaxBytes

// importer takes a request of the importer: normalised events, or what it could not read, each behind its length.
func (a *API) importer(r *http.Request, rw http.ResponseWriter, take func(w *worker, body []byte) *answer) *answer {
	if user, _, _ := r.BasicAuth(); !a.isImportKey(user) {
		return refuse(http.StatusUnauthorized, "the import key is wrong or missing: give it as the user of Basic authorization")
	}
	w := a.worker()
	defer w.done()
	body, err := w.rd.read(r.Body, a.cfg.MaxImportBytes)
	a.metrics.bytes.Add(float64(len(body)))
	if err != nil {
		ans := refuse(http.StatusBadRequest, err.Error())
		switch {
		case errors.Is(err, errFull):
			ans = w.pressure(intake.ErrFull)
		case errors.Is(err, errTimeout):
			ans = refuse(http.StatusRequestTimeout, err.Error())
		case errors.Is(err, errTooLarge):
			ans = refuse(http.StatusRequestEntityTooLarge, "the body has more than "+strconv.FormatInt(a.cfg.MaxImportBytes, 10)+" bytes")
		}
		drain(rw, r, a.deps.Now())
		ans.close = true
		return ans
	}
	return take(w, body)
}

// next cuts the first message off a list of messages, each behind its length.
func next(list []byte) (message, rest []byte, ok bool) {
	n, used := binary.Uvarint(list)
	if used <= 0 || n > uint64(len(list)-used) {
		return nil, nil, false
	}
	return list[used : used+int(n)], list[used+int(n):], true
}

func badList(index int, what string) *answer {
	return refuse(http.StatusBadRequest, "message "+strconv.Itoa(index)+" of the list: "+what)
}

// importEvents takes events that are normalised already. They are written in the order given. The answer tells where they are
// in the log if offsets are asked for. With since, the offset in each partition behind which the request may have been written
// already, what is there is not written again.
func (a *API) importEvents(r *http.Request, w *worker, body []byte, offsets bool, since map[int32]int64) *answer {
	var written map[intake.Identity]intake.Place
	if since != nil {
		var err error
		if written, err = a.written(r, body, since); err != nil {
			return w.pressure(err)
		}
	}
	there := map[int32]int64{}
	batch := a.deps.Intake.Begin()
	defer func() {
		if batch != nil {
			batch.Drop()
		}
	}()
	now := a.deps.Now()
	var e touchpoint.Event
	var refused []byte
	for index := 0; len(body) > 0; index++ {
		if index == a.cfg.MaxImportEvents {
			return refuse(http.StatusRequestEntityTooLarge, "more than "+strconv.Itoa(index)+" events in one request")
		}
		message, rest, ok := next(body)
		if !ok {
			return badList(index, "its length is wrong")
		}
		body = rest
		e.Reset()
		if err := e.UnmarshalVTUnsafe(message); err != nil {
			return badList(index, "it is no touchpoint.Event: "+err.Error())
		}
		if e.Project != "" && !a.cfg.AnyProject && !a.projects[e.Project] {
			return refuse(http.StatusForbidden, "project "+strconv.Quote(e.Project)+" is not known: add it to projects in the configuration")
		}
		reason, changed := checkImported(&e, message, now.UnixMilli())
		if reason == "" {
			w.accepted++
			if place, ok := written[intake.Identity{Project: e.Project, MessageID: e.MessageId, UserID: e.UserId, AnonymousID: e.AnonymousId}]; ok {
				there[place.Partition] = max(there[place.Partition], place.Offset+1)
				continue
			}
			var err error
			if changed {
				err = batch.Event(&e)
			} else {
				err = batch.Encoded(&e, message)
			}
			if err != nil {
				return w.pressure(err)
			}
			continue
		}
		w.refused++
		w.reasons[reason]++
		refused = append(refused, `{"index":`...)
		refused = strconv.AppendInt(refused, int64(index), 10)
		refused = append(refused, `,"reason":"`...)
		refused = append(refused, reason...)
		refused = append(refused, `"},`...)
		w.letter = deadletter.Letter{
			Project: valid(e.Project), Source: valid(e.Source), Reason: reason, Detail: "refused of an import",
			MessageId: valid(e.MessageId), AppVersion: valid(e.AppVersion),
			ReceivedAt: now.UnixMilli(), Body: message[:min(len(message), event.MaxBytes)],
		}
		if err := batch.Letter(&w.letter); err != nil {
			return w.pressure(err)
		}
	}
	ends, err := batch.Commit()
	batch = nil
	if err != nil {
		return w.pressure(err)
	}
	w.count()
	out := append([]byte(`{"accepted":`), strconv.Itoa(w.accepted)...)
	out = append(out, `,"refused":[`...)
	out = append(append(out, refused[:max(len(refused)-1, 0)]...), ']')
	if offsets {
		for partition, end := range ends {
			there[partition] = max(there[partition], end)
		}
		out = appendOffsets(append(out, ','), there)
	}
	return &answer{body: append(out, '}')}
}

// written finds which events of a request are in the log already.
func (a *API) written(r *http.Request, body []byte, since map[int32]int64) (map[intake.Identity]intake.Place, error) {
	sought := map[intake.Identity]bool{}
	var e touchpoint.Event
	for len(body) > 0 {
		message, rest, ok := next(body)
		if !ok {
			break // importEvents says so
		}
		body = rest
		e.Reset()
		if e.UnmarshalVTUnsafe(message) == nil {
			e.UserId, e.AnonymousId = event.ID(e.UserId), event.ID(e.AnonymousId)
			sought[intake.IdentityOf(&e)] = true
		}
	}
	return a.deps.Intake.Written(r.Context(), since, sought)
}

// importOffsets tells the end of each partition.
func (a *API) importOffsets(r *http.Request, w *worker) *answer {
	if user, _, _ := r.BasicAuth(); !a.isImportKey(user) {
		return refuse(http.StatusUnauthorized, "the import key is wrong or missing: give it as the user of Basic authorization")
	}
	ends, err := a.deps.Intake.Ends(r.Context())
	if err != nil {
		return w.pressure(err)
	}
	return &answer{body: append(appendOffsets([]byte{'{'}, ends), '}')}
}

// readSince reads since from a query: {"0":123}, offsets by partition.
func readSince(text string) (map[int32]int64, error) {
	if text == "" {
		return nil, nil
	}
	var since map[int32]int64
	if err := json.Unmarshal([]byte(text), &since); err != nil {
		return nil, fmt.Errorf(`since: expected {"PARTITION":OFFSET}: %w`, err)
	}
	return since, nil
}

func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text)) // each byte that is no UTF-8 becomes U+FFFD
}

// checkImported judges an event by what every event must be, and sets what is the collector's. The reason is "" if it may
// pass; changed says that it is no longer what was sent.
func checkImported(e *touchpoint.Event, sent []byte, now int64) (reason string, changed bool) {
	if len(sent) > largestEvent || len(e.Properties)+len(e.Commerce)+len(e.Context) > event.MaxBytes {
		return event.TooLarge, false
	}
	if user, anonymous := event.ID(e.UserId), event.ID(e.AnonymousId); user != e.UserId || anonymous != e.AnonymousId {
		e.UserId, e.AnonymousId, changed = user, anonymous, true
	}
	if e.Project == "" || e.MessageId == "" || !validTexts(e) {
		return event.Schema, changed
	}
	if e.UserId == "" && e.AnonymousId == "" {
		return event.NoIdentity, changed
	}
	if e.OccurredAt < 0 || e.OccurredAt > lastMilli || e.ReceivedAt < 0 || e.ReceivedAt > lastMilli {
		return event.BadTimestamp, changed
	}
	for _, object := range [...][]byte{e.Properties, e.Commerce, e.Context} {
		if len(object) > 0 && !segment.ValidObject(object) {
			return event.BadJSON, changed
		}
	}
	if e.ReceivedAt == 0 {
		e.ReceivedAt, changed = now, true
	}
	if e.OccurredAt > e.ReceivedAt {
		e.OccurredAt, changed = e.ReceivedAt, true
		if !slices.Contains(e.Flags, event.Clamped) {
			e.Flags = append(e.Flags, event.Clamped)
		}
	}
	return "", changed
}

func validTexts(e *touchpoint.Event) bool {
	for _, text := range [...]string{
		e.Project, e.Source, e.MessageId, e.Name, e.Step, e.Channel, e.AnonymousId, e.UserId, e.Url, e.Path, e.Title, e.Referrer,
		e.Campaign, e.CampaignSource, e.CampaignMedium, e.Device, e.Os, e.Browser, e.Country, e.AppVersion,
		e.ProductId, e.CartId, e.OrderId, e.Currency, e.Coupon,
	} {
		if !utf8.ValidString(text) {
			return false
		}
	}
	for _, flag := range e.Flags {
		if !utf8.ValidString(flag) {
			return false
		}
	}
	for _, p := range e.Products {
		if !utf8.ValidString(p.ProductId) || !utf8.ValidString(p.Currency) {
			return false
		}
	}
	return true
}

// importRejects takes what the importer itself could not read, to the refused.
func (a *API) importRejects(w *worker, body []byte) *answer {
	batch := a.deps.Intake.Begin()
	defer func() {
		if batch != nil {
			batch.Drop()
		}
	}()
	now := a.deps.Now().UnixMilli()
	count := 0
	for ; len(body) > 0; count++ {
		if count == a.cfg.MaxImportEvents {
			return refuse(http.StatusRequestEntityTooLarge, "more than "+strconv.Itoa(count)+" letters in one request")
		}
		message, rest, ok := next(body)
		if !ok {
			return badList(count, "its length is wrong")
		}
		body = rest
		l := &w.letter
		l.Reset()
		if err := l.UnmarshalVT(message); err != nil {
			return badList(count, "it is no deadletter.Letter: "+err.Error())
		}
		if l.Project == "" || !a.cfg.AnyProject && !a.projects[l.Project] {
			return refuse(http.StatusForbidden, "project "+strconv.Quote(l.Project)+" is not known: add it to projects in the configuration")
		}
		if !knownReason(l.Reason) {
			return badList(count, "reason "+strconv.Quote(l.Reason)+" is not known")
		}
		l.Project, l.Source, l.Detail = valid(l.Project), valid(l.Source), valid(l.Detail)
		l.MessageId, l.AppVersion = valid(l.MessageId), valid(l.AppVersion)
		l.Body = l.Body[:min(len(l.Body), event.MaxBytes)]
		if l.ReceivedAt == 0 {
			l.ReceivedAt = now
		}
		w.reasons[l.Reason]++
		if err := batch.Letter(l); err != nil {
			return w.pressure(err)
		}
	}
	w.refused = count
	_, err := batch.Commit()
	batch = nil
	if err != nil {
		return w.pressure(err)
	}
	w.count()
	return &answer{body: append(strconv.AppendInt([]byte(`{"accepted":`), int64(count), 10), '}')}
}

func knownReason(reason string) bool {
	switch reason {
	case event.NoIdentity, event.BadTimestamp, event.TooLarge, event.BadJSON, event.UnknownType, event.MissingEvent, event.Schema:
		return true
	}
	return false
}

// importEnd marks the end of what was imported: everything open in the projects' logs closes.
func (a *API) importEnd(w *worker, body []byte) *answer {
	var sent struct {
		Projects []string `json:"projects"`
	}
	if err := json.Unmarshal(body, &sent, json.RejectUnknownMembers(true)); err != nil {
		return refuse(http.StatusBadRequest, `expected {"projects":["NAME"]}: `+err.Error())
	}
	if len(sent.Projects) == 0 {
		return refuse(http.StatusBadRequest, "projects is empty: name at least one")
	}
	batch := a.deps.Intake.Begin()
	for _, project := range sent.Projects {
		if project == "" || !a.cfg.AnyProject && !a.projects[project] {
			batch.Drop()
			return refuse(http.StatusForbidden, "project "+strconv.Quote(project)+" is not known: add it to projects in the configuration")
		}
		if err := batch.End(project); err != nil {
			batch.Drop()
			return w.pressure(err)
		}
	}
	ends, err := batch.Commit()
	if err != nil {
		return w.pressure(err)
	}
	return &answer{body: append(appendOffsets([]byte{'{'}, ends), '}')}
}

// appendOffsets writes for each partition the offset behind what was written there.
func appendOffsets(out []byte, ends map[int32]int64) []byte {
	out = append(out, `"offsets":{`...)
	for i, partition := range slices.Sorted(maps.Keys(ends)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = strconv.AppendInt(out, int64(partition), 10)
		out = append(out, `":`...)
		out = strconv.AppendInt(out, ends[partition], 10)
	}
	return append(out, '}')
}

// vocabulary tells the importer what it needs of a project's rules: the steps of event names, in their plain form, and how
// late an event may be, in ms.
func (a *API) vocabulary(r *http.Request) *answer {
	if user, _, _ := r.BasicAuth(); !a.isImportKey(user) {
		return refuse(http.StatusUnauthorized, "the import key is wrong or missing: give it as the user of Basic authorization")
	}
	project := r.URL.Query().Get("project")
	if project == "" || !a.cfg.AnyProject && !a.projects[project] {
		return refuse(http.StatusForbidden, "project "+strconv.Quote(project)+" is not known: add it to projects in the configuration")
	}
	rules := a.deps.Rules(project)
	told := struct {
		Steps    map[string]string `json:"steps"`
		Lateness int64             `json:"lateness"`
	}{map[string]string{}, rules.Lateness.Milliseconds()}
	for _, names := range rules.Vocabulary {
		for _, name := range names {
			told.Steps[event.Plain(name)] = rules.Step(name)
		}
	}
	body, err := json.Marshal(&told, json.Deterministic(true))
	if err != nil {
		return refuse(http.StatusInternalServerError, "vocabulary of project "+strconv.Quote(project)+": "+err.Error())
	}
	return &answer{body: body}
}
