package journey

import "container/heap"

// A wheel keeps persons by the time at which something is due for them, in buckets. An entry counts only while its person says
// the same bucket, so moving one is adding another; what is stale is passed over.
type wheel struct {
	entries map[uint32][]uint32 // bucket -> persons
	buckets bucketHeap          // of entries, the earliest first
}

func (w *wheel) add(bucket, person uint32) {
	list, ok := w.entries[bucket]
	if !ok {
		if w.entries == nil {
			w.entries = map[uint32][]uint32{}
		}
		heap.Push(&w.buckets, bucket)
	}
	w.entries[bucket] = append(list, person)
}

// first is the earliest bucket.
func (w *wheel) first() (bucket uint32, ok bool) {
	if len(w.buckets) == 0 {
		return 0, false
	}
	return w.buckets[0], true
}

// take removes the earliest bucket and returns its persons. REQUIRES: first is ok.
func (w *wheel) take() []uint32 {
	bucket := heap.Pop(&w.buckets).(uint32)
	list := w.entries[bucket]
	delete(w.entries, bucket)
	return list
}

type bucketHeap []uint32

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h bucketHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *bucketHeap) Push(x any)        { *h = append(*h, x.(uint32)) }
func (h *bucketHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// projectHeap orders projects by the partition time at which their next timer is due.
type projectHeap []*project

func (h projectHeap) Len() int { return len(h) }
func (h projectHeap) Less(i, j int) bool {
	if h[i].wake != h[j].wake {
		return h[i].wake < h[j].wake
	}
	return h[i].name < h[j].name
}

func (h projectHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *projectHeap) Push(x any) {
	p := x.(*project)
	p.place = len(*h)
	*h = append(*h, p)
}

func (h *projectHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}
