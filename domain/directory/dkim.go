package directory

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/idn"
)

// Limits of DKIM keys.
const (
	MaxDKIMKeys  = 20 // of one domain
	maxSelector  = 100
	maxDKIMOctet = 8 << 10 // of a key, which holds RSA keys of 4,096 bits and more
)

// DKIMAlgorithms are those of keys (RFC 6376 section 3.3, RFC 8463).
var DKIMAlgorithms = []string{"rsa", "ed25519"}

// DKIMKey is a key with which mail of a domain is signed. It is pending until it is activated, active until it is retired, and then kept until it is removed; of each algorithm
// a domain has at most one active key.
type DKIMKey struct {
	Selector  string
	Algorithm string
	Private   []byte // PKCS #8
	Public    []byte // as the record has it
	Created   int64  // Unix seconds
	Activated int64  // Unix seconds; 0: never yet
	Retired   int64  // Unix seconds; 0: not since it was activated
}

// Active reports whether the key signs.
func (k *DKIMKey) Active() bool { return k.Activated != 0 && k.Retired == 0 }

// Status is pending, active or retired.
func (k *DKIMKey) Status() string {
	switch {
	case k.Active():
		return "active"
	case k.Retired != 0:
		return "retired"
	}
	return "pending"
}

// Record is what has to be published for the key (RFC 6376 section 3.6.1).
func (k *DKIMKey) Record() string {
	return "v=DKIM1; k=" + k.Algorithm + "; p=" + base64.StdEncoding.EncodeToString(k.Public)
}

// DKIMName is where it has to be published (RFC 6376 section 3.6.2.1).
func DKIMName(selector, host string) string { return selector + "._domainkey." + idn.ASCII(host) }

// AddDKIMKey gives a domain a key, which does not sign yet.
type AddDKIMKey struct {
	Domain, Selector, Algorithm string
	Private, Public             []byte
	Now                         int64 // Unix seconds
}

func (c AddDKIMKey) decide(s *State) ([]event.Event, error) {
	host, err := s.local(c.Domain)
	if err != nil {
		return nil, err
	}
	selector := strings.ToLower(c.Selector)
	switch {
	case !isSelector(selector):
		return nil, domain.Errorf(domain.Invalid, "%q cannot be a selector: letters, digits and hyphens, with dots between them", c.Selector)
	case !slices.Contains(DKIMAlgorithms, c.Algorithm):
		return nil, domain.Errorf(domain.Invalid, "%q is not an algorithm: it is %s", c.Algorithm, strings.Join(DKIMAlgorithms, " or "))
	case len(c.Private) == 0 || len(c.Public) == 0 || len(c.Private) > maxDKIMOctet || len(c.Public) > maxDKIMOctet:
		return nil, domain.Errorf(domain.Invalid, "the key is empty or too long")
	case len(s.DKIM[host]) >= MaxDKIMKeys:
		return nil, domain.Errorf(domain.TooLarge, "a domain has at most %d DKIM keys: remove some that are retired", MaxDKIMKeys)
	}
	if _, exists := s.DKIMKey(host, selector); exists {
		return nil, domain.Errorf(domain.Exists, "domain %s has a DKIM key with the selector %s already", host, selector)
	}
	return []event.Event{&event.DKIMKeyAdded{Domain: host, Selector: selector, Algorithm: c.Algorithm, Private: c.Private, Public: c.Public, Created: c.Now}}, nil
}

