package directory

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"pgregory.net/rapid"
)

func TestNormalDomain(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for name, want := range map[string]string{
		"example.org":             "example.org",
		"Example.ORG":             "example.org",
		"localhost":               "localhost",
		"BÜCHER.example":          "bücher.example",
		"bu\u0308cher.example":    "bücher.example",
		"xn--bcher-kva.example":   "bücher.example",
		"XN--99999999.example":    "xn--99999999.example",
		"日本語.jp":                  "日本語.jp",
		"हिन्दी.example":          "हिन्दी.example", // with combining marks
		"1-2.3com":                "1-2.3com",
		label63 + ".org":          label63 + ".org",
		"":                        "",
		".":                       "",
		"example.org.":            "",
		".example.org":            "",
		"a..b":                    "",
		"-a.org":                  "",
		"a-.org":                  "",
		"a_b.org":                 "",
		"a b.org":                 "",
		"[127.0.0.1]":             "",
		"a\x00.org":               "",
		"\xff.org":                "",
		"\u0308a.org":             "",
		label63 + "a.org":         "",
		strings.Repeat("a.", 127): "",
	} {
		got, err := NormalDomain(name)
		if got != want || (err != nil) != (want == "") || err != nil && !domain.Is(err, domain.Invalid) {
			t.Errorf("%q is %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestNormalAddress(t *testing.T) {
	for address, want := range map[string]string{
		"alice@example.org":                         "alice@example.org",
		"Alice.B+Tag@Example.ORG":                   "alice.b+tag@example.org",
		`"Alice"@example.org`:                       "alice@example.org",
		`"al\ice"@example.org`:                      "alice@example.org",
		"ju\u0308rgen@example.org":                  "jürgen@example.org",
		"o'neil/x=y@example.org":                    "o'neil/x=y@example.org",
		strings.Repeat("x", 64) + "@example.org":    strings.Repeat("x", 64) + "@example.org",
		strings.Repeat("x", 65) + "@example.org":    "",
		"alice":                                     "",
		"@example.org":                              "",
		"alice@":                                    "",
		"a..b@example.org":                          "",
		".a@example.org":                            "",
		"a.@example.org":                            "",
		"a b@example.org":                           "",
		`"a b"@example.org`:                         "",
		`"a@b"@example.org`:                         "",
		`""@example.org`:                            "",
		"a@b@example.org":                           "",
		"a\x00@example.org":                         "",
		"a\r\n@example.org":                         "",
		"\xff@example.org":                          "",
		"a\u2028b@example.org":                      "",
		"<alice@example.org>":                       "",
		"alice@example.org, bob@example.org":        "",
		"alice@" + strings.Repeat("a.", 126) + "aa": "",
	} {
		got, err := NormalAddress(address)
		if got != want || (err != nil) != (want == "") || err != nil && !domain.Is(err, domain.Invalid) {
			t.Errorf("%q is %q, %v; want %q", address, got, err, want)
		}
		if err == nil {
			if again, err := NormalAddress(got); again != got || err != nil {
				t.Errorf("%q becomes %q the second time, %v", got, again, err)
			}
		}
	}
}

// TestTwoSpellingsAreOneDomain: A-labels and U-labels name the same domain, for every command and every lookup.
func TestTwoSpellingsAreOneDomain(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"XN--Bcher-Kva.example"})
	x.refuses(domain.Exists, AddDomain{"bücher.example"})
	x.refuses(domain.Invalid, AddDomain{"xn--99999999.example"})
	x.do(AddAccount{ID: ids[0], Address: "Alice@xn--bcher-kva.example"})
	x.refuses(domain.Exists, AddAccount{ID: ids[1], Address: "alice@BÜCHER.example"})
	x.do(AddAddress{ids[0], "al@bücher.example"})
	for _, spelt := range []string{"alice@bücher.example", "ALICE@xn--bcher-kva.example", "al@xn--bcher-kva.example"} {
		if a, err := x.s.Find(spelt); err != nil || a.ID != ids[0] || a.Login() != "alice@bücher.example" {
			t.Errorf("%s leads to %+v, %v", spelt, a, err)
		}
	}
	x.do(RemoveAddress{"al@xn--bcher-kva.example"})
	x.do(Erase{ids[0]})
	x.do(RemoveDomain{"xn--bcher-kva.example"})
}

// TestOldSpellings: a log from when the two spellings were two domains works on, with either of them or both.
func TestOldSpellings(t *testing.T) {
	const u, a = "bücher.example", "xn--bcher-kva.example"
	x := &script{t, New()}
	for i, e := range []event.Event{
		&event.DomainAdded{Name: a}, &event.AccountAdded{Account: ids[0], Address: "alice@" + a},
		&event.DomainAdded{Name: u}, &event.AccountAdded{Account: ids[1], Address: "alice@" + u}, &event.AccountAdded{Account: ids[2], Address: "bob@" + u},
	} {
		x.s.Apply(domain.Tx(i+1), e)
		if i == 1 { // the domain is known by its A-label alone
			if found, err := x.s.Find("alice@" + u); err != nil || found.ID != ids[0] {
				t.Errorf("alice by the other spelling is %+v, %v", found, err)
			}
			x.refuses(domain.Exists, AddDomain{u})
			x.refuses(domain.Exists, AddAddress{ids[0], "alice@" + u})
			if events := x.do(AddAddress{ids[0], "al@" + u}); events[0].(*event.AddressAdded).Address != "al@"+a {
				t.Errorf("a new address is stored as %+v", events[0])
			}
		}
	}
	for address, id := range map[string]domain.AccountID{"alice@" + a: ids[0], "alice@" + u: ids[1], "bob@" + u: ids[2], "bob@" + a: ids[2], "al@" + u: ids[0]} {
		if found, err := x.s.Find(address); err != nil || found.ID != id {
			t.Errorf("%s leads to %+v, %v", address, found, err)
		}
	}
	x.do(Erase{ids[0]})
	x.do(RemoveDomain{a})
	x.refuses(domain.Exists, RemoveDomain{a}) // it is the other one now, which is in use
}

func FuzzNormalAddress(f *testing.F) {
	f.Add("Alice+x@Example.ORG")
	f.Add(`"a\"b"@[::1]`)
	f.Add("İ@İ.example")
	f.Fuzz(func(t *testing.T, address string) {
		normal, err := NormalAddress(address)
		if err != nil {
			return
		}
		if again, err := NormalAddress(normal); again != normal || err != nil {
			t.Errorf("%q becomes %q and then %q, %v", address, normal, again, err)
		}
	})
}

var ids = []domain.AccountID{domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2}), domain.NewAccountID([10]byte{3})}

