package mailauth

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/streampost/streampost/domain/authres"
)

// signed is one signature, and what became of it.
type signed struct {
	method authres.Method
	domain string // that signed, in A-labels

	field []byte   // whole; nothing where it is not checked at all
	d, s  string   // its tags as they stand there
	names int      // in its h= tag
	texts []string // of its key's name
	err   error    // likewise
	check *dkim.Verification
}

const signatureField = "DKIM-Signature"

// dkim checks the signatures of a message, in one reading. asking ends when name servers have had their time; ctx ends all.
func (v *Verifier) dkim(ctx, asking context.Context, a *authres.Arrival) []signed {
	header, found := v.signatures(a.Header)
	var wg sync.WaitGroup
	var open []*signed
	for i := range found {
		if s := &found[i]; s.field != nil {
			open = append(open, s)
			wg.Go(func() { s.texts, s.err = v.key(asking, s) })
		}
	}
	wg.Wait()
	if len(open) > 0 {
		v.verify(ctx, a, header, open)
	}
	return found
}

// signatures finds what is to be checked, and what a signature can be about: the fields that have a name.
func (v *Verifier) signatures(all []byte) (header []byte, found []signed) {
	l := v.cfg.Limits
	fields, large, work := 0, false, 0
	for name, field := range authres.Fields(all) {
		fields++
		switch {
		case name == "":
		case !strings.EqualFold(name, signatureField):
			header = append(header, ended(field)...)
		// RFC 6376 section 8.4: what a signature costs is the sender's choice, up to here.
		case len(field) > l.Signature:
			large = true
		case len(found) < l.Signatures:
			found = append(found, describe(ended(field)))
		}
	}
	for i := range found {
		s := &found[i]
		if work += s.names * fields; s.names > l.Signed || work > l.Work { // Each name is looked for in all fields.
			s.refuse(authres.Policy, "the signature has too many names")
		}
	}
	switch {
	case large && len(found) < l.Signatures:
		found = append(found, signed{method: authres.Method{Name: "dkim", Result: authres.Policy, Reason: "the signature is too large"}})
	case len(found) == 0:
		return nil, []signed{{method: authres.Method{Name: "dkim", Result: authres.None}}}
	}
	if fields > l.Fields {
		found = found[:1]
		found[0].refuse(authres.Policy, "the header has too many fields")
	}
	return header, found
}

// ended is a field with its last CRLF.
func ended(field []byte) []byte {
	if bytes.HasSuffix(field, []byte("\n")) {
		return field
	}
	return append(bytes.Clone(field), "\r\n"...)
}

// refuse says that a signature is not checked.
func (s *signed) refuse(result authres.Result, reason string) {
	s.method.Result, s.method.Reason, s.field = result, reason, nil
}

// describe reads of a signature what is to be known before it is checked.
func describe(field []byte) signed {
	tags := tagList(authres.Value(field))
	s := signed{field: field, d: tags["d"], s: tags["s"], names: 1 + strings.Count(tags["h"], ":"), method: authres.Method{Name: "dkim", Properties: []authres.Property{
		{Type: "header", Name: "d", Value: tags["d"]}, {Type: "header", Name: "s", Value: tags["s"]}, {Type: "header", Name: "a", Value: tags["a"]},
	}}}
	if b := tags["b"]; len(b) >= 8 { // RFC 6008 section 4.
		s.method.Properties = append(s.method.Properties, authres.Property{Type: "header", Name: "b", Value: b[:8]})
	}
	return s
}

// tagList reads tags (RFC 6376 section 3.2), without white space in their values. Of one that is there twice the first counts.
func tagList(text string) map[string]string {
	tags := map[string]string{}
	for tag := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(tag, "=")
		name = strings.TrimSpace(name)
		if _, twice := tags[name]; name != "" && !twice {
			tags[name] = strings.Join(strings.Fields(value), "")
		}
	}
	return tags
}

// key looks up the key of a signature. Selectors and domains have letters, digits, hyphens and underscores only (RFC 6376 section 3.1): of other names nothing is asked.
func (v *Verifier) key(ctx context.Context, s *signed) ([]string, error) {
	host, ok := inDNS(s.d)
	selector, both := inDNS(s.s)
	name := selector + "._domainkey." + host
	if !ok || !both {
		return nil, &net.DNSError{Err: "this is no name of a key", Name: name}
	}
	texts, err := v.cfg.Resolver.TXT(ctx, name)
	for _, t := range texts {
		if len(t) > v.cfg.Limits.Key {
			return nil, &net.DNSError{Err: "the key's record is too long", Name: name}
		}
	}
	return texts, told(name, err)
}

