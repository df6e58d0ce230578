package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// answer is what a request is answered with.
type answer struct {
	status int // 0 is 200
	body   []byte
	kind   string        // content type; "" is JSON
	after  time.Duration // when to try again; 0 says nothing
	cookie *http.Cookie
	close  bool // the rest of the body was not read
}

var success = []byte(`{"success":true}`)

func refuse(status int, why string) *answer {
	body := append([]byte(`{"success":false,"error":`), quote(why)...)
	return &answer{status: status, body: append(body, '}')}
}

// later asks for the same request again.
func later(status int, after time.Duration, why string) *answer {
	a := refuse(status, why+": send the same again")
	a.after = after
	return a
}

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	if a.kind == "" {
		h.Set("Content-Type", "application/json")
	} else {
		h.Set("Content-Type", a.kind)
	}
	h.Set("Cache-Control", "no-store")
	if a.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.after.Seconds()))))
	}
	if a.cookie != nil {
		http.SetCookie(w, a.cookie)
	}
	if a.close {
		h.Set("Connection", "close")
	}
	if a.status == http.StatusNoContent {
		h.Del("Content-Type")
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.code())
	_, _ = w.Write(a.body)
}

// quote is a text as JSON; what is no UTF-8 in it is replaced.
func quote(text string) []byte {
	b, _ := jsontext.AppendQuote(nil, text)
	return b
}

func allowOrigin(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	// Beacons carry cookies, so the origin is named and never *. Nothing that is answered here is a secret of the visitor's.
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

func preflight(h http.Header, _ *http.Request) *answer {
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, content-encoding, x-retry-count")
	h.Set("Access-Control-Max-Age", "86400")
	return &answer{status: http.StatusNoContent}
}
