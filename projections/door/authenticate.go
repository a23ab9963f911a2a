package door

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/credential"
)

// Identity is an authenticated user.
type Identity struct {
	Account domain.AccountID
	Login   string // the account's first address

	// Protocol and Source are what and from where the user logs in, as whoever authenticates knows it, see Enter.
	Protocol, Source string

	proof proof
}

// proof is what somebody was let in by. The login lasts as long as that does, see Enter.
type proof struct {
	verifier string    // of the password, as it was in force
	app      string    // the name of an app password
	hash     [32]byte  // and its hash
	token    bool      // an access token, which the directory knows nothing of
	until    time.Time // the zero time: no end
}

// holds reports whether an account still admits whom it admitted by a proof.
func (p proof) holds(a *directory.Account) bool {
	if a == nil || a.Disabled {
		return false
	}
	if p.app != "" {
		kept, ok := a.App(p.app)
		return ok && kept.Hash == p.hash
	}
	return p.token || p.verifier == a.Hash
}

// By says what the user was let in by, for logs: password, token, or the name of an app password.
func (w Identity) By() string {
	switch {
	case w.proof.app != "":
		return "app password " + w.proof.app
	case w.proof.token:
		return "token"
	}
	return "password"
}

// Authenticate checks an account's password, and no app password. Any address of the account will do as login. It takes the same time for unknown
// users, and says the same to everybody who may not come in. Errors: domain.Denied, domain.Unavailable.
func (d *Directory) Authenticate(ctx context.Context, login, password string) (who Identity, err error) {
	var c comparison
	who, err = d.authenticate(ctx, login, password, &c)
	err = d.again(ctx, err, func() error {
		who, err = d.authenticate(ctx, login, password, &c)
		return err
	})
	return who, err
}

// comparison is what came of a password and a hash, which takes long to find out.
type comparison struct {
	hash string
	fits bool
}

// authenticate is Authenticate as this node knows the account. A comparison that was made before is not made again.
func (d *Directory) authenticate(ctx context.Context, login, password string, c *comparison) (Identity, error) {
	var who Identity
	hash := d.logins.nobody
	err := d.view(ctx, func(s *directory.State) error {
		who, hash = Identity{}, d.logins.nobody
		if a := find(s, login); a != nil {
			if !a.Disabled {
				who = identify(a, proof{verifier: a.Hash})
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
	if c.hash != hash {
		fits, err := d.logins.fits(ctx, login, password, hash)
		if err != nil {
			return Identity{}, err
		}
		*c = comparison{hash, fits}
	}
	if !c.fits || who.Account == "" {
		return Identity{}, errWrong
	}
	return who, nil
}

var errWrong = domain.Errorf(domain.Denied, "the login name or the password is wrong")

func identify(a *directory.Account, by proof) Identity {
	return Identity{Account: a.ID, Login: a.Login(), proof: by}
}

func find(s *directory.State, login string) *directory.Account {
	a, _ := s.Find(login)
	return a
}

// Assume gives the identity of a user for whom somebody else vouches, such as the issuer of a token. Errors: domain.Denied for who is not there or
// may not log in; domain.Unavailable.
func (d *Directory) Assume(ctx context.Context, address string) (who Identity, err error) {
	look := func() error {
		return d.view(ctx, func(s *directory.State) error {
			a := find(s, address)
			if a == nil || a.Disabled {
				return domain.Errorf(domain.Denied, "no account that may log in has the address %.100q", address)
			}
			who = identify(a, proof{token: true})
			return nil
		})
	}
	err = d.again(ctx, look(), look)
	return who, err
}

// Digest is the hash function of SCRAM keys.
type Digest = credential.Digest

// The digests of SCRAM mechanisms that are served.
const (
	SHA256 = credential.SHA256 // RFC 7677
	SHA1   = credential.SHA1   // RFC 5802: for keys that were imported, none are made
)

// ScramKeys are the keys of one user.
type ScramKeys = event.ScramKeys

// HasScram reports whether a SCRAM mechanism makes sense: there are always keys with SHA-256, and such with SHA-1 if some were imported.
func (d *Directory) HasScram(digest Digest) bool { return digest == SHA256 || d.oldScram.Load() }

// noteScram remembers that there is a hash of SCRAM-SHA-1 keys.
func (d *Directory) noteScram(hash string) {
	if credential.ScramKeys(hash, SHA1).Iterations != 0 {
		d.oldScram.Store(true)
	}
}

// Scram gives the keys for an exchange; for unknown users it gives stable fake keys, so that they look like others, and no Identity. No password
// fits the keys of users who may not log in, or of whom there are no keys with that digest. In a cluster it asks first, whoever logs in, whether another
// node has changed the keys: a proof that fails says nothing of that. Where nobody answers soon, those that this node knows are good.
func (d *Directory) Scram(ctx context.Context, digest Digest, login string) (who Identity, keys ScramKeys, err error) {
	normal, err := directory.NormalAddress(login)
	if err != nil {
		normal = login
	}
	if d.setup.shared {
		asking, cancel := context.WithTimeout(ctx, d.setup.limits.LoadPatience)
		err = fresh(asking, d.ledger, false)
		cancel()
		if err != nil {
			d.setup.logger.Warn("keys for a login may be old", "error", err)
		}
	}
	err = d.view(ctx, func(s *directory.State) error {
		who, keys = Identity{}, credential.FakeKeys(d.logins.secret, digest, normal)
		a := find(s, login)
		if a == nil {
			return nil
		}
		kept := a.Scram
		if digest == SHA1 {
			kept = credential.ScramKeys(a.Hash, SHA1)
		}
		switch {
		case kept.Iterations == 0:
		case a.Disabled:
			keys.Iterations, keys.Salt = kept.Iterations, kept.Salt
		default:
			who, keys = identify(a, proof{verifier: a.Hash}), kept
		}
		return nil
	})
	return who, keys, err
}
