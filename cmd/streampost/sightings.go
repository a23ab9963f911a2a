package main

import (
	"slices"
	"sync"
	"time"
)

// outOfSight is how long a node may be missing before it counts as dead to those who would take over its tasks: longer than a restart of a route, and
// than a process that was stopped for a moment.
const outOfSight = 15 * time.Second

// sightings remembers since when nodes are missing.
type sightings struct {
	there func() []string
	clock func() time.Time

	mu     sync.Mutex
	missed map[string]time.Time // when a node was first looked for in vain
}

func newSightings(there func() []string) *sightings {
	return &sightings{there: there, clock: time.Now, missed: map[string]time.Time{}}
}

// alive tells whether a node is there or was not found missing for long.
func (s *sightings) alive(node string) bool {
	here := slices.Contains(s.there(), node)
	s.mu.Lock()
	defer s.mu.Unlock()
	if here {
		delete(s.missed, node)
		return true
	}
	since, missed := s.missed[node]
	if !missed {
		since = s.clock()
		s.missed[node] = since
	}
	return s.clock().Sub(since) < outOfSight
}