// verify has the package check signatures. Each is given to it alone, with no field that it could take for another one: what it says is about that signature, and about the domain that it
// says.
func (v *Verifier) verify(ctx context.Context, a *authres.Arrival, header []byte, open []*signed) {
	rest, err := a.Rest()
	if err != nil {
		v.cfg.Logger.Error("a message cannot be read", "id", a.ID, "error", err)
		for _, s := range open {
			s.refuse(authres.TempError, "internal error")
		}
		return
	}
	defer rest.Close()
	body := &bounded{ctx: ctx, r: rest, most: v.cfg.Limits.Blank}
	var wg sync.WaitGroup
	var writers []io.Writer
	var pipes []*io.PipeWriter
	for _, s := range open {
		r, w := io.Pipe()
		writers, pipes = append(writers, w), append(pipes, w)
		wg.Go(func() {
			checks, err := dkim.VerifyWithOptions(io.MultiReader(bytes.NewReader(s.field), bytes.NewReader(header), r), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) { return s.texts, s.err }})
			if err == nil && len(checks) == 1 {
				s.check = checks[0]
			}
			_, _ = io.Copy(io.Discard, r) // The others go on.
		})
	}
	_, _ = io.Copy(io.MultiWriter(writers...), io.MultiReader(body, body.end())) // Neither side gives an error.
	for _, w := range pipes {
		_ = w.Close()
	}
	wg.Wait()
	if body.fault != nil {
		v.cfg.Logger.Error("a message cannot be read", "id", a.ID, "error", body.fault)
	}
	for _, s := range open {
		s.conclude(body)
	}
}

// conclude makes a result of what the package says. What the key or the signature itself decides does not depend on the body.
func (s *signed) conclude(body *bounded) {
	c, m := s.check, &s.method
	switch {
	case c != nil && dkim.IsPermFail(c.Err):
		m.Result, m.Reason = authres.PermError, plain(c.Err)
		return
	case c == nil || c.Domain != s.d:
		m.Result, m.Reason = authres.PermError, "the signature cannot be read"
		return
	}
	s.domain, _ = inDNS(c.Domain)
	switch {
	case dkim.IsTempFail(c.Err): // of its own key only
		m.Result, m.Reason = authres.TempError, plain(c.Err)
	case body.ctx.Err() != nil:
		m.Result, m.Reason = authres.TempError, "the server was stopped"
	case body.fault != nil:
		m.Result, m.Reason = authres.TempError, "internal error"
	case body.refused:
		m.Result, m.Reason = authres.Policy, "the message has too many blank lines"
	case c.Err != nil:
		m.Result, m.Reason = authres.Fail, plain(c.Err)
	case s.strict() && !strings.HasSuffix(strings.ToLower(c.Identifier), "@"+strings.ToLower(c.Domain)):
		m.Result, m.Reason = authres.PermError, "the key is not for subdomains"
	default:
		m.Result = authres.Pass
	}
}

// strict tells whether the key is for its own domain only (RFC 6376 section 3.6.1, t=s).
func (s *signed) strict() bool {
	for _, t := range s.texts {
		for flag := range strings.SplitSeq(tagList(t)["t"], ":") {
			if flag == "s" {
				return true
			}
		}
	}
	return false
}

func plain(err error) string { return reason(strings.TrimPrefix(err.Error(), "dkim: ")) }

// bounded is the body as the package may have it: it ends early where ctx does or blank lines do not end, which the package would keep in memory. It never gives an error, because on one
// the package leaves goroutines behind.
type bounded struct {
	ctx     context.Context
	r       io.Reader
	most    int
	any     bool
	blank   int
	refused bool
	fault   error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil || b.refused || b.fault != nil {
		return 0, io.EOF
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.fault, err = err, io.EOF
	}
	b.any = b.any || n > 0
	for _, c := range p[:n] {
		if c != '\r' && c != '\n' && c != ' ' && c != '\t' {
			b.blank = 0
		} else if b.blank++; b.blank > b.most {
			b.refused = true
			return 0, io.EOF
		}
	}
	return n, err
}

// end is the empty line of a message that is a header only.
func (b *bounded) end() io.Reader { return &lastLine{b: b} }

type lastLine struct {
	b    *bounded
	told bool
}

func (l *lastLine) Read(p []byte) (int, error) {
	if l.b.any || l.told || len(p) < 2 {
		return 0, io.EOF
	}
	l.told = true
	return copy(p, "\r\n"), nil
}
