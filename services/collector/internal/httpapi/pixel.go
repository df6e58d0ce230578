package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

// gif is a transparent image of one pixel.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// cookieName is the pixel's own cookie: the anonymous id of the browser.
const cookieName = "waymark_id"

// pixelFields are the parameters with a place in the message; all others are properties.
var pixelFields = map[string][]string{
	"event": {"event"}, "userId": {"userId"}, "anonymousId": {"anonymousId"}, "messageId": {"messageId"}, "timestamp": {"timestamp"},
	"url": {"context", "page", "url"}, "path": {"context", "page", "path"}, "title": {"context", "page", "title"}, "referrer": {"context", "page", "referrer"},
	"utm_campaign": {"context", "campaign", "name"}, "utm_source": {"context", "campaign", "source"}, "utm_medium": {"context", "campaign", "medium"},
}

// pixel takes an event from an image in a page or a mail: GET /p.gif?key=KEY, with event= for a track call, else a page view.
func (a *API) pixel(r *http.Request) *answer {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "the query cannot be read: "+err.Error())
	}
	w := a.worker()
	defer w.done()
	said := key(r, "")
	src := a.keys[said]
	if src == nil {
		return w.stranger(said)
	}
	if int64(len(r.URL.RawQuery)) > event.MaxBytes {
		return w.unreadable(src, http.StatusRequestEntityTooLarge, event.TooLarge, []byte(r.URL.RawQuery), errors.New("the query is too long"))
	}
	received := a.deps.Now()
	ans := &answer{body: gif, kind: "image/gif"}
	if event.ID(query.Get("anonymousId")) == "" && event.ID(query.Get("userId")) == "" {
		query.Set("anonymousId", a.visitor(r, ans))
	}
	if query.Get("messageId") == "" { // nobody sends a pixel again: each one is an event of its own
		query.Set("messageId", event.HashOf(src.WriteKey, r.URL.RawQuery, query.Get("anonymousId"), strconv.FormatInt(received.UnixNano(), 10)).String())
	}
	kind := segment.Page
	if query.Get("event") != "" {
		kind = segment.Track
	} else if query.Get("url") == "" && r.Referer() != "" {
		query.Set("url", r.Referer()) // the page that the image stands in
	}
	req := w.request(r, src, segment.Body{}, received)
	req.UserAgent = r.UserAgent() // no library stands between the pixel and its visitor
	if err := w.parse.Begin(req); err != nil {
		return w.pressure(err)
	}
	batch := a.deps.Intake.Begin()
	if _, err := w.message(batch, src, pixelMessage(query), kind, received); err != nil {
		batch.Drop()
		return w.pressure(err)
	}
	if _, err := batch.Commit(); err != nil {
		return w.pressure(err)
	}
	w.count()
	return ans
}

// visitor is the id in the browser's cookie; a new one is given with the answer.
func (a *API) visitor(r *http.Request, ans *answer) string {
	id := ""
	if c, err := r.Cookie(cookieName); err == nil && len(c.Value) <= 64 {
		id = event.ID(c.Value)
	}
	if id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		id = hex.EncodeToString(b[:])
	}
	if a.cfg.CookieDays > 0 {
		ans.cookie = &http.Cookie{
			Name: cookieName, Value: id, Path: "/", MaxAge: a.cfg.CookieDays * 24 * 3600,
			HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure(r),
		}
	}
	return id
}

// secure says whether the visitor's side of the connection is encrypted: here, or at a proxy in front.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// pixelMessage is the message that a query stands for.
func pixelMessage(query url.Values) []byte {
	type tree = map[string]any
	message, props := tree{}, tree{}
	for name, values := range query {
		value := strings.ToValidUTF8(values[0], "\uFFFD")
		where, ok := pixelFields[name]
		if !ok {
			if name != "key" && name != "writeKey" {
				props[name] = value
			}
			continue
		}
		at := message
		for _, step := range where[:len(where)-1] {
			if _, ok := at[step]; !ok {
				at[step] = tree{}
			}
			at, _ = at[step].(tree)
		}
		at[where[len(where)-1]] = value
	}
	if len(props) > 0 {
		message["properties"] = props
	}
	return appendTree(nil, message)
}

func appendTree(out []byte, t map[string]any) []byte {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quote(name)...), ':')
		switch v := t[name].(type) {
		case string:
			out = append(out, quote(v)...)
		case map[string]any:
			out = appendTree(out, v)
		}
	}
	return append(out, '}')
}
