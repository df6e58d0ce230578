package owner

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pooledBytes   = 64 << 10 // smaller batches are not worth it: what is given back is cleared to its end
	pooledRecords = 256
)

// pools keeps the memory of large fetches for the next ones.
type pools struct{ bytes, records sync.Pool }

var (
	_ kgo.PoolDecompressBytes = (*pools)(nil)
	_ kgo.PoolRecords         = (*pools)(nil)
)

func (p *pools) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	if len(compressed) >= pooledBytes/4 {
		if b, ok := p.bytes.Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, 0, 4*len(compressed))
}

func (p *pools) PutDecompressBytes(b []byte) {
	if cap(b) >= pooledBytes {
		p.bytes.Put(&b)
	}
}

func (p *pools) GetRecords(n int) []kgo.Record {
	if n >= pooledRecords {
		if r, ok := p.records.Get().(*[]kgo.Record); ok && cap(*r) >= n {
			return *r
		}
	}
	return make([]kgo.Record, 0, n)
}

func (p *pools) PutRecords(r []kgo.Record) {
	if cap(r) >= pooledRecords {
		p.records.Put(&r)
	}
}
