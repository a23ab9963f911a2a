package credential

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// ScramIterations is the cost of new SCRAM keys. RFC 7677 section 4 wants at least 4096; clients pay it once for each login, and it is what
// stands between a stolen key and the password.
const ScramIterations = 50_000

// leastIterations is what RFC 5802 section 5.1 and RFC 7677 section 4 demand, and what most who keep SCRAM keys have.
const leastIterations = 4096

// Digest is the hash function of SCRAM keys.
type Digest uint8

// The digests that are known. New keys are made with SHA256 only.
const (
	SHA256 Digest = iota
	SHA1
)

func (d Digest) new() hash.Hash {
	if d == SHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// scheme names the mechanism, as those do who write its keys down.
func (d Digest) scheme() string {
	if d == SHA1 {
		return "SCRAM-SHA-1"
	}
	return "SCRAM-SHA-256"
}

// Keys derives the SCRAM-SHA-256 keys of a password, with a salt of their own.
func Keys(random io.Reader, password string) (event.ScramKeys, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return event.ScramKeys{}, domain.Wrap(domain.Internal, err, "draw a salt")
	}
	return derive(SHA256, prepare(password), salt, ScramIterations)
}

// derive is RFC 5802 section 3 up to StoredKey and ServerKey.
func derive(d Digest, prepared string, salt []byte, iterations uint32) (event.ScramKeys, error) {
	salted, err := pbkdf2.Key(d.new, prepared, salt, int(iterations), d.new().Size())
	if err != nil {
		return event.ScramKeys{}, domain.Wrap(domain.Internal, err, "derive the SCRAM keys")
	}
	stored := d.new()
	stored.Write(d.mac(salted, "Client Key"))
	return event.ScramKeys{Iterations: iterations, Salt: salt, StoredKey: stored.Sum(nil), ServerKey: d.mac(salted, "Server Key")}, nil
}

func (d Digest) mac(key []byte, text string) []byte {
	m := hmac.New(d.new, key)
	io.WriteString(m, text)
	return m.Sum(nil)
}

// FakeKeys gives keys that no password fits but that look like a user's: the same secret and login give the same keys, so that a client
// cannot tell who exists (RFC 5802 section 9 has the server answer for unknown users as well).
func FakeKeys(secret []byte, d Digest, login string) event.ScramKeys {
	k := event.ScramKeys{
		Iterations: ScramIterations,
		Salt:       SHA256.mac(secret, "salt:"+login)[:saltSize],
		StoredKey:  d.mac(secret, "stored:"+login),
		ServerKey:  d.mac(secret, "server:"+login),
	}
	if d == SHA1 { // Such keys came from elsewhere.
		k.Iterations, k.Salt = leastIterations, SHA256.mac(secret, "salt of SHA-1:"+login)[:saltSize]
	}
	return k
}

// ScramKeys gives the keys that an imported hash consists of; none if it is of another kind or digest.
func ScramKeys(hash string, d Digest) event.ScramKeys {
	if v, err := parse(hash); err == nil {
		if k, ok := v.(*scramHash); ok && k.digest == d {
			return k.keys
		}
	}
	return event.ScramKeys{}
}

// scramHash is SCRAM keys that were imported. They check a password that comes in the clear as well.
type scramHash struct {
	digest Digest
	keys   event.ScramKeys
}

func (s *scramHash) fits(password string) bool {
	k, err := derive(s.digest, password, s.keys.Salt, s.keys.Iterations)
	return err == nil && equal(k.StoredKey, s.keys.StoredKey)
}

// cutScram recognizes the two forms in which SCRAM keys are written: {SCHEME}iterations,salt,StoredKey,ServerKey and
// SCHEME$iterations:salt$StoredKey:ServerKey.
func cutScram(text string) (d Digest, fields []string, ok bool) {
	for _, d := range []Digest{SHA256, SHA1} {
		if scheme, rest := cutScheme(text); scheme == d.scheme() {
			return d, strings.Split(rest, ","), true
		}
		if rest, found := strings.CutPrefix(text, d.scheme()+"$"); found {
			return d, strings.FieldsFunc(rest, func(r rune) bool { return r == ':' || r == '$' }), true
		}
	}
	return 0, nil, false
}

func parseScram(d Digest, fields []string) (verifier, error) {
	if len(fields) != 4 {
		return nil, fmt.Errorf("not of the form {%s}iterations,salt,StoredKey,ServerKey", d.scheme())
	}
	iterations, err := parseIterations(fields[0])
	if err == nil && iterations < leastIterations {
		err = fmt.Errorf("%d iterations are too few: RFC 5802 wants %d", iterations, leastIterations)
	}
	if err != nil {
		return nil, err
	}
	s := &scramHash{d, event.ScramKeys{Iterations: uint32(iterations)}}
	for i, part := range []*[]byte{&s.keys.Salt, &s.keys.StoredKey, &s.keys.ServerKey} {
		if *part, err = base64.StdEncoding.DecodeString(fields[i+1]); err != nil {
			return nil, err
		}
	}
	if n := d.new().Size(); len(s.keys.Salt) == 0 || len(s.keys.Salt) > 128 || len(s.keys.StoredKey) != n || len(s.keys.ServerKey) != n {
		return nil, fmt.Errorf("the salt or a key has the wrong length")
	}
	return s, nil
}