// script runs commands one after the other.
type script struct {
	t testing.TB
	s *State
}

func (x *script) do(c Command) []event.Event {
	x.t.Helper()
	events, err := Decide(x.s, c)
	if err != nil {
		x.t.Fatalf("%+v: %v", c, err)
	}
	for _, e := range events {
		x.s.Apply(x.s.Tx+1, e)
	}
	return events
}

func (x *script) refuses(kind domain.Kind, c Command) {
	x.t.Helper()
	if events, err := Decide(x.s, c); !domain.Is(err, kind) || events != nil {
		x.t.Errorf("%+v: got %v and %v, want a refusal: %v", c, events, err, kind)
	}
}

func TestDomainsAndAddresses(t *testing.T) {
	x := &script{t, New()}
	x.refuses(domain.NotFound, AddAccount{ID: ids[0], Address: "alice@example.org"})
	x.do(AddDomain{"Example.ORG"})
	x.refuses(domain.Exists, AddDomain{"example.org"})
	for _, name := range []string{"exa mple.org", "127.0.0.1", "10", "example.1"} {
		x.refuses(domain.Invalid, AddDomain{name})
	}
	x.do(AddDomain{"127.0.0.1.example"})
	x.do(RemoveDomain{"127.0.0.1.example"})
	x.refuses(domain.NotFound, RemoveDomain{"127.0.0.1"})
	x.refuses(domain.NotFound, RemoveDomain{"example.net"})
	x.do(AddAccount{ID: ids[0], Address: "Alice@Example.org"})
	x.refuses(domain.Exists, RemoveDomain{"example.org"})
	x.refuses(domain.Exists, AddAccount{ID: ids[1], Address: "alice@example.org"})
	x.refuses(domain.Exists, AddAccount{ID: ids[0], Address: "bob@example.org"})
	x.refuses(domain.Invalid, AddAccount{ID: "bob", Address: "bob@example.org"})
	x.refuses(domain.Invalid, AddAccount{ID: domain.DirectoryID, Address: "bob@example.org"})
	x.refuses(domain.Exists, AddAddress{ids[0], "ALICE@example.org"})
	x.refuses(domain.NotFound, AddAddress{ids[0], "alice@example.net"})
	x.refuses(domain.NotFound, AddAddress{ids[1], "al@example.org"})
	x.do(AddAddress{ids[0], "Al@example.org"})
	x.refuses(domain.Invalid, RemoveAddress{"alice@example.org"}) // the login
	x.refuses(domain.NotFound, RemoveAddress{"bob@example.org"})
	if a, ok := x.s.ByAddress("al@example.org"); !ok || a.Login() != "alice@example.org" {
		t.Errorf("al is %+v", a)
	}
	x.do(RemoveAddress{"AL@example.org"})
	x.do(Erase{ids[0]})
	x.do(RemoveDomain{"EXAMPLE.org"})
	if len(x.s.Domains)+len(x.s.Addresses)+len(x.s.Accounts) != 0 {
		t.Errorf("something is left: %+v", x.s)
	}
}

