package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/waymark-analytics/waymark/services/collector/internal/intake"
)

// What may be wrong with a body.
var (
	errTooLarge = errors.New("the body is too large")
	errFull     = errors.New("too many bytes are under way")
	errTimeout  = errors.New("the body did not come in time")
	errGone     = errors.New("the connection broke off before the end of the body")
)

// firstBody is the size with which the buffer of a body begins.
const firstBody = 16 << 10

// largestKept is the size of the buffers that are kept for other bodies.
const largestKept = 1 << 20

// reader reads bodies, as they are or gzipped, whatever the headers say. It keeps its buffers from one to the next.
type reader struct {
	budget *intake.Budget
	buf    []byte
	taken  int64
	plain  *bufio.Reader
	zip    *gzip.Reader
}

// failing remembers how the body as it came over the network ended.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err //nolint:wrapcheck // a Reader's errors are handed on
}

// read reads a body of at most limit bytes, decompressed. What was read comes with the error too. The bytes are valid, and
// held against the budget, until release.
func (rd *reader) read(body io.Reader, limit int64) ([]byte, error) {
	network := &failing{r: body}
	if rd.plain == nil {
		rd.plain = bufio.NewReaderSize(network, 4<<10)
	} else {
		rd.plain.Reset(network)
	}
	var src io.Reader = rd.plain
	if magic, _ := rd.plain.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		var err error
		if rd.zip == nil {
			rd.zip, err = gzip.NewReader(rd.plain)
		} else {
			err = rd.zip.Reset(rd.plain)
		}
		if err != nil {
			return nil, rd.broken(network, err)
		}
		src = rd.zip
	}
	if !rd.take(int64(cap(rd.buf))) {
		return nil, errFull
	}
	rd.buf = rd.buf[:0]
	for {
		if len(rd.buf) == cap(rd.buf) {
			grow := max(cap(rd.buf), firstBody)
			if !rd.take(int64(grow)) {
				return rd.buf, errFull
			}
			bigger := make([]byte, len(rd.buf), cap(rd.buf)+grow)
			copy(bigger, rd.buf)
			rd.buf = bigger
		}
		n, err := src.Read(rd.buf[len(rd.buf):cap(rd.buf)])
		rd.buf = rd.buf[:len(rd.buf)+n]
		if int64(len(rd.buf)) > limit {
			return rd.buf, errTooLarge
		}
		if err == io.EOF {
			return rd.buf, nil
		}
		if err != nil {
			return rd.buf, rd.broken(network, err)
		}
	}
}

func (rd *reader) broken(network *failing, err error) error {
	switch {
	case errors.Is(network.err, os.ErrDeadlineExceeded):
		return errTimeout
	case network.err != nil:
		return errGone
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return errors.New("the gzip body is cut off")
	}
	return fmt.Errorf("the gzip body is damaged: %w", err)
}

func (rd *reader) take(n int64) bool {
	if !rd.budget.Take(n) {
		return false
	}
	rd.taken += n
	return true
}

// release gives the body's bytes back.
func (rd *reader) release() {
	rd.budget.Give(rd.taken)
	rd.taken = 0
	if cap(rd.buf) > largestKept {
		rd.buf = nil
	}
}

// Drained from a body that is not wanted, so that a sender in the middle of it comes to read the answer.
const (
	drainBytes  = 16 << 20
	drainWithin = 2 * time.Second
)

// drain reads on, for a while, what is not wanted.
func drain(w http.ResponseWriter, r *http.Request, now time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(now.Add(drainWithin))
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
}
