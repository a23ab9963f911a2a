package door

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/credential"
)

// logins hashes passwords, a few at a time, and remembers for a while which password fits which hash, since mail clients log in again and
// again. A remembered login is good for the hash that it was checked against only, so a change of the password ends it at once.
type logins struct {
	slots  chan struct{} // one for each hash that may be computed at a time
	clock  func() time.Time
	random io.Reader
	secret []byte // makes fake SCRAM keys
	nobody string // the hash of users who do not exist

	capacity int
	lifetime time.Duration
	key      [32]byte // of the process: what is remembered says nothing outside it

	mu     sync.Mutex
	known  map[[32]byte]*list.Element
	recent list.List // of knownLogin, most recent first
}

type knownLogin struct {
	digest [32]byte
	hash   string
	until  time.Time
}

func newLogins(limits Limits, clock func() time.Time, random io.Reader, secret []byte) *logins {
	l := &logins{
		slots: make(chan struct{}, limits.Passwords), clock: clock, random: random, secret: secret,
		capacity: limits.CachedLogins, lifetime: limits.CachedLoginTime,
		known: map[[32]byte]*list.Element{},
	}
	rand.Read(l.key[:])
	l.nobody, _ = credential.Impossible(rand.Reader)
	return l
}

// slot waits until a hash may be computed.
func (l *logins) slot(ctx context.Context) (release func(), err error) {
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, domain.Wrap(domain.Unavailable, ctx.Err(), "too many logins at once")
	}
}

// verifiers turns a new password, or an importable hash, into what is stored.
func (l *logins) verifiers(ctx context.Context, password string) (string, event.ScramKeys, error) {
	if password == "" {
		return "", event.ScramKeys{}, nil
	}
	if hash, known, err := credential.Import(password); known || err != nil {
		return hash, event.ScramKeys{}, err
	}
	if err := credential.Check(password); err != nil {
		return "", event.ScramKeys{}, err
	}
	release, err := l.slot(ctx)
	if err != nil {
		return "", event.ScramKeys{}, err
	}
	defer release()
	hash, err := credential.Hash(l.random, password)
	if err != nil {
		return "", event.ScramKeys{}, err
	}
	keys, err := credential.Keys(l.random, password)
	return hash, keys, err
}

// fits checks a password against a hash.
func (l *logins) fits(ctx context.Context, login, password, hash string) (bool, error) {
	digest := l.digest(login, password)
	if l.remembered(digest, hash) {
		return true, nil
	}
	release, err := l.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	fits, err := credential.Verify(hash, password)
	if fits {
		l.remember(digest, hash)
	}
	return fits, err
}

func (l *logins) digest(login, password string) [32]byte {
	m := hmac.New(sha256.New, l.key[:])
	m.Write(binary.AppendUvarint(nil, uint64(len(login))))
	io.WriteString(m, login)
	io.WriteString(m, password)
	return [32]byte(m.Sum(nil))
}

func (l *logins) remembered(digest [32]byte, hash string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	place, ok := l.known[digest]
	if !ok {
		return false
	}
	login := place.Value.(knownLogin)
	if login.hash != hash || !l.clock().Before(login.until) {
		l.recent.Remove(place)
		delete(l.known, digest)
		return false
	}
	l.recent.MoveToFront(place)
	return true
}

func (l *logins) remember(digest [32]byte, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if place, ok := l.known[digest]; ok {
		l.recent.Remove(place)
	}
	l.known[digest] = l.recent.PushFront(knownLogin{digest, hash, l.clock().Add(l.lifetime)})
	for l.recent.Len() > l.capacity {
		oldest := l.recent.Back()
		delete(l.known, oldest.Value.(knownLogin).digest)
		l.recent.Remove(oldest)
	}
}

// Identity is an authenticated user.
type Identity struct {
	Account domain.AccountID
	Login   string // the account's first address
}

// Authenticate checks a password. Any address of the account will do as login. It takes the same time for unknown users, and says the same
// to everybody who may not come in. Errors: domain.Denied, domain.Unavailable.
func (d *Directory) Authenticate(ctx context.Context, login, password string) (Identity, error) {
	var who Identity
	hash := d.logins.nobody
	err := d.view(ctx, func(s *directory.State) error {
		who, hash = Identity{}, d.logins.nobody
		if a := find(s, login); a != nil {
			if !a.Disabled {
				who = Identity{a.ID, a.Login()}
			}
			if a.Hash != "" {
				hash = a.Hash
			}
		}
		return nil
	})
	if err != nil {
		return Identity{}, err
	}
	fits, err := d.logins.fits(ctx, login, password, hash)
	switch {
	case err != nil:
		return Identity{}, err
	case !fits || who == Identity{}:
		return Identity{}, domain.Errorf(domain.Denied, "the login name or the password is wrong")
	}
	return who, nil
}

func find(s *directory.State, login string) *directory.Account {
	address, err := directory.NormalAddress(login)
	if err != nil {
		return nil
	}
	a, _ := s.ByAddress(address)
	return a
}

// Scram gives the keys for a SCRAM-SHA-256 exchange; for unknown users it gives stable fake keys, so that they look like others, and no
// Identity. No password fits the keys of users who may not log in, or whose password came as a hash of another kind.
func (d *Directory) Scram(ctx context.Context, login string) (who Identity, keys event.ScramKeys, err error) {
	normal, err := directory.NormalAddress(login)
	if err != nil {
		normal = login
	}
	err = d.view(ctx, func(s *directory.State) error {
		who, keys = Identity{}, credential.FakeKeys(d.logins.secret, normal)
		a := find(s, login)
		switch {
		case a == nil || a.Scram.Iterations == 0:
		case a.Disabled:
			keys.Iterations, keys.Salt = a.Scram.Iterations, a.Scram.Salt
		default:
			who, keys = Identity{a.ID, a.Login()}, a.Scram
		}
		return nil
	})
	return who, keys, err
}