func TestAnAccountHasSoManyAddresses(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	x.do(AddAccount{ID: ids[0], Address: "x@example.org"})
	for len(x.s.Accounts[ids[0]].Addresses) < MaxAddresses {
		x.do(AddAddress{ids[0], strings.Repeat("x", len(x.s.Addresses)%60+1) + "." + string(rune('a'+len(x.s.Addresses)/60)) + "@example.org"})
	}
	x.refuses(domain.TooLarge, AddAddress{ids[0], "more@example.org"})
}

func TestCredentials(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	keys := event.ScramKeys{Iterations: 4096, Salt: []byte("salt"), StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}
	weak := keys
	weak.Iterations = 1000 // RFC 7677 section 4.
	x.refuses(domain.Invalid, AddAccount{ID: ids[0], Address: "a@example.org", Scram: weak})
	x.do(AddAccount{ID: ids[0], Address: "a@example.org", Hash: "$argon2id$...", Scram: keys})
	x.refuses(domain.TooLarge, SetPassword{ID: ids[0], Hash: strings.Repeat("x", 2000)})
	x.refuses(domain.NotFound, SetPassword{ID: ids[1], Hash: "x"})
	x.do(SetPassword{ID: ids[0], Hash: "$2y$..."})
	if a := x.s.Accounts[ids[0]]; a.Hash != "$2y$..." || a.Scram.Iterations != 0 {
		t.Errorf("the verifiers are %q and %v", a.Hash, a.Scram)
	}
	x.refuses(domain.NotFound, SetDisabled{ids[1], true})
	if events := x.do(SetDisabled{ids[0], false}); events != nil {
		t.Errorf("enabling what is enabled gave %v", events)
	}
	x.do(SetDisabled{ids[0], true})
	if !x.s.Accounts[ids[0]].Disabled {
		t.Error("the account is not disabled")
	}
}

func TestErasingIsForEver(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	x.refuses(domain.NotFound, Erase{ids[0]})
	x.do(AddAccount{ID: ids[0], Address: "a@example.org"})
	x.do(Erase{ids[0]})
	if events := x.do(Erase{ids[0]}); events != nil {
		t.Errorf("erasing again gave %v", events)
	}
	x.refuses(domain.Erased, SetDisabled{ids[0], true})
	x.refuses(domain.Exists, AddAccount{ID: ids[0], Address: "b@example.org"})
	x.do(AddAccount{ID: ids[1], Address: "a@example.org"})
}

