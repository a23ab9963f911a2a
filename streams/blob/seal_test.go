package blob_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

func sealed(t *testing.T, p []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := blob.Seal(&out, secret)
	if err == nil {
		_, err = w.Write(p)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unsealed(t *testing.T, b []byte, key [32]byte) ([]byte, error) {
	t.Helper()
	r, err := blob.Unseal(bytes.NewReader(b), key)
	if err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(r)
}

func TestSealedStreams(t *testing.T) {
	for _, size := range sizes[1:] {
		want := text(size)
		b := sealed(t, want)
		if got, err := unsealed(t, b, secret); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: %d came back, %v", size, len(got), err)
		}
		for name, wrong := range map[string][]byte{
			"a changed octet":   append(append(bytes.Clone(b[:len(b)/2]), b[len(b)/2]^1), b[len(b)/2+1:]...),
			"a missing octet":   b[:len(b)-1],
			"an octet too many": append(bytes.Clone(b), 7),
		} {
			if _, err := unsealed(t, wrong, secret); !domain.Is(err, domain.Corrupt) {
				t.Errorf("%d octets, %s: %v", size, name, err)
			}
		}
		if _, err := unsealed(t, b, [32]byte{9}); !domain.Is(err, domain.Corrupt) {
			t.Errorf("%d octets, another key: %v", size, err)
		}
	}
}
