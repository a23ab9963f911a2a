package streams_test

import (
	"testing"

	"github.com/streampost/streampost/domain"
)

// A secret of an account stays as long as its key, is nobody else's and no other purpose's, and goes with the key.
func TestAccountSecret(t *testing.T) {
	n := startNode(t)
	ctx := deadline(t)
	alice, bob := n.account(), n.account()
	secret := func(id domain.AccountID, purpose string) [32]byte {
		t.Helper()
		s, err := n.log.AccountSecret(ctx, id, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	of := secret(alice, "snapshots")
	if of == secret(bob, "snapshots") || of == secret(alice, "others") {
		t.Error("two secrets are the same")
	}
	if err := n.log.Rotate(ctx, nil); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if secret(alice, "snapshots") != of {
		t.Error("the secret changed with the master key")
	}
	if _, err := n.log.AccountSecret(ctx, alice, "Snap shots"); !domain.Is(err, domain.Invalid) {
		t.Errorf("a purpose that is none: %v", err)
	}
	if _, err := n.log.AccountSecret(ctx, domain.NewAccountID([10]byte{9, 9}), "snapshots"); !domain.Is(err, domain.NotFound) {
		t.Errorf("an account without a key: %v", err)
	}
	if err := n.log.Erase(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if _, err := n.log.AccountSecret(ctx, alice, "snapshots"); !domain.Is(err, domain.Erased) {
		t.Errorf("an erased account: %v", err)
	}
}
