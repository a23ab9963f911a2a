package queue

import (
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Shelf is where an entry lies: a queue, where it is attempted when it is due, or a repository, where it is parked until an operator says what shall become of it.
// An entry lies on one shelf, and one record moves it to another one, so that it can neither get lost between two nor be on both.
type Shelf string

// The queues.
const (
	Outgoing Shelf = ""      // mail on its way to other servers, an entry for each domain
	Spool    Shelf = "spool" // mail that the pipeline has to go on with
)

const repositories = "parked/"

// The repositories that are always there, by their names without "var/mail/", which James writes before them.
const (
	RepositoryError        = "error"               // what could not be processed
	RepositoryRelayDenied  = "relay-denied"        // for others, from who may not send to them
	RepositoryLocalAddress = "local-address-error" // for addresses of local domains that are nobody's
	RepositoryRRTError     = "rrt-error"           // whose recipients' rewriting has no end
	RepositoryDead         = "dead"                // what nothing more is done about
)

// Repositories lists them.
var Repositories = []string{RepositoryDead, RepositoryError, RepositoryLocalAddress, RepositoryRelayDenied, RepositoryRRTError}

// maxRepository bounds a repository's name.
const maxRepository = 100

// Repository is the shelf of parked mail with a name. Errors: domain.Invalid.
func Repository(name string) (Shelf, error) {
	name = strings.ToLower(strings.TrimPrefix(name, "/"))
	for _, prefix := range []string{"file://", "cassandra://", "postgres://", "memory://"} {
		name = strings.TrimPrefix(name, prefix)
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "var/mail/"), "/")
	proper := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r)
	}
	if name == "" || len(name) > maxRepository || strings.ContainsFunc(name, func(r rune) bool { return !proper(r) }) {
		return "", domain.Errorf(domain.Invalid, "%q is not the name of a repository: at most %d letters, digits, and - _ . /", name, maxRepository)
	}
	return Shelf(repositories + name), nil
}

// IsRepository tells whether nothing happens there by itself.
func (s Shelf) IsRepository() bool { return strings.HasPrefix(string(s), repositories) }

// Name is the repository's, or the queue's.
func (s Shelf) Name() string {
	if s == Outgoing {
		return "outgoing"
	}
	return strings.TrimPrefix(string(s), repositories)
}

// Parking is why mail is parked, and what is known of where it came from. It stays with the mail when it is processed again, so that what is parked anew tells how often and since when.
type Parking struct {
	Cause         string `json:"cause,omitempty"`     // a short code, such as relay-denied or timeout; the text is the entry's error
	Processor     string `json:"processor,omitempty"` // that parked it; on the spool, that is to go on with it
	Step          int    `json:"step,omitempty"`      // of the processor; 0 is the first
	Visited       int    `json:"visited,omitempty"`   // processors since it came in or was processed again
	First         int64  `json:"first,omitempty"`     // when it was parked for the first time, in Unix milliseconds
	Last          int64  `json:"last,omitempty"`      // and for the last time
	Times         int    `json:"times,omitempty"`     // how often
	RemoteAddress string `json:"remoteAddress,omitempty"`
	RemoteHost    string `json:"remoteHost,omitempty"`
}

// Move tells where an entry goes and why.
type Move struct {
	Shelf     Shelf  `json:"shelf"`
	Cause     string `json:"cause,omitempty"` // empty: as it was
	Error     string `json:"error,omitempty"` // likewise
	Processor string `json:"processor,omitempty"`
	Step      int    `json:"step,omitempty"`
	Visited   int    `json:"visited,omitempty"`
	Due       int64  `json:"due,omitempty"`
	Shift     bool   `json:"shift,omitempty"` // from one repository to another, which is no new failure
}

// apply notes a move that happens at a time.
func (p *Parking) apply(m *Move, at int64) {
	if m.Cause != "" {
		p.Cause = m.Cause
	}
	if m.Shift {
		return
	}
	p.Processor, p.Step, p.Visited = m.Processor, m.Step, m.Visited
	if m.Shelf.IsRepository() {
		p.Park(at)
	}
}

