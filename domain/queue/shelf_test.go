package queue_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"pgregory.net/rapid"
)

func repository(t testing.TB, name string) queue.Shelf {
	t.Helper()
	shelf, err := queue.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return shelf
}

// parked is an entry in a repository.
func parked(t testing.TB, id queue.ID, name string, at int64) *queue.Entry {
	e := entry(id, "x@example.net", "y@example.com")
	e.Domain, e.Due, e.Shelf, e.Error = "", 0, repository(t, name), "it loops"
	e.Parking = queue.Parking{Cause: "loop", Processor: "root", RemoteAddress: "192.0.2.1", RemoteHost: "client.example.com"}
	e.Parking.Park(at)
	return e
}

func TestNamesOfRepositories(t *testing.T) {
	for given, want := range map[string]string{
		"error": "error", "var/mail/error": "error", "cassandra://var/mail/error/": "error", "file://var/mail/Dead": "dead", "custom/of-2026_a.b": "custom/of-2026_a.b", "": "", "a b": "", "ä": "",
		"var/mail/": "", "x\n": "",
	} {
		shelf, err := queue.Repository(given)
		if err != nil && (want != "" || !domain.Is(err, domain.Invalid)) || err == nil && (shelf.Name() != want || !shelf.IsRepository()) {
			t.Errorf("%q: %s, %v", given, shelf.Name(), err)
		}
	}
	if queue.Outgoing.IsRepository() || queue.Spool.IsRepository() || queue.Outgoing.Name() != "outgoing" {
		t.Error("queues are no repositories")
	}
}

// TestParkedMailStays until an operator has it processed again, and comes back with its history.
func TestParkedMailStays(t *testing.T) {
	l := newLog(t)
	loops := repository(t, "error")
	l.add(put(parked(t, 1, "error", 5000)))
	l.expectNext(1 << 40)
	on := l.state.On(loops)
	if l.state.Len() != 0 || l.state.Total() != 1 || on.Len() != 1 || on.Octets() != 100 || on.Oldest().ID != 1 || !slices.Equal(l.state.Parked(), []queue.Shelf{loops}) {
		t.Fatalf("%d in the queue, %d parked", l.state.Len(), on.Len())
	}
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, On: queue.Outgoing, Remove: true}})
	if on.Len() != 1 {
		t.Fatal("a change of the queue took parked mail")
	}
	again := queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, On: loops, At: 6000, Move: &queue.Move{Shelf: queue.Spool, Processor: "transport", Due: 6000}}}
	l.add(again, again) // whoever orders it twice
	spool := l.state.On(queue.Spool)
	if spool.Len() != 1 || len(l.state.Parked()) != 0 || l.state.Find(1).Parking().Processor != "transport" {
		t.Fatalf("%d on the spool, %v", spool.Len(), l.state.Parked())
	}
	if b, _ := spool.Next(6000, 10, func(string) bool { return false }); len(b.Items) != 1 {
		t.Fatal("it is not due")
	}
	l.add(claim("mail1", "a", 6000, 1))
	if spool.Claimed() != 1 || l.state.Claimed() != 0 {
		t.Error("claims are counted elsewhere")
	}
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, On: queue.Spool, Move: &queue.Move{Shelf: loops}}})
	if spool.Len() != 1 {
		t.Fatal("it was moved under the hands of who has it")
	}
	l.add(queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", At: 7000, Done: []string{"x@example.net"}, Move: &queue.Move{Shelf: loops, Cause: "timeout", Error: "too slow", Processor: "root"}}})
	i := l.state.Find(1)
	want := queue.Parking{Cause: "timeout", Processor: "root", First: 5000, Last: 7000, Times: 2, RemoteAddress: "192.0.2.1", RemoteHost: "client.example.com"}
	if i.Parking() != want || i.Error != "too slow" || i.Shelf() != loops || !slices.Equal(i.Recipients(), []string{"y@example.com"}) {
		t.Errorf("%+v in %s: %s", i.Parking(), i.Shelf(), i.Error)
	}
	custom := repository(t, "custom")
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, On: loops, At: 8000, Move: &queue.Move{Shelf: custom, Shift: true}}})
	if got := l.state.Find(1).Parking(); got != want || l.state.On(custom).Len() != 1 {
		t.Errorf("%+v", got)
	}
	var e queue.Entry
	if l.state.Find(1).Overlay(&e); e.Shelf != custom || e.Parking != want {
		t.Errorf("%+v", e)
	}
}

