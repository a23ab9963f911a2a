package queue

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Item is what State keeps of an entry.
type Item struct {
	ID       ID
	Place    Place
	Due      int64
	Arrived  int64
	Error    string
	Attempts uint16
	Unclear  uint16
	Held     bool
	Warned   bool
	Pledged  bool // it is open whether the entry counts
	Priority int8

	people  string // the sender and the recipients that are left, a line for each
	to      *destination
	blob    uint64 // the first octets of the blob's id
	size    uint32 // octets, at most 4 GiB
	node    *string
	via     string
	parking *Parking // nil where nothing is to be said
	heap    int32    // its place in the destination's heap; -1 when it is not there
	gone    bool
}

// Sender is the address, empty for the null sender.
func (i *Item) Sender() string {
	sender, _, _ := strings.Cut(i.people, "\n")
	return sender
}

// Recipients are the addresses that are left.
func (i *Item) Recipients() []string {
	_, rest, _ := strings.Cut(i.people, "\n")
	return strings.Split(rest, "\n")
}

// Domain is where it goes; empty on other shelves than Outgoing.
func (i *Item) Domain() string { return i.to.name }

// Shelf is where it lies.
func (i *Item) Shelf() Shelf { return i.to.stock.shelf }

// Size is in octets, at most 4 GiB.
func (i *Item) Size() int64 { return int64(i.size) }

// Parking tells why and since when it is parked, and where it came from.
func (i *Item) Parking() (p Parking) {
	if i.parking != nil {
		p = *i.parking
	}
	return p
}

// Overlay brings an entry, as its record has it, to what is true now.
func (i *Item) Overlay(e *Entry) {
	left := i.Recipients()
	e.Recipients = slices.DeleteFunc(e.Recipients, func(r Recipient) bool { return !slices.Contains(left, r.Address) })
	e.Due, e.Attempts, e.Unclear, e.Error, e.Held, e.Warned, e.Priority = i.Due, int(i.Attempts), int(i.Unclear), i.Error, i.Held, i.Warned, i.Priority
	e.Via, e.Shelf, e.Parking = i.via, i.Shelf(), i.Parking()
	if !i.Pledged {
		e.Pledge = nil
	}
}

// State is what the records tell. The methods of Stock that it has itself are those of the queue of mail for other servers. It is used by one goroutine at a time.
type State struct {
	*Stock // Outgoing
	items  map[ID]*Item
	stocks map[Shelf]*Stock
	claims map[ID]Claim
	nodes  map[string]*string // one copy of a name that many entries share

	// Self is the node for which Next gives entries, and Patience how long it leaves those that others took to them, in milliseconds.
	Self     string
	Patience int64
}

// New makes an empty State.
func New() *State {
	s := &State{items: map[ID]*Item{}, stocks: map[Shelf]*Stock{}, claims: map[ID]Claim{}, nodes: map[string]*string{}}
	s.Stock = s.stock(Outgoing)
	return s
}

// Total is the number of all entries, on whatever shelf.
func (s *State) Total() int { return len(s.items) }

// Find gives an entry; nil when it is not there.
func (s *State) Find(id ID) *Item { return s.items[id] }

// Claim gives the claim that holds on an entry.
func (s *State) Claim(id ID) (c Claim, claimed bool) {
	c, claimed = s.claims[id]
	return c, claimed
}

// Apply folds the record at a place.
func (s *State) Apply(at Place, r *Record) {
	switch {
	case r.Put != nil:
		s.put(at, r.Put)
	case r.Claim != nil:
		s.claim(r.Claim)
	case r.Lapse != nil:
		s.lapse(r.Lapse)
	case r.Result != nil:
		s.result(r.Result)
	case r.Change != nil:
		s.change(r.Change)
	case r.Clear != nil:
		s.clear(r.Clear.Shelf)
	}
}

// node gives the one copy of a node's name. There are few, so that none is ever forgotten.
func (s *State) node(n string) *string {
	p := s.nodes[n]
	if p == nil {
		n = strings.Clone(n)
		p = &n
		s.nodes[n] = p
	}
	return p
}