func TestAppPasswords(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	x.do(AddAccount{ID: ids[0], Address: "a@example.org"})
	phone := AddAppPassword{ID: ids[0], Name: " te\u0301le\u0301phone ", Now: 100, Expires: 200, Protocols: []string{"imap", "smtp", "imap"}}
	x.do(phone)
	x.refuses(domain.Exists, phone)
	x.refuses(domain.NotFound, AddAppPassword{ID: ids[1], Name: "x"})
	for _, bad := range []AddAppPassword{{Name: ""}, {Name: " "}, {Name: "a\nb"}, {Name: "a/b"}, {Name: "\xff"}, {Name: strings.Repeat("x", 65)},
		{Name: "x", Now: 100, Expires: 100}, {Name: "x", Protocols: []string{"jmap"}}} {
		bad.ID = ids[0]
		x.refuses(domain.Invalid, bad)
	}
	p, ok := x.s.Accounts[ids[0]].App("t\u00e9l\u00e9phone")
	if !ok || len(p.Protocols) != 2 || !p.Opens("imap", 199) || p.Opens("imap", 200) || p.Opens("pop3", 150) {
		t.Errorf("the app password is %+v, %v", p, ok)
	}
	x.refuses(domain.NotFound, RemoveAppPassword{ids[0], "x"})
	x.do(RemoveAppPassword{ids[0], "te\u0301le\u0301phone"})
	if len(x.s.Accounts[ids[0]].AppPasswords) != 0 {
		t.Error("it is still there")
	}
	for i := range MaxAppPasswords {
		x.do(AddAppPassword{ID: ids[0], Name: string(rune('A' + i))})
	}
	x.refuses(domain.TooLarge, AddAppPassword{ID: ids[0], Name: "one more"})
}

func TestFirst(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	x.do(AddDomain{"example.net"})
	x.do(AddAccount{ID: ids[2], Address: "z@example.org"})
	x.do(AddAccount{ID: ids[0], Address: "a@example.org"})
	x.do(AddAccount{ID: ids[1], Address: "a@example.net"})
	for host, want := range map[string]domain.AccountID{"": ids[2], "example.org": ids[2], "example.net": ids[1]} {
		if a, ok := x.s.First(host); !ok || a.ID != want {
			t.Errorf("the first of %q is %+v", host, a)
		}
	}
	if a, ok := x.s.First("example.com"); ok {
		t.Errorf("a domain without accounts has %+v", a)
	}
}

func TestContradictionsPanic(t *testing.T) {
	for name, e := range map[string]event.Event{
		"domain again":   &event.DomainAdded{Name: "example.org"},
		"domain in use":  &event.DomainRemoved{Name: "example.org"},
		"account again":  &event.AccountAdded{Account: ids[0], Address: "b@example.org"},
		"no account":     &event.AccountErased{Account: ids[1]},
		"foreign domain": &event.AddressAdded{Account: ids[0], Address: "a@example.net"},
		"address again":  &event.AddressAdded{Account: ids[0], Address: "a@example.org"},
		"no address":     &event.AddressRemoved{Address: "b@example.org"},
		"login removed":  &event.AddressRemoved{Address: "a@example.org"},
		"app again":      &event.AppPasswordAdded{Account: ids[0], Name: "phone", Hash: make([]byte, 32)},
		"short hash":     &event.AppPasswordAdded{Account: ids[0], Name: "laptop", Hash: make([]byte, 31)},
		"no app":         &event.AppPasswordRemoved{Account: ids[0], Name: "laptop"},
		"no replica":     &event.ReplicaRemoved{Account: ids[0], Node: "n1"},
		"not to pause":   &event.ReplicaPaused{Account: ids[0], Node: "n1", Paused: true},
		"no enrolment":   &event.EnrolmentRemoved{Selector: "all"},
		"of an account":  &event.MailboxCreated{Mailbox: 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := &script{t, New()}
			x.do(AddDomain{"example.org"})
			x.do(AddAccount{ID: ids[0], Address: "a@example.org"})
			x.do(AddAppPassword{ID: ids[0], Name: "phone"})
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was folded", e)
				}
			}()
			x.s.Apply(9, e)
		})
	}
}