// TestAClaimIsForTheShelfWhereItWasSeen: an entry that was moved meanwhile is nobody's.
func TestAClaimIsForTheShelfWhereItWasSeen(t *testing.T) {
	l := newLog(t)
	failed, outgoing, spool := repository(t, "error"), queue.Outgoing, queue.Spool
	seen := func(on *queue.Shelf) queue.Record {
		r := claim("mail2", "b", 3, 1)
		r.Claim.On = on
		return r
	}
	move := func(from, to queue.Shelf) {
		l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, On: from, At: 4, Move: &queue.Move{Shelf: to}}})
		if got := l.state.Find(1).Shelf(); got != to {
			t.Fatalf("it lies on %q, and not on %q", got, to)
		}
	}
	l.add(put(parked(t, 1, "error", 1)))
	for _, on := range []*queue.Shelf{nil, &failed, &spool, &outgoing} {
		l.add(seen(on))
		if _, claimed := l.state.Claim(1); claimed {
			t.Fatal("parked mail is claimed, and cannot be moved")
		}
	}
	move(failed, spool)
	l.add(seen(&outgoing))
	if _, claimed := l.state.Claim(1); claimed {
		t.Error("the spool's entry is claimed as outgoing mail")
	}
	move(spool, outgoing)
	l.add(seen(&spool))
	if _, claimed := l.state.Claim(1); claimed {
		t.Error("outgoing mail is claimed as the spool's entry")
	}
	l.add(seen(&outgoing))
	if _, claimed := l.state.Claim(1); !claimed {
		t.Error("outgoing mail is not claimed")
	}
	l.add(queue.Record{Put: entry(2, "x@example.net")}, claim("mail1", "a", 3, 2))
	if _, claimed := l.state.Claim(2); !claimed {
		t.Error("a claim as the first versions wrote it does not count")
	}
}

func TestFiltersOfParkedMail(t *testing.T) {
	l := newLog(t)
	other := parked(t, 2, "error", 9000)
	other.Parking.Cause, other.Parking.RemoteHost, other.Parking.RemoteAddress, other.Parking.Times = "timeout", "", "2001:db8::1", 4
	l.add(put(parked(t, 1, "error", 5000)), put(other), put(parked(t, 3, "dead", 5000)))
	for _, c := range []struct {
		filter queue.Filter
		want   []queue.ID
	}{
		{queue.Filter{}, []queue.ID{1, 2}}, {queue.Filter{Cause: "TIMEOUT"}, []queue.ID{2}}, {queue.Filter{RemoteAddress: "192.0.2.1"}, []queue.ID{1}}, {queue.Filter{RemoteHost: "CLIENT.example.com"}, []queue.ID{1}},
		{queue.Filter{ParkedBefore: 9000}, []queue.ID{1}}, {queue.Filter{ParkedAfter: 9000}, []queue.ID{2}}, {queue.Filter{MaxTimes: 3}, []queue.ID{1}}, {queue.Filter{Domain: "EXAMPLE.com"}, []queue.ID{1, 2}},
		{queue.Filter{Domain: "example.org"}, nil}, {queue.Filter{Error: "LOOP", Recipient: "y@example.com"}, []queue.ID{1, 2}},
	} {
		if text, err := json.Marshal(c.filter); err != nil || c.filter.All() != (string(text) == "{}") {
			t.Errorf("%s says that it selects all: %v", text, c.filter.All())
		}
		if got := l.state.On(repository(t, "error")).Select(&c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.filter, got, c.want)
		}
	}
	l.add(queue.Record{Clear: &queue.Clear{Shelf: repository(t, "error")}})
	if l.state.Total() != 1 || l.state.On(repository(t, "dead")).Len() != 1 {
		t.Errorf("%d are left", l.state.Total())
	}
}

