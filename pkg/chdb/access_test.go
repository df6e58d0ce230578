package chdb_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/chdb/chdbtest"
)

// Without a password the tables can be read over HTTP, and nothing else can be done: any page open in a browser here may try.
func TestReadersOfTheEngineOnlyRead(t *testing.T) {
	_, e := chdbtest.New(t)
	path := "/"
	ask := func(sql string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.HTTP()+path, strings.NewReader(sql))
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, sql := range []string{
		"SELECT count() FROM waymark.events", "SELECT count() FROM waymark.sessions_open", "SELECT * FROM waymark.funnel_steps", "SELECT 1",
		"SELECT name FROM system.columns WHERE database = 'waymark'", "SHOW TABLES FROM waymark", "DESCRIBE TABLE waymark.sessions",
		"SELECT number FROM numbers(3)", "SELECT count() FROM waymark.events SETTINGS max_threads = 1", "SHOW CREATE TABLE waymark.events",
		"SELECT windowFunnel(10)(toUInt64(1), 1 = 1)", "WITH t AS (SELECT 1 AS a) SELECT a FROM t",
	} {
		if status, text := ask(sql); status != http.StatusOK {
			t.Errorf("%s: %d %s", sql, status, text)
		}
	}
	for _, sql := range []string{
		"CREATE DATABASE evil", "CREATE TABLE waymark_store.evil (a Int8) ENGINE = Memory", "DROP TABLE waymark_store.events",
		"INSERT INTO waymark_store.causes (lane, cause) VALUES (1, 'evil')", "TRUNCATE TABLE waymark_store.events",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT 1 INTO OUTFILE '/tmp/evil'", "SYSTEM SHUTDOWN", "SET readonly = 0", "SELECT * FROM remote('127.0.0.1:1', system.one)",
		"SELECT * FROM executable('id', 'TSV', 'a String')", "SELECT * FROM default.`../users.xml`",
	} {
		if status, text := ask(sql); status == http.StatusOK && sql != "SET readonly = 0" {
			t.Errorf("%s was done: %s", sql, text)
		}
	}
	path = "/?user=default" // a page may write what it likes into an address
	if status, text := ask("CREATE DATABASE evil"); status == http.StatusOK {
		t.Errorf("a name in the address is believed: %s", text)
	}
	path = "/"
	if _, text := ask("SELECT count() FROM system.databases WHERE name = 'evil'"); strings.TrimSpace(text) != "0" {
		t.Error("a reader made a database")
	}
}
