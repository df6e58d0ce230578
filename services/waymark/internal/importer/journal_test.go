package importer

import "testing"

// One file may go into two projects in turn: neither makes the other begin anew.
func TestEachWorkHasItsJournal(t *testing.T) {
	dir := t.TempDir()
	works := []string{hashOf("into one"), hashOf("into another")}
	for i, work := range works {
		j, err := openJournal(dir, "same", work)
		if err != nil {
			t.Fatal(err)
		}
		j.Rows = int64(i + 1)
		if err := j.save(); err != nil {
			t.Fatal(err)
		}
	}
	for i, work := range works {
		j, err := openJournal(dir, "same", work)
		if err != nil || j.Rows != int64(i+1) {
			t.Errorf("journal %d has %d rows (%v), want %d", i, j.Rows, err, i+1)
		}
	}
}
