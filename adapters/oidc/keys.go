package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/streampost/streampost/domain"
)

// maxAnswer bounds what is read of the issuer's metadata and of its keys, in octets.
const maxAnswer = 1 << 20

// keySet is the issuer's keys as they were at a time.
type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time
}

// fitting gives the keys that may have signed with an algorithm under an id; all of them where the token names none.
func (s *keySet) fitting(id, algorithm string) (fit []jose.JSONWebKey) {
	if s == nil {
		return nil
	}
	for _, key := range s.keys {
		if (id == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == algorithm) {
			fit = append(fit, key)
		}
	}
	return fit
}

// keysFor gives the keys that may have signed a token. Keys that are old are fetched again, and so are all when a token names one that is not there,
// because it may be new; but tokens that anybody makes up do not have the issuer asked more often than once in Config.Pause.
func (i *Issuer) keysFor(ctx context.Context, id, algorithm string) ([]jose.JSONWebKey, error) {
	known := i.keys.Load()
	fit, now := known.fitting(id, algorithm), i.cfg.Now()
	if len(fit) > 0 && now.Sub(known.at) < i.cfg.Refresh {
		return fit, nil
	}
	var failed error
	if now.Sub(time.Unix(0, i.tried.Load())) >= i.cfg.Pause || i.tried.Load() == 0 {
		failed = i.refresh(ctx)
		known = i.keys.Load()
		fit = known.fitting(id, algorithm)
	}
	switch {
	case known == nil, failed != nil && len(fit) == 0, len(fit) > 0 && now.Sub(known.at) >= i.cfg.Keep:
		return nil, domain.Wrap(domain.Unavailable, failed, "the keys of "+i.cfg.Issuer+" cannot be had")
	case len(fit) == 0:
		return nil, denied("the issuer has no key %.100q for %s", id, algorithm)
	}
	return fit, nil
}

// refresh fetches the keys. Those who want them at the same time share a fetch, which goes on when one of them gives up.
func (i *Issuer) refresh(ctx context.Context) error {
	done := i.flight.DoChan("", func() (any, error) {
		i.tried.Store(i.cfg.Now().UnixNano())
		fresh, err := i.fetch(context.WithoutCancel(ctx))
		if err != nil {
			i.failed.Add(1)
			return nil, err
		}
		i.fetched.Add(1)
		i.keys.Store(fresh)
		return nil, nil
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *Issuer) fetch(ctx context.Context) (*keySet, error) {
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := i.get(ctx, i.discovery, &metadata); err != nil {
		return nil, err
	}
	if metadata.Issuer != i.cfg.Issuer { // Discovery 1.0 section 4.3.
		return nil, fmt.Errorf("%s is the metadata of %.200q", i.discovery, metadata.Issuer)
	}
	if where, err := url.Parse(metadata.Keys); err != nil || !private(where) {
		return nil, fmt.Errorf("%.200q is not the https URL of keys", metadata.Keys)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, metadata.Keys, &set); err != nil {
		return nil, err
	}
	fresh := &keySet{at: i.cfg.Now()}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		// RFC 7517 section 5: keys of a kind that is not understood are passed over. So are secrets and private keys, which have no business there.
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			fresh.keys = append(fresh.keys, key)
		}
	}
	if len(fresh.keys) == 0 {
		return nil, errors.New("the issuer has no keys that signatures could be checked with")
	}
	return fresh, nil
}

func (i *Issuer) get(ctx context.Context, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := i.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", from, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	return nil
}
