package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// file is an input file, unpacked. What is read of it is hashed.
type file struct {
	name   string
	format string
	f      *os.File
	size   int64
	done   *atomic.Int64 // bytes of the file as it is on disk
	r      io.Reader
	hash   hash.Hash
	unpack func() error // ends the unpacking
}

type counted struct {
	r    io.Reader
	done *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done.Add(int64(n))
	return n, err //nolint:wrapcheck // io.Reader
}

// open opens a file; whether it is packed tells its beginning, its form the format asked for or else its name.
func open(name, format string, done *atomic.Int64) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	in := &file{name: name, f: f, done: done, hash: sha256.New(), unpack: func() error { return nil }}
	if err := in.start(format); err != nil {
		_ = f.Close()
		return nil, err
	}
	return in, nil
}

func (in *file) start(format string) error {
	info, err := in.f.Stat()
	if err != nil {
		return fmt.Errorf("open input: %w", err)
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder: name the files in it", in.name)
	}
	in.size = info.Size()
	var packed bool
	if in.format, packed, err = formOf(in.name, format); err != nil {
		return err
	}
	if in.format == Parquet {
		if packed {
			return fmt.Errorf("%s: a Parquet file is read where it lies: unpack it first", in.name)
		}
		return nil
	}
	b := bufio.NewReaderSize(counted{in.f, in.done}, 1<<18)
	magic, _ := b.Peek(4)
	var r io.Reader = b
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		r = z
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(256<<20))
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		r = z
		in.unpack = func() error { z.Close(); return nil }
	}
	in.r = io.TeeReader(r, in.hash)
	return nil
}

func (in *file) close() error {
	_ = in.unpack()
	return in.f.Close() //nolint:wrapcheck // of a file that was read
}

// hashAll hashes a file that is not read from its beginning to its end.
func (in *file) hashAll() error {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	if _, err := io.Copy(in.hash, counted{in.f, in.done}); err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	return nil
}

// formOf is the form of a file: the one asked for, else by its ending.
func formOf(name, format string) (form string, packed bool, err error) {
	base := strings.ToLower(filepath.Base(name))
	for _, ending := range []string{".gz", ".zst", ".zstd"} {
		if cut, ok := strings.CutSuffix(base, ending); ok {
			base, packed = cut, true
		}
	}
	if format != "" {
		return format, packed, nil
	}
	switch filepath.Ext(base) {
	case ".csv", ".tsv", ".txt":
		return CSV, packed, nil
	case ".ndjson", ".jsonl", ".json":
		return NDJSON, packed, nil
	case ".parquet":
		return Parquet, packed, nil
	}
	return "", packed, &MappingError{fmt.Errorf("%s: its ending does not tell its form: give format, one of csv, ndjson, parquet", name)}
}
