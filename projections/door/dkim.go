package door

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/idn"
)

// rsaBits is how long RSA keys are made (RFC 8301 section 3.2 wants 2,048 of signers).
const rsaBits = 2048

// DKIMKey is what is shown of a key that signs mail of a domain. Nobody is shown its private part.
type DKIMKey struct {
	Domain    string     `json:"domain"`
	Selector  string     `json:"selector"`
	Algorithm string     `json:"algorithm"`
	Status    string     `json:"status"` // pending, active or retired
	Created   time.Time  `json:"created"`
	Activated *time.Time `json:"activated,omitempty"`
	Retired   *time.Time `json:"retired,omitempty"`
	Name      string     `json:"name"`   // of the TXT record to publish
	Record    string     `json:"record"` // its text
}

// SigningKey is a key that signs.
type SigningKey struct {
	Domain   string // in A-labels
	Selector string
	Key      crypto.Signer
}

func showDKIM(host string, k *directory.DKIMKey) DKIMKey {
	at := func(seconds int64) *time.Time {
		if seconds == 0 {
			return nil
		}
		t := time.Unix(seconds, 0).UTC()
		return &t
	}
	return DKIMKey{
		Domain: host, Selector: k.Selector, Algorithm: k.Algorithm, Status: k.Status(), Created: time.Unix(k.Created, 0).UTC(), Activated: at(k.Activated), Retired: at(k.Retired),
		Name: directory.DKIMName(k.Selector, host), Record: k.Record(),
	}
}

// AddDKIMKey makes a key for a domain, which signs nothing until it is activated. An empty selector means one that says when and for which algorithm. Errors: domain.Invalid,
// domain.NotFound, domain.Exists, domain.TooLarge.
func (d *Directory) AddDKIMKey(ctx context.Context, actor, host, selector, algorithm string) (DKIMKey, error) {
	now := d.setup.clock()
	c := directory.AddDKIMKey{Domain: host, Selector: selector, Algorithm: algorithm, Now: now.Unix(), Private: []byte{0}, Public: []byte{0}}
	if algorithm == "" {
		c.Algorithm = directory.DKIMAlgorithms[0]
	}
	// What is refused is refused before a key is made, which takes time.
	err := d.view(ctx, func(s *directory.State) error {
		if selector == "" {
			c.Selector = freeSelector(s, host, now.UTC().Format("20060102")+c.Algorithm[:1])
		}
		_, err := directory.Decide(s, c)
		return err
	})
	if err != nil {
		return DKIMKey{}, err
	}
	if c.Private, c.Public, err = d.newDKIM(c.Algorithm); err != nil {
		return DKIMKey{}, domain.Wrap(domain.Internal, err, "make a DKIM key")
	}
	if err := d.do(ctx, actor, c); err != nil {
		return DKIMKey{}, err
	}
	return d.DKIMKey(ctx, host, c.Selector)
}

func freeSelector(s *directory.State, host, wanted string) string {
	stored, _ := s.Host(host)
	name := wanted
	for n := 2; n <= directory.MaxDKIMKeys+1; n++ {
		if _, taken := s.DKIMKey(stored, name); !taken {
			break
		}
		name = fmt.Sprint(wanted, n)
	}
	return name
}

func (d *Directory) newDKIM(algorithm string) (private, public []byte, err error) {
	if algorithm == "ed25519" {
		pub, key, err := ed25519.GenerateKey(d.setup.random)
		if err != nil {
			return nil, nil, err
		}
		private, err = x509.MarshalPKCS8PrivateKey(key)
		return private, pub, err
	}
	key, err := rsa.GenerateKey(d.setup.random, rsaBits)
	if err != nil {
		return nil, nil, err
	}
	if private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, nil, err
	}
	public, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	return private, public, err
}

// DKIMKeys lists the keys of a domain, the oldest first. Errors: domain.NotFound.
func (d *Directory) DKIMKeys(ctx context.Context, host string) (all []DKIMKey, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		stored, local := s.Host(host)
		if !local {
			return domain.Errorf(domain.NotFound, "domain %s is not local", host)
		}
		all = all[:0]
		for i := range s.DKIM[stored] {
			all = append(all, showDKIM(stored, &s.DKIM[stored][i]))
		}
		return nil
	})
	return all, err
}

// DKIMKey finds one of them. Errors: domain.NotFound.
func (d *Directory) DKIMKey(ctx context.Context, host, selector string) (DKIMKey, error) {
	all, err := d.DKIMKeys(ctx, host)
	for _, k := range all {
		if k.Selector == selector {
			return k, nil
		}
	}
	if err == nil {
		err = domain.Errorf(domain.NotFound, "domain %s has no DKIM key with the selector %s", host, selector)
	}
	return DKIMKey{}, err
}

// ActivateDKIMKey has a key sign, in place of the one of the same algorithm. Errors: domain.NotFound.
func (d *Directory) ActivateDKIMKey(ctx context.Context, actor, host, selector string) error {
	return d.do(ctx, actor, directory.ActivateDKIMKey{Domain: host, Selector: selector, Now: d.setup.clock().Unix()})
}

// RetireDKIMKey has a key sign no longer. Errors: domain.NotFound, domain.Invalid.
func (d *Directory) RetireDKIMKey(ctx context.Context, actor, host, selector string) error {
	return d.do(ctx, actor, directory.RetireDKIMKey{Domain: host, Selector: selector, Now: d.setup.clock().Unix()})
}

// RemoveDKIMKey forgets a key that does not sign. Errors: domain.NotFound, domain.Invalid.
func (d *Directory) RemoveDKIMKey(ctx context.Context, actor, host, selector string) error {
	return d.do(ctx, actor, directory.RemoveDKIMKey{Domain: host, Selector: selector})
}

// SigningKeys gives the keys that sign mail of a domain; none for a domain that has none, or is not local. Errors: domain.Unavailable, domain.Corrupt.
func (d *Directory) SigningKeys(ctx context.Context, host string) (all []SigningKey, err error) {
	var active []directory.DKIMKey
	err = d.view(ctx, func(s *directory.State) error {
		active = active[:0]
		stored, _ := s.Host(host)
		for _, k := range s.DKIM[stored] {
			if k.Active() {
				active = append(active, k)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range active {
		key, err := x509.ParsePKCS8PrivateKey(k.Private)
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, domain.Errorf(domain.Corrupt, "the DKIM key %s of %s cannot be read", k.Selector, host)
		}
		all = append(all, SigningKey{Domain: idn.ASCII(host), Selector: k.Selector, Key: signer})
	}
	return all, nil
}
