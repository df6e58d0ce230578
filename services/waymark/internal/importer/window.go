package importer

import (
	"bytes"
	"errors"
	"io"
)

// maxRow is the largest row that is looked at whole. Anything near it is too large for an event anyway.
const maxRow = 1 << 20

// window is a view of a stream that moves on row by row and can look ahead up to maxRow. Its memory is bounded.
type window struct {
	r     io.Reader
	buf   []byte
	start int // of the unread part of buf
	end   bool
	line  int64 // of the first unread byte, from 1
}

func newWindow(r io.Reader) *window { return &window{r: r, buf: make([]byte, 0, 64<<10), line: 1} }

// rest is what has been read ahead.
func (w *window) rest() []byte { return w.buf[w.start:] }

// more reads ahead. It is false if the stream has ended or rest is as large as it may get. Slices of rest are void afterwards.
func (w *window) more() (bool, error) {
	if w.end || len(w.rest()) >= maxRow {
		return false, nil
	}
	if w.start > 0 {
		w.buf = w.buf[:copy(w.buf, w.rest())]
		w.start = 0
	}
	if len(w.buf) == cap(w.buf) {
		grown := make([]byte, len(w.buf), min(2*cap(w.buf), maxRow+64<<10))
		copy(grown, w.buf)
		w.buf = grown
	}
	n, err := w.r.Read(w.buf[len(w.buf):cap(w.buf)])
	w.buf = w.buf[:len(w.buf)+n]
	if errors.Is(err, io.EOF) {
		w.end = true
		return n > 0, nil
	}
	return true, err //nolint:wrapcheck // the caller names the file
}

// skip moves on by n bytes of rest.
func (w *window) skip(n int) {
	w.line += int64(bytes.Count(w.rest()[:n], []byte{'\n'}))
	w.start += n
}

// readLine is the next line, without its end, and moves on. Of a line larger than maxRow it is the beginning, and whole is
// false. The slice is good until the next call. At the end of the stream the error is io.EOF.
func (w *window) readLine() (line []byte, whole bool, err error) {
	from := 0
	for {
		if i := bytes.IndexByte(w.rest()[from:], '\n'); i >= 0 {
			line = w.rest()[:from+i]
			w.skip(from + i + 1)
			return bytes.TrimSuffix(line, []byte{'\r'}), true, nil
		}
		from = len(w.rest())
		grew, err := w.more()
		switch {
		case err != nil:
			return nil, false, err
		case grew:
		case w.end && from == 0:
			return nil, false, io.EOF
		case w.end:
			line = w.rest()
			w.skip(from)
			return bytes.TrimSuffix(line, []byte{'\r'}), true, nil
		default:
			head := bytes.Clone(w.rest()[:32<<10])
			return head, false, w.skipLine()
		}
	}
}

// skipLine moves on to behind the next end of a line.
func (w *window) skipLine() error {
	for {
		if i := bytes.IndexByte(w.rest(), '\n'); i >= 0 {
			w.skip(i + 1)
			return nil
		}
		w.skip(len(w.rest()))
		if grew, err := w.more(); err != nil || !grew {
			return err
		}
	}
}
