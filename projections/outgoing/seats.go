package outgoing

import (
	"maps"
	"sync"
)

// seats counts attempts that are being made.
//
// A destination that says nothing holds its seat until its time is over, and there may be any number of those: names that somebody made up, hosts that swallow what comes. So destinations that have not
// answered lately share a part of the seats only, and all names of one organisation, such as thousands below one domain, another part: mail to those who answer always finds a seat.
type seats struct {
	destinations  map[string]int
	organisations map[string]int
	unproven      int             // attempts at destinations that have not answered lately
	proven        map[string]bool // those that did; bounded by maxProven
}

// maxProven bounds how many destinations are known to answer. More of them take turns.
const maxProven = 10_000

// seat is one attempt.
type seat struct {
	name, organisation string
	unproven           bool
}

func newSeats() seats {
	return seats{destinations: map[string]int{}, organisations: map[string]int{}, proven: map[string]bool{}}
}

func (s *seats) sit(name, organisation string) seat {
	taken := seat{name, organisation, !s.proven[name]}
	s.destinations[name]++
	s.organisations[organisation]++
	if taken.unproven {
		s.unproven++
	}
	return taken
}

// sitHere is for mailboxes of this server.
func (s *seats) sitHere(name string) seat {
	s.destinations[name]++
	return seat{name: name}
}

func (s *seats) stand(taken seat) {
	drop(s.destinations, taken.name)
	if taken.organisation != "" {
		drop(s.organisations, taken.organisation)
	}
	if taken.unproven {
		s.unproven--
	}
}

func drop(count map[string]int, name string) {
	if count[name]--; count[name] == 0 {
		delete(count, name)
	}
}

// answered notes whether a destination could be spoken to.
func (s *seats) answered(name string, ok bool) {
	if !ok {
		delete(s.proven, name)
		return
	}
	if len(s.proven) >= maxProven && !s.proven[name] {
		for other := range s.proven {
			delete(s.proven, other)
			break
		}
	}
	s.proven[name] = true
}

// clone copies the counts. What is proven is shared, and not changed by the copy.
func (s *seats) clone() seats {
	return seats{maps.Clone(s.destinations), maps.Clone(s.organisations), s.unproven, s.proven}
}

// remembered asks f once for each name, as long as there are not too many.
func remembered(f func(string) string) func(string) string {
	var mu sync.Mutex
	known := map[string]string{}
	return func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		answer, is := known[name]
		if !is {
			if len(known) >= maxProven {
				clear(known)
			}
			answer = f(name)
			known[name] = answer
		}
		return answer
	}
}

// plan is what one round takes, on top of what is taken.
type plan struct {
	seats
	taken map[string]bool // destinations
}

// room tells whether a destination elsewhere may have one more attempt, as far as others are concerned.
func (p *plan) room(name string, cfg *Config) bool {
	return p.organisations[cfg.Organisation(name)] < cfg.Limits.PerOrganisation && (p.proven[name] || p.unproven < cfg.Limits.Unproven)
}

func (p *plan) take(name string, at int, cfg *Config) {
	p.taken[name] = true
	if at == here {
		p.sitHere(name)
	} else {
		p.sit(name, cfg.Organisation(name))
	}
}