// TestRandomCommands runs random commands and checks the invariants of the package comment, that Decide changes nothing, and that a replay of
// the encoded log gives the same state.
func TestRandomCommands(t *testing.T) {
	host := rapid.SampledFrom([]string{"example.org", "Example.net", "bücher.example", "bad domain"})
	address := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"a", "B", "a+b", "c"}).Draw(t, "local") + "@" + host.Draw(t, "host")
	})
	id := rapid.SampledFrom(ids)
	command := rapid.Custom(func(t *rapid.T) Command {
		switch rapid.IntRange(0, 15).Draw(t, "kind") {
		case 0, 1:
			return AddDomain{host.Draw(t, "domain")}
		case 2:
			return RemoveDomain{host.Draw(t, "domain")}
		case 3:
			return AddAccount{ID: id.Draw(t, "id"), Address: address.Draw(t, "address"), Hash: rapid.SampledFrom([]string{"", "h"}).Draw(t, "hash")}
		case 4:
			return AddAddress{id.Draw(t, "id"), address.Draw(t, "address")}
		case 5:
			return RemoveAddress{address.Draw(t, "address")}
		case 6:
			return SetPassword{ID: id.Draw(t, "id"), Hash: "other"}
		case 7:
			return SetDisabled{id.Draw(t, "id"), rapid.Bool().Draw(t, "disabled")}
		case 8:
			return AddAppPassword{ID: id.Draw(t, "id"), Name: rapid.SampledFrom([]string{"phone", "laptop", ""}).Draw(t, "name"), Now: 1, Protocols: []string{"imap"}}
		case 9:
			return RemoveAppPassword{id.Draw(t, "id"), rapid.SampledFrom([]string{"phone", "laptop"}).Draw(t, "name")}
		case 10, 11, 12, 13, 14:
			return placing(t)
		}
		if rapid.IntRange(0, 3).Draw(t, "sure") > 0 { // There are few ids, and they do not come back.
			return SetShared{id.Draw(t, "id"), rapid.Bool().Draw(t, "shared")}
		}
		return Erase{id.Draw(t, "id")}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		var log [][]byte
		replay := func() *State {
			s := New()
			for i, raw := range log {
				tx, err := event.Unmarshal(raw)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range tx.Events {
					s.Apply(domain.Tx(i+1), e)
				}
			}
			return s
		}
		t.Repeat(map[string]func(*rapid.T){
			"command": func(t *rapid.T) {
				c := command.Draw(t, "command")
				before := replay()
				events, err := Decide(s, c)
				if !reflect.DeepEqual(before, s) {
					t.Fatalf("Decide(%+v) changed the state", c)
				}
				if err != nil && (events != nil || domain.KindOf(err) == domain.Internal) {
					t.Fatalf("Decide(%+v) gave %v and %v", c, events, err)
				}
				if len(events) > 0 {
					log = append(log, event.Marshal(&event.Transaction{Events: events}))
				}
				for _, e := range events {
					s.Apply(domain.Tx(len(log)), e)
				}
			},
			"": func(t *rapid.T) {
				listed := map[string]domain.AccountID{}
				used := map[string]int{}
				for id, a := range s.Accounts {
					if _, erased := s.Erased[id]; erased || a.ID != id || len(a.Addresses) == 0 {
						t.Fatalf("account %s is %+v", id, a)
					}
					for _, address := range a.Addresses {
						normal, err := NormalAddress(address)
						if _, twice := listed[address]; twice || err != nil || normal != address {
							t.Fatalf("address %q of %s: %v", address, id, err)
						}
						listed[address] = id
						used[domainOf(address)]++
					}
					for i, p := range a.Placements {
						if again, _ := a.Placement(p.Node); again != p || i > 0 && (a.Placements[i-1].Priority > p.Priority || len(a.Placements) > MaxReplicas) {
							t.Fatalf("the replicas of %s are %+v", id, a.Placements)
						}
					}
				}
				if !reflect.DeepEqual(listed, s.Addresses) {
					t.Fatalf("accounts list %v, addresses are %v", listed, s.Addresses)
				}
				for name, n := range s.Domains {
					if used[name] != n {
						t.Fatalf("domain %s counts %d addresses and has %d", name, n, used[name])
					}
					delete(used, name)
				}
				if len(used) > 0 {
					t.Fatalf("addresses in foreign domains: %v", used)
				}
				if again := replay(); !reflect.DeepEqual(again, s) {
					t.Fatalf("a replay of the log gives\n%+v\nnot\n%+v", again, s)
				}
				if !slices.IsSortedFunc(s.Sorted(), func(a, b *Account) int { return strings.Compare(a.Login(), b.Login()) }) {
					t.Fatal("Sorted is not")
				}
			},
		})
	})
}
