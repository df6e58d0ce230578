package owner

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inbox is where the client's callbacks and the restores leave what the session's goroutine takes between polls.
type inbox struct {
	mu struct {
		sync.Mutex
		events      []event
		generations map[int32]uint64 // of the assignments: a partition may come again before its first life has ended
		last        uint64
		wake        context.CancelFunc // ends the poll that waits
		woken       bool               // and the next one, if none does
		joining     bool               // between two memberships: no commit can go through
	}
}

type eventKind int

const (
	unknownEvent eventKind = iota
	assignedEvent
	revokedEvent
	restoredEvent
)

type event struct {
	kind       eventKind
	partition  int32
	generation uint64
	group      position // of an assignment
	restored   restored // of a restore, or err
	err        error
}

func (i *inbox) drain() []event {
	i.mu.Lock()
	defer i.mu.Unlock()
	events := i.mu.events
	i.mu.events = nil
	return events
}

func (i *inbox) leave(e event) {
	i.mu.Lock()
	i.mu.events = append(i.mu.events, e)
	i.mu.Unlock()
	i.wake()
}

func (i *inbox) wake() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.woken = true
	if i.mu.wake != nil {
		i.mu.wake()
	}
}

// onFetched is called with the committed offsets of partitions before any of their records is fetched. They stay paused until
// they are restored.
func (s *session) onFetched(_ context.Context, cl *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s.mu.Lock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					continue // the client reports it by a fetch
				}
				e := event{kind: assignedEvent, partition: p.Partition}
				if p.Offset >= 0 {
					e.group = position{known: true, offset: p.Offset}
					if p.Metadata != nil {
						e.group.hash, e.group.count, e.group.hashed = parseMetadata(*p.Metadata)
					}
				}
				s.mu.last++
				e.generation = s.mu.last
				s.mu.generations[p.Partition] = e.generation
				s.mu.events = append(s.mu.events, e)
				cl.PauseFetchPartitions(map[string][]int32{s.touchpoints: {p.Partition}})
			}
		}
	}
	s.mu.Unlock()
	s.wake()
	return nil
}

// onRevoked is called at the end of every membership, with the partitions that go, if any: between two cycles, because polls
// and this callback exclude each other.
func (s *session) onRevoked(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.joining = true
	for _, partitions := range lost {
		for _, p := range partitions {
			s.revoke(p)
		}
	}
}

// onAssigned is called at the begin of every membership, after partitions went and before others come. The client calls
// onRevoked only once between two transactions: a second revoke shows here, by the partitions that the client no longer has.
func (s *session) onAssigned(_ context.Context, cl *kgo.Client, _ map[string][]int32) {
	has := cl.CommittedOffsets()[s.touchpoints]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.joining = false
	for p := range s.mu.generations {
		if _, ok := has[p]; !ok {
			s.revoke(p)
		}
	}
}

// joining says whether the group is between two memberships. While polls block the rebalance that does not begin.
func (s *session) joining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.joining
}

// revoke. REQUIRES: mu.
func (s *session) revoke(p int32) {
	delete(s.mu.generations, p)
	s.mu.events = append(s.mu.events, event{kind: revokedEvent, partition: p})
}
