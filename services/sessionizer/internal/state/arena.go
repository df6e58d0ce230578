package state

// An Arena hands out blocks of bytes of many sizes from large chunks. Freed blocks of a size are used again.
type Arena struct {
	pools [classes]pool
	large [][]byte // blocks past the largest class, each on its own
	holes []uint32 // free places in large
	used  int
}

// A Ref names a block of an arena. The zero Ref is no block.
type Ref uint32

const (
	chunkBytes = 1 << 20
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
	chunks [][]byte
	next   uint32 // blocks handed out so far, from 1
	free   []uint32
}

// Alloc returns a block of at least n bytes; its contents are undefined.
func (a *Arena) Alloc(n int) Ref {
	c := class(n)
	if c == classes {
		return a.allocLarge(n)
	}
	p := &a.pools[c]
	a.used += sizes[c]
	if last := len(p.free) - 1; last >= 0 {
		i := p.free[last]
		p.free = p.free[:last]
		return ref(c, i)
	}
	per := uint32(perChunk(c))
	if p.next/per >= uint32(len(p.chunks)) {
		p.chunks = append(p.chunks, make([]byte, int(per)*sizes[c]))
	}
	p.next++
	return ref(c, p.next-1)
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
	return a.pools[c].chunks[i/per][at : at+size : at+size]
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
	a.pools[c].free = append(a.pools[c].free, i)
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

func perChunk(c int) int { return max(1, chunkBytes/sizes[c]) }

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
