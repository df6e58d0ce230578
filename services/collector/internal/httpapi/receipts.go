package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
)

// ErrUnknown is what Deps.Locate says of a message that is nowhere to be found, or not yet.
var ErrUnknown = errors.New("no such message")

// Receipt says where an event is now. Times are UTC ms; what does not apply is left out.
type Receipt struct {
	Project    string `json:"project"`
	MessageID  string `json:"message_id"`
	State      string `json:"state"` // applied, too_late, refused
	Reason     string `json:"reason,omitzero"`
	Name       string `json:"name,omitzero"`
	Step       string `json:"step,omitzero"`
	Person     string `json:"person,omitzero"`
	SessionID  string `json:"session_id,omitzero"`
	OccurredAt int64  `json:"occurred_at,omitzero"`
	ReceivedAt int64  `json:"received_at,omitzero"`
	Partition  *int32 `json:"partition,omitzero"`
	Offset     *int64 `json:"offset,omitzero"`
}

// receipt answers GET /v1/receipts/MESSAGE_ID. The write key says the project; with the import key ?project= does.
func (a *API) receipt(r *http.Request) *answer {
	said := key(r, "")
	project := ""
	if src := a.keys[said]; src != nil {
		project = src.Project
	} else if a.isImportKey(said) {
		if project = r.URL.Query().Get("project"); project == "" {
			return refuse(http.StatusBadRequest, "with the import key a receipt needs ?project=NAME")
		}
	} else {
		return refuse(http.StatusUnauthorized, "no source has this write key: give it as the user of Basic authorization")
	}
	id, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/receipts/"))
	if err != nil || id == "" {
		return refuse(http.StatusBadRequest, "the path has no message id: /v1/receipts/MESSAGE_ID")
	}
	if a.deps.Locate == nil {
		return refuse(http.StatusNotImplemented, "this collector runs without ClickHouse, where receipts come from")
	}
	found, err := a.deps.Locate(r.Context(), project, id)
	switch {
	case errors.Is(err, ErrUnknown):
		body := append([]byte(`{"project":`), quote(project)...)
		body = append(append(body, `,"message_id":`...), quote(id)...)
		body = append(body, `,"state":"unknown","reason":"not accepted, or accepted in the last seconds and not yet stored"}`...)
		return &answer{status: http.StatusNotFound, body: body}
	case err != nil:
		a.deps.Log.Warn("locate a message", zap.Error(err))
		return later(http.StatusServiceUnavailable, time.Second, "the receipt cannot be looked up now")
	}
	body, err := json.Marshal(found)
	if err != nil {
		return refuse(http.StatusInternalServerError, "the receipt cannot be written: "+err.Error())
	}
	return &answer{body: body}
}
