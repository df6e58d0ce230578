package chdb_test

import (
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/chdb/chdbtest"
)

func TestMain(m *testing.M) { chdbtest.Main(m) }

func TestMigrateTwiceAndByTwoAtOnce(t *testing.T) {
	e := chdbtest.Engine(t)
	var group errgroup.Group
	for range 2 {
		group.Go(func() error {
			db, err := chdb.Open(t.Context(), chdbtest.Config(e), logger(t))
			if err != nil {
				return err
			}
			return errors.Join(db.Migrate(t.Context()), db.Migrate(t.Context()), db.Close())
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	db, err := chdb.Open(t.Context(), chdbtest.Config(e), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if v, err := db.Version(t.Context()); err != nil || v < 1 {
		t.Fatalf("Version = %d, %v", v, err)
	}
}

// The roll-up is fed by a view: a repeated insert must be dropped there too, also when the part of the source was written
// and the view's was not.
func TestRepeatedInsertIsDroppedInTableAndView(t *testing.T) {
	db, _ := chdbtest.New(t)
	insert := func(token string, sign int8) {
		t.Helper()
		b := chdb.NewBlock("entrants")
		b.Text("project").Append("p")
		b.Text("funnel").Append("f")
		b.Low("scope").Append("session")
		b.Text("session_id").Append("s")
		b.Int8("sign").Append(sign)
		b.UInt64("version").Append(7)
		b.UInt8Lists("step_nos").Append([]uint8{1, 2})
		if err := db.Insert(t.Context(), b, token); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (rows uint64, reached int64) {
		t.Helper()
		if err := db.Row(t.Context(), "SELECT count() FROM waymark.funnel_people", nil, &rows); err != nil {
			t.Fatal(err)
		}
		if err := db.Row(t.Context(), "SELECT sum(reached) FROM waymark_store.funnel_rollup", nil, &reached); err != nil {
			t.Fatal(err)
		}
		return rows, reached
	}
	for range 3 {
		insert("1:1", 1)
	}
	if rows, reached := count(); rows != 1 || reached != 2 {
		t.Fatalf("after three times the same insert: %d rows, %d reached; want 1 and 2", rows, reached)
	}
	if err := db.Exec(t.Context(), "TRUNCATE TABLE waymark_store.funnel_rollup"); err != nil {
		t.Fatal(err)
	}
	insert("1:2", -1)
	insert("1:2", -1)
	if rows, reached := count(); rows != 0 || reached != -2 {
		t.Fatalf("after the cancellation: %d rows, %d reached; want 0 and -2", rows, reached)
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	db, e := chdbtest.New(t)
	err := db.Exec(t.Context(), "SELECT * FROM waymark.nothing")
	if chdb.ClassOf(err) != chdb.Configuration {
		t.Errorf("an unknown table is %v: %v", chdb.ClassOf(err), err)
	}
	c := chdbtest.Config(e)
	c.User = "nobody"
	_, err = chdb.Open(t.Context(), c, logger(t))
	if chdb.ClassOf(err) != chdb.Configuration {
		t.Errorf("an unknown user is %v: %v", chdb.ClassOf(err), err)
	}
	c.Addr = "127.0.0.1:1"
	_, err = chdb.Open(t.Context(), c, logger(t))
	if chdb.ClassOf(err) != chdb.Retryable {
		t.Errorf("a server that is not there is %v: %v", chdb.ClassOf(err), err)
	}
}
