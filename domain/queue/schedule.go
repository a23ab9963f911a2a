package queue

import (
	"cmp"
	"slices"
	"strings"
)

// destination is a domain and what waits to go there.
type destination struct {
	stock   *Stock
	name    string
	entries int
	waiting heap[*Item]
	ranks   map[int8]int // how many of them have a priority that is not 0
	heap    int32        // its place among all that have something waiting; -1 when it has nothing
}

// join lets an entry wait for its destination.
func (s *Stock) join(i *Item, domain string) {
	d := s.waits[domain]
	if d == nil {
		d = &destination{stock: s, name: strings.Clone(domain), heap: -1}
		d.waiting = heap[*Item]{less: func(a, b *Item) bool { return a.Due < b.Due }, at: func(i *Item, n int) { i.heap = int32(n) }}
		s.waits[d.name] = d
	}
	d.entries++
	i.to = d
	s.rejoin(i)
}

// rejoin puts an entry where its due time wants it, unless it is claimed, held or parked.
func (s *Stock) rejoin(i *Item) {
	s.leave(i)
	if _, claimed := s.state.claims[i.ID]; claimed || i.Held || s.shelf.IsRepository() {
		return
	}
	i.to.rank(i.Priority, 1)
	s.settle(i.to, func() { i.to.waiting.push(i) })
}

// leave takes an entry out of those that wait.
func (s *Stock) leave(i *Item) {
	if i.heap >= 0 {
		i.to.rank(i.Priority, -1)
		s.settle(i.to, func() { i.to.waiting.remove(int(i.heap)) })
		i.heap = -1
	}
}

func (d *destination) rank(priority int8, by int) {
	if priority == 0 {
		return
	}
	if d.ranks == nil {
		d.ranks = map[int8]int{}
	}
	if d.ranks[priority] += by; d.ranks[priority] == 0 {
		delete(d.ranks, priority)
	}
}

// top is the highest priority of what waits, due or not.
func (d *destination) top() (top int8) {
	plain, first := len(d.waiting.list), true
	for priority, n := range d.ranks {
		if plain -= n; first || priority > top {
			top, first = priority, false
		}
	}
	if plain > 0 {
		top = max(top, 0)
	}
	return top
}

// settle changes what waits for a destination and puts the destination where that wants it.
func (s *Stock) settle(d *destination, change func()) {
	if d.heap >= 0 {
		s.soon.remove(int(d.heap))
		d.heap = -1
	}
	change()
	if len(d.waiting.list) > 0 {
		s.soon.push(d)
	}
}

// Batch is entries that may be attempted together.
type Batch struct {
	Domain string
	Items  []*Item
}

// Next gives entries of one destination that are due at a time, at most so many and of one route: none whose destination is busy. Of destinations that are due the one with the highest priority comes first, then that which is due longest. wait is how long until something may be due,
// in milliseconds; -1 when nothing waits. Nothing is taken out: a claim does that.
func (s *Stock) Next(now int64, most int, busy func(domain string) bool) (b Batch, wait int64) {
	var aside []*destination
	var best *destination
	var highest int8
	defer func() {
		for _, d := range aside {
			s.soon.push(d)
		}
	}()
	wait = -1
	found := 0
	sooner := func(ms int64) {
		if wait < 0 || ms < wait {
			wait = ms
		}
	}
	for len(s.soon.list) > 0 {
		d := s.soon.list[0]
		if due := d.waiting.list[0].Due; due > now {
			sooner(due - now)
			break
		}
		s.soon.remove(0)
		d.heap = -1
		aside = append(aside, d)
		if busy(d.name) {
			continue
		}
		priority, any := s.urgency(d, now, sooner)
		if !any {
			continue
		}
		if found++; best == nil || priority > highest {
			best, highest = d, priority
		}
		if s.ranked == 0 || found == compared {
			break
		}
	}
	if best != nil {
		b, wait = Batch{best.name, s.due(best, now, most)}, 0
	}
	return b, wait
}

// compared bounds how many destinations that are due are compared for the highest priority.
const compared = 32

// look bounds how many entries of a destination are looked at for some that this node may take.
const look = 4096

// urgency is the highest priority of what of a destination's this node may attempt. It looks no further than to one that none can surpass.
func (s *Stock) urgency(d *destination, now int64, sooner func(int64)) (highest int8, any bool) {
	top := d.top()
	for _, i := range d.waiting.list[:min(look, len(d.waiting.list))] {
		if ms := i.Due + s.patience(i) - now; ms > 0 {
			sooner(ms)
			continue
		}
		if !any || i.Priority > highest {
			highest, any = i.Priority, true
		}
		if highest == top {
			break
		}
	}
	return highest, any
}

// due lists what of a destination's this node may attempt, the highest priority first, then the longest due. All have one route.
func (s *Stock) due(d *destination, now int64, most int) (all []*Item) {
	for _, i := range d.waiting.list[:min(look, len(d.waiting.list))] {
		if i.Due+s.patience(i) <= now {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b *Item) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Due, b.Due), cmp.Compare(a.Place.Seq, b.Place.Seq), cmp.Compare(a.Place.Index, b.Place.Index))
	})
	if len(all) > 0 {
		via := all[0].via
		all = slices.DeleteFunc(all, func(i *Item) bool { return i.via != via })
	}
	return all[:min(most, len(all))]
}

// patience leaves an entry to the node that took it.
func (s *Stock) patience(i *Item) int64 {
	if *i.node == s.state.Self || *i.node == "" {
		return 0
	}
	return s.state.Patience
}

// Abandoned lists claimed entries whose attempt nobody will end, as far as a process of this node may say so.
func (s *State) Abandoned(now int64, boot string) (ids []ID) {
	for id, c := range s.claims {
		if lapsed(&c, s.Self, boot, now) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
