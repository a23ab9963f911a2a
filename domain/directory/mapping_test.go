package directory

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"pgregory.net/rapid"
)

// town has two local domains and the accounts alice, bob and carol at example.org, and dave at example.net.
func town(t testing.TB) *script {
	x := &script{t: t, s: New()}
	x.do(AddDomain{"example.org"})
	x.do(AddDomain{"example.net"})
	for i, name := range []string{"alice@example.org", "bob@example.org", "carol@example.org", "dave@example.net"} {
		x.do(AddAccount{ID: domain.NewAccountID([10]byte{byte(i + 1)}), Address: name})
	}
	return x
}

func mapping(text string) rewriting.Mapping {
	f := strings.SplitN(text, " ", 3)
	return rewriting.Mapping{Source: f[1], Kind: event.MappingKind(f[0]), Target: f[2]}
}

func adds(texts ...string) (c ChangeMappings) {
	for _, text := range texts {
		c.Add = append(c.Add, mapping(text))
	}
	return c
}

func removes(text string) ChangeMappings {
	return ChangeMappings{Remove: []rewriting.Mapping{mapping(text)}, Strict: true}
}

// reaches tells where mail for an address goes, in one line.
func (x *script) reaches(address string) string {
	x.t.Helper()
	a, err := delivery.ParseAddress(address)
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := x.s.Mappings.Resolve(World{State: x.s}, a)
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, f := range r.Finals {
		switch {
		case f.Account == "":
			list = append(list, "away:"+f.Address.String())
		case f.Detail != "":
			list = append(list, f.Address.String()+"/"+f.Detail)
		default:
			list = append(list, f.Address.String())
		}
	}
	for _, d := range r.Dead {
		if d.Refusal != nil {
			list = append(list, "refused:"+d.Refusal.String())
		} else {
			list = append(list, "nobody:"+d.Address)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (x *script) reach(want map[string]string) {
	x.t.Helper()
	for _, address := range slices.Sorted(maps.Keys(want)) {
		if got := x.reaches(address); got != want[address] {
			x.t.Errorf("%s goes to %q, want %q", address, got, want[address])
		}
	}
}

func TestMappings(t *testing.T) {
	x := town(t)
	x.do(adds(
		"alias Sales@Example.org alice@example.org",
		"alias shop@example.org sales@example.org",
		"alias away@example.org Zoe@Else.example",
		"group team@example.org alice@example.org",
		"group team@example.org shop@example.org", // alice again
		"group team@example.org bob@example.org",
		"group team@example.org zoe@else.example",
		"group team@example.org nobody@example.org",
		"forward bob@example.org carol@example.org",
		"forward bob@example.org bob@example.org", // keeps a copy
		"address old@example.org dave@example.net",
		"error gone@example.org 551 5.1.6 Moved away",
		"error full@example.org for now",
		`regex x@example.org (.)@example\.org:${1}y@else.example`,
		`regex bobby@example.org .*:Bob.X@else.example`,
	))
	x.reach(map[string]string{
		"alice@example.org":       "alice@example.org",
		"ALICE+Lists@EXAMPLE.org": "alice@example.org/lists",
		"shop@example.org":        "alice@example.org",
		"shop+x@example.org":      "alice@example.org/x",
		"away@example.org":        "away:Zoe@else.example",
		"away+x@example.org":      "away:Zoe+x@else.example",
		"team@example.org":        "alice@example.org away:zoe@else.example bob@example.org carol@example.org nobody:nobody@example.org",
		"team+x@example.org":      "alice@example.org away:zoe@else.example bob@example.org carol@example.org nobody:nobody@example.org",
		"bob+x@example.org":       "bob@example.org/x carol@example.org",
		"old@example.org":         "dave@example.net",
		"gone@example.org":        "refused:551 5.1.6 Moved away",
		"gone+x@example.org":      "refused:551 5.1.6 Moved away",
		"full@example.org":        "refused:550 5.7.1 for now",
		"x@example.org":           "away:xy@else.example",
		"bobby@example.org":       "away:Bob.X@else.example",
		"zoe@else.example":        "away:zoe@else.example",
		"nobody@example.org":      "nobody:nobody@example.org",
		"postmaster@example.net":  "dave@example.net",
	})
	// An account without its copy has nothing.
	x.do(removes("forward bob@example.org bob@example.org"))
	x.reach(map[string]string{"bob@example.org": "carol@example.org"})
	// Both directions.
	if got := x.s.Mappings.To("alice@example.org"); len(got) != 2 || got[0].Kind != event.Alias || got[1].Kind != event.Group {
		t.Error(got)
	}
	if got := x.s.Mappings.To(x.s.Target("ZOE@else.EXAMPLE")); len(got) != 2 {
		t.Error(got)
	}
	// Nobody is named who is gone.
	x.do(Erase{x.s.Addresses["bob@example.org"]})
	if got := append(x.s.Mappings.To("bob@example.org"), x.s.Mappings.Of("bob@example.org")...); len(got) != 0 {
		t.Error(got)
	}
	x.refuses(domain.Exists, RemoveDomain{"example.org"})
}

func TestMappingsOfDomains(t *testing.T) {
	x := town(t)
	x.do(AddDomain{"alias.example"})
	x.do(AddDomain{"moved.example"})
	x.do(AddAccount{ID: domain.NewAccountID([10]byte{9}), Address: "own@alias.example"})
	x.do(adds(
		"domainAlias @alias.example example.org",
		"domain @moved.example @else.example",
		"alias sales@example.org alice@example.org",
		"address @example.net dave@example.net",
		"address *@example.org info@example.org",
		"alias info@example.org bob@example.org",
	))
	x.reach(map[string]string{
		"alice@alias.example":      "alice@example.org",
		"sales+x@alias.example":    "alice@example.org/x",
		"own@alias.example":        "own@alias.example",
		"typo@alias.example":       "bob@example.org", // by the catch-all of the domain for which it stands
		"typo@example.net":         "dave@example.net",
		"typo@example.org":         "bob@example.org",
		"Any.One@moved.example":    "away:Any.One@else.example",
		"postmaster@moved.example": "away:postmaster@else.example",
		"postmaster@alias.example": "alice@example.org",
	})
	// What mappings name is no typing error.
	x.do(adds("group team@example.org nobody@example.org"))
	x.reach(map[string]string{"team@example.org": "nobody:nobody@example.org"})
	// A catch-all that leads to itself catches nothing.
	x.do(Erase{x.s.Addresses["dave@example.net"]})
	x.do(adds("address @example.net dave@example.net"))
	x.reach(map[string]string{"dave@example.net": "nobody:dave@example.net"})
	x.do(removes("address @example.net dave@example.net"))
	x.do(adds("error @example.net 550 5.1.1 Closed"))
	x.reach(map[string]string{"dave@example.net": "refused:550 5.1.1 Closed"})
	x.refuses(domain.Exists, adds("domain @alias.example else.example"))
	x.refuses(domain.NotFound, adds("domainAlias @moved.example else.example"))
	x.refuses(domain.Exists, RemoveDomain{"moved.example"})
	x.do(removes("domain @moved.example else.example"))
	x.do(RemoveDomain{"moved.example"})
}

// A mistyped address that a catch-all takes, and that comes back, is nobody's the second time. That is no loop.
func TestWhatACatchAllCatchesMayComeBack(t *testing.T) {
	x := town(t)
	x.do(AddDomain{"alias.example"})
	x.do(adds("address @example.org a@example.net", "alias a@example.net a@example.org", "domainAlias @alias.example example.org"))
	x.reach(map[string]string{
		"a@example.org":    "nobody:a@example.org",
		"typo@example.org": "nobody:a@example.org",
		"a@alias.example":  "nobody:a@example.org",
		"a@example.net":    "nobody:a@example.org",
	})
	// Over the domain by which the address came.
	x.do(adds("alias b@example.net b@alias.example", "address @example.org b@example.net"))
	x.reach(map[string]string{"b@alias.example": "nobody:a@example.org nobody:b@example.org"})
	// Whoever has the address then has the mail of the catch-all as well.
	x.do(AddAccount{ID: domain.NewAccountID([10]byte{9}), Address: "a@example.org"})
	x.reach(map[string]string{"a@example.org": "a@example.org", "typo@example.org": "a@example.org nobody:b@example.org"})
	// A loop behind a catch-all still is one.
	x.do(adds(`regex @example.net y@.*:z@example.net`, `regex @example.net z@.*:y@example.net`, "address @alias.example y@example.net"))
	x.do(removes("domainAlias @alias.example example.org"))
	if got := x.reaches("y@alias.example"); got != "a loop: y@alias.example -> (address) y@example.net -> (regex) z@example.net -> (regex) y@example.net" {
		t.Error(got)
	}
}

func TestMappingsThatAreRefused(t *testing.T) {
	x := town(t)
	x.do(adds("alias sales@example.org alice@example.org", "group team@example.org bob@example.org"))
	for text, kind := range map[string]domain.Kind{
		"alias bob@example.org alice@example.org":                                domain.Exists,
		"group bob@example.org alice@example.org":                                domain.Exists,
		"group sales@example.org alice@example.org":                              domain.Exists,
		"alias team@example.org alice@example.org":                               domain.Exists,
		"forward sales@example.org alice@example.org":                            domain.NotFound,
		"alias x@else.example alice@example.org":                                 domain.NotFound,
		"alias x@example.org x@EXAMPLE.org":                                      domain.Invalid,
		"alias x@example.org nowhere":                                            domain.Invalid,
		"alias x@example.org x@[192.0.2.1]":                                      domain.Invalid,
		"alias @example.org alice@example.org":                                   domain.Invalid,
		"domain x@example.org else.example":                                      domain.Invalid,
		"domain @example.org example.org":                                        domain.Invalid,
		"nickname x@example.org alice@example.org":                               domain.Invalid,
		"regex x@example.org (":                                                  domain.Invalid,
		"regex x@example.org (:x@y":                                              domain.Invalid,
		"regex x@example.org x:y":                                                domain.Invalid,
		"regex x@example.org (((x{1000}){1000}){1000}):y@y":                      domain.Invalid,
		"regex @example.org q)|(?:.*evil.*:y@y":                                  domain.Invalid,
		"regex x@example.org " + strings.Repeat("(?:.?){999}", 80) + "never:y@y": domain.TooLarge,
		`regex x@example.org \pL{999}\pL{999}\pL{999}:y@y`:                       domain.TooLarge,
		"error x@example.org 421 4.3.0 Later":                                    domain.Invalid,
		"error x@example.org 550 4.3.0 Later":                                    domain.Invalid,
		"regex x@example.org " + strings.Repeat("x", 1000) + ":y@y":              domain.TooLarge,
	} {
		x.refuses(kind, adds(text))
	}
	// A reply is one line, whatever somebody writes.
	x.do(adds("error x@example.org 550 5.1.1 No\r\n250 OK"))
	x.reach(map[string]string{"x@example.org": "refused:550 5.1.1 No 250 OK"})
	x.refuses(domain.NotFound, removes("alias none@example.org alice@example.org"))
	x.refuses(domain.Exists, AddAccount{ID: domain.NewAccountID([10]byte{9}), Address: "sales@example.org"})
	if events := x.do(adds("alias sales@example.org alice@example.org")); len(events) != 0 {
		t.Errorf("what is there is added again: %v", events)
	}
	x.refuses(domain.TooLarge, ChangeMappings{Add: make([]rewriting.Mapping, rewriting.MaxChange+1)})
}

func TestLoopsAreRefusedWithTheirPath(t *testing.T) {
	x := town(t)
	x.do(AddDomain{"alias.example"})
	x.do(adds(
		"alias a@example.org b@example.org", "group b@example.org c@example.org", "group b@example.org d@example.net",
		"domainAlias @alias.example example.org", `regex e@example.org .*:f@example.net`,
	))
	for text, path := range map[string]string{
		"alias c@example.org a@example.org":             "c@example.org -> a@example.org -> b@example.org -> c@example.org",
		"address d@example.net A@Example.ORG":           "d@example.net -> a@example.org -> b@example.org -> d@example.net",
		"address d@example.net a@alias.example":         "d@example.net -> a@alias.example -> a@example.org -> b@example.org -> d@example.net",
		"address c@example.org c+x@example.org":         "c@example.org -> c+x@example.org -> c@example.org",
		"forward alice@example.org alice+x@example.org": "alice@example.org -> alice+x@example.org -> alice@example.org",
		"domainAlias @example.org alias.example":        "@alias.example -> @example.org -> @alias.example",
		"domain @example.org alias.example":             "@alias.example -> @example.org -> @alias.example",
		"alias f@example.net e@example.org":             "f@example.net -> e@example.org -> f@example.net",
		`regex f@example.net (.*)@.*:e@alias.example`:   "f@example.net -> e@alias.example -> e@example.org -> f@example.net",
	} {
		_, err := Decide(x.s, adds(text))
		var refused *domain.Error
		if !errors.As(err, &refused) || refused.Kind != domain.Exists || !turns(refused.Msg, path) {
			t.Errorf("%s: %v, want %s", text, err, path)
		}
	}
	// Two that are fine alone.
	x.refuses(domain.Exists, adds("alias p@example.org q@example.org", "alias q@example.org p@example.org"))
	// One goes, the other comes.
	x.do(ChangeMappings{Remove: []rewriting.Mapping{mapping("alias a@example.org b@example.org")}, Add: []rewriting.Mapping{mapping("alias c@example.org a@example.org")}})
}

// turns tells whether a message names a loop, wherever that begins.
func turns(msg, path string) bool {
	_, told, _ := strings.Cut(msg, ": ")
	steps := strings.Split(path, " -> ")
	for range steps {
		if told == strings.Join(steps, " -> ") {
			return true
		}
		steps = append(steps[1:], steps[1])
	}
	return false
}

// Expressions of domains make loops only when there is mail. Correcting one is checked with the addresses that were caught.
func TestALoopThatExpressionsMake(t *testing.T) {
	x := town(t)
	x.do(adds(`regex @example.org (.*)\.old@example\.org:${1}.new@example.net`, `regex @example.net (.*)\.new@example\.net:${1}.old@example.org`))
	if got := x.reaches("zoe.old@example.org"); got != "a loop: zoe.old@example.org -> (regex) zoe.new@example.net -> (regex) zoe.old@example.org" {
		t.Error(got)
	}
	x.reach(map[string]string{"alice@example.org": "alice@example.org", "zoe@example.org": "nobody:zoe@example.org"})
	wrong := mapping(`regex @example.net (.*)\.new@example\.net:${1}.old@example.org`)
	fix := ChangeMappings{Remove: []rewriting.Mapping{wrong}, Strict: true, Check: []string{"zoe.old@example.org"}}
	fix.Add = []rewriting.Mapping{mapping(`regex @example.net (.*)\.(new|recent)@example\.net:${1}.old@example.org`)}
	x.refuses(domain.Exists, fix)
	fix.Add = []rewriting.Mapping{mapping(`regex @example.net (.*)\.new@example\.net:${1}@else.example`)}
	x.do(fix)
	x.reach(map[string]string{"zoe.old@example.org": "away:zoe@else.example"})

	// One that makes addresses longer and longer, and a chain that is too long.
	x.do(adds(`regex @example.net (.*)\.x@example\.net:y${1}.x@example.net`))
	if got := x.reaches("a.x@example.net"); !strings.HasPrefix(got, string(rewriting.Deep)+": a.x@example.net -> (regex) ya.x@example.net") {
		t.Error(got)
	}
}

// Who writes an address does not say by it to which server mail is relayed.
func TestExpressionsAreNoRelay(t *testing.T) {
	x := town(t)
	x.do(adds(`regex @example.org (.*)=(.*)@.*:${1}@${2}`, `regex @example.net (.*)=(.*)@.*:${1}@a.${2}`, `regex @example.net (.*)@.*:${1}@else.example`, `regex one=else.example@example.org (.*)=(.*)@.*:${1}@${2}`))
	x.reach(map[string]string{
		"zoe=else.example@example.org":  "nobody:zoe=else.example@example.org",
		"zoe=a=b@example.org":           "nobody:zoe=a=b@example.org",
		"alice=example.org@example.org": "alice@example.org",
		"dave=example.net@example.org":  "dave@example.net",
		"zoe=b.example@example.net":     "away:zoe=b.example@else.example",
		"one=else.example@example.org":  "away:one@else.example", // what the operator has written whole
	})
}

func TestGroupsAreLarge(t *testing.T) {
	x := town(t)
	var all []string
	for i := range 1500 {
		all = append(all, fmt.Sprintf("group team@example.org m%d@else.example", i))
	}
	for some := range slices.Chunk(all, rewriting.MaxChange) {
		x.do(adds(some...))
	}
	x.do(adds("group all@example.org team@example.org", "group all@example.org alice@example.org", "group all@example.org m7@else.example"))
	a, _ := delivery.ParseAddress("all@example.org")
	r, err := x.s.Mappings.Resolve(World{State: x.s}, a)
	if err != nil || len(r.Finals) != 1501 {
		t.Fatal(err, len(r.Finals))
	}
}

// asking counts how often a table asks which domains are local: for each edge that it looks at.
type asking struct {
	World
	asked *int
}

func (w asking) Host(name string) (string, bool) {
	*w.asked++
	return w.World.Host(name)
}

// Many aliases of a large group are looked at for loops with one walk over its members.
func TestManyNamesOfALargeGroup(t *testing.T) {
	x := town(t)
	var members, names []string
	for i := range 1000 {
		members = append(members, fmt.Sprintf("group all@example.org m%d@else.example", i))
		names = append(names, fmt.Sprintf("alias n%d@example.org all@example.org", i))
	}
	x.do(adds(members...))
	asked, more := 0, adds(names...).Add
	if path := x.s.Mappings.With(nil, more).Loop(asking{World{State: x.s}, &asked}, more); path != nil || asked > 10_000 {
		t.Errorf("%v, after %d questions", path, asked)
	}
	x.do(adds(names...))
	x.refuses(domain.Exists, adds("group all@example.org n1@example.org", "group all@example.org n2@example.org"))
	// Pages are in order, and whole.
	var last rewriting.Mapping
	all := x.s.Mappings.All(every)
	for from := 0; from < len(all); from += 97 {
		page := x.s.Mappings.First(97, func(m rewriting.Mapping) bool { return m.Compare(last) > 0 })
		if !slices.Equal(page, all[from:min(from+97, len(all))]) {
			t.Fatalf("from %d: %v", from, page)
		}
		last = page[len(page)-1]
	}
}

func TestOwnersOfAddresses(t *testing.T) {
	x := town(t)
	x.do(AddDomain{"alias.example"})
	x.do(adds("alias sales@example.org alice@example.org", "alias both@example.org alice@example.org", "alias both@example.org bob@example.org",
		"group team@example.org alice@example.org", "forward alice@example.org bob@example.org", "domainAlias @alias.example example.org", "address @example.org bob@example.org"))
	for address, want := range map[string]string{
		"alice@example.org": "alice@example.org", "sales@example.org": "alice@example.org", "Sales+x@alias.example": "alice@example.org",
		"both@example.org": "", "team@example.org": "", "typo@example.org": "", "zoe@else.example": "",
	} {
		a, _ := delivery.ParseAddress(address)
		if f, ok := x.s.Mappings.Owner(World{State: x.s}, a); f.Address.String() != want || ok != (want != "") {
			t.Errorf("%s: %v, %v", address, f, ok)
		}
	}
}

// TestRandomMappings: whatever is changed, there is no loop without expressions of domains, every resolution ends, both directions are the same, and the log
// folds to the same state.
func TestRandomMappings(t *testing.T) {
	locals, hosts := []string{"a", "b", "c", "a+x"}, []string{"one.example", "two.example", "three.example", "far.example"}
	rapid.Check(t, func(t *rapid.T) {
		state, again := New(), New()
		expressions := rapid.Bool().Draw(t, "expressions of domains")
		address := func(label string) string {
			return rapid.SampledFrom(locals).Draw(t, label) + "@" + rapid.SampledFrom(hosts).Draw(t, label)
		}
		draw := func() rewriting.Mapping {
			kind := rapid.SampledFrom(MappingKinds).Draw(t, "kind")
			m := rewriting.Mapping{Kind: kind, Source: address("source"), Target: address("target")}
			wide := rapid.Bool().Draw(t, "wide")
			switch kind {
			case event.Domain, event.DomainAlias:
				m.Source, m.Target = m.Source[strings.LastIndexByte(m.Source, '@'):], m.Target[strings.LastIndexByte(m.Target, '@'):]
			case event.Regex:
				m.Target = rapid.SampledFrom([]string{`(.*)@.*:${1}@`, `(.*)@.*:${1}x@`, `a@.*:b@`}).Draw(t, "expression") + rapid.SampledFrom(hosts).Draw(t, "host")
				if wide && expressions {
					m.Source = m.Source[strings.LastIndexByte(m.Source, '@'):]
				}
			case event.Error:
				m.Target = "550 no"
			case event.Address:
				if wide {
					m.Source = m.Source[strings.LastIndexByte(m.Source, '@'):]
				}
			}
			return m
		}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			var c Command
			switch rapid.IntRange(0, 9).Draw(t, "command") {
			case 0:
				c = AddDomain{rapid.SampledFrom(hosts[:3]).Draw(t, "domain")}
			case 1:
				c = AddAccount{ID: domain.NewAccountID([10]byte{rapid.ByteRange(0, 9).Draw(t, "account")}), Address: address("account")}
			case 2:
				c = Erase{domain.NewAccountID([10]byte{rapid.ByteRange(0, 9).Draw(t, "account")})}
			case 3:
				c = RemoveDomain{rapid.SampledFrom(hosts).Draw(t, "domain")}
			case 4:
				if all := state.Mappings.All(func(rewriting.Mapping) bool { return true }); len(all) > 0 {
					c = ChangeMappings{Remove: []rewriting.Mapping{rapid.SampledFrom(all).Draw(t, "mapping")}, Strict: true}
					break
				}
				fallthrough
			default:
				more := ChangeMappings{}
				for range rapid.IntRange(1, 3).Draw(t, "mappings") {
					more.Add = append(more.Add, draw())
				}
				c = more
			}
			before := state.Mappings.All(every)
			events, err := Decide(state, c)
			if !slices.Equal(before, state.Mappings.All(every)) {
				t.Fatalf("Decide(%+v) changed the mappings", c)
			}
			if err != nil && (len(events) > 0 || domain.KindOf(err) == domain.Internal) {
				t.Fatalf("Decide(%+v) gave %v and %v", c, events, err)
			}
			for _, e := range events {
				state.Apply(state.Tx+1, e)
				again.Apply(again.Tx+1, e)
			}
		}
		if !reflect.DeepEqual(state.Mappings.All(every), again.Mappings.All(every)) {
			t.Fatal("the same log folds to different mappings")
		}
		n := 0
		for _, m := range state.Mappings.All(every) {
			n++
			if to := state.Mappings.To(m.Key()); !slices.Contains(to, m) {
				t.Fatalf("%v is not found by its target: %v", m, to)
			}
			for _, back := range state.Mappings.To(m.Key()) {
				if !slices.Contains(state.Mappings.Of(back.Source), back) {
					t.Fatalf("%v is found by its target only", back)
				}
			}
			if id, _, ok := (World{State: state}).Owner(m.Source); m.Kind == event.Forward && !ok || ok && (m.Kind == event.Alias || m.Kind == event.Group) {
				t.Fatalf("%v and the account %s", m, id)
			}
		}
		if n != state.Mappings.Len() {
			t.Fatalf("%d mappings, counted as %d", n, state.Mappings.Len())
		}
		for _, local := range append(locals, "postmaster", "axx", "nobody+a") {
			for _, host := range hosts {
				r, err := state.Mappings.Resolve(World{State: state}, delivery.Address{Local: local, Domain: host})
				var fault *rewriting.Fault
				if err != nil && (!errors.As(err, &fault) || !expressions && fault.Reason == rewriting.Looping) {
					t.Fatalf("%s@%s: %v", local, host, err)
				}
				if err == nil && len(r.Finals)+len(r.Dead) == 0 {
					t.Fatalf("mail for %s@%s vanishes", local, host)
				}
			}
		}
	})
}

func every(rewriting.Mapping) bool { return true }

func FuzzMapping(f *testing.F) {
	for _, kind := range MappingKinds {
		f.Add("a@example.org", string(kind), "alice@example.org")
		f.Add("@example.org", string(kind), "550 5.1.1 no")
	}
	f.Add("x@example.org", "regex", `(.*)@(.*):${1}.${2}@example.net`)
	f.Add("alice@example.org", "forward", `"a b"@else.example`)
	f.Fuzz(func(t *testing.T, source, kind, target string) {
		x := town(t)
		c := ChangeMappings{Add: []rewriting.Mapping{{Source: source, Kind: event.MappingKind(kind), Target: target}}}
		events, err := Decide(x.s, c)
		if err != nil {
			return
		}
		for _, e := range events {
			x.s.Apply(100, e)
		}
		if events, err := Decide(x.s, c); err != nil || len(events) != 0 {
			t.Fatalf("added again: %v, %v", events, err)
		}
		for _, m := range x.s.Mappings.All(every) {
			if again, err := x.s.spellMapping(m); again != m || err != nil {
				t.Fatalf("%q is spelt %q again, %v", m, again, err)
			}
			if !strings.HasPrefix(m.Source, "@") {
				if got := x.reaches(m.Source); got == "" {
					t.Fatalf("mail for %s vanishes", m.Source)
				}
			}
		}
		c.Remove, c.Add, c.Strict = c.Add, nil, true
		for _, e := range x.do(c) {
			_ = e
		}
		if x.s.Mappings.Len() != 0 {
			t.Fatal("what was added cannot be removed")
		}
	})
}

// BenchmarkMappings is a directory of 100,000 mappings, in groups of a thousand and chains of aliases: the cost of a change of a domain, for which all of it is looked at, of
// one more member, and of mail for a large group.
func BenchmarkMappings(b *testing.B) {
	x := town(b)
	for group := range 50 {
		var some []string
		for i := range 1000 {
			some = append(some, fmt.Sprintf("group g%d@example.org m%d@example.org", group, group*1000+i))
		}
		x.do(adds(some...))
		for i := range some {
			some[i] = fmt.Sprintf("alias m%d@example.org m%d@else.example", group*1000+i, group*1000+i)
		}
		x.do(adds(some...))
	}
	a, _ := delivery.ParseAddress("g7@example.org")
	b.Run("domain", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decide(x.s, adds("domainAlias @example.net example.org")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("member", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decide(x.s, adds("group g7@example.org g8@example.org")); err != nil {
				b.Fatal(err)
			}
		}
	})
	plain, _ := delivery.ParseAddress("alice@example.org")
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r, err := x.s.Mappings.Resolve(World{State: x.s}, plain); err != nil || len(r.Finals) != 1 {
				b.Fatal(err)
			}
		}
	})
	b.Run("mail", func(b *testing.B) {
		for b.Loop() {
			if r, err := x.s.Mappings.Resolve(World{State: x.s}, a); err != nil || len(r.Finals) != 1000 {
				b.Fatal(err)
			}
		}
	})
}
