package mailauth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// Keys finds the keys that sign mail of a domain; door.Directory does.
type Keys interface {
	SigningKeys(ctx context.Context, host string) ([]door.SigningKey, error)
}

// Signer signs what leaves (RFC 6376), with each active key of the author's domain. The zero fields have defaults; Keys is needed.
type Signer struct {
	Keys   Keys
	Header int64                // octets of a header that are read; 2 MiB. A message with a larger one is not signed
	Blank  int                  // as Limits.Blank
	Count  func(outcome string) // signed, keyless, foreign or unsignable; nil counts nothing
	Logger *slog.Logger         // nil discards
}

// sealedFields are signed as often as they are there and once more, so that none can be added on the way (RFC 6376 section 8.15); signedFields only as often as they are there: mailing
// lists add them. Other fields that lists and forwarders add are left to them.
var (
	sealedFields = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}
	signedFields = []string{"Sender", "Reply-To", "In-Reply-To", "References"}
)

// maxInstances bounds how often one name is signed. The h= tag is one line, which has to stay below 998 octets (RFC 5322 section 2.1.1).
const maxInstances = 3

// Sign gives the DKIM-Signature fields to be put in front of a message; none where its author's domain has no key, is none of domains, or cannot be told. domains are those for
// which the sender may speak. Errors: what reading the message gives, domain.Unavailable and domain.Corrupt of keys.
func (s *Signer) Sign(ctx context.Context, domains []string, open func() (io.ReadCloser, error)) (fields string, err error) {
	outcome := "signed"
	defer func() {
		if err == nil && s.Count != nil {
			s.Count(outcome)
		}
	}()
	r, err := open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 32<<10)
	most := s.Header
	if most == 0 {
		most = 2 << 20
	}
	header, whole, err := readHeader(in, most)
	if err != nil {
		return "", err
	}
	from := author(header)
	switch {
	case !whole || from == "":
		outcome = "unsignable"
		return "", nil
	case !contains(ascii(domains), from):
		outcome = "foreign"
		return "", nil
	}
	keys, err := s.Keys.SigningKeys(ctx, from)
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		outcome = "keyless"
		return "", nil
	}
	body := &bounded{ctx: ctx, r: in, most: s.Blank}
	if body.most == 0 {
		body.most = 64 << 10
	}
	fields, err = seal(keys, header, body)
	switch {
	case ctx.Err() != nil:
		return "", domain.Wrap(domain.Unavailable, ctx.Err(), "sign the message")
	case body.fault != nil:
		return "", domain.Wrap(domain.Unavailable, body.fault, "sign the message")
	case body.refused || err != nil:
		outcome = "unsignable"
		if s.Logger != nil {
			s.Logger.Warn("a message cannot be signed", "domain", from, "error", err)
		}
		return "", nil
	}
	return fields, nil
}

// seal signs with all keys in one reading. The package has only fields that are fields to everybody: it takes some names for others.
func seal(keys []door.SigningKey, all []byte, body *bounded) (string, error) {
	names := covered(all)
	var header []byte
	for name, field := range authres.Fields(all) {
		if name != "" {
			header = append(header, field...)
		}
	}
	var signers []*dkim.Signer
	var writers []io.Writer
	for _, k := range keys {
		signer, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: k.Domain, Selector: k.Selector, Signer: k.Key, HeaderKeys: names,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return "", errors.Join(err, end(signers))
		}
		signers = append(signers, signer)
		writers = append(writers, signer)
	}
	_, err := io.Copy(io.MultiWriter(writers...), io.MultiReader(bytes.NewReader(header), body, body.end()))
	if err = errors.Join(err, end(signers)); err != nil || body.refused || body.fault != nil || body.ctx.Err() != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range signers {
		b.WriteString(s.Signature())
	}
	return b.String(), nil
}

// end has each signer finish; none is left waiting.
func end(signers []*dkim.Signer) (err error) {
	for _, s := range signers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// covered lists the names for the h= tag.
func covered(header []byte) (names []string) {
	count := map[string]int{}
	for name := range authres.Fields(header) {
		count[strings.ToLower(name)]++
	}
	for _, name := range sealedFields {
		names = append(names, slices.Repeat([]string{name}, min(count[strings.ToLower(name)], maxInstances)+1)...)
	}
	for _, name := range signedFields {
		names = append(names, slices.Repeat([]string{name}, min(count[strings.ToLower(name)], maxInstances))...)
	}
	return names
}

// author gives the domain of the one address in the one From field, in A-labels, or nothing where there is anything else.
func author(header []byte) string {
	fields := 0
	var all []message.Address
	for name, field := range authres.Fields(header) {
		if strings.EqualFold(name, "From") {
			fields++
			all = append(all, shown(field)...)
		}
	}
	if fields != 1 || len(all) != 1 {
		return ""
	}
	if name, ok := authority(all[0]); ok {
		return name
	}
	return ""
}

func ascii(domains []string) (all []string) {
	for _, d := range domains {
		all = append(all, idn.ASCII(d))
	}
	return all
}

// readHeader reads up to the first empty line, which it leaves. whole is false where that is further than most octets.
func readHeader(in *bufio.Reader, most int64) (header []byte, whole bool, err error) {
	begins := true
	for int64(len(header)) <= most {
		if next, err := in.Peek(2); begins && (string(next) == "\r\n" || len(next) == 0) {
			if err != nil && err != io.EOF {
				return nil, false, err
			}
			return header, true, nil
		}
		line, err := in.ReadSlice('\n')
		header = append(header, line...)
		begins = err == nil
		switch {
		case err == io.EOF:
			return append(header, "\r\n"...), true, nil
		case err != nil && err != bufio.ErrBufferFull:
			return nil, false, err
		}
	}
	return nil, false, nil
}
