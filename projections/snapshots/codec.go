package snapshots

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/streampost/streampost/projections"
)

// A value is one octet that says what it is, then nothing, a zig-zag varint, or a length and octets.
const (
	isNull  = 0
	isInt   = 1
	isText  = 2
	isBytes = 3
)

var errMalformed = errors.New("it is malformed")

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, isNull), nil
	case int64:
		return binary.AppendVarint(append(b, isInt), v), nil
	case string:
		return append(binary.AppendUvarint(append(b, isText), uint64(len(v))), v...), nil
	case []byte:
		return append(binary.AppendUvarint(append(b, isBytes), uint64(len(v))), v...), nil
	}
	return b, fmt.Errorf("a view holds a value of type %T", v)
}

// reader takes a text apart. It remembers that something was wrong, and then gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the number of things of which each takes one octet at least.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) octets() []byte {
	n := r.count()
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) text() string { return string(r.octets()) }

func (r *reader) value() any {
	if len(r.b) == 0 {
		r.bad = true
		return nil
	}
	kind := r.b[0]
	r.b = r.b[1:]
	switch kind {
	case isNull:
		return nil
	case isInt:
		v, n := binary.Varint(r.b)
		if n <= 0 {
			r.b, r.bad = nil, true
			return nil
		}
		r.b = r.b[n:]
		return v
	case isText:
		return r.text()
	case isBytes:
		return r.octets()
	}
	r.b, r.bad = nil, true
	return nil
}

// rows reads n rows of a number of values each and puts a first value before them.
func (r *reader) rows(room *projections.Room, first any, n, values int) ([][]any, error) {
	if n > len(r.b)/max(1, values)+1 {
		return nil, errMalformed
	}
	rows := room.For(n, values+1)
	for _, row := range rows {
		row[0] = first
		for j := range values {
			row[j+1] = r.value()
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errMalformed
	}
	return rows, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// column tells whether a name can be that of a table or a column: it becomes part of a statement.
func column(name string) bool {
	return name != "" && len(bytes.Trim([]byte(name), "abcdefghijklmnopqrstuvwxyz0123456789_")) == 0
}
