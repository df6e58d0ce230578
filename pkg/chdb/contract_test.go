package chdb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/chdb/chdbtest"
	"github.com/waymark-analytics/waymark/pkg/chdb/contractdoc"
)

const (
	instant = "DateTime64(3, 'UTC')"
	bucket  = "DateTime('UTC')"
)

// contract is what users were promised: the columns that each view must have, and their types. It is written down here, not
// taken from the SQL, so that a change of a promise shows.
var contract = map[string]map[string]string{
	"events": {
		"project": "String", "source": "String", "message_id": "String", "person": "String", "anonymous_id": "String", "user_id": "String",
		"session_id": "String", "name": "String", "step": "String", "channel": "String", "occurred_at": instant, "received_at": instant,
		"url": "String", "path": "String", "product_id": "String", "price": "Int64", "quantity": "Int64", "currency": "String",
		"cart_id": "String", "order_id": "String", "revenue": "Int64", "campaign": "String", "device": "String", "country": "String",
		"app_version": "String", "flags": "Array(String)", "properties": "String",
	},
	"events_too_late": {
		"project": "String", "source": "String", "message_id": "String", "person": "String", "anonymous_id": "String", "user_id": "String",
		"name": "String", "step": "String", "channel": "String", "occurred_at": instant, "received_at": instant,
		"url": "String", "path": "String", "product_id": "String", "price": "Int64", "quantity": "Int64", "currency": "String",
		"cart_id": "String", "order_id": "String", "revenue": "Int64", "campaign": "String", "device": "String", "country": "String",
		"app_version": "String", "flags": "Array(String)", "properties": "String",
	},
	"sessions": sessionColumns, "sessions_open": sessionColumns,
	"funnel_steps": {
		"project": "String", "funnel": "String", "scope": "String", "bucket": bucket, "step_no": "UInt8", "step": "String", "channel": "String",
		"device": "String", "country": "String", "campaign": "String", "app_version": "String", "reached": "Int64", "entrants": "Int64",
		"optional": "Bool", "open": "Int64", "mature": "Float64", "watermark": "Nullable(" + instant + ")",
	},
	"funnel_people": {
		"project": "String", "funnel": "String", "scope": "String", "person": "String", "session_id": "String", "furthest": "UInt8",
		"times": "Array(" + instant + ")",
	},
	"transitions": {
		"project": "String", "person": "String", "journey": "UInt32", "seq": "UInt32", "from_stage": "String", "to_stage": "String", "at": instant,
		"rule": "String", "rule_version": "String", "evidence": "Array(String)", "dwell": "Int64", "skipped": "Array(String)",
	},
	"carts": cartColumns, "cart_history": cartColumns,
	"refused": {
		"project": "String", "source": "String", "minute": bucket, "reason": "String", "events": "UInt64", "app_version": "String",
		"last_message_id": "String",
	},
	"progress": {
		"project": "String", "topic": "String", "partition": "UInt16", "next_offset": "Int64", "end_offset": "Int64", "lag": "Int64",
		"watermark": "Nullable(" + instant + ")", "cause": "String",
	},
}

var cartColumns = map[string]string{
	"project": "String", "cart": "String", "cart_id": "String", "person": "String", "version": "UInt32", "state": "String",
	"opened_at": instant, "changed_at": instant, "value": "Int64", "currency": "String",
	"items":        "Array(Tuple(product_id String, quantity Int64, price Nullable(Int64), currency String))",
	"abandoned_at": "Nullable(" + instant + ")", "returned_at": "Nullable(" + instant + ")", "recovered_at": "Nullable(" + instant + ")",
	"cause": "String",
}

