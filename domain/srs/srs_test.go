package srs_test

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/srs"
	"pgregory.net/rapid"
)

const (
	day = int64(86_400)
	now = 20_000 * day
)

func parse(t testing.TB, s string) delivery.Address {
	t.Helper()
	a, err := delivery.ParseAddress(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

// The way of one message over three forwarders, and of its bounce back.
func TestThereAndBack(t *testing.T) {
	first, second, third := srs.Secret("one"), srs.Secret("two"), srs.Secret("three")
	sender := parse(t, "Alice@sender.example")
	a, err := first.Forward(sender, "one.example", now)
	if err != nil || !strings.HasPrefix(a.String(), "SRS0=") || !strings.HasSuffix(a.String(), "=sender.example=Alice@one.example") {
		t.Fatalf("%v, %v", a, err)
	}
	b, err := second.Forward(a, "two.example", now)
	if err != nil || !strings.HasPrefix(b.Local, "SRS1=") || !strings.Contains(b.Local, "=one.example==") {
		t.Fatalf("%v, %v", b, err)
	}
	c, err := third.Forward(b, "three.example", now)
	if err != nil || len(c.Local) != len(b.Local) || !strings.Contains(c.Local, "=one.example==") {
		t.Fatalf("the third forwarder names the first, and adds nothing: %v, %v", c, err)
	}
	// Bounces go from the last to the first, and from there to the sender, days later.
	if back, err := third.Reverse(c, now+MaxDays); back != a || err != nil {
		t.Fatalf("%v, %v, want %v", back, err, a)
	}
	if back, err := first.Reverse(a, now+MaxDays); back != sender || err != nil {
		t.Fatalf("%v, %v", back, err)
	}
	if _, err := first.Reverse(a, now+MaxDays+day); !domain.Is(err, domain.Denied) {
		t.Fatalf("a day too late: %v", err)
	}
	if back, err := first.Reverse(a, now-day); back != sender || err != nil {
		t.Fatalf("a clock that is a day behind: %v, %v", back, err)
	}
	// Nobody takes what another has made.
	if _, err := second.Reverse(a, now); !domain.Is(err, domain.Denied) {
		t.Fatal(err)
	}
	if _, err := second.Reverse(c, now); !domain.Is(err, domain.Denied) {
		t.Fatal(err)
	}
}

const MaxDays = srs.MaxAge * day

func TestForwardRefuses(t *testing.T) {
	k := srs.Secret("x")
	if a, err := k.Forward(delivery.Address{}, "one.example", now); !a.IsNull() || err != nil {
		t.Fatalf("the null sender stays: %v, %v", a, err)
	}
	long := delivery.Address{Local: strings.Repeat("a", 40), Domain: "sender.example"}
	if _, err := k.Forward(long, "one.example", now); !domain.Is(err, domain.TooLarge) {
		t.Fatal(err)
	}
	// What only looks like the scheme is an address like others.
	for _, s := range []string{"srs0@sender.example", "SRS0=x@sender.example", "SRS1=x@sender.example", "SRS1=a=b@sender.example"} {
		a, err := k.Forward(parse(t, s), "one.example", now)
		if err != nil || !strings.HasPrefix(a.Local, "SRS0=") {
			t.Fatalf("%s: %v, %v", s, a, err)
		}
		if back, err := k.Reverse(a, now); back.String() != s || err != nil {
			t.Fatalf("%s: %v, %v", s, back, err)
		}
	}
}

func TestReverseRefuses(t *testing.T) {
	k := srs.Secret("x")
	for _, local := range []string{"alice", "SRS0", "SRS0=", "SRS0=a=b=c", "SRS1=", "SRS1=a", "SRS1=a=b", "SRS1=a=b=c", "srs2=a=b=c=d"} {
		if a, err := k.Reverse(delivery.Address{Local: local, Domain: "one.example"}, now); !domain.Is(err, domain.Invalid) {
			t.Errorf("%s: %v, %v", local, a, err)
		}
	}
	for _, local := range []string{"SRS0=AAAAAAAA=AA=sender.example=alice", "SRS0=====", "SRS1=AAAAAAAA=one.example==AAAAAAAA=AA=sender.example=alice"} {
		if a, err := k.Reverse(delivery.Address{Local: local, Domain: "one.example"}, now); !domain.Is(err, domain.Denied) {
			t.Errorf("%s: %v, %v", local, a, err)
		}
	}
}

// Whatever the sender, forwarding finds back, also when servers on the way change the case; one octet that is another is noticed.
func TestEverySenderFindsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := srs.Secret(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "secret"))
		sender := delivery.Address{
			Local:  rapid.StringMatching(`[A-Za-z0-9=+._-]{1,20}|[ a"@]{1,5}|SRS[01][=+-][A-Z]{2}=[A-Z]{2}=[a-z]{3}=[a-z]{3}`).Draw(t, "local"),
			Domain: rapid.StringMatching(`[a-z]{1,8}\.(example|org)|\[192\.0\.2\.[1-9]\]`).Draw(t, "domain"),
		}
		if rapid.Bool().Draw(t, "already") {
			before, err := srs.Secret("other").Forward(sender, "first.example", now)
			if err == nil {
				sender = before
			}
		}
		at := now + rapid.Int64Range(0, 2000).Draw(t, "day")*day
		a, err := k.Forward(sender, "one.example", at)
		if err != nil {
			if !domain.Is(err, domain.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		if len(a.Local) > srs.MaxLocal || !srs.Is(a.Local) {
			t.Fatal(a)
		}
		again, err := k.Forward(a, "two.example", at)
		if err == nil && !strings.HasPrefix(again.Local, "SRS1") {
			t.Fatal(again)
		}
		back, err := k.Reverse(a, at+rapid.Int64Range(0, srs.MaxAge).Draw(t, "days")*day)
		if err != nil || !same(back, sender) {
			t.Fatalf("%v came back as %v, %v", sender, back, err)
		}
		low, err := k.Reverse(delivery.Address{Local: strings.ToLower(a.Local), Domain: a.Domain}, at)
		if err != nil || low.Key() != back.Key() {
			t.Fatalf("in lower case: %v, %v", low, err)
		}
		forged := []byte(a.Local)
		i := rapid.IntRange(len("SRS0="), len(forged)-1).Draw(t, "place")
		if forged[i] = rapid.ByteRange('!', '~').Draw(t, "octet"); !strings.EqualFold(string(forged), a.Local) {
			if got, err := k.Reverse(delivery.Address{Local: string(forged), Domain: a.Domain}, at); err == nil {
				t.Fatalf("%s is taken for %v", forged, got)
			}
		}
	})
}

