package pop3

import (
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
)

// Maildrops knows which accounts have a session on this node, and which had one lately.
type Maildrops struct {
	delay time.Duration // between two logins of an account (RFC 2449 section 6.5); 0 for none

	mu     sync.Mutex
	open   map[domain.AccountID]struct{}
	logins map[domain.AccountID]time.Time // the last one, while delay lasts
	swept  time.Time                      // when logins lost those that had ended
}

// NewMaildrops makes the lock of maildrops. delay is how long a user has to wait between two logins; 0: not at all.
func NewMaildrops(delay time.Duration) *Maildrops {
	return &Maildrops{delay: delay, open: map[domain.AccountID]struct{}{}, logins: map[domain.AccountID]time.Time{}}
}

// claim takes a maildrop for one session until release is called. Errors: *refusal with IN-USE or LOGIN-DELAY (RFC 2449 section 8.1).
func (m *Maildrops) claim(id domain.AccountID, now time.Time) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.open[id]; taken {
		return nil, refused("IN-USE", "another POP3 session is using the maildrop")
	}
	if m.delay > 0 {
		if last, ok := m.logins[id]; ok && now.Sub(last) < m.delay {
			return nil, refused("LOGIN-DELAY", "wait %v between two logins", m.delay)
		}
		if now.Sub(m.swept) >= m.delay {
			for other, at := range m.logins {
				if now.Sub(at) >= m.delay {
					delete(m.logins, other)
				}
			}
			m.swept = now
		}
		m.logins[id] = now
	}
	m.open[id] = struct{}{}
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.open, id)
	}), nil
}
