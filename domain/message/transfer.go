package message

import (
	"bytes"
	"io"

	"github.com/streampost/streampost/domain"
)

// TransferReader undoes a Content-Transfer-Encoding (RFC 2045 section 6) as the octets are read. It is lenient: base64 passes over what is no
// base64 and bears with missing padding, quoted-printable keeps a malformed "=" as it stands. The error is domain.Invalid when the encoding
// is unknown (the UNKNOWN-CTE of RFC 3516).
func TransferReader(encoding string, r io.Reader) (io.Reader, error) {
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return r, nil
	case "base64":
		return &filterReader{r: r, step: new(base64Decoder).step}, nil
	case "quoted-printable":
		return &filterReader{r: r, step: new(quotedDecoder).step}, nil
	}
	return nil, domain.Errorf(domain.Invalid, "the content transfer encoding %q is unknown", encoding)
}

// filterReader decodes through a small buffer. step decodes in to dst, which has room for as many octets as in plus 64; eof tells that
// nothing follows.
type filterReader struct {
	r    io.Reader
	step func(dst, in []byte, eof bool) []byte
	in   [4 << 10]byte
	out  []byte
	at   int
	err  error
}

func (f *filterReader) Read(p []byte) (int, error) {
	for f.at == len(f.out) {
		if f.err != nil {
			return 0, f.err
		}
		n, err := f.r.Read(f.in[:])
		f.err = err
		f.out, f.at = f.step(f.out[:0], f.in[:n], err == io.EOF), 0
	}
	n := copy(p, f.out[f.at:])
	f.at += n
	return n, nil
}

// base64Value gives what a base64 character stands for; 64 for "=" and 255 for anything else.
func base64Value(c byte) byte { return base64Values[c] }

var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = byte(i)
	}
	values['='] = 64
	return values
}()

// base64Decoder decodes base64 (RFC 2045 section 6.8). Padding ends a group, not the data: bodies joined of several encodings are read on.
type base64Decoder struct {
	bits uint32
	n    uint
}

func (d *base64Decoder) step(dst, in []byte, _ bool) []byte {
	for i := 0; i < len(in); i++ {
		if d.n == 0 { // Whole groups at once.
			for i+4 <= len(in) {
				a, b, c, e := base64Values[in[i]], base64Values[in[i+1]], base64Values[in[i+2]], base64Values[in[i+3]]
				if a|b|c|e >= 64 {
					break
				}
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 4
			}
			if i == len(in) {
				break
			}
		}
		v := base64Values[in[i]]
		if v == 64 {
			d.bits, d.n = 0, 0
		}
		if v >= 64 {
			continue
		}
		d.bits, d.n = d.bits<<6|uint32(v), d.n+6
		if d.n >= 8 {
			d.n -= 8
			dst = append(dst, byte(d.bits>>d.n))
			d.bits &= 1<<d.n - 1
		}
	}
	return dst
}

// quotedDecoder decodes quoted-printable (RFC 2045 section 6.7). tail holds what cannot be decoded before more is seen: "=" with what
// follows it, or white space that may turn out to end its line.
type quotedDecoder struct{ tail []byte }

// maxPadding bounds the white space that is held back; more of it than a line may be long is content.
const maxPadding = 1 << 10

func (d *quotedDecoder) step(dst, in []byte, eof bool) []byte {
	if len(d.tail) > 0 {
		in = append(d.tail, in...)
		d.tail = nil
	}
	for len(in) > 0 {
		i := bytes.IndexAny(in, "= \t")
		if i < 0 {
			return append(dst, in...)
		}
		dst, in = append(dst, in[:i]...), in[i:]
		var used int
		if in[0] == '=' {
			dst, used = quotedOctet(dst, in, eof)
		} else {
			dst, used = quotedSpace(dst, in, eof)
		}
		if used == 0 {
			d.tail = bytes.Clone(in)
			return dst
		}
		in = in[used:]
	}
	return dst
}

// quotedOctet decodes what begins with "=" and tells how much it used; 0 when more must be seen.
func quotedOctet(dst, in []byte, eof bool) ([]byte, int) {
	if len(in) >= 3 {
		if hi, lo := hexValue(in[1]), hexValue(in[2]); hi < 16 && lo < 16 {
			return append(dst, hi<<4|lo), 3
		}
	}
	end := 1
	for end < len(in) && (in[end] == ' ' || in[end] == '\t') && end < maxPadding { // RFC 2045 section 6.7 rule 3: padding a transport added.
		end++
	}
	switch {
	case end < len(in) && in[end] == '\n':
		return dst, end + 1
	case end+1 < len(in) && in[end] == '\r' && in[end+1] == '\n':
		return dst, end + 2
	case !eof && (end == len(in) || end+1 == len(in) && in[end] == '\r' || len(in) < 3):
		return dst, 0
	case end == len(in): // A soft line break at the very end.
		return dst, end
	}
	return append(dst, '='), 1
}

// quotedSpace decodes a run of white space, which counts only inside a line.
func quotedSpace(dst, in []byte, eof bool) ([]byte, int) {
	end := 1
	for end < len(in) && (in[end] == ' ' || in[end] == '\t') && end < maxPadding {
		end++
	}
	switch {
	case end == maxPadding:
	case end < len(in) && in[end] == '\n', end+1 < len(in) && in[end] == '\r' && in[end+1] == '\n':
		return dst, end
	case !eof && (end == len(in) || end+1 == len(in) && in[end] == '\r'):
		return dst, 0
	case end == len(in):
		return dst, end
	}
	return append(dst, in[:end]...), end
}

func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
