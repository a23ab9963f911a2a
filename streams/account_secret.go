package streams

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"strings"

	"github.com/streampost/streampost/domain"
)

// AccountSecret derives a secret from the account's key, by HKDF (RFC 5869) with SHA-256. It is the same as long as the account lives, whatever
// becomes of master keys, and goes with the account's key: what it seals nobody can open after Erase. A purpose is one word of letters, digits and "-".
// Errors: domain.Erased, domain.NotFound without a key, domain.Unavailable.
func (l *Log) AccountSecret(ctx context.Context, id domain.AccountID, purpose string) (secret [32]byte, err error) {
	if purpose == "" || strings.Trim(purpose, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return secret, domain.Errorf(domain.Invalid, "%q is not a purpose of a secret", purpose)
	}
	key, err := l.keys.key(ctx, id)
	if err != nil {
		return secret, err
	}
	if key.erased {
		return secret, domain.Errorf(domain.Erased, "account %s is erased", id)
	}
	derived, err := hkdf.Key(sha256.New, key.secret[:], nil, "streampost account secret 1: "+purpose, len(secret))
	if err != nil {
		return secret, domain.Wrap(domain.Internal, err, "derive a secret")
	}
	copy(secret[:], derived)
	return secret, nil
}
