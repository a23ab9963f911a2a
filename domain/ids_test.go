package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

func TestAccountID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := [10]byte(rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "random"))
		id := domain.NewAccountID(random)
		if len(id) != 16 || strings.Trim(string(id), "0123456789abcdefghijklmnopqrstuv") != "" {
			t.Fatalf("%q is no safe name", id)
		}
		if again, err := domain.ParseAccountID(string(id)); err != nil || again != id {
			t.Fatalf("%q is read as %q, %v", id, again, err)
		}
	})
	if id, err := domain.ParseAccountID("directory"); err != nil || id != domain.DirectoryID {
		t.Errorf("got %q, %v", id, err)
	}
	for _, bad := range []string{"", "0", "0123456789abcde", "0123456789abcdefg", "0123456789ABCDEF", "0123456789abcdew", "../../etc/passwd", "0123456789abcde."} {
		if id, err := domain.ParseAccountID(bad); !domain.Is(err, domain.Invalid) {
			t.Errorf("%q is read as %q, %v", bad, id, err)
		}
	}
}

func TestBlobID(t *testing.T) {
	id := domain.BlobID{0xab, 31: 0x01}
	if again, err := domain.ParseBlobID(id.String()); err != nil || again != id || len(id.String()) != 64 {
		t.Errorf("%v is read as %v, %v", id, again, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("g", 64), strings.Repeat("a", 66), strings.Repeat("a", 63)} {
		if _, err := domain.ParseBlobID(bad); !domain.Is(err, domain.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestBlobKeyIsNeverShown prints a key in every way by which it could end in a log.
func TestBlobKeyIsNeverShown(t *testing.T) {
	ref := domain.BlobRef{Key: domain.BlobKey{0xde, 0xad, 0xbe, 0xef}}
	asJSON, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(asJSON), ref.Key.String(), fmt.Sprintf("%v %+v %#v %s %x %X %d %q", ref.Key, ref, ref, ref.Key, ref.Key, ref, ref.Key, ref.Key)} {
		if strings.Contains(strings.ToLower(shown), "dead") || strings.Contains(shown, "222") || !strings.Contains(shown, "(secret)") {
			t.Errorf("shown: %s", shown)
		}
	}
}

func TestErrors(t *testing.T) {
	inner := domain.Wrap(domain.Unavailable, io.ErrUnexpectedEOF, "store the message")
	outer := fmt.Errorf("deliver: %w", inner)
	switch {
	case domain.KindOf(outer) != domain.Unavailable || !domain.Is(outer, domain.Unavailable):
		t.Error("the kind is lost on the way")
	case !errors.Is(outer, io.ErrUnexpectedEOF):
		t.Error("the cause is lost on the way")
	case outer.Error() != "deliver: store the message: unexpected EOF":
		t.Error(outer)
	case domain.KindOf(io.EOF) != domain.Internal:
		t.Error("an error that nobody classified is not ours")
	case domain.Is(nil, domain.Internal):
		t.Error("no error has a kind")
	}
	var outermost *domain.Error
	if again := domain.Wrap(domain.Corrupt, outer, "read"); !errors.As(again, &outermost) || outermost.Kind != domain.Corrupt {
		t.Error("the outermost kind does not count")
	}
	seen := map[string]bool{}
	for k := domain.Internal; k <= domain.Erased; k++ {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
}
