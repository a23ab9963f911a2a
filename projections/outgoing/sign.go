package outgoing

import (
	"context"
	"io"
	"strings"
)

// Signer gives fields to be put in front of a message that leaves, such as its signatures. domains are those for which its sender may speak. It gives none where there is
// nothing to sign with.
type Signer interface {
	Sign(ctx context.Context, domains []string, open func() (io.ReadCloser, error)) (fields string, err error)
}

// sign is done once, when a message is accepted: the fields are part of the entry, so that every attempt sends the same octets, whatever becomes of the key meanwhile.
func (w *Worker) sign(ctx context.Context, domains []string, open func() (io.ReadCloser, error)) (string, error) {
	if w.cfg.Signer == nil {
		return "", nil
	}
	return w.cfg.Signer.Sign(ctx, domains, open)
}

// speaks gives the domains for which a user may speak: that of the envelope's sender, which submission has checked, and that of the login.
func speaks(m *Mail) (domains []string) {
	if !m.Sender.IsNull() {
		domains = append(domains, m.Sender.Domain)
	}
	if at := strings.LastIndexByte(m.Login, '@'); at >= 0 {
		domains = append(domains, m.Login[at+1:])
	}
	return domains
}