// Park notes that it is parked at a time.
func (p *Parking) Park(at int64) {
	if p.First == 0 {
		p.First = at
	}
	p.Last = at
	p.Times++
}

// Parked is an entry as it lies in a repository from a time on. All that is known of the message stays; what attempts and operators have made of the entry begins anew. It has the id of the first still.
func (e *Entry) Parked(shelf Shelf, cause string, now int64) *Entry {
	p := *e
	p.Shelf, p.Domain, p.Via, p.Recipients, p.Attributes = shelf, "", "", slices.Clone(e.Recipients), maps.Clone(e.Attributes)
	p.Due, p.Attempts, p.Unclear, p.Last, p.Held, p.Pledge, p.Warned = 0, 0, 0, 0, false, nil, false
	p.Parking.Cause, p.Parking.Processor, p.Parking.Step, p.Parking.Visited = cause, "", 0, 0
	p.Parking.Park(now)
	return &p
}

// clone makes a copy that holds no larger text than its own.
func (p *Parking) clone() *Parking {
	c := *p
	for _, text := range []*string{&c.Cause, &c.Processor, &c.RemoteAddress, &c.RemoteHost} {
		*text = strings.Clone(*text)
	}
	return &c
}

// Stock is what lies on a shelf. All of it is counted as records are folded, so that it costs nothing to ask.
type Stock struct {
	state   *State
	shelf   Shelf
	order   []*Item // in order of arrival there; those that are gone are passed over, and swept when they are many
	first   int     // no item before this one is left
	waits   map[string]*destination
	soon    heap[*destination]
	entries int
	held    int
	claimed int
	octets  int64
	ranked  int // entries whose priority is not 0
}

// stock gives what lies on a shelf, to change it.
func (s *State) stock(shelf Shelf) *Stock {
	on := s.stocks[shelf]
	if on == nil {
		on = &Stock{state: s, shelf: Shelf(strings.Clone(string(shelf)))}
		on.reset()
		s.stocks[on.shelf] = on
	}
	return on
}

// On gives what lies on a shelf.
func (s *State) On(shelf Shelf) *Stock {
	if on := s.stocks[shelf]; on != nil {
		return on
	}
	on := &Stock{state: s, shelf: shelf}
	on.reset()
	return on
}

// Parked lists the repositories that have mail, by name.
func (s *State) Parked() (shelves []Shelf) {
	for shelf := range s.stocks {
		if shelf.IsRepository() {
			shelves = append(shelves, shelf)
		}
	}
	slices.Sort(shelves)
	return shelves
}

func (s *Stock) reset() {
	*s = Stock{state: s.state, shelf: s.shelf, waits: map[string]*destination{}, soon: heap[*destination]{
		less: func(a, b *destination) bool { return a.waiting.list[0].Due < b.waiting.list[0].Due }, at: func(d *destination, i int) { d.heap = int32(i) },
	}}
}

// Len is the number of entries.
func (s *Stock) Len() int { return s.entries }

// Held is the number of those that an operator holds.
func (s *Stock) Held() int { return s.held }

// Claimed is the number of those that are being attempted.
func (s *Stock) Claimed() int { return s.claimed }

// Destinations is the number of domains that have entries.
func (s *Stock) Destinations() int { return len(s.waits) }

// Octets is the sum of the sizes of all entries.
func (s *Stock) Octets() int64 { return s.octets }

// Oldest is the entry that came first; nil when there is none.
func (s *Stock) Oldest() *Item {
	for ; s.first < len(s.order); s.first++ {
		if i := s.order[s.first]; !i.gone {
			return i
		}
	}
	return nil
}

// drop takes an entry out.
func (s *Stock) drop(i *Item) {
	s.leave(i)
	if i.to.entries--; i.to.entries == 0 {
		delete(s.waits, i.to.name)
	}
	i.gone = true
	s.entries--
	s.octets -= int64(i.size)
	s.ranked -= rank(i.Priority)
	if i.Held {
		s.held--
	}
	if len(s.order) > 1024 && len(s.order) > 2*s.entries {
		s.order = slices.DeleteFunc(s.order, func(i *Item) bool { return i.gone })
		s.order = slices.Clip(s.order)
		s.first = 0
	}
}
