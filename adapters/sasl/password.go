package sasl

import (
	"context"
	"strings"
	"unicode/utf8"
)

// plain is PLAIN (RFC 4616).
func (x *Exchange) plain(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.plain, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 || parts[1] == "" || !utf8.Valid(response) {
		return nil, nil, ErrSyntax
	}
	return x.password(ctx, parts[0], parts[1], parts[2])
}

// user is the first prompt of LOGIN (draft-murchison-sasl-login). Clients are known to look for these very words.
func (x *Exchange) user(_ context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return []byte("Username:"), x.user, nil
	}
	if x.Named = string(response); x.Named == "" {
		return nil, nil, ErrSyntax
	}
	return []byte("Password:"), func(ctx context.Context, response []byte) ([]byte, step, error) {
		return x.password(ctx, "", x.Named, string(response))
	}, nil
}

func (x *Exchange) password(ctx context.Context, identity, login, password string) (_ []byte, _ step, err error) {
	x.Named = login
	if x.who, err = x.mechanisms.Password(ctx, x.client, login, password); err != nil {
		return nil, nil, err
	}
	if identity != "" && !strings.EqualFold(identity, login) {
		return nil, nil, ErrActing
	}
	return nil, nil, nil
}
