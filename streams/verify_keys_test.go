package streams_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/streams"
)

// TestVerifyKeys damages key records as somebody with access to the log could, and wants each found by name.
func TestVerifyKeys(t *testing.T) {
	n := startNode(t, shards(1))
	ctx := deadline(t)
	alice, bob, carol, dave := n.writer(), n.writer(), n.writer(), n.writer()
	for _, w := range []*writer{alice, bob, carol, dave} {
		w.append("hello")
	}
	if err := n.log.Erase(ctx, dave.id); err != nil {
		t.Fatal(err)
	}

	report, err := n.log.Verify(ctx, streams.VerifyOptions{Keys: true}, nil)
	if err != nil || len(report.Findings) > 0 {
		t.Fatalf("a sound log: %+v, %v", report, err)
	}
	master := n.log.MasterKey()[0]
	if k := report.Keys; k.Stream != "KEYS" || k.Erased != 1 || k.Records != k.Masters[master] || k.Records < 5 {
		t.Errorf("the keys are %+v, the master key is %s", k, master)
	}

	bits, kind, owner := slices.Clone(n.wrapped(alice.id)), slices.Clone(n.wrapped(bob.id)), n.wrapped(alice.id)
	bits[len(bits)-1] ^= 1
	kind[1] = 's'
	n.inject("keys.account."+string(alice.id), bits)
	n.inject("keys.account."+string(bob.id), kind)
	n.inject("keys.account."+string(carol.id), owner)
	n.inject("keys.secret.strange", []byte("short"))
	foreign := slices.Clone(n.wrapped(dave.id))
	foreign[2] ^= 1
	n.inject("keys.account."+string(dave.id), foreign)

	for _, opts := range []streams.VerifyOptions{{Keys: true}, {Stream: "KEYS"}} {
		report, err := n.log.Verify(ctx, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []struct {
			who  *writer
			what string
		}{{alice, "does not open"}, {bob, "does not open"}, {carol, "does not open"}, {dave, "which is not here"}, {nil, "secret.strange is malformed"}} {
			if !slices.ContainsFunc(report.Findings, func(f streams.Finding) bool {
				return f.Stream == "KEYS" && f.Seq > 0 && strings.Contains(f.What, want.what) && (want.who == nil) == (f.Account == "") && (want.who == nil || f.Account == want.who.id)
			}) {
				t.Errorf("%+v: no finding %q in %v", opts, want.what, report.Findings)
			}
		}
	}
	report, err = n.log.Verify(ctx, streams.VerifyOptions{Keys: true, Account: bob.id}, nil)
	if err != nil || len(report.Findings) == 0 || report.Findings[0].Account != bob.id {
		t.Errorf("bob's key alone: %+v, %v", report, err)
	}
}
