package credential

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of imported hashes, so that no stored string can make a login take for ever.
const (
	maxMemory     = 256 << 10 // KiB
	maxTime       = 16
	maxThreads    = 16
	maxIterations = 5_000_000
	maxBcryptCost = 16
)

// verifier is a hash that was understood.
type verifier interface {
	fits(password string) bool
}

// Import says whether a text is a password hash of another system. It is no hash at all when known is false, and then it may be a password;
// an error tells of a hash that cannot be used. These are understood, with or without Dovecot's scheme name in braces before them:
//
//	$argon2id$v=19$m=65536,t=3,p=1$salt$key          PHC
//	$2a$ $2b$ $2y$                                   bcrypt; {BLF-CRYPT} or {CRYPT}
//	$pbkdf2-sha512$i=10000,l=64$salt$key             PHC, with sha1, sha256 or sha512
//	$pbkdf2-sha512$10000$salt$key                    passlib
//	{PBKDF2-SHA512}10000$salt$key                    OpenLDAP; {PBKDF2} is SHA-1
//	{PBKDF2}$1$salt$5000$hexadecimal                 Dovecot
//	{SCRAM-SHA-256}4096,salt,StoredKey,ServerKey     Dovecot, with SHA-1 or SHA-256; see ScramKeys
//	SCRAM-SHA-256$4096:salt$StoredKey:ServerKey      RFC 5803, PostgreSQL; likewise
func Import(text string) (hash string, known bool, err error) {
	scheme, rest := cutScheme(text)
	for _, prefix := range []string{"$argon2", "$2a$", "$2b$", "$2x$", "$2y$", "$pbkdf2"} {
		known = known || strings.HasPrefix(rest, prefix)
	}
	known = known || strings.HasPrefix(scheme, "PBKDF2") || scheme == "BLF-CRYPT" || strings.HasPrefix(scheme, "ARGON2") || scheme == "CRYPT"
	if _, _, ok := cutScram(text); !known && !ok {
		return "", false, nil
	}
	if _, err := parse(text); err != nil {
		return "", true, domain.Wrap(domain.Invalid, err, "the text looks like a password hash, but not like one that this server can check")
	}
	return text, true, nil
}

// cutScheme splits Dovecot's and LDAP's "{SCHEME}rest".
func cutScheme(text string) (scheme, rest string) {
	if strings.HasPrefix(text, "{") {
		if scheme, rest, ok := strings.Cut(text[1:], "}"); ok {
			return strings.ToUpper(scheme), rest
		}
	}
	return "", text
}

func parse(text string) (verifier, error) {
	if digest, fields, ok := cutScram(text); ok {
		return parseScram(digest, fields)
	}
	scheme, rest := cutScheme(text)
	switch {
	case strings.HasPrefix(rest, "$argon2id$"):
		return parseArgon2id(rest)
	case strings.HasPrefix(rest, "$2a$"), strings.HasPrefix(rest, "$2b$"), strings.HasPrefix(rest, "$2y$"):
		return parseBcrypt(rest)
	case strings.HasPrefix(rest, "$pbkdf2"):
		name, rest, _ := strings.Cut(rest[1:], "$")
		return parsePBKDF2(name, rest)
	case scheme == "PBKDF2" && strings.HasPrefix(rest, "$1$"):
		return parseDovecotPBKDF2(rest[3:])
	case strings.HasPrefix(scheme, "PBKDF2"):
		return parsePBKDF2(strings.ToLower(scheme), rest)
	}
	return nil, fmt.Errorf("the scheme is not known")
}

type argon2id struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

func (a *argon2id) fits(password string) bool {
	return equal(a.key, argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.key))))
}

