package door

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
)

// Sessions bounds how many sessions of an account this process has at a time. Zero fields take the defaults.
type Sessions struct {
	Account int // in all: 2,000
	Address int // with one protocol and from one source, see Identity; this machine aside: 50
}

func (s *Sessions) setDefaults() {
	s.Account = cmp.Or(s.Account, 2_000)
	s.Address = cmp.Or(s.Address, 50)
}

// ErrSessions is what Enter gives where a session is one too many.
var ErrSessions = domain.Errorf(domain.TooLarge, "too many sessions of this account at the same time: end some of them")

// presence knows who is logged in, so that no session outlives what it was let in by, and nobody has too many.
type presence struct {
	clock  func() time.Time
	limits Sessions

	mu      sync.Mutex
	here    map[domain.AccountID]map[*login]struct{}
	refused uint64 // sessions
}

type login struct {
	Identity
	end func()
}

// add counts a session in, within the limits.
func (p *presence) add(l *login) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	beside := p.here[l.Account]
	alike := 0
	for other := range beside {
		if other.Protocol == l.Protocol && other.Source == l.Source {
			alike++
		}
	}
	if len(beside) >= p.limits.Account || l.Source != "" && alike >= p.limits.Address {
		p.refused++
		return ErrSessions
	}
	if beside == nil {
		beside = map[*login]struct{}{}
		p.here[l.Account] = beside
	}
	beside[l] = struct{}{}
	return nil
}

// remove counts a session out.
func (p *presence) remove(l *login) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(p.here[l.Account], l); len(p.here[l.Account]) == 0 {
		delete(p.here, l.Account)
	}
}

// Enter keeps a session until leave is called. end is called once, at once and without waiting for anybody, when what the user was let in by holds no
// more: the password is changed, the app password removed or expired, the account disabled or erased. It must not block. Errors: domain.Denied when
// that has happened since the login; ErrSessions; domain.Unavailable.
func (d *Directory) Enter(ctx context.Context, who Identity, end func()) (leave func(), err error) {
	p := &d.present
	l := &login{who, sync.OnceFunc(end)}
	if err := p.add(l); err != nil {
		return nil, err
	}
	leave = func() { p.remove(l) }
	err = d.view(ctx, func(s *directory.State) error {
		if !l.proof.holds(s.Accounts[who.Account]) {
			return domain.Errorf(domain.Denied, "the login is no longer valid")
		}
		return nil
	})
	if err != nil {
		leave()
		return nil, err
	}
	if !who.proof.until.IsZero() {
		expiry := time.AfterFunc(who.proof.until.Sub(p.clock()), l.end)
		return func() { expiry.Stop(); p.remove(l) }, nil
	}
	return leave, nil
}

// settled ends the sessions that an account admits no more. nil events mean that anything may have changed.
func (p *presence) settled(s *directory.State, events []event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.here) == 0 {
		return
	}
	if events == nil {
		for id := range p.here {
			p.review(s, id)
		}
		return
	}
	for _, e := range events {
		switch e := e.(type) {
		case *event.PasswordChanged:
			p.review(s, e.Account)
		case *event.AppPasswordRemoved:
			p.review(s, e.Account)
		case *event.AccountDisabled:
			p.review(s, e.Account)
		case *event.AccountErased:
			p.review(s, e.Account)
		}
	}
}

func (p *presence) review(s *directory.State, id domain.AccountID) {
	for l := range p.here[id] {
		if !l.proof.holds(s.Accounts[id]) {
			l.end()
		}
	}
}
