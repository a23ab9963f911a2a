package webadmin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/zone"
	"github.com/streampost/streampost/projections/door"
)

// keyring has the keys of example.org.
type keyring struct{ keys []door.DKIMKey }

func (k *keyring) local(host string) error {
	if host != "example.org" {
		return domain.Errorf(domain.NotFound, "domain %s is not local", host)
	}
	return nil
}

func (k *keyring) AddDKIMKey(_ context.Context, _, host, selector, algorithm string) (door.DKIMKey, error) {
	if err := k.local(host); err != nil {
		return door.DKIMKey{}, err
	}
	key := door.DKIMKey{Domain: host, Selector: selector, Algorithm: algorithm, Status: "pending", Created: time.Unix(0, 0).UTC(), Name: selector + "._domainkey." + host, Record: "v=DKIM1; p=x"}
	k.keys = append(k.keys, key)
	return key, nil
}

func (k *keyring) DKIMKeys(_ context.Context, host string) ([]door.DKIMKey, error) {
	return k.keys, k.local(host)
}

func (k *keyring) DKIMKey(_ context.Context, host, selector string) (door.DKIMKey, error) {
	for _, key := range k.keys {
		if key.Selector == selector {
			return key, nil
		}
	}
	return door.DKIMKey{}, domain.Errorf(domain.NotFound, "there is no key %s", selector)
}

func (k *keyring) Activate(_ context.Context, _, _, _ string, unchecked bool) error {
	if !unchecked {
		return domain.Errorf(domain.Conflict, "the record is missing in DNS")
	}
	k.keys[0].Status = "active"
	return nil
}

func (k *keyring) RetireDKIMKey(context.Context, string, string, string) error {
	k.keys[0].Status = "retired"
	return nil
}

func (k *keyring) RemoveDKIMKey(context.Context, string, string, string) error {
	k.keys = k.keys[:0]
	return nil
}

func (k *keyring) Records(_ context.Context, host string, check bool) ([]zone.Checked, error) {
	c := zone.Checked{Record: zone.Record{For: "mx", Name: host, Type: "MX", Value: "10 mx.example.org"}}
	if check {
		c.State = zone.Missing
	}
	return []zone.Checked{c}, k.local(host)
}

func TestKeysAndRecords(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	const shown = `{"domain":"example.org","selector":"a","algorithm":"rsa","status":"pending","created":"1970-01-01T00:00:00Z","name":"a._domainkey.example.org","record":"v=DKIM1; p=x"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/domains/example.org/dkim", "", 200, `[]`},
		{"GET", "/v1/domains/example.net/dkim", "", 404, `not local`},
		{"POST", "/v1/domains/example.org/dkim", `{"selector":"a","algorithm":"rsa"}`, 201, shown},
		{"POST", "/v1/domains/example.org/dkim", `{"x":1}`, 400, `unknown field`},
		{"GET", "/v1/domains/example.org/dkim/a", "", 200, shown},
		{"GET", "/v1/domains/example.org/dkim/b", "", 404, `there is no key b`},
		{"POST", "/v1/domains/example.org/dkim/a/activate", "", 409, `missing in DNS`},
		{"POST", "/v1/domains/example.org/dkim/a/activate?unchecked=true", "", 204, ``},
		{"POST", "/v1/domains/example.org/dkim/a/retire", "", 204, ``},
		{"GET", "/v1/domains/example.org/dkim", "", 200, `"status":"retired"`},
		{"DELETE", "/v1/domains/example.org/dkim/a", "", 204, ``},
		{"GET", "/v1/domains/example.org/dns", "", 200, `[{"for":"mx","name":"example.org","type":"MX","value":"10 mx.example.org"}]`},
		{"GET", "/v1/domains/example.org/dns?check=true", "", 200, `"state":"missing"`},
		{"GET", "/v1/domains/example.net/dns", "", 404, `not local`},
	} {
		status, text := ask(t, c.method, s.URL+c.path, c.body)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, status, text, c.status, c.want)
		}
	}
}