// isSelector checks labels as hosts have them (RFC 6376 section 3.1).
func isSelector(s string) bool {
	if len(s) > maxSelector {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// ActivateDKIMKey has a key sign in place of the one of the same algorithm that does so until now, which is retired.
type ActivateDKIMKey struct {
	Domain, Selector string
	Now              int64 // Unix seconds
}

func (c ActivateDKIMKey) decide(s *State) ([]event.Event, error) {
	host, key, err := s.findDKIM(c.Domain, c.Selector)
	if err != nil || key.Active() {
		return nil, err
	}
	var events []event.Event
	for _, k := range s.DKIM[host] {
		if k.Active() && k.Algorithm == key.Algorithm {
			events = append(events, &event.DKIMKeyRetired{Domain: host, Selector: k.Selector, At: c.Now})
		}
	}
	return append(events, &event.DKIMKeyActivated{Domain: host, Selector: key.Selector, At: c.Now}), nil
}

// RetireDKIMKey has a key sign no longer.
type RetireDKIMKey struct {
	Domain, Selector string
	Now              int64 // Unix seconds
}

func (c RetireDKIMKey) decide(s *State) ([]event.Event, error) {
	host, key, err := s.findDKIM(c.Domain, c.Selector)
	switch {
	case err != nil || key.Status() == "retired":
		return nil, err
	case !key.Active():
		return nil, domain.Errorf(domain.Invalid, "the DKIM key %s of %s has never signed: remove it", key.Selector, host)
	}
	return []event.Event{&event.DKIMKeyRetired{Domain: host, Selector: key.Selector, At: c.Now}}, nil
}

// RemoveDKIMKey forgets a key that does not sign.
type RemoveDKIMKey struct{ Domain, Selector string }

func (c RemoveDKIMKey) decide(s *State) ([]event.Event, error) {
	host, key, err := s.findDKIM(c.Domain, c.Selector)
	if err != nil {
		return nil, err
	}
	if key.Active() {
		return nil, domain.Errorf(domain.Invalid, "the DKIM key %s of %s signs: activate another or retire it first", key.Selector, host)
	}
	return []event.Event{&event.DKIMKeyRemoved{Domain: host, Selector: key.Selector}}, nil
}

// local gives the stored spelling of a local domain.
func (s *State) local(name string) (string, error) {
	if _, err := NormalDomain(name); err != nil {
		return "", err
	}
	host, local := s.Host(name)
	if !local {
		return "", domain.Errorf(domain.NotFound, "domain %s is not local", name)
	}
	return host, nil
}

func (s *State) findDKIM(name, selector string) (string, DKIMKey, error) {
	host, err := s.local(name)
	if err != nil {
		return "", DKIMKey{}, err
	}
	key, ok := s.DKIMKey(host, strings.ToLower(selector))
	if !ok {
		return "", DKIMKey{}, domain.Errorf(domain.NotFound, "domain %s has no DKIM key with the selector %s", host, selector)
	}
	return host, key, nil
}

// DKIMKey finds a key of a domain, in its stored spelling.
func (s *State) DKIMKey(host, selector string) (DKIMKey, bool) {
	if i := s.dkim(host, selector); i >= 0 {
		return s.DKIM[host][i], true
	}
	return DKIMKey{}, false
}

func (s *State) dkim(host, selector string) int {
	return slices.IndexFunc(s.DKIM[host], func(k DKIMKey) bool { return k.Selector == selector })
}

// applyDKIM folds what happens to keys. It tells whether the event was about one.
func (s *State) applyDKIM(e event.Event) bool {
	switch e := e.(type) {
	case *event.DKIMKeyAdded:
		if _, local := s.Domains[e.Domain]; !local || s.dkim(e.Domain, e.Selector) >= 0 {
			panic(fmt.Sprintf("the DKIM key %s of %s is added twice, or to a foreign domain", e.Selector, e.Domain))
		}
		s.DKIM[e.Domain] = append(s.DKIM[e.Domain], DKIMKey{Selector: e.Selector, Algorithm: e.Algorithm, Private: e.Private, Public: e.Public, Created: e.Created})
	case *event.DKIMKeyActivated:
		k := s.knownDKIM(e.Domain, e.Selector)
		k.Activated, k.Retired = e.At, 0
	case *event.DKIMKeyRetired:
		s.knownDKIM(e.Domain, e.Selector).Retired = e.At
	case *event.DKIMKeyRemoved:
		s.knownDKIM(e.Domain, e.Selector)
		i := s.dkim(e.Domain, e.Selector)
		if s.DKIM[e.Domain] = slices.Delete(s.DKIM[e.Domain], i, i+1); len(s.DKIM[e.Domain]) == 0 {
			delete(s.DKIM, e.Domain)
		}
	default:
		return false
	}
	return true
}

func (s *State) knownDKIM(host, selector string) *DKIMKey {
	i := s.dkim(host, selector)
	if i < 0 {
		panic(fmt.Sprintf("the DKIM key %s of %s does not exist", selector, host))
	}
	return &s.DKIM[host][i]
}
