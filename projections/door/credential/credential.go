// Package credential turns passwords into what a server may keep of them, and checks passwords against it: Argon2id (RFC 9106) for passwords
// that arrive in the clear, SCRAM-SHA-256 keys (RFC 5802, RFC 7677) for those that never do, and for imports bcrypt and PBKDF2 (RFC 8018).
//
// Everything here is a pure function of its arguments; random salts come from the caller's reader. Hashing is slow and takes MemoryCost octets
// on purpose, so callers bound how much of it happens at a time.
package credential

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"
)

// The cost of a new hash: RFC 9106 section 4 leaves it to the site; these are the least that OWASP's password storage guide accepts, because
// a mail server hashes often.
const (
	MemoryCost = 19 << 20 // octets
	timeCost   = 2
	threads    = 1
	saltSize   = 16
	keySize    = 32
)

// ScramIterations is the cost of new SCRAM keys. RFC 7677 section 4 wants at least 4096; clients pay it once for each login, and it is what
// stands between a stolen key and the password.
const ScramIterations = 50_000

// MaxPassword is the length of the longest password in octets.
const MaxPassword = 1024

// Check says whether a password may be set.
func Check(password string) error {
	switch {
	case password == "":
		return domain.Errorf(domain.Invalid, "a password cannot be empty")
	case len(password) > MaxPassword:
		return domain.Errorf(domain.TooLarge, "a password has at most %d octets", MaxPassword)
	case strings.ContainsRune(password, 0): // RFC 4616 section 2: PLAIN cannot carry it.
		return domain.Errorf(domain.Invalid, "a password cannot contain NUL")
	}
	return nil
}

// prepare brings the ways to type a password into one (RFC 4013, as RFC 4616 section 4 and RFC 5802 section 2.2 ask). What SASLprep does not
// know, such as characters younger than Unicode 3.2, stays as it is; clients do the same.
func prepare(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil && prepared != "" {
		return prepared
	}
	return password
}

// Hash gives the PHC string of a new Argon2id hash.
func Hash(random io.Reader, password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", domain.Wrap(domain.Internal, err, "draw a salt")
	}
	key := argon2.IDKey([]byte(prepare(password)), salt, timeCost, MemoryCost>>10, threads, keySize)
	return phc(salt, key), nil
}

// Impossible gives a hash that no password fits and that takes as long to check as one of Hash.
func Impossible(random io.Reader) (string, error) {
	noise := make([]byte, saltSize+keySize)
	if _, err := io.ReadFull(random, noise); err != nil {
		return "", domain.Wrap(domain.Internal, err, "draw a salt")
	}
	return phc(noise[:saltSize], noise[saltSize:]), nil
}

func phc(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, MemoryCost>>10, timeCost, threads, b64(salt), b64(key))
}

// Verify checks a password against a hash of Hash or one that Import accepted. A hash that cannot be read is domain.Corrupt.
func Verify(hash, password string) (bool, error) {
	v, err := parse(hash)
	if err != nil {
		return false, domain.Wrap(domain.Corrupt, err, "read the stored password hash")
	}
	if len(password) > MaxPassword {
		return false, nil
	}
	prepared := prepare(password)
	// A hash of another system may be one of the password as it was typed.
	return v.fits(prepared) || prepared != password && v.fits(password), nil
}

// Keys derives the SCRAM-SHA-256 keys of a password, with a salt of their own.
func Keys(random io.Reader, password string) (event.ScramKeys, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return event.ScramKeys{}, domain.Wrap(domain.Internal, err, "draw a salt")
	}
	return derive(password, salt, ScramIterations)
}

// derive is RFC 5802 section 3 up to StoredKey and ServerKey.
func derive(password string, salt []byte, iterations uint32) (event.ScramKeys, error) {
	salted, err := pbkdf2.Key(sha256.New, prepare(password), salt, int(iterations), sha256.Size)
	if err != nil {
		return event.ScramKeys{}, domain.Wrap(domain.Internal, err, "derive the SCRAM keys")
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return event.ScramKeys{Iterations: iterations, Salt: salt, StoredKey: stored[:], ServerKey: mac(salted, "Server Key")}, nil
}

// FakeKeys gives keys that no password fits but that look like a user's: the same secret and login give the same keys, so that a client
// cannot tell who exists (RFC 5802 section 9 has the server answer for unknown users as well).
func FakeKeys(secret []byte, login string) event.ScramKeys {
	return event.ScramKeys{
		Iterations: ScramIterations,
		Salt:       mac(secret, "salt:"+login)[:saltSize],
		StoredKey:  mac(secret, "stored:"+login),
		ServerKey:  mac(secret, "server:"+login),
	}
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	io.WriteString(m, text)
	return m.Sum(nil)
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
