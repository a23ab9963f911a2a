package event

import (
	"encoding/binary"
	"fmt"

	"github.com/streampost/streampost/domain"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds nested messages, so that hostile bytes cannot exhaust the stack. A MIME tree is at most message.MaxDepth deep and takes
// one level for each part.
const maxDepth = 300

// coder walks the fields of a message in one direction. Each type lists its fields once, with their numbers, and both directions follow.
// Proto3 rules hold: a zero value is not written, and an absent field leaves the zero value.
type coder struct {
	encoding bool
	out      []byte

	raw   []rawField // the fields that decoding has not yet claimed
	depth int
	err   error
}

type rawField struct {
	number  protowire.Number
	kind    protowire.Type
	varint  uint64
	bytes   []byte
	claimed bool
}

// UnknownError says that the log holds something newer than this build understands.
type UnknownError struct {
	Number int // field number
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("field %d is unknown to this version: the log was written by a newer one", e.Number)
}

var errWire = domain.Errorf(domain.Corrupt, "malformed protocol buffer")

// decode parses b and lets walk claim its fields; whatever stays unclaimed is an UnknownError.
func decode(b []byte, depth int, walk func(*coder)) error {
	if depth <= 0 {
		return domain.Errorf(domain.Corrupt, "messages are nested too deeply")
	}
	c := &coder{depth: depth - 1}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		f := rawField{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.Fixed32Type, protowire.Fixed64Type: // No field has these types yet.
			n = protowire.ConsumeFieldValue(number, kind, b)
		default:
			return errWire
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
		c.raw = append(c.raw, f)
	}
	walk(c)
	if c.err != nil {
		return c.err
	}
	for i := range c.raw {
		if !c.raw[i].claimed {
			return &UnknownError{Number: int(c.raw[i].number)}
		}
	}
	return nil
}

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// claim finds the one occurrence of a scalar or message field.
func (c *coder) claim(number protowire.Number, kind protowire.Type) *rawField {
	var found *rawField
	c.each(number, kind, func(f *rawField) {
		if found != nil { // Proto3 lets the last one win; nothing writes two.
			c.fail(errWire)
		}
		found = f
	})
	return found
}

// each claims every occurrence of a field, in order.
func (c *coder) each(number protowire.Number, kind protowire.Type, use func(*rawField)) {
	for i := range c.raw {
		f := &c.raw[i]
		if f.number != number {
			continue
		}
		f.claimed = true
		if f.kind != kind {
			c.fail(errWire)
			return
		}
		if c.err == nil {
			use(f)
		}
	}
}

// has tells, in either direction, whether the field is there at all.
func (c *coder) has(number protowire.Number, encoding bool) bool {
	if c.encoding {
		return encoding
	}
	for i := range c.raw {
		if c.raw[i].number == number {
			return true
		}
	}
	return false
}

func (c *coder) varint(number protowire.Number, v uint64) uint64 {
	if !c.encoding {
		if f := c.claim(number, protowire.VarintType); f != nil {
			return f.varint
		}
		return 0
	}
	if v != 0 {
		c.out = protowire.AppendTag(c.out, number, protowire.VarintType)
		c.out = protowire.AppendVarint(c.out, v)
	}
	return v
}

// uintField is a uint32 or uint64 field of a named type.
func uintField[T ~uint8 | ~uint32 | ~uint64](c *coder, number protowire.Number, v *T) {
	got := c.varint(number, uint64(*v))
	if c.encoding {
		return // what is encoded is only read: projections share entries
	}
	if *v = T(got); uint64(*v) != got {
		c.fail(errWire)
	}
}

// Sint is an sint64 field (zigzag).
func (c *coder) Sint(number protowire.Number, v *int64) {
	if got := c.varint(number, protowire.EncodeZigZag(*v)); !c.encoding {
		*v = protowire.DecodeZigZag(got)
	}
}

// Bool is a bool field.
func (c *coder) Bool(number protowire.Number, v *bool) {
	if got := c.varint(number, protowire.EncodeBool(*v)); !c.encoding {
		*v = protowire.DecodeBool(got)
	}
}

func (c *coder) bytes(number protowire.Number, v []byte) []byte {
	if !c.encoding {
		if f := c.claim(number, protowire.BytesType); f != nil {
			return f.bytes
		}
		return nil
	}
	if len(v) > 0 {
		c.out = protowire.AppendTag(c.out, number, protowire.BytesType)
		c.out = protowire.AppendBytes(c.out, v)
	}
	return v
}

// stringField is a string field of a named type. Proto3 strings are UTF-8; message headers need not be, so the schema calls such fields bytes.
func stringField[T ~string](c *coder, number protowire.Number, v *T) {
	if !c.encoding {
		*v = T(c.bytes(number, nil))
		return
	}
	if *v != "" {
		c.out = protowire.AppendTag(c.out, number, protowire.BytesType)
		c.out = protowire.AppendString(c.out, string(*v))
	}
}

// String is a string or bytes field.
func (c *coder) String(number protowire.Number, v *string) { stringField(c, number, v) }

// Strings is a repeated string field.
func (c *coder) Strings(number protowire.Number, v *[]string) {
	if c.encoding {
		for _, s := range *v {
			c.out = protowire.AppendTag(c.out, number, protowire.BytesType)
			c.out = protowire.AppendString(c.out, s)
		}
		return
	}
	c.each(number, protowire.BytesType, func(f *rawField) { *v = append(*v, string(f.bytes)) })
}

// Blob is a bytes field of any length; decoding copies it.
func (c *coder) Blob(number protowire.Number, v *[]byte) {
	if c.encoding {
		c.bytes(number, *v)
	} else if b := c.bytes(number, nil); b != nil {
		*v = append([]byte(nil), b...)
	}
}

// Bytes is a bytes field of exactly len(v) octets, or absent.
func (c *coder) Bytes(number protowire.Number, v []byte) {
	got := c.bytes(number, v)
	if !c.encoding && got != nil {
		if len(got) != len(v) {
			c.fail(errWire)
			return
		}
		copy(v, got)
	}
}

// Message is a nested message. When encoding, it is written if present.
func (c *coder) Message(number protowire.Number, present bool, walk func(*coder)) {
	if c.encoding {
		if present {
			c.nested(number, walk)
		}
		return
	}
	if f := c.claim(number, protowire.BytesType); f != nil {
		if err := decode(f.bytes, c.depth, walk); err != nil {
			c.fail(err)
		}
	}
}

// nested writes a length-delimited message straight into the output and then makes room for its length.
func (c *coder) nested(number protowire.Number, walk func(*coder)) {
	c.out = protowire.AppendTag(c.out, number, protowire.BytesType)
	at := len(c.out)
	walk(c)
	size := len(c.out) - at
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(size))
	c.out = append(c.out, prefix[:n]...)
	copy(c.out[at+n:], c.out[at:at+size])
	copy(c.out[at:], prefix[:n])
}