func parseArgon2id(text string) (verifier, error) {
	fields := strings.Split(text, "$") // "", argon2id, v=, m=, salt, key
	if len(fields) != 6 || fields[2] != "v=19" {
		return nil, fmt.Errorf("not of the form $argon2id$v=19$m=,t=,p=$salt$key")
	}
	a := new(argon2id)
	if n, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil || n != 3 {
		return nil, fmt.Errorf("%q does not give the costs", fields[3])
	}
	if a.memory < 8 || a.memory > maxMemory || a.time < 1 || a.time > maxTime || a.threads < 1 || a.threads > maxThreads {
		return nil, fmt.Errorf("the costs %q are out of bounds", fields[3])
	}
	var err error
	if a.salt, a.key, err = saltAndKey(fields[4], fields[5]); err != nil {
		return nil, err
	}
	return a, nil
}

type bcryptHash []byte

// fits hashes the first 72 octets, as every bcrypt does.
func (b bcryptHash) fits(password string) bool {
	return bcrypt.CompareHashAndPassword(b, []byte(password[:min(len(password), 72)])) == nil
}

func parseBcrypt(text string) (verifier, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(text) != 60 || cost > maxBcryptCost {
		return nil, fmt.Errorf("a bcrypt hash has 60 characters and a cost of at most %d", maxBcryptCost)
	}
	return bcryptHash(text), nil
}

type pbkdf2Hash struct {
	digest     func() hash.Hash
	iterations int
	salt, key  []byte
}

func (p *pbkdf2Hash) fits(password string) bool {
	key, err := pbkdf2.Key(p.digest, password, p.salt, p.iterations, len(p.key))
	return err == nil && equal(p.key, key)
}

var digests = map[string]func() hash.Hash{
	"pbkdf2": sha1.New, "pbkdf2-sha1": sha1.New, "pbkdf2-sha256": sha256.New, "pbkdf2-sha512": sha512.New,
}

// parsePBKDF2 reads "iterations$salt$key", where the iterations may be a PHC parameter list.
func parsePBKDF2(name, text string) (verifier, error) {
	p := &pbkdf2Hash{digest: digests[name]}
	fields := strings.Split(text, "$")
	if p.digest == nil || len(fields) != 3 {
		return nil, fmt.Errorf("not of the form $pbkdf2-digest$iterations$salt$key")
	}
	iterations := fields[0]
	for param := range strings.SplitSeq(fields[0], ",") {
		if n, ok := strings.CutPrefix(param, "i="); ok {
			iterations = n
		}
	}
	var err error
	if p.iterations, err = parseIterations(iterations); err != nil {
		return nil, err
	}
	if p.salt, p.key, err = saltAndKey(fields[1], fields[2]); err != nil {
		return nil, err
	}
	return p, nil
}

// parseDovecotPBKDF2 reads "salt$iterations$hexadecimal"; the salt is used as it stands.
func parseDovecotPBKDF2(text string) (verifier, error) {
	fields := strings.Split(text, "$")
	if len(fields) != 3 {
		return nil, fmt.Errorf("not of the form {PBKDF2}$1$salt$iterations$key")
	}
	iterations, err := parseIterations(fields[1])
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(fields[2])
	if err != nil || len(key) < 16 || len(key) > 128 || fields[0] == "" {
		return nil, fmt.Errorf("the salt or the key is malformed")
	}
	return &pbkdf2Hash{sha1.New, iterations, []byte(fields[0]), key}, nil
}

func parseIterations(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxIterations {
		return 0, fmt.Errorf("%q is not a count of iterations up to %d", text, maxIterations)
	}
	return n, nil
}

// saltAndKey decodes base64 as PHC strings (no padding) and passlib ("." for "+") write it; padding is passed over.
func saltAndKey(salt, key string) (s, k []byte, err error) {
	decode := func(text string) ([]byte, error) {
		return base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.ReplaceAll(text, ".", "+"), "="))
	}
	s, err1 := decode(salt)
	k, err2 := decode(key)
	if err1 != nil || err2 != nil || len(s) == 0 || len(s) > 128 || len(k) < 16 || len(k) > 128 {
		return nil, nil, fmt.Errorf("the salt or the key is malformed")
	}
	return s, k, nil
}
