package importer

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// item is one spooled row. Items are ordered by key, then by row.
type item struct {
	key     int64 // time, or 0 where the file's order is kept
	row     int64 // number over all files, from 1
	file    int
	line    int64
	project int
	data    []byte
}

const itemBytes = 64 // of an item less its data

func (a item) compare(b item) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.row, b.row))
}

// spool sorts any number of items with bounded memory: sorted runs of limit bytes on disk, merged when they are read. What fits
// into one run never touches the disk.
type spool struct {
	dir   string
	limit int
	fan   int // runs merged at once

	chunks [][]byte // data of the items in memory; kept for the next run
	used   int      // chunks
	items  []item
	bytes  int // of the items in memory, all told
	runs   []*os.File
	count  int64
}

func newSpool(dir string, limit int) *spool { return &spool{dir: dir, limit: limit, fan: 64} }

// add takes an item; its data is copied.
func (s *spool) add(it item) error {
	size := len(it.data) + itemBytes
	if len(s.items) > 0 && s.bytes+size > s.limit {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.bytes += size
	it.data = s.keep(it.data)
	s.items = append(s.items, it)
	s.count++
	return nil
}

const chunkBytes = 1 << 20

// keep copies data into a chunk. Chunks never move, so nothing holds on to outgrown ones.
func (s *spool) keep(data []byte) []byte {
	if s.used == 0 || len(s.chunks[s.used-1])+len(data) > cap(s.chunks[s.used-1]) {
		if s.used == len(s.chunks) || cap(s.chunks[s.used]) < len(data) {
			s.chunks = slices.Insert(s.chunks, s.used, make([]byte, 0, max(min(s.limit, chunkBytes), len(data))))
		}
		s.chunks[s.used] = s.chunks[s.used][:0]
		s.used++
	}
	chunk := &s.chunks[s.used-1]
	from := len(*chunk)
	*chunk = append(*chunk, data...)
	return (*chunk)[from:]
}

// flush writes the items in memory as a run.
func (s *spool) flush() error {
	if len(s.items) == 0 {
		return nil
	}
	slices.SortFunc(s.items, item.compare)
	i := 0
	err := s.writeRun(func() (item, error) {
		if i == len(s.items) {
			return item{}, io.EOF
		}
		i++
		return s.items[i-1], nil
	})
	s.items, s.used, s.bytes = s.items[:0], 0, 0
	if err == nil && len(s.runs) >= 2*s.fan {
		err = s.compact()
	}
	return err
}

// compact merges the oldest runs into one, so that the number of open files stays bounded.
func (s *spool) compact() error {
	old := s.runs[:s.fan]
	m, err := newMerge(old, nil)
	if err != nil {
		return err
	}
	if err := s.writeRun(m.next); err != nil {
		return err
	}
	for _, f := range old {
		err = errors.Join(err, f.Close())
	}
	s.runs = slices.Clone(s.runs[s.fan:])
	return err
}

func (s *spool) writeRun(next func() (item, error)) error {
	f, err := os.CreateTemp(s.dir, "run-*")
	if err != nil {
		return fmt.Errorf("sort on disk: %w", err)
	}
	_ = os.Remove(f.Name()) // the open file is enough, and a crash leaves nothing behind
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 1<<18)
	var head []byte
	for {
		it, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		head = binary.AppendVarint(head[:0], it.key)
		for _, n := range []int64{it.row, int64(it.file), it.line, int64(it.project), int64(len(it.data))} {
			head = binary.AppendUvarint(head, uint64(n))
		}
		_, err = w.Write(head)
		if err == nil {
			_, err = w.Write(it.data)
		}
		if err != nil {
			return fmt.Errorf("sort on disk in %s: %w", s.dir, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sort on disk in %s: %w", s.dir, err)
	}
	return nil
}

// sorted reads all items in order, from the first again at each call. The data of an item is good until the next one.
func (s *spool) sorted() (next func() (item, error), err error) {
	slices.SortFunc(s.items, item.compare)
	m, err := newMerge(s.runs, s.items)
	if err != nil {
		return nil, err
	}
	return m.next, nil
}

// close gives memory and files back.
func (s *spool) close() error {
	var problems []error
	for _, f := range s.runs {
		problems = append(problems, f.Close())
	}
	s.runs, s.items, s.chunks, s.used = nil, nil, nil, 0
	return errors.Join(problems...)
}

// run is a sorted sequence of items, on disk or in memory.
type run struct {
	r      *bufio.Reader
	memory []item
	head   item
	room   []byte
}

func (r *run) advance() (bool, error) {
	if r.r == nil {
		if len(r.memory) == 0 {
			return false, nil
		}
		r.head, r.memory = r.memory[0], r.memory[1:]
		return true, nil
	}
	key, err := binary.ReadVarint(r.r)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	var n [5]uint64
	for i := range n {
		if err == nil {
			n[i], err = binary.ReadUvarint(r.r)
		}
	}
	if err != nil {
		return false, fmt.Errorf("sort on disk: %w", err)
	}
	r.room = slices.Grow(r.room[:0], int(n[4]))[:n[4]]
	if _, err := io.ReadFull(r.r, r.room); err != nil {
		return false, fmt.Errorf("sort on disk: %w", err)
	}
	r.head = item{key: key, row: int64(n[0]), file: int(n[1]), line: int64(n[2]), project: int(n[3]), data: r.room}
	return true, nil
}

// merge is a heap of runs by their heads. The head given out last is replaced when the next one is asked for.
type merge struct {
	runs []*run
	out  bool
}

func newMerge(files []*os.File, memory []item) (*merge, error) {
	m := &merge{}
	for _, f := range files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("sort on disk: %w", err)
		}
		m.runs = append(m.runs, &run{r: bufio.NewReaderSize(f, 1<<17)})
	}
	m.runs = append(m.runs, &run{memory: memory})
	live := m.runs[:0]
	for _, r := range m.runs {
		ok, err := r.advance()
		if err != nil {
			return nil, err
		}
		if ok {
			live = append(live, r)
		}
	}
	m.runs = live
	heap.Init(m)
	return m, nil
}

func (m *merge) next() (item, error) {
	if m.out {
		ok, err := m.runs[0].advance()
		if err != nil {
			return item{}, err
		}
		if ok {
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
		m.out = false
	}
	if len(m.runs) == 0 {
		return item{}, io.EOF
	}
	m.out = true
	return m.runs[0].head, nil
}

func (m *merge) Len() int           { return len(m.runs) }
func (m *merge) Less(i, j int) bool { return m.runs[i].head.compare(m.runs[j].head) < 0 }
func (m *merge) Swap(i, j int)      { m.runs[i], m.runs[j] = m.runs[j], m.runs[i] }
func (m *merge) Push(x any)         { m.runs = append(m.runs, x.(*run)) }

func (m *merge) Pop() any {
	last := m.runs[len(m.runs)-1]
	m.runs = m.runs[:len(m.runs)-1]
	return last
}
