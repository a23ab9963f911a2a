package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"os"
	"strings"

	"github.com/streampost/streampost/domain"
)

// readSecrets reads the keys of a file, one a line. It is read for each request, so that a rotation needs no restart. A line is whsec_ and base64, as the
// Standard Webhooks specification writes secrets, or the key itself. Errors: domain.Invalid.
func readSecrets(file string) (keys [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read the secret of a webhook")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read the secret of a webhook")
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		key := line
		if encoded, ok := strings.CutPrefix(string(line), "whsec_"); ok {
			if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
				return nil, domain.Errorf(domain.Invalid, "a secret in %s begins with whsec_ and goes on with what is not base64", file)
			}
		}
		if len(key) < minKey {
			return nil, domain.Errorf(domain.Invalid, "a secret in %s has %d octets, and needs %d: openssl rand -base64 32 makes a good one", file, len(key), minKey)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxSecrets || len(text) > maxSecret {
		return nil, domain.Errorf(domain.Invalid, "%s has %d secrets, and 1 to %d are wanted, one a line", file, len(keys), maxSecrets)
	}
	return keys, nil
}

// sign makes the signatures of a request, one for each key: the version, a comma, and the HMAC-SHA-256 of id, time and body with full stops between them.
func sign(keys [][]byte, id, at string, body []byte) (all []string) {
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return all
}
