package door

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections/door/credential"
)

// AppPassword is what is known of a password that one program has.
type AppPassword struct {
	Name      string     `json:"name"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires,omitempty"`
	Protocols []string   `json:"protocols,omitempty"` // none: all
	// LastUsed is when it last opened the account, as far as this process knows.
	LastUsed *time.Time `json:"lastUsed,omitempty"`
}

// appUse remembers when app passwords were last used. Writing it down would cost an entry of the log for each login.
type appUse struct {
	mu   sync.Mutex
	last map[appKey]time.Time
}

type appKey struct {
	account domain.AccountID
	name    string
}

func (u *appUse) note(id domain.AccountID, name string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[appKey]time.Time{}
	}
	u.last[appKey{id, name}] = now
}

func (u *appUse) of(id domain.AccountID, name string) *time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.last[appKey{id, name}]; ok {
		at = at.UTC().Truncate(time.Second)
		return &at
	}
	return nil
}

// forget drops what was taken away: one password, or all of an account if name is empty.
func (u *appUse) forget(id domain.AccountID, name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.last, func(k appKey, _ time.Time) bool { return k.account == id && (name == "" || k.name == name) })
}

// AddAppPassword draws an app password, which is told once and never again. The zero time means that it never expires, no protocols mean all of
// directory.Protocols. Errors: domain.Exists, domain.Invalid, domain.TooLarge, domain.NotFound.
func (d *Directory) AddAppPassword(ctx context.Context, actor string, id domain.AccountID, name string, expires time.Time, protocols []string) (password string, err error) {
	password, hash, err := credential.NewApp(d.setup.random)
	if err != nil {
		return "", err
	}
	c := directory.AddAppPassword{ID: id, Name: name, Hash: hash, Now: d.setup.clock().Unix(), Protocols: protocols}
	if !expires.IsZero() {
		c.Expires = max(expires.Unix(), 1) // 0 would be never
	}
	return password, d.do(ctx, actor, c)
}

// RemoveAppPassword takes an app password away and ends the sessions that it opened, see Enter. Errors: domain.NotFound.
func (d *Directory) RemoveAppPassword(ctx context.Context, actor string, id domain.AccountID, name string) error {
	return d.do(ctx, actor, directory.RemoveAppPassword{ID: id, Name: name})
}

// AppPasswords lists those of an account, the oldest first. Errors: domain.NotFound.
func (d *Directory) AppPasswords(ctx context.Context, id domain.AccountID) (all []AppPassword, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		a, ok := s.Accounts[id]
		if !ok {
			return domain.Errorf(domain.NotFound, "account %s does not exist", id)
		}
		all = all[:0]
		for _, p := range a.AppPasswords {
			shown := AppPassword{Name: p.Name, Created: time.Unix(p.Created, 0).UTC(), Protocols: slices.Clone(p.Protocols), LastUsed: d.apps.of(id, p.Name)}
			if p.Expires != 0 {
				at := time.Unix(p.Expires, 0).UTC()
				shown.Expires = &at
			}
			all = append(all, shown)
		}
		return nil
	})
	return all, err
}

// app checks an app password. It gives no identity if it is none that opens the protocol now.
func (d *Directory) app(ctx context.Context, protocol, login, password string) (who Identity, err error) {
	hash, ok := credential.HashApp(password)
	if !ok {
		return Identity{}, nil
	}
	now := d.setup.clock()
	err = d.view(ctx, func(s *directory.State) error {
		who = Identity{}
		a := find(s, login)
		if a == nil || a.Disabled {
			return nil
		}
		for _, p := range a.AppPasswords { // Equal hashes mean equal passwords; how long a comparison takes tells of a hash, not of a password.
			if p.Hash == hash && p.Opens(protocol, now.Unix()) {
				by := proof{app: p.Name, hash: hash}
				if p.Expires != 0 {
					by.until = time.Unix(p.Expires, 0)
				}
				who = identify(a, by)
			}
		}
		return nil
	})
	if who.Account != "" {
		d.apps.note(who.Account, who.proof.app, now)
	}
	return who, err
}
