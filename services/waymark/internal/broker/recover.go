package broker

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// After the death of its process kfake leaves two things undone, which this file does.
//
// A transaction that was open is taken as aborted, but only in memory: nothing in the log says so. The same producer's next
// transaction then closes it too, so that after one more death a reader sees its records as committed, beside those that were
// sent again. A broker writes a marker; so does abortOpen.
//
// A batch whose entry in the index was not written any more takes the entry of the next batch for its own, and so do all after
// it. It was never acknowledged: dropTorn cuts it off, before kfake opens the log.

// indexEntryBytes is the size of an entry of kfake's index files: one for each batch of the segment.
const indexEntryBytes = 15

// header is the part of a batch that is looked at: KIP-98, "Message Format".
type header struct {
	at, size      int64 // in the file
	producer      int64
	epoch         int16
	transactional bool
	control       bool
}

const headerBytes = 61

// headers reads the whole batches of a segment.
func headers(path string) ([]header, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read segment: %w", err)
	}
	var out []header
	for at := int64(0); at+headerBytes <= int64(len(data)); {
		b := data[at:]
		size := 12 + int64(int32(binary.BigEndian.Uint32(b[8:])))
		if size < headerBytes || size > int64(len(b)) {
			break
		}
		attributes := binary.BigEndian.Uint16(b[21:])
		out = append(out, header{
			at: at, size: size, producer: int64(binary.BigEndian.Uint64(b[43:])), epoch: int16(binary.BigEndian.Uint16(b[51:])),
			transactional: attributes&0x10 != 0, control: attributes&0x20 != 0,
		})
		at += size
	}
	return out, nil
}

// partition is one on disk.
type partition struct {
	topic    string
	number   int32
	segments []string // paths of the data files, oldest first
}

func partitions(dir string) ([]partition, error) {
	folders, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	var out []partition
	for _, folder := range folders {
		dash := strings.LastIndexByte(folder.Name(), '-')
		if dash < 0 {
			continue
		}
		topic, err1 := url.PathUnescape(folder.Name()[:dash])
		number, err2 := strconv.ParseInt(folder.Name()[dash+1:], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			continue // none of kfake's
		}
		p := partition{topic: topic, number: int32(number)}
		files, err := filepath.Glob(filepath.Join(dir, "partitions", folder.Name(), "*.dat"))
		if err != nil {
			return nil, fmt.Errorf("list segments: %w", err)
		}
		p.segments = files
		slices.SortFunc(p.segments, func(a, b string) int { return cmp.Compare(base(a), base(b)) })
		out = append(out, p)
	}
	return out, nil
}

// base is the first offset of a segment, which is its name.
func base(path string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".dat"), 10, 64)
	return n
}

// dropTorn cuts off, in the last segment of each partition, what a death left unfinished. REQUIRES: nobody has the log open.
func dropTorn(dir string) error {
	all, err := partitions(dir)
	if err != nil {
		return err
	}
	for _, p := range all {
		if len(p.segments) == 0 {
			continue
		}
		path := p.segments[len(p.segments)-1]
		batches, err := headers(path)
		if err != nil {
			return err
		}
		index := strings.TrimSuffix(path, ".dat") + ".idx"
		info, err := os.Stat(index)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at index: %w", err)
		}
		entries := 0
		if err == nil {
			entries = int(info.Size() / indexEntryBytes)
		}
		whole := min(len(batches), entries)
		var end int64
		if whole > 0 {
			end = batches[whole-1].at + batches[whole-1].size
		}
		if err := cut(path, end); err != nil {
			return err
		}
		if err := cut(index, int64(whole)*indexEntryBytes); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens a file to a size, if it is longer.
func cut(path string, size int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= size {
		return nil
	}
	if err == nil {
		err = os.Truncate(path, size)
	}
	if err != nil {
		return fmt.Errorf("cut off what was not finished: %w", err)
	}
	return nil
}

// producer is one with its epoch.
type producer struct {
	id    int64
	epoch int16
}

// openTransactions finds those that have records in a partition, and no marker behind them.
func openTransactions(dir string) (map[producer]kadm.TopicsSet, error) {
	all, err := partitions(dir)
	if err != nil {
		return nil, err
	}
	found := map[producer]kadm.TopicsSet{}
	for _, p := range all {
		open := map[int64]int16{}
		for _, path := range p.segments {
			batches, err := headers(path)
			if err != nil {
				return nil, err
			}
			for _, b := range batches {
				if b.control {
					delete(open, b.producer)
				} else if b.transactional {
					open[b.producer] = b.epoch
				}
			}
		}
		for id, epoch := range open {
			who := producer{id, epoch}
			topics := found[who]
			topics.Add(p.topic, p.number)
			found[who] = topics
		}
	}
	return found, nil
}

// abortOpen writes the markers of the transactions that died with the process before. REQUIRES: none is open now.
func (b *Broker) abortOpen(ctx context.Context, dir string) error {
	open, err := openTransactions(dir)
	if err != nil || len(open) == 0 {
		return err
	}
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return fmt.Errorf("abort open transactions: %w", err)
	}
	defer adm.Close()
	var markers []kadm.TxnMarkers
	for who, topics := range open {
		markers = append(markers, kadm.TxnMarkers{ProducerID: who.id, ProducerEpoch: who.epoch, Topics: topics})
	}
	answers, err := adm.WriteTxnMarkers(ctx, markers...)
	if err != nil {
		return fmt.Errorf("abort open transactions: %w", err)
	}
	answers.EachPartition(func(r kadm.TxnMarkersPartitionResponse) {
		if r.Err != nil {
			err = errors.Join(err, fmt.Errorf("abort open transaction in %s partition %d: %w", r.Topic, r.Partition, r.Err))
		}
	})
	return err
}
