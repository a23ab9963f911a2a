package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// bearer is OAUTHBEARER (RFC 7628 section 3.1): a GS2 header, then key=value pairs, each with a ^A behind it, then one more ^A.
func (x *Exchange) bearer(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.bearer, nil
	}
	header, rest, ok := bytes.Cut(response, []byte{1})
	flag, identity, named := strings.Cut(strings.TrimSuffix(string(header), ","), ",")
	if !ok || !named || flag != "n" && flag != "y" || !bytes.HasSuffix(header, []byte{','}) { // No binding is defined for it: p is refused.
		return nil, nil, ErrSyntax
	}
	var err error
	if x.Named, err = gs2Name(identity); err != nil {
		return nil, nil, err
	}
	token, err := bearerToken(rest)
	if err != nil {
		return nil, nil, err
	}
	configuration, scope := x.mechanisms.Tokens.Configuration()
	return x.token(ctx, token, map[string]string{"status": "invalid_token", "scope": scope, "openid-configuration": configuration})
}

// xoauth2 is Google's forerunner of it: user=, auth= and two ^A.
func (x *Exchange) xoauth2(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.xoauth2, nil
	}
	user, rest, ok := bytes.Cut(response, []byte{1})
	name, found := bytes.CutPrefix(user, []byte("user="))
	if !ok || !found || !utf8.Valid(name) {
		return nil, nil, ErrSyntax
	}
	x.Named = string(name)
	token, err := bearerToken(rest)
	if err != nil {
		return nil, nil, err
	}
	_, scope := x.mechanisms.Tokens.Configuration()
	return x.token(ctx, token, map[string]string{"status": "401", "schemes": "bearer", "scope": scope})
}

// token checks a token. One that is not good is told why as a challenge (RFC 7628 section 3.2.2), and whatever the client answers to that ends the
// exchange (section 3.2.3). It counts against where it comes from only: nobody guesses tokens, and failures with an expired one, which programs
// repeat, must not slow down the user's other programs.
func (x *Exchange) token(ctx context.Context, token string, failure map[string]string) ([]byte, step, error) {
	if err := x.mechanisms.Directory.Admit(ctx, x.client.Source, ""); err != nil {
		return nil, nil, err
	}
	who, err := x.owner(ctx, token)
	x.mechanisms.Directory.Tried(x.client.Source, "", err)
	if err == nil {
		x.who = x.mechanisms.placed(x.client, who)
		return nil, nil, nil
	}
	if !domain.Is(err, domain.Denied) {
		return nil, nil, err
	}
	told, _ := json.Marshal(failure)
	return told, func(context.Context, []byte) ([]byte, step, error) { return nil, nil, err }, nil
}

// owner is the user whom a token is about, who has to be the one that the client named, if it named one.
func (x *Exchange) owner(ctx context.Context, token string) (who door.Identity, err error) {
	address, err := x.mechanisms.Tokens.Address(ctx, token)
	if err == nil {
		who, err = x.mechanisms.Directory.Assume(ctx, address)
	}
	if err != nil {
		return door.Identity{}, err
	}
	if x.Named == "" {
		x.Named = who.Login
		return who, nil
	}
	named, err := x.mechanisms.Directory.Assume(ctx, x.Named)
	switch {
	case domain.Is(err, domain.Denied), err == nil && named.Account != who.Account:
		return door.Identity{}, ErrActing
	case err != nil:
		return door.Identity{}, err
	}
	return who, nil
}

// bearerToken finds the credentials among the pairs (RFC 7628 section 3.1, RFC 6750 section 2.1). The other pairs, host and port, bind nothing.
func bearerToken(pairs []byte) (string, error) {
	pairs, ok := bytes.CutSuffix(pairs, []byte{1, 1})
	if !ok {
		return "", ErrSyntax
	}
	for pair := range strings.SplitSeq(string(pairs), "\x01") {
		if value, found := strings.CutPrefix(pair, "auth="); found {
			scheme, token, _ := strings.Cut(value, " ")
			if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" { // RFC 9110 section 11.1
				return "", ErrSyntax
			}
			return token, nil
		}
	}
	return "", ErrSyntax
}

// gs2Name reads "a=name" of a GS2 header, in which =2C is a comma and =3D an equals sign (RFC 5801 section 4); empty when there is none.
func gs2Name(identity string) (string, error) {
	if identity == "" {
		return "", nil
	}
	name, ok := strings.CutPrefix(identity, "a=")
	plain := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	if !ok || name == "" || !utf8.ValidString(name) || strings.ContainsAny(name, ",\x00") || strings.Count(name, "=") != strings.Count(name, "=2C")+strings.Count(name, "=3D") {
		return "", ErrSyntax
	}
	return plain, nil
}
