package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

var three = []string{"n1", "n2", "n3"}

// peopled is a directory of two domains and three accounts.
func peopled(t *testing.T) *script {
	x := &script{t, New()}
	x.do(AddDomain{"example.org"})
	x.do(AddDomain{"example.net"})
	x.do(AddAccount{ID: ids[0], Address: "alice@example.org"})
	x.do(AddAccount{ID: ids[1], Address: "bob@example.org"})
	x.do(AddAccount{ID: ids[2], Address: "carol@example.net"})
	return x
}

// replicas tells an account's, in order: "n1:10 n2:20(paused)".
func (x *script) replicas(id domain.AccountID) string {
	var all []string
	for _, p := range x.s.Accounts[id].Placements {
		text := fmt.Sprintf("%s:%d", p.Node, p.Priority)
		if p.Paused {
			text += "(paused)"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (x *script) has(id domain.AccountID, want string) {
	x.t.Helper()
	if got := x.replicas(id); got != want {
		x.t.Errorf("the replicas are %q, want %q", got, want)
	}
}

func TestReplicas(t *testing.T) {
	x := peopled(t)
	both := ids[:2]
	x.do(Place{Accounts: both, Node: "n2", Priority: 20, Nodes: three})
	x.do(Place{Accounts: both, Node: "n3", Priority: 10, Nodes: three})
	x.has(ids[0], "n3:10 n2:20")
	if events := x.do(Place{Accounts: both, Node: "n3", Priority: 10, Nodes: three}); events != nil {
		t.Errorf("what is so already gave %v", events)
	}
	x.do(Pause{Accounts: both[:1], Node: "n2", Paused: true})
	x.do(Place{Accounts: both, Node: "n2", Priority: 5, Nodes: three})
	x.has(ids[0], "n2:5(paused) n3:10") // another priority leaves it paused
	x.has(ids[1], "n2:5 n3:10")
	x.do(Pause{Accounts: both, Paused: true})
	x.has(ids[0], "n2:5(paused) n3:10(paused)")
	if events := x.do(Pause{Accounts: both, Paused: false}); len(events) != 4 {
		t.Errorf("resuming gave %v", events)
	}

	x.refuses(domain.NotFound, Place{Accounts: both, Node: "n9", Priority: 1, Nodes: three})
	x.refuses(domain.Invalid, Place{Accounts: both, Node: "n*", Priority: 1, Nodes: three})
	x.refuses(domain.Invalid, Place{Accounts: both, Node: "n1,n2", Priority: 1, Nodes: three})
	x.refuses(domain.NotFound, Place{Accounts: []domain.AccountID{ids[0], domain.NewAccountID([10]byte{9})}, Node: "n1", Nodes: three})
	x.refuses(domain.NotFound, Pause{Accounts: ids, Paused: true}) // carol has none, so nobody is paused
	x.refuses(domain.NotFound, Pause{Accounts: both, Node: "n1", Paused: true})
	x.has(ids[0], "n2:5 n3:10")

	x.refuses(domain.NotFound, Unplace{Accounts: ids, Node: "n2"})
	x.do(Unplace{Accounts: both, Node: "n2"})
	x.has(ids[1], "n3:10")
	if got := x.s.Destinations(); !slices.Equal(got, []string{"n3"}) {
		t.Errorf("destinations are %v", got)
	}
	x.do(Erase{ids[0]})
	x.refuses(domain.Erased, Unplace{Accounts: ids[:1], Node: "n3"})

	for n := range MaxReplicas - 1 {
		node := fmt.Sprintf("m%d", n)
		x.do(Place{Accounts: ids[1:2], Node: node, Nodes: []string{node}})
	}
	x.refuses(domain.TooLarge, Place{Accounts: ids[1:2], Node: "n1", Nodes: three})
}

func TestKeep(t *testing.T) {
	x := peopled(t)
	x.do(Place{Accounts: ids[:1], Node: "n1", Priority: 7, Nodes: three})
	x.do(Keep{Accounts: ids, Replicas: 2, Nodes: three})
	x.has(ids[0], "n1:7 n2:17") // it goes to the nodes that have the fewest
	x.has(ids[1], "n3:10 n1:20")
	x.has(ids[2], "n2:10 n3:20")
	if events := x.do(Keep{Accounts: ids, Replicas: 1, Nodes: three}); events != nil {
		t.Errorf("fewer than there are gave %v", events)
	}
	x.refuses(domain.Invalid, Keep{Accounts: ids, Replicas: 4, Nodes: three})
	x.refuses(domain.Invalid, Keep{Accounts: ids, Replicas: 0, Nodes: three})
	x.do(Place{Accounts: ids[:1], Node: "n1", Priority: 1<<32 - 1, Nodes: three})
	x.do(Keep{Accounts: ids[:1], Replicas: 3, Nodes: three})
	x.has(ids[0], "n2:17 n1:4294967295 n3:4294967295")
}

func TestEnrolment(t *testing.T) {
	x := peopled(t)
	x.do(Enrol{Selector: DomainSelector("Example.ORG"), Node: "n1", Priority: 10, Nodes: three})
	x.do(Enrol{Selector: DomainSelector("example.org"), Node: "n2", Priority: 20, Nodes: three})
	x.do(Enrol{Selector: NameSelector("Dr.*"), Node: "n3", Priority: 5, Nodes: three})
	x.has(ids[0], "") // what was there before is left alone
	for id, address := range map[domain.AccountID]string{domain.NewAccountID([10]byte{4}): "dave@example.org", domain.NewAccountID([10]byte{5}): "dr.eve@example.org", domain.NewAccountID([10]byte{6}): "frank@example.net"} {
		x.do(AddAccount{ID: id, Address: address})
	}
	x.has(domain.NewAccountID([10]byte{4}), "n1:10 n2:20")
	x.has(domain.NewAccountID([10]byte{5}), "n3:5 n1:10 n2:20")
	x.has(domain.NewAccountID([10]byte{6}), "")

	x.do(Enrol{Selector: SelectAll, Keep: 1, Nodes: three})
	x.do(Dismiss{Selector: DomainSelector("example.org"), Node: "n1"})
	x.refuses(domain.NotFound, Dismiss{Selector: DomainSelector("example.org"), Node: "n1"})
	x.do(AddAccount{ID: domain.NewAccountID([10]byte{7}), Address: "grace@example.org"})
	x.has(domain.NewAccountID([10]byte{7}), "n3:10 n2:20") // all keeps one, on the node with the fewest; the domain adds its own
	x.do(Dismiss{Selector: DomainSelector("example.org")})
	x.refuses(domain.NotFound, Dismiss{Selector: DomainSelector("example.org")})

	x.refuses(domain.Invalid, Enrol{Selector: "everybody", Node: "n1", Nodes: three})
	x.refuses(domain.Invalid, Enrol{Selector: NameSelector("alice@example.org"), Node: "n1", Nodes: three})
	x.refuses(domain.Invalid, Enrol{Selector: DomainSelector("*.org"), Node: "n1", Nodes: three})
	x.refuses(domain.NotFound, Enrol{Selector: DomainSelector("example.com"), Node: "n1", Nodes: three})
	x.refuses(domain.NotFound, Enrol{Selector: SelectAll, Node: "n9", Nodes: three})
	x.refuses(domain.Invalid, Enrol{Selector: SelectAll, Keep: 4, Nodes: three})

	// A domain that goes takes its enrolment along.
	x.do(AddDomain{"example.com"})
	x.do(Enrol{Selector: DomainSelector("example.com"), Node: "n1", Nodes: three})
	x.do(RemoveDomain{"example.com"})
	if _, left := x.s.Enrolments[DomainSelector("example.com")]; left {
		t.Error("the enrolment of a domain outlives it")
	}
}

func TestSelect(t *testing.T) {
	x := peopled(t)
	x.do(AddAddress{ids[2], "cat@example.org"})
	for _, c := range []struct {
		sel      Selection
		chosen   string
		problems string
	}{
		{Selection{All: true}, "alice bob carol", ""},
		{Selection{Names: []string{"Bob@Example.org", string(ids[0]), "bob@example.org"}}, "alice bob", ""},
		{Selection{Names: []string{"cat@example.org"}}, "carol", ""},
		{Selection{Names: []string{"*@example.org"}}, "alice bob carol", ""},
		{Selection{Names: []string{"?ob@*", "C*t@*"}}, "bob carol", ""},
		{Selection{Domains: []string{"EXAMPLE.net"}}, "carol", ""},
		{Selection{Names: []string{"dave@example.org", "alice@example.org", "x*", "dave"}}, "alice", "dave@example.org x* dave"},
		{Selection{Domains: []string{"example.com", "*.org", "example.org"}}, "alice bob carol", "example.com *.org"},
	} {
		chosen, problems, err := x.s.Select(c.sel)
		var who, what []string
		for _, a := range chosen {
			name, _, _ := strings.Cut(a.Login(), "@")
			who = append(who, name)
		}
		for _, p := range problems {
			if what = append(what, p.Name); domain.KindOf(p.Err) == domain.Internal {
				t.Errorf("%s: %v", p.Name, p.Err)
			}
		}
		if err != nil || strings.Join(who, " ") != c.chosen || strings.Join(what, " ") != c.problems {
			t.Errorf("%+v selects %v, not %v, %v", c.sel, who, what, err)
		}
	}
	for _, sel := range []Selection{{}, {All: true, Names: []string{"alice@example.org"}}, {All: true, Domains: []string{"example.org"}}} {
		if _, _, err := x.s.Select(sel); !domain.Is(err, domain.Invalid) {
			t.Errorf("%+v: %v", sel, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for pattern, address := range map[string]string{
		"*": "a@b", "a*": "a@b", "*b": "a@b", "*@*": "a@b", "?@?": "a@b", "a@b": "a@b", "**": "a@b", "*a*b*": "xaxbx", "j?rgen@*": "jürgen@example.org", "*ab": "aabab", "a@b*": "a@b",
	} {
		if !Matches(pattern, address) {
			t.Errorf("%s does not match %s", pattern, address)
		}
	}
	for pattern, address := range map[string]string{"?": "", "a": "ab", "*a": "ab", "??": "a", "a?": "a", "": "a", "*b*c": "abab", "ü": "u"} {
		if Matches(pattern, address) {
			t.Errorf("%s matches %s", pattern, address)
		}
	}
}

// placing draws a command about replicas. Some of the nodes are not there.
func placing(t *rapid.T) Command {
	node := rapid.SampledFrom([]string{"n1", "n2", "n3", "n9"}).Draw(t, "node")
	accounts := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 3, rapid.ID).Draw(t, "accounts")
	selector := rapid.SampledFrom([]string{"all", "domain:Example.ORG", "domain:bücher.example", "name:a*", "name:a", "nobody"})
	priority := rapid.SampledFrom([]uint32{0, 10, 20, 1<<32 - 1}).Draw(t, "priority")
	switch rapid.IntRange(0, 6).Draw(t, "placing") {
	case 0, 1:
		return Place{Accounts: accounts, Node: node, Priority: priority, Nodes: three}
	case 2:
		return Keep{Accounts: accounts, Replicas: rapid.IntRange(0, 4).Draw(t, "replicas"), Nodes: three}
	case 3:
		return Unplace{Accounts: accounts, Node: node}
	case 4:
		return Pause{Accounts: accounts, Node: rapid.SampledFrom([]string{"", node}).Draw(t, "where"), Paused: rapid.Bool().Draw(t, "paused")}
	case 5:
		return Enrol{Selector: selector.Draw(t, "selector"), Node: node, Priority: priority, Keep: rapid.IntRange(0, 2).Draw(t, "keep"), Nodes: three}
	}
	return Dismiss{Selector: selector.Draw(t, "selector"), Node: rapid.SampledFrom([]string{"", node}).Draw(t, "where")}
}