// put adds an entry, or notes where it was carried to.
func (s *State) put(at Place, e *Entry) {
	if i := s.items[e.ID]; i != nil {
		i.Place = at
		return
	}
	i := &Item{
		ID: e.ID, Place: at, Due: e.Due, Arrived: e.Arrived, Error: e.Error, Attempts: uint16(min(e.Attempts, 1<<16-1)), Unclear: uint16(min(e.Unclear, 1<<16-1)),
		Held: e.Held, Warned: e.Warned, Pledged: e.Pledge != nil, Priority: e.Priority, blob: prefix(e.Blob.ID), size: uint32(min(e.Size(), 1<<32-1)), node: s.node(e.Node), via: strings.Clone(e.Via), heap: -1,
	}
	var b strings.Builder
	b.WriteString(e.Sender)
	for _, r := range e.Recipients {
		b.WriteByte('\n')
		b.WriteString(r.Address)
	}
	i.people = b.String()
	if e.Parking != (Parking{}) || e.Shelf != Outgoing {
		i.parking = e.Parking.clone()
	}
	s.add(i, e.Shelf, e.Domain)
}

// add lays an entry on a shelf.
func (s *State) add(i *Item, shelf Shelf, domain string) {
	s.items[i.ID] = i
	on := s.stock(shelf)
	on.entries++
	on.order = append(on.order, i)
	on.octets += int64(i.size)
	on.ranked += rank(i.Priority)
	if i.Held {
		on.held++
	}
	on.join(i, domain)
}

// rank is 1 for a priority that others have to make way for, or that makes way for others.
func rank(priority int8) int {
	if priority == 0 {
		return 0
	}
	return 1
}