// same compares senders. Of one that was rewritten before, the tag may have come back as this package writes it.
func same(a, b delivery.Address) bool {
	return a == b || srs.Is(a.Local) && srs.Is(b.Local) && (a.Domain == b.Domain && strings.EqualFold(a.Local, b.Local) || strings.HasPrefix(strings.ToUpper(b.Local), "SRS1"))
}

func FuzzReverse(f *testing.F) {
	k := srs.Secret("x")
	a, _ := k.Forward(delivery.Address{Local: "alice", Domain: "sender.example"}, "one.example", now)
	b, _ := srs.Secret("y").Forward(a, "two.example", now)
	for _, seed := range []string{a.Local, b.Local, "SRS0=", "SRS1+=+", "SRS1=a=b=c=d=e=f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, local string) {
		from := delivery.Address{Local: local, Domain: "one.example"}
		if back, err := k.Reverse(from, now); err == nil {
			if again, err := k.Forward(back, "one.example", now); err != nil || !strings.EqualFold(again.Local[:5], local[:5]) {
				t.Fatalf("%q gives %v, which nothing here can have been made of: %v, %v", local, back, again, err)
			}
		}
		forwarded, err := k.Forward(from, "two.example", now)
		if err != nil || from.IsNull() {
			return
		}
		if _, err := k.Reverse(forwarded, now); err != nil && !domain.Is(err, domain.Invalid) {
			t.Fatalf("%q: %v", local, err)
		}
	})
}