var sessionColumns = map[string]string{
	"project": "String", "session_id": "String", "person": "String", "number": "UInt32", "new": "Bool", "started_at": instant,
	"ended_at": instant, "duration": "Int64", "events": "UInt32", "page_views": "UInt32", "bounce": "Bool", "entry_page": "String",
	"exit_page": "String", "referrer": "String", "campaign": "String", "campaign_source": "String", "campaign_medium": "String",
	"channel": "String", "device": "String", "browser": "String", "country": "String", "app_version": "String",
	"steps": "Array(String)", "step_times": "Array(" + instant + ")", "furthest": "Map(String, UInt8)", "stage_start": "String",
	"stage_end": "String", "cart_adds": "UInt32", "cart_removes": "UInt32", "abandoned": "Bool", "orders": "UInt32",
	"revenue": "Map(String, Int64)", "runaway": "Bool", "bot": "Bool", "flags": "Array(String)", "rule_version": "String",
}

func TestViewsKeepTheContract(t *testing.T) {
	db, _ := chdbtest.New(t)
	var columns []struct {
		Table   string `ch:"table"`
		Name    string `ch:"name"`
		Type    string `ch:"type"`
		Comment string `ch:"comment"`
	}
	if err := db.Select(t.Context(), &columns, "SELECT table, name, type, comment FROM system.columns WHERE database = 'waymark'"); err != nil {
		t.Fatal(err)
	}
	have := map[string]map[string]string{}
	for _, c := range columns {
		if c.Comment == "" || strings.ContainsAny(c.Comment, "\n|") {
			t.Errorf("%s.%s: the comment is %q", c.Table, c.Name, c.Comment)
		}
		if have[c.Table] == nil {
			have[c.Table] = map[string]string{}
		}
		have[c.Table][c.Name] = c.Type
	}
	for view, want := range contract {
		for name, kind := range want {
			if have[view][name] != kind {
				t.Errorf("%s.%s is %q, promised %q", view, name, have[view][name], kind)
			}
		}
	}
	// What a query returns is what the description says.
	for view, columns := range have {
		if columns["project"] != "String" {
			t.Errorf("%s has no column project", view)
		}
		var described []struct {
			Name        string `ch:"name"`
			Type        string `ch:"type"`
			DefaultType string `ch:"default_type"`
			DefaultExpr string `ch:"default_expression"`
			Comment     string `ch:"comment"`
			Codec       string `ch:"codec_expression"`
			TTL         string `ch:"ttl_expression"`
		}
		if err := db.Select(t.Context(), &described, fmt.Sprintf("DESCRIBE TABLE (SELECT * FROM waymark.%s)", view)); err != nil {
			t.Fatal(err)
		}
		if len(described) != len(columns) {
			t.Errorf("%s has %d columns, a query gives %d", view, len(columns), len(described))
		}
		for _, c := range described {
			kind := strings.ReplaceAll(strings.Join(strings.Fields(c.Type), " "), "( ", "(") // a tuple is described over several lines
			if kind != columns[c.Name] {
				t.Errorf("%s.%s is %s, a query gives %s", view, c.Name, columns[c.Name], kind)
			}
		}
	}
	var comments []struct {
		Name    string `ch:"name"`
		Comment string `ch:"comment"`
	}
	if err := db.Select(t.Context(), &comments, "SELECT name, comment FROM system.tables WHERE database = 'waymark'"); err != nil {
		t.Fatal(err)
	}
	for _, c := range comments {
		if c.Comment == "" {
			t.Errorf("view %s has no comment", c.Name)
		}
	}
	views, err := contractdoc.Views()
	if err != nil || len(views) != len(comments) {
		t.Errorf("the page has %d views, the server %d: %v", len(views), len(comments), err)
	}
}

// BI users get grants on the views alone.
func TestViewsCanBeReadWithoutTheirTables(t *testing.T) {
	db, _ := chdbtest.New(t)
	var rights []struct {
		SQL string `ch:"create_table_query"`
	}
	if err := db.Select(t.Context(), &rights, "SELECT create_table_query FROM system.tables WHERE database = 'waymark'"); err != nil {
		t.Fatal(err)
	}
	for _, r := range rights {
		if !strings.Contains(r.SQL, "SQL SECURITY DEFINER") {
			t.Errorf("a reader of the view needs grants on its tables: %.80s", r.SQL)
		}
	}
}
