package state

import (
	"encoding/binary"
	"slices"
)

// An Arena hands out blocks of bytes of many sizes from chunks of one size each. A freed block is used again for its size; a
// chunk without blocks is let go, so that sizes that are no longer wanted cost nothing.
type Arena struct {
	pools [classes]pool
	large [][]byte // blocks past the largest class, each on its own
	holes []uint32 // free places in large
	used  int
}

// A Ref names a block of an arena. The zero Ref is no block.
type Ref uint32

const (
	chunkBytes = 1 << 16
	classBits  = 6
	classes    = 1<<classBits - 1 // the last number is for large blocks
	indexBits  = 32 - classBits
)

// sizes are the block sizes of the classes: steps of about a quarter, in multiples of 8 bytes.
var sizes = func() (s [classes]int) {
	size := 16
	for i := range s {
		s[i] = size
		size = max(size+8, (size+size/4)/8*8)
	}
	return s
}()

type pool struct {
	chunks []chunk
	open   []uint32 // chunks that may have room
	gone   []uint32 // numbers of chunks that were let go
}

type chunk struct {
	mem   []byte
	used  uint32 // blocks handed out
	fresh uint32 // blocks never handed out begin here
	free  uint32 // the first freed block plus one; it holds the next in its first bytes
	open  bool   // it is in pool.open
}

// Alloc returns a block of at least n bytes; its contents are undefined.
func (a *Arena) Alloc(n int) Ref {
	c := class(n)
	if c == classes {
		return a.allocLarge(n)
	}
	a.used += sizes[c]
	p, size, per := &a.pools[c], sizes[c], uint32(perChunk(c))
	number := p.room(int(per) * size)
	k := &p.chunks[number]
	k.used++
	slot := k.fresh
	if k.free > 0 {
		slot = k.free - 1
		k.free = binary.LittleEndian.Uint32(k.mem[int(slot)*size:])
	} else {
		k.fresh++
	}
	if k.free == 0 && k.fresh == per {
		k.open = false
		p.open = p.open[:len(p.open)-1] // room gave the last one
	}
	return ref(c, number*per+slot)
}

// room is a chunk with room, the last of p.open.
func (p *pool) room(bytes int) uint32 {
	if n := len(p.open); n > 0 {
		return p.open[n-1]
	}
	number := uint32(len(p.chunks))
	if n := len(p.gone); n > 0 {
		number = p.gone[n-1]
		p.gone = p.gone[:n-1]
	} else {
		p.chunks = append(p.chunks, chunk{})
	}
	p.chunks[number] = chunk{mem: make([]byte, bytes), open: true}
	p.open = append(p.open, number)
	return number
}

// Bytes is the whole block: at least as many bytes as were asked for. It stays valid until the block is freed.
func (a *Arena) Bytes(r Ref) []byte {
	if r == 0 {
		return nil
	}
	c, i := r.split()
	if c == classes {
		return a.large[i]
	}
	size, per := sizes[c], uint32(perChunk(c))
	at := int(i%per) * size
	return a.pools[c].chunks[i/per].mem[at : at+size : at+size]
}

// Free gives the block back. The zero Ref is none.
func (a *Arena) Free(r Ref) {
	if r == 0 {
		return
	}
	c, i := r.split()
	if c == classes {
		a.used -= len(a.large[i])
		a.large[i] = nil
		a.holes = append(a.holes, i)
		return
	}
	a.used -= sizes[c]
	p, per := &a.pools[c], uint32(perChunk(c))
	number, slot := i/per, i%per
	k := &p.chunks[number]
	k.used--
	binary.LittleEndian.PutUint32(k.mem[int(slot)*sizes[c]:], k.free)
	k.free = slot + 1
	if !k.open {
		k.open = true
		p.open = append(p.open, number)
	}
	if k.used == 0 && len(p.open) > 1 {
		p.letGo(number)
	}
}

// letGo drops an empty chunk. It is mostly the one opened last.
func (p *pool) letGo(number uint32) {
	at := len(p.open) - 1
	for p.open[at] != number {
		at--
	}
	p.open = slices.Delete(p.open, at, at+1)
	p.chunks[number] = chunk{}
	p.gone = append(p.gone, number)
}

// Put stores data in a block, in place where it fits well, and returns the block that now holds it.
func (a *Arena) Put(r Ref, data []byte) Ref {
	if r == 0 || class(len(data)) != r.class() || r.class() == classes {
		a.Free(r)
		r = a.Alloc(len(data))
	}
	copy(a.Bytes(r), data)
	return r
}

// Grow returns a block of at least n bytes that begins with the first keep bytes of r, which is freed if it was too small.
func (a *Arena) Grow(r Ref, keep, n int) Ref {
	old := a.Bytes(r)
	if len(old) >= n {
		return r
	}
	if n > sizes[classes-1] {
		n += n / 4
	}
	grown := a.Alloc(n)
	copy(a.Bytes(grown), old[:keep])
	a.Free(r)
	return grown
}

// Used is the sum of the sizes of all blocks handed out.
func (a *Arena) Used() int { return a.used }

func (a *Arena) allocLarge(n int) Ref {
	a.used += n
	if last := len(a.holes) - 1; last >= 0 {
		i := a.holes[last]
		a.holes = a.holes[:last]
		a.large[i] = make([]byte, n)
		return ref(classes, i)
	}
	a.large = append(a.large, make([]byte, n))
	return ref(classes, uint32(len(a.large)-1))
}

// class is the smallest class that has n bytes.
func class(n int) int {
	lo, hi := 0, classes
	for lo < hi {
		if mid := (lo + hi) / 2; sizes[mid] < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func perChunk(c int) int { return max(8, chunkBytes/sizes[c]) }

// A ref is the index plus one, so that zero is free for "none", with the class above it.
func ref(c int, i uint32) Ref {
	if i+1 >= 1<<indexBits {
		panic("state: more blocks of a size than a reference can name")
	}
	return Ref(uint32(c)<<indexBits | (i + 1))
}

func (r Ref) class() int { return int(r >> indexBits) }

func (r Ref) split() (class int, index uint32) {
	return r.class(), uint32(r)&(1<<indexBits-1) - 1
}