// TestEveryEntryLiesOnOneShelf, whatever records come, and who reads what was carried sees the same.
func TestEveryEntryLiesOnOneShelf(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newLog(t)
		shelves := []queue.Shelf{queue.Outgoing, queue.Spool, repository(t, "error"), repository(t, "dead")}
		shelf := rapid.SampledFrom(shelves)
		id := rapid.Map(rapid.Uint64Range(1, 8), func(n uint64) queue.ID { return queue.ID(n) })
		address := rapid.SampledFrom([]string{"x@example.net", "y@example.net"})
		records := map[queue.ID]*queue.Entry{}
		add := func(record queue.Record) {
			if e := record.Put; e != nil && l.state.Find(e.ID) == nil {
				records[e.ID] = e
			}
			l.add(record)
		}
		move := func(r *rapid.T) *queue.Move {
			return &queue.Move{Shelf: shelf.Draw(r, "to"), Cause: rapid.SampledFrom([]string{"", "loop"}).Draw(r, "cause"), Shift: rapid.Bool().Draw(r, "shift"), Due: 5}
		}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				e := entry(id.Draw(r, "id"), "x@example.net", "y@example.net")
				if e.Shelf = shelf.Draw(r, "on"); e.Shelf != queue.Outgoing {
					e.Domain = ""
				}
				add(put(e))
			},
			"claim": func(r *rapid.T) {
				record := claim("mail1", "a", 1, id.Draw(r, "id"))
				if rapid.Bool().Draw(r, "tells where") {
					on := shelf.Draw(r, "on")
					record.Claim.On = &on
				}
				add(record)
			},
			"lapse": func(r *rapid.T) {
				add(queue.Record{Lapse: &queue.Lapse{IDs: []queue.ID{id.Draw(r, "id")}, Node: "mail1", Boot: "b", At: 1}})
			},
			"result": func(r *rapid.T) {
				result := &queue.Result{ID: id.Draw(r, "id"), Node: "mail1", Boot: "a", At: 9}
				if rapid.Bool().Draw(r, "done") {
					result.Done = []string{address.Draw(r, "address")}
				}
				if rapid.Bool().Draw(r, "moves") {
					result.Move = move(r)
				}
				add(queue.Record{Result: result})
			},
			"change": func(r *rapid.T) {
				held := rapid.Bool().Draw(r, "held")
				add(queue.Record{Change: &queue.Change{IDs: []queue.ID{id.Draw(r, "id")}, On: shelf.Draw(r, "on"), Held: &held}})
			},
			"move": func(r *rapid.T) {
				add(queue.Record{Change: &queue.Change{IDs: []queue.ID{id.Draw(r, "a"), id.Draw(r, "b")}, On: shelf.Draw(r, "on"), At: 9, Move: move(r)}})
			},
			"remove": func(r *rapid.T) {
				add(queue.Record{Change: &queue.Change{IDs: []queue.ID{id.Draw(r, "id")}, On: shelf.Draw(r, "on"), Remove: true}})
			},
			"clear": func(r *rapid.T) { add(queue.Record{Clear: &queue.Clear{Shelf: shelf.Draw(r, "on")}}) },
			"": func(r *rapid.T) {
				seen, claimed := map[queue.ID]queue.Shelf{}, 0
				for _, on := range shelves {
					items, _ := l.state.On(on).List(&queue.Filter{}, 0, 100)
					held, octets := 0, int64(0)
					for _, i := range items {
						if other, twice := seen[i.ID]; twice || i.Shelf() != on {
							r.Fatalf("%s lies on %q and %q", i.ID, on, other)
						}
						seen[i.ID] = on
						if octets += i.Size(); i.Held {
							held++
						}
					}
					s := l.state.On(on)
					if on.IsRepository() && s.Claimed() > 0 {
						r.Fatalf("%d entries of %q are claimed", s.Claimed(), on)
					}
					claimed += s.Claimed()
					if s.Len() != len(items) || s.Octets() != octets || s.Held() != held || (s.Oldest() == nil) != (len(items) == 0) {
						r.Fatalf("%q: %d of %d, %d octets of %d, %d held of %d", on, s.Len(), len(items), s.Octets(), octets, s.Held(), held)
					}
				}
				if l.state.Total() != len(seen) {
					r.Fatalf("%d of %d", l.state.Total(), len(seen))
				}
				anew := newLog(t)
				for _, id := range slices.Sorted(maps.Keys(seen)) {
					if _, is := l.state.Claim(id); is {
						claimed--
					}
					e := *records[id]
					e.Recipients = slices.Clone(e.Recipients)
					l.state.Find(id).Overlay(&e)
					anew.add(put(&e))
					var a, b queue.Entry
					l.state.Find(id).Overlay(&a)
					anew.state.Find(id).Overlay(&b)
					if a, b := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); a != b {
						r.Fatalf("%s was %s, and is carried as %s", id, a, b)
					}
				}
				if claimed != 0 {
					r.Fatalf("%d claims are counted wrongly", claimed)
				}
			},
		})
	})
}
