package contractdoc_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/chdb/contractdoc"
)

var update = flag.Bool("update", false, "write the page anew")

func TestContractPageIsCurrent(t *testing.T) {
	want, err := contractdoc.Page()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "..", "docs", "contract.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Fatal("docs/contract.md is not what the views say: run go generate ./pkg/chdb/contractdoc")
	}
}
