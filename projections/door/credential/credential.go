// Package credential turns passwords into what a server may keep of them, and checks passwords against it: Argon2id (RFC 9106) for passwords
// that arrive in the clear, SCRAM-SHA-256 keys (RFC 5802, RFC 7677) for those that never do, and for imports bcrypt, PBKDF2 (RFC 8018) and the
// SCRAM keys of others.
//
// Everything here is a pure function of its arguments; random salts come from the caller's reader. Hashing is slow and takes MemoryCost octets
// on purpose, so callers bound how much of it happens at a time.
package credential

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
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

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
