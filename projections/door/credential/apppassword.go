package credential

import (
	"crypto/sha256"
	"encoding/base32"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
)

// An app password is drawn, never chosen: 120 bits, which nobody guesses, not even from its hash. NIST SP 800-63B section 5.1.2.2 asks for a slow hash
// with a salt only where a secret has less than 112. So checking one costs nothing, however many an account has.
const (
	appOctets = 15
	appGroup  = 4 // characters between two hyphens
)

var appEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewApp draws an app password, in groups that people can copy, and gives what is kept of it.
func NewApp(random io.Reader) (password string, hash [32]byte, err error) {
	raw := make([]byte, appOctets)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", hash, domain.Wrap(domain.Internal, err, "draw an app password")
	}
	text := appEncoding.EncodeToString(raw)
	var groups []string
	for i := 0; i < len(text); i += appGroup {
		groups = append(groups, text[i:i+appGroup])
	}
	return strings.Join(groups, "-"), sha256.Sum256([]byte(text)), nil
}

// HashApp gives the hash of what may be an app password, whatever case, spaces and hyphens it was typed with; ok is false for what is none.
func HashApp(typed string) (hash [32]byte, ok bool) {
	if len(typed) > 64 {
		return hash, false
	}
	text := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(typed))
	if raw, err := appEncoding.DecodeString(text); err != nil || len(raw) != appOctets {
		return hash, false
	}
	return sha256.Sum256([]byte(text)), true
}
