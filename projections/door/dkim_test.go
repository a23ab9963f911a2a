package door_test

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door/doortest"
)

// TestDKIMKeys: keys are made, take turns, and are shown without what must stay secret.
func TestDKIMKeys(t *testing.T) {
	n := doortest.Start(t)
	d, ctx := n.Directory, t.Context()
	check(t, d.AddDomain(ctx, "test", "example.org"))
	if _, err := d.AddDKIMKey(ctx, "test", "example.net", "", ""); !domain.Is(err, domain.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := d.AddDKIMKey(ctx, "test", "example.org", "x", "dsa"); !domain.Is(err, domain.Invalid) {
		t.Errorf("%v", err)
	}
	long, err := d.AddDKIMKey(ctx, "test", "example.org", "", "")
	if err != nil || !regexp.MustCompile(`^\d{8}r$`).MatchString(long.Selector) || long.Status != "pending" || !strings.HasPrefix(long.Record, "v=DKIM1; k=rsa; p=MII") || long.Name != long.Selector+"._domainkey.example.org" {
		t.Fatalf("%+v, %v", long, err)
	}
	short, err := d.AddDKIMKey(ctx, "test", "EXAMPLE.org", "ed", "ed25519")
	if err != nil || len(short.Record) != len("v=DKIM1; k=ed25519; p=")+44 {
		t.Fatalf("%+v, %v", short, err)
	}
	if again, err := d.AddDKIMKey(ctx, "test", "example.org", "", "ed25519"); err != nil || again.Selector != long.Selector[:8]+"e" {
		t.Errorf("%+v, %v", again, err)
	}
	if again, err := d.AddDKIMKey(ctx, "test", "example.org", "", "ed25519"); err != nil || again.Selector != long.Selector[:8]+"e2" {
		t.Errorf("%+v, %v", again, err)
	}
	if signing, err := d.SigningKeys(ctx, "example.org"); len(signing) > 0 || err != nil {
		t.Errorf("%v, %v", signing, err)
	}
	for _, selector := range []string{long.Selector, "ed"} {
		if err := d.ActivateDKIMKey(ctx, "test", "example.org", selector); err != nil {
			t.Fatal(err)
		}
	}
	signing, err := d.SigningKeys(ctx, "example.org")
	if err != nil || len(signing) != 2 || signing[0].Domain != "example.org" || signing[1].Selector != "ed" {
		t.Fatalf("%v, %v", signing, err)
	}
	if k, ok := signing[0].Key.(*rsa.PrivateKey); !ok || k.N.BitLen() != 2048 {
		t.Errorf("the key is %T", signing[0].Key)
	}
	if _, ok := signing[1].Key.(ed25519.PrivateKey); !ok {
		t.Errorf("the key is %T", signing[1].Key)
	}
	if foreign, err := d.SigningKeys(ctx, "example.net"); len(foreign) > 0 || err != nil {
		t.Errorf("%v, %v", foreign, err)
	}
	if err := d.RemoveDKIMKey(ctx, "test", "example.org", "ed"); !domain.Is(err, domain.Invalid) {
		t.Errorf("%v", err)
	}
	if err := d.RetireDKIMKey(ctx, "test", "example.org", "ed"); err != nil {
		t.Error(err)
	}
	all, err := d.DKIMKeys(ctx, "example.org")
	if err != nil || len(all) != 4 || all[1].Status != "retired" || all[1].Retired == nil || all[0].Activated == nil {
		t.Errorf("%+v, %v", all, err)
	}
	if shown, err := json.Marshal(all); err != nil || strings.Contains(strings.ToLower(string(shown)), "private") {
		t.Errorf("%s, %v", shown, err)
	}
	if err := d.RemoveDKIMKey(ctx, "test", "example.org", "ed"); err != nil {
		t.Error(err)
	}
	if _, err := d.DKIMKey(ctx, "example.org", "ed"); !domain.Is(err, domain.NotFound) {
		t.Errorf("%v", err)
	}
}
