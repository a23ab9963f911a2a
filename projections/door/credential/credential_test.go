package credential

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/streampost/streampost/domain"
)

// The hashes are the published test vectors of their schemes, or made with other software.
var imports = []struct{ name, hash, password string }{
	{"Argon2 reference", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"Argon2 with a scheme", "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"bcrypt of PHP", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"bcrypt of OpenBSD", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"},
	{"bcrypt of Dovecot", "{BLF-CRYPT}$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"bcrypt of crypt", "{CRYPT}$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"bcrypt of more than 72 octets", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored"},
	{"PBKDF2 of Dovecot, RFC 6070", "{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429c1", "password"},
	{"PBKDF2-SHA256 of passlib", "$pbkdf2-sha256$6400$0ZrzXitFSGltTQnBWOsdYw$f1qhN9YsPiA.FWAKgBg.Zbb3eu4rJdCMOZr6RaDOADY", "password"},
	{"PBKDF2-SHA256 of PHC", "$pbkdf2-sha256$i=6400,l=32$0ZrzXitFSGltTQnBWOsdYw$f1qhN9YsPiA.FWAKgBg.Zbb3eu4rJdCMOZr6RaDOADY", "password"},
	{"PBKDF2-SHA256 of OpenLDAP", "{PBKDF2-SHA256}6400$0ZrzXitFSGltTQnBWOsdYw$f1qhN9YsPiA.FWAKgBg.Zbb3eu4rJdCMOZr6RaDOADY", "password"},
	{"PBKDF2-SHA512", "{PBKDF2-SHA512}10000$c2FsdHNhbHRzYWx0$" + sha512Key, "p\u00e4ssword"},
	{"PBKDF2-SHA512 of PHC", "$pbkdf2-sha512$i=10000,l=64$c2FsdHNhbHRzYWx0$" + sha512Key, "p\u00e4ssword"},
	{"SCRAM-SHA-1 of Dovecot, RFC 5802", "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=", "pencil"},
	{"SCRAM-SHA-256 of Dovecot, RFC 7677", "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "pencil"},
	{"SCRAM-SHA-256 of RFC 5803", "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "pencil"},
}

const sha512Key = "fWuw+j5bC21qSJ6nmyz93veDNp9nx8b0EiLuU4EuGsU7MvuW9zbLZHCIP+b742/PRbP9xXTrcjui1qCwskqkFg"

func sha256Sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func TestImportedHashes(t *testing.T) {
	for _, c := range imports {
		t.Run(c.name, func(t *testing.T) {
			hash, known, err := Import(c.hash)
			if hash != c.hash || !known || err != nil {
				t.Fatalf("imported as %q, %v, %v", hash, known, err)
			}
			for password, want := range map[string]bool{c.password: true, "": false, c.password[1:]: false, "x" + c.password: false, strings.Repeat("x", 5000): false} {
				if fits, err := Verify(hash, password); fits != want || err != nil {
					t.Errorf("%.30q fits: %v, %v", password, fits, err)
				}
			}
		})
	}
}

func TestWhatCannotBeImported(t *testing.T) {
	for _, text := range []string{
		"$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$!!",
		"$argon2id$",
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", // a login would take days
		"$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$2a$05$CCCC",
		"{CRYPT}$6$salt$hash",
		"{BLF-CRYPT}nothing",
		"{PBKDF2}$1$salt$0$4b007901b765489abead49d926f721d065a429c1",
		"{PBKDF2}$1$salt$99999999$4b007901b765489abead49d926f721d065a429c1",
		"{PBKDF2}$1$salt$4096$xyz",
		"{PBKDF2-MD5}4096$c2FsdA$f1qhN9YsPiA.FWAKgBg.Zbb3eu4rJdCMOZr6RaDOADY",
		"$pbkdf2-sha256$c2FsdA",
		"{SCRAM-SHA-1}4095,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
		"{SCRAM-SHA-256}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
		"SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=",
		"SCRAM-SHA-1$4096:$x$y:z",
	} {
		if hash, known, err := Import(text); hash != "" || !known || !domain.Is(err, domain.Invalid) {
			t.Errorf("%q became %q, %v, %v", text, hash, known, err)
		}
	}
	for _, password := range []string{"", "secret", "$2 bill", "{braces}", "{", "$", "pbkdf2"} {
		if hash, known, err := Import(password); hash != "" || known || err != nil {
			t.Errorf("the password %q was taken for a hash: %q, %v, %v", password, hash, known, err)
		}
	}
	if _, err := Verify("garbage", "x"); !domain.Is(err, domain.Corrupt) {
		t.Errorf("a stored hash that is none gave %v", err)
	}
}

func TestHash(t *testing.T) {
	hash, err := Hash(rand.Reader, "caf\u00e9 \U0001FAE0") // The face is younger than SASLprep.
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash is %s", hash)
	}
	for password, want := range map[string]bool{"caf\u00e9 \U0001FAE0": true, "cafe \U0001FAE0": false} {
		if fits, err := Verify(hash, password); fits != want || err != nil {
			t.Errorf("%q fits: %v, %v", password, fits, err)
		}
	}
	plain, err := Hash(rand.Reader, "caf\u00e9 I\u00adX\u00a0!")
	if err != nil {
		t.Fatal(err)
	}
	if fits, err := Verify(plain, "cafe\u0301 IX !"); !fits || err != nil { // RFC 4013 sections 2.1 and 2.2.
		t.Errorf("another way to type the password fits: %v, %v", fits, err)
	}
	nobody, err := Impossible(rand.Reader)
	if err != nil || len(nobody) != len(hash) {
		t.Errorf("the hash that nothing fits is %s, %v", nobody, err)
	}
	if _, err := Hash(iotest.ErrReader(errors.New("no entropy")), "x"); err == nil {
		t.Error("a hash without a salt")
	}
}

// TestScramKeys follows the example of RFC 7677 section 3.
func TestScramKeys(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k, err := derive(SHA256, "pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := base64.StdEncoding.EncodeToString(SHA256.mac(k.ServerKey, auth)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("the server signs %s", got)
	}
	proof, _ := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	for i, b := range SHA256.mac(k.StoredKey, auth) {
		proof[i] ^= b
	}
	if client := sha256Sum(proof); !bytes.Equal(client, k.StoredKey) {
		t.Errorf("the client's proof gives the stored key %x, not %x", client, k.StoredKey)
	}
	if a, _ := Keys(rand.Reader, "x"); a.Iterations < 4096 || len(a.Salt) != 16 { // RFC 7677 section 4.
		t.Errorf("new keys are %+v", a)
	}
}
