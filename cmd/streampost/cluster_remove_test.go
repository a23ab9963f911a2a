package main

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/natsd"
)

// TestWhyANodeIsKept: what would be lost with it is said, and nothing else.
func TestWhyANodeIsKept(t *testing.T) {
	copies := func(nodes ...string) (p natsd.Placement) {
		p = natsd.Placement{Stream: "LOG", Want: 3, Leader: strings.Trim(nodes[0], "!-")}
		for _, n := range nodes { // "!" is away, "-" is behind
			p.Copies = append(p.Copies, natsd.PlacedCopy{Node: strings.Trim(n, "!-"), Offline: strings.HasSuffix(n, "!"), Current: !strings.HasSuffix(n, "-")})
		}
		return p
	}
	for _, c := range []struct {
		name, members, here string
		placed              natsd.Placement
		want                string
	}{
		{"a dead node, after its replacement came", "a b c d", "a b d", copies("a", "b", "c!"), ""},
		{"one of four", "a b c d", "a b c d", copies("a", "b", "c"), ""},
		{"a dead node without a replacement", "a b c", "a b", copies("a", "b", "c!"), "the log has 3 copies, and 2 nodes would be there"},
		{"one of three that live", "a b c", "a b c", copies("a", "b", "c"), "the log has 3 copies, and 2 nodes would be there"},
		{"two are dead", "a b c d e", "a d e", copies("a", "b!", "c!"), "LOG has 1 current copies elsewhere and needs 2"},
		{"another is behind", "a b c d", "a b d", copies("a", "b-", "c!"), "LOG has 1 current copies elsewhere and needs 2"},
		{"a node that has no copy of it", "a b c d", "a b c d", copies("a", "b-", "d!"), ""},
		{"most are dead", "a b c d e f", "a b", copies("a", "b", "c!"), "2 of the other 5 nodes are there, which is no quorum; the log has 3 copies, and 2 nodes would be there"},
		{"nobody answers for a stream", "a b c d", "a b d", natsd.Placement{Stream: "LOG", Silent: true}, "nobody answers for LOG"},
	} {
		g := natsd.Gathered{Leader: "a", Members: strings.Fields(c.members), Nodes: strings.Fields(c.here)}
		if got := strings.Join(whyKeep(g, []natsd.Placement{c.placed}, "c", 3), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