func prefix(id domain.BlobID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

func (s *State) claim(c *Claim) {
	for _, id := range c.IDs {
		i := s.items[id]
		if _, claimed := s.claims[id]; i == nil || i.Held || claimed || i.Shelf().IsRepository() || c.On != nil && *c.On != i.Shelf() {
			continue
		}
		s.claims[id] = Claim{Node: c.Node, Boot: c.Boot, At: c.At, Until: c.Until}
		i.to.stock.claimed++
		i.to.stock.leave(i)
	}
}

func (s *State) lapse(l *Lapse) {
	for _, id := range l.IDs {
		i := s.items[id]
		c, claimed := s.claims[id]
		if i == nil || !claimed || !lapsed(&c, l.Node, l.Boot, l.At) {
			continue
		}
		s.release(i)
		i.Unclear++
		i.to.stock.rejoin(i)
	}
}

// lapsed tells whether a process may take a claim for one that nobody will end.
func lapsed(c *Claim, node, boot string, now int64) bool {
	return c.Node == node && c.Boot != boot || c.Until < now
}

func (s *State) result(r *Result) {
	i := s.items[r.ID]
	c, claimed := s.claims[r.ID]
	if i == nil || claimed && (c.Node != r.Node || c.Boot != r.Boot) {
		return
	}
	s.release(i)
	lines := strings.Split(i.people, "\n")
	left := slices.DeleteFunc(slices.Clone(lines[1:]), func(a string) bool { return slices.Contains(r.Done, a) })
	if len(left) == 0 {
		s.remove(i)
		return
	}
	i.people = strings.Join(append(lines[:1:1], left...), "\n")
	i.Warned = i.Warned || r.Warned
	if r.Error != "" {
		i.Error = strings.Clone(r.Error[:min(len(r.Error), maxError)])
	}
	if r.Tried {
		i.Attempts++
	}
	if r.Move != nil {
		s.move(i, r.Move, r.At)
		return
	}
	i.Due = r.Due
	i.to.stock.rejoin(i)
}

// release ends the claim on an entry, if there is one.
func (s *State) release(i *Item) {
	if _, claimed := s.claims[i.ID]; claimed {
		delete(s.claims, i.ID)
		i.to.stock.claimed--
	}
}

func (s *State) change(c *Change) {
	for _, id := range c.IDs {
		i := s.items[id]
		if i == nil || i.Shelf() != c.On {
			continue
		}
		if c.Remove {
			s.remove(i)
			continue
		}
		if c.Held != nil && *c.Held != i.Held {
			i.Held = *c.Held
			if i.Held {
				i.to.stock.held++
			} else {
				i.to.stock.held--
			}
		}
		if c.Due != nil && (c.Keep || !i.Pledged) { // What does not count yet is not looked at while its delivery goes on.
			i.Due = *c.Due
		}
		if c.Keep {
			i.Pledged = false
		}
		if c.Priority != nil {
			i.to.stock.leave(i)
			i.to.stock.ranked += rank(*c.Priority) - rank(i.Priority)
			i.Priority = *c.Priority
		}
		if c.Via != nil {
			i.via = *c.Via
		}
		if c.Move != nil {
			if _, claimed := s.claims[id]; !claimed {
				s.move(i, c.Move, c.At)
			}
			continue
		}
		i.to.stock.rejoin(i)
	}
}

// move lays an entry on another shelf, and notes there what the move tells.
func (s *State) move(i *Item, m *Move, at int64) {
	name := i.to.name
	s.remove(i)
	moved := *i // the old one stays in the order of its shelf, as one that is gone
	moved.gone, moved.heap, moved.to, moved.Due = false, -1, nil, m.Due
	p := Parking{}
	if i.parking != nil {
		p = *i.parking
	}
	p.apply(m, at)
	moved.parking = p.clone()
	if m.Error != "" {
		moved.Error = strings.Clone(m.Error[:min(len(m.Error), maxError)])
	}
	if m.Shelf != Outgoing { // Attempts count on one shelf.
		moved.Attempts, moved.Unclear, moved.Held, moved.Warned = 0, 0, false, false
	}
	s.add(&moved, m.Shelf, name)
}

// clear empties a shelf.
func (s *State) clear(shelf Shelf) {
	on := s.stock(shelf)
	for _, i := range on.order {
		if !i.gone {
			delete(s.claims, i.ID)
			delete(s.items, i.ID)
			i.gone = true
		}
	}
	on.reset()
	if shelf != Outgoing {
		delete(s.stocks, shelf)
	}
}

// remove takes an entry away. A shelf without entries is forgotten, but for that of outgoing mail.
func (s *State) remove(i *Item) {
	s.release(i)
	on := i.to.stock
	on.drop(i)
	delete(s.items, i.ID)
	if on.entries == 0 && on.shelf != Outgoing {
		delete(s.stocks, on.shelf)
	}
}

// Blobs tells which of some blobs entries may need. It goes by the first 8 octets of their ids: one too many is kept for a while, never one too few deleted.
func (s *State) Blobs(ids []domain.BlobID) []bool {
	wanted := make(map[uint64][]int, len(ids))
	for n, id := range ids {
		wanted[prefix(id)] = append(wanted[prefix(id)], n)
	}
	needed := make([]bool, len(ids))
	for _, i := range s.items {
		for _, n := range wanted[i.blob] {
			needed[n] = true
		}
	}
	return needed
}

// Cuttable is how far the stream may be cut once Stale entries are carried, end at most. Entries that are being attempted stay where they are: who reads
// the stream from there has to find their claims behind them.
func (s *State) Cuttable(end domain.Seq) domain.Seq {
	for id := range s.claims {
		if i := s.items[id]; i != nil {
			end = min(end, i.Place.Seq)
		}
	}
	return end
}

// Stale lists entries whose records lie before a place, the oldest records first and at most so many: they have to be carried before the stream can be cut there.
func (s *State) Stale(before domain.Seq, most int) (all []*Item) {
	for _, i := range s.items {
		if i.Place.Seq < before {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b *Item) int {
		return cmp.Or(cmp.Compare(a.Place.Seq, b.Place.Seq), cmp.Compare(a.Place.Index, b.Place.Index))
	})
	return all[:min(most, len(all))]
}
