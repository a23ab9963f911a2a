package streams

import (
	"bytes"
	"testing"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

const sealAccount domain.AccountID = "0123456789abcdef"

func sealForTest(t *rapid.T) (key *accountKey, tx domain.Tx, prev Hash, plain, sealed []byte) {
	key = newAccountKey(keyID{1, 2, 3}, [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret")))
	tx = domain.Tx(rapid.Uint64Min(1).Draw(t, "tx"))
	prev = Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "prev"))
	plain = rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
	return key, tx, prev, plain, seal(key, sealAccount, tx, prev, plain)
}

func TestSealRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, tx, prev, plain, sealed := sealForTest(t)
		h, err := parseHeader(sealed)
		if err != nil || h.tx != tx || h.prev != prev || h.key != key.id {
			t.Fatalf("the header reads %+v, %v", h, err)
		}
		got, err := unseal(key, sealAccount, &h, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %q, %v; want %q", got, err, plain)
		}
		if len(plain) > 8 && bytes.Contains(sealed, plain) {
			t.Fatal("the plain text shows")
		}
	})
}

// TestSealedBytesCannotChange flips a bit anywhere, cuts the end, or changes the account: none of it opens.
func TestSealedBytesCannotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, _, _, _, sealed := sealForTest(t)
		opens := func(account domain.AccountID, b []byte) bool {
			h, err := parseHeader(b)
			if err != nil {
				return false
			}
			_, err = unseal(key, account, &h, b)
			return err == nil
		}
		if opens("0123456789abcdeg", sealed) {
			t.Error("it opens for another account")
		}
		if cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut"); opens(sealAccount, sealed[:cut]) {
			t.Errorf("the first %d octets open", cut)
		}
		at, bit := rapid.IntRange(0, len(sealed)-1).Draw(t, "octet"), rapid.IntRange(0, 7).Draw(t, "bit")
		sealed[at] ^= 1 << bit
		if opens(sealAccount, sealed) {
			t.Errorf("it opens with bit %d of octet %d flipped", bit, at)
		}
	})
}

func TestWrappedKeysCannotMove(t *testing.T) {
	m := &MasterKeys{keys: []masterKey{newMasterKey([32]byte{1})}}
	wrapped := m.wrap("account.a", record{kind: kindAccount, id: keyID{7}, secret: make([]byte, 32)})
	if r, current, err := m.unwrap("account.a", wrapped); err != nil || !current || r.kind != kindAccount || r.id != (keyID{7}) {
		t.Errorf("unwrapped %+v, %v, %v", r, current, err)
	}
	if _, _, err := m.unwrap("account.b", wrapped); !domain.Is(err, domain.Corrupt) {
		t.Errorf("it unwraps for another account: %v", err)
	}
	wrapped[1] = kindErased
	if _, _, err := m.unwrap("account.a", wrapped); !domain.Is(err, domain.Corrupt) {
		t.Errorf("it unwraps as another kind: %v", err)
	}
	other := &MasterKeys{keys: []masterKey{newMasterKey([32]byte{2})}}
	if _, _, err := other.unwrap("account.a", wrapped); !domain.Is(err, domain.Unavailable) {
		t.Errorf("another master key gives %v", err)
	}
	for n := range wrapped {
		if _, _, err := m.unwrap("account.a", wrapped[:n]); err == nil {
			t.Errorf("the first %d octets unwrap", n)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add("$JS.ACK.ACCOUNTS_0.c.1.42.1.1700000000.7")
	f.Add("$JS.ACK.domain.hash.ACCOUNTS_0.c.1.42.1.1700000000.7.x")
	f.Fuzz(func(_ *testing.T, reply string) { _, _ = parseReply(reply) })
}

func TestParseReply(t *testing.T) {
	for _, reply := range []string{"$JS.ACK.ACCOUNTS_0.c.1.42.1.1700000000.7", "$JS.ACK.domain.hash.ACCOUNTS_0.c.1.42.1.1700000000.7.x"} {
		if r, err := parseReply(reply); err != nil || r.seq != 42 || r.pending != 7 {
			t.Errorf("%s reads %+v, %v", reply, r, err)
		}
	}
	if _, err := parseReply("$JS.ACK.short"); err == nil {
		t.Error("nonsense is read")
	}
}
