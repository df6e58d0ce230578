package state

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestBlocksKeepWhatWasPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Arena
		held := map[Ref][]byte{}
		for range rapid.IntRange(1, 200).Draw(t, "operations") {
			if len(held) > 0 && rapid.Bool().Draw(t, "change") {
				var r Ref
				for r = range held {
					break
				}
				if rapid.Bool().Draw(t, "free") {
					a.Free(r)
					delete(held, r)
				} else {
					data := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "data")
					delete(held, r)
					held[a.Put(r, data)] = data
				}
			} else {
				data := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "data")
				r := a.Put(0, data)
				if _, taken := held[r]; taken || r == 0 {
					t.Fatalf("block %d was handed out twice", r)
				}
				held[r] = data
			}
			for r, want := range held {
				if got := a.Bytes(r)[:len(want)]; !bytes.Equal(got, want) {
					t.Fatalf("block %d holds other bytes than were put", r)
				}
			}
		}
	})
}

func TestLargeBlocks(t *testing.T) {
	var a Arena
	big := bytes.Repeat([]byte{7}, 5<<20)
	r := a.Put(0, big)
	r = a.Grow(r, len(big), len(big)+1)
	if got := a.Bytes(r); len(got) <= len(big) || !bytes.Equal(got[:len(big)], big) {
		t.Fatal("a large block does not keep its bytes when it grows")
	}
	a.Free(r)
	if a.Used() != 0 {
		t.Fatalf("%d bytes are in use after everything was freed", a.Used())
	}
}

func TestTextsAreKeptOnce(t *testing.T) {
	var s Strings
	buf := []byte("path")
	id := s.ID(string(buf))
	if s.ID("path") != id || s.Text(id) != "path" || s.ID("") != 0 || s.Text(0) != "" {
		t.Fatal("a text has one number, and the empty one is 0")
	}
}
