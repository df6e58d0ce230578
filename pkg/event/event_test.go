package event_test

import (
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

func TestPlaceholdersAreNoIDs(t *testing.T) {
	for _, sent := range []string{
		"", " ", "null", "NULL ", "Undefined", "none", "nil\r\n", "NaN", "0", "-1", "\tguest", "Anonymous", "unknown", "TRUE", "false",
		"[object Object]", "00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000",
	} {
		if got := event.ID(sent); got != "" {
			t.Errorf("ID(%q) = %q, want none", sent, got)
		}
	}
	for _, sent := range []string{"00", "-10", " alice ", "null0", "Guests", "0000", "\u00a0null", "ANONYMOUS1"} {
		if got := event.ID(sent); got != sent {
			t.Errorf("ID(%q) = %q, want it as sent", sent, got)
		}
	}
}

func TestNamesAreComparedPlain(t *testing.T) {
	for sent, want := range map[string]string{
		"Product Viewed": "product_viewed", "product--__ viewed": "product_viewed", "view_item": "view_item", "": "", "\u00c4 B": "\u00c4_b", "-a-": "_a_",
	} {
		if got := event.Plain(sent); got != want {
			t.Errorf("Plain(%q) = %q, want %q", sent, got, want)
		}
	}
}

// The hash is over 4:shop13:17723592000005:m0001.
func TestSessionID(t *testing.T) {
	if got, want := event.SessionID("shop", 1772359200000, "m0001").String(), "7f186999a36db6912f9c164efa1cb07a"; got != want {
		t.Fatalf("SessionID = %s, want %s", got, want)
	}
}

func TestOrderIsByTimeThenIDsAsBytes(t *testing.T) {
	at := func(ms int64, id, user, anon string) *touchpoint.Event {
		return &touchpoint.Event{OccurredAt: ms, MessageId: id, UserId: user, AnonymousId: anon}
	}
	ordered := []*touchpoint.Event{
		at(1, "z", "", ""), at(2, "B", "", ""), at(2, "a", "", ""), at(2, "a", "", "x"), at(2, "a", "u", ""), at(2, "\u00e9", "", ""),
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := event.Compare(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("Compare(%d, %d) = %d", i, j, got)
			}
		}
	}
}

func TestFields(t *testing.T) {
	price := int64(1999)
	e := &touchpoint.Event{
		Name: "Product Viewed", Step: "view", Path: "/a", Campaign: "spring", Price: &price, Bot: true,
		Properties: []byte(`{"plan":"gold","n":3,"f":1.5,"deep":{"yes":true},"dotted.key":"d","none":null,"list":[1]}`),
		Context:    []byte(`{"screen":{"width":800}}`),
	}
	for path, want := range map[string]event.Value{
		"name": "Product Viewed", "step": "view", "context.path": "/a", "context.campaign.name": "spring", "commerce.price": int64(1999),
		"context.bot": true, "properties.plan": "gold", "properties.n": int64(3), "properties.f": 1.5, "properties.deep.yes": true,
		"properties.dotted.key": "d", "context.screen.width": int64(800), "properties.none": nil, "properties.list": nil,
		"properties.absent": nil, "context.country": nil, "commerce.revenue": nil, "user_id": nil, "nothing": nil,
	} {
		if got := event.Field(e, path); got != want {
			t.Errorf("Field(%q) = %#v, want %#v", path, got, want)
		}
	}
}

// FuzzField wants: no panic, whatever the properties and the path.
func FuzzField(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), "properties.a.b")
	f.Add([]byte(`{"a":`), "properties.a")
	f.Fuzz(func(_ *testing.T, properties []byte, path string) {
		event.Field(&touchpoint.Event{Properties: properties}, path)
	})
}