// repeated is a repeated message field.
func repeated[T any](c *coder, number protowire.Number, v *[]T, fields func(*T) func(*coder)) {
	if c.encoding {
		for i := range *v {
			c.nested(number, fields(&(*v)[i]))
		}
		return
	}
	c.each(number, protowire.BytesType, func(f *rawField) {
		var item T
		if err := decode(f.bytes, c.depth, fields(&item)); err != nil {
			c.fail(err)
			return
		}
		*v = append(*v, item)
	})
}

// UIDs is a packed repeated uint32 field: for each range the distance from the end of the one before, then its length less one.
func (c *coder) UIDs(number protowire.Number, v *domain.UIDSet) {
	if c.encoding {
		var packed []byte
		var end domain.UID
		for _, r := range *v {
			packed = protowire.AppendVarint(packed, uint64(r.Lo-end))
			packed = protowire.AppendVarint(packed, uint64(r.Hi-r.Lo))
			end = r.Hi
		}
		c.bytes(number, packed)
		return
	}
	var end uint64
	for b := c.bytes(number, nil); len(b) > 0; {
		gap, n := protowire.ConsumeVarint(b)
		if n < 0 {
			c.fail(errWire)
			return
		}
		length, m := protowire.ConsumeVarint(b[n:])
		if m < 0 || gap == 0 || gap > 1<<32 || length >= 1<<32 || end+gap+length >= 1<<32 {
			c.fail(errWire)
			return
		}
		b = b[n+m:]
		lo := end + gap
		end = lo + length
		*v = v.AddRange(domain.UID(lo), domain.UID(end))
	}
}

// fixed64s is a packed repeated fixed64 field of a named type.
func fixed64s[T ~uint64](c *coder, number protowire.Number, v *[]T) {
	if c.encoding {
		var packed []byte
		for _, x := range *v {
			packed = protowire.AppendFixed64(packed, uint64(x))
		}
		c.bytes(number, packed)
		return
	}
	b := c.bytes(number, nil)
	if len(b)%8 != 0 {
		c.fail(errWire)
		return
	}
	for ; len(b) > 0; b = b[8:] {
		*v = append(*v, T(binary.LittleEndian.Uint64(b)))
	}
}

// uints is a packed repeated uint64 field of a named type.
func uints[T ~uint64](c *coder, number protowire.Number, v *[]T) {
	if c.encoding {
		var packed []byte
		for _, x := range *v {
			packed = protowire.AppendVarint(packed, uint64(x))
		}
		c.bytes(number, packed)
		return
	}
	for b := c.bytes(number, nil); len(b) > 0; {
		x, n := protowire.ConsumeVarint(b)
		if n < 0 {
			c.fail(errWire)
			return
		}
		*v = append(*v, T(x))
		b = b[n:]
	}
}
