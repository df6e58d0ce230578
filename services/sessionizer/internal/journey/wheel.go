package journey

import "container/heap"

// A wheel keeps persons by the time at which something is due for them. Far times lie in buckets, unsorted; when a bucket's time
// comes its entries go to a heap. An entry counts only while its person says the same time, so moving one is adding another;
// what is stale is passed over.
type wheel struct {
	far     map[int64][]entry // bucket -> entries
	buckets bucketHeap        // of far, the earliest first
	near    entryHeap
	opened  int64 // buckets before this one are in near
}

type entry struct {
	due    int64 // event time, ms
	person uint32
}

const bucketWidth = 1000 // ms

func (w *wheel) add(due int64, person uint32) {
	e, bucket := entry{due, person}, due/bucketWidth
	if bucket < w.opened {
		heap.Push(&w.near, e)
		return
	}
	list, ok := w.far[bucket]
	if !ok {
		if w.far == nil {
			w.far = map[int64][]entry{}
		}
		heap.Push(&w.buckets, bucket)
	}
	w.far[bucket] = append(list, e)
}

// first is a time before which nothing is due; forever if there is nothing.
func (w *wheel) first() int64 {
	if len(w.near) > 0 {
		return w.near[0].due
	}
	if len(w.buckets) > 0 {
		return w.buckets[0] * bucketWidth
	}
	return forever
}

// take removes and returns an entry that is due before now.
func (w *wheel) take(now int64) (e entry, ok bool) {
	for len(w.buckets) > 0 && w.buckets[0]*bucketWidth < now {
		bucket := heap.Pop(&w.buckets).(int64)
		for _, e := range w.far[bucket] {
			heap.Push(&w.near, e)
		}
		delete(w.far, bucket)
		w.opened = max(w.opened, bucket+1)
	}
	if len(w.near) == 0 || w.near[0].due >= now {
		return entry{}, false
	}
	return heap.Pop(&w.near).(entry), true
}

type bucketHeap []int64

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h bucketHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *bucketHeap) Push(x any)        { *h = append(*h, x.(int64)) }
func (h *bucketHeap) Pop() any          { return pop((*[]int64)(h)) }

type entryHeap []entry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h entryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *entryHeap) Push(x any)        { *h = append(*h, x.(entry)) }
func (h *entryHeap) Pop() any          { return pop((*[]entry)(h)) }

func pop[T any](h *[]T) T {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
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

func (h *projectHeap) Pop() any { return pop((*[]*project)(h)) }
