package event

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"pgregory.net/rapid"
)

// names lists the events by name, in the order of their numbers.
func names() []string {
	var list []string
	for _, n := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, Name(kinds[n]()))
	}
	return list
}

func newEvent(name string) Event {
	for _, make := range kinds {
		if e := make(); Name(e) == name {
			return e
		}
	}
	panic("no event " + name)
}

// sample gives the event with a value other than zero in every field, the same in every run.
func sample(name string) Event {
	e := newEvent(name)
	n := 0
	fill(reflect.ValueOf(e).Elem(), &n, 2)
	return e
}

// fill sets every field to a value that depends on its place only. depth bounds the nesting of parts.
func fill(v reflect.Value, n *int, depth int) {
	*n++
	switch v.Interface().(type) {
	case domain.UIDSet:
		v.Set(reflect.ValueOf(domain.UIDSet{{Lo: 1, Hi: 1}, {Lo: 5, Hi: 9}, {Lo: 1 << 20, Hi: 1<<32 - 1}}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n, depth)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, depth)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]message.Part]() {
			if depth == 0 {
				return
			}
			depth--
		}
		length := 2
		v.Set(reflect.MakeSlice(v.Type(), length, length))
		for i := range length {
			fill(v.Index(i), n, depth)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, depth)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("t\u00e9xt %d", *n))
	case reflect.Int64:
		v.SetInt(int64(*n) * (1 - int64(*n%2)*2) << (*n % 40))
	case reflect.Uint8:
		v.SetUint(uint64(*n%255 + 1))
	case reflect.Uint32:
		v.SetUint(uint64(1<<32 - *n))
	case reflect.Uint64:
		v.SetUint(-uint64(*n))
	default:
		panic(v.Type().String())
	}
}

// draw gives the event with arbitrary contents.
func draw(t *rapid.T, name string) Event {
	e := newEvent(name)
	drawValue(t, reflect.ValueOf(e).Elem(), 3)
	if p, ok := e.(*PasswordChanged); ok && p.Scram.Iterations == 0 {
		p.Scram = ScramKeys{} // Without iterations there are no keys.
	}
	return e
}

func drawValue(t *rapid.T, v reflect.Value, depth int) {
	if _, ok := v.Interface().(domain.UIDSet); ok {
		var set domain.UIDSet
		for range rapid.IntRange(0, 5).Draw(t, "ranges") {
			lo := rapid.Uint32Range(1, 1<<32-1).Draw(t, "lo")
			set = set.AddRange(domain.UID(lo), domain.UID(lo+min(rapid.Uint32Range(0, 100).Draw(t, "more"), 1<<32-1-lo)))
		}
		v.Set(reflect.ValueOf(set))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			drawValue(t, v.Field(i), depth)
		}
	case reflect.Pointer:
		if depth > 0 && rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			drawValue(t, v.Elem(), depth-1)
		}
	case reflect.Slice:
		most := 3
		if v.Type() == reflect.TypeFor[[]message.Part]() {
			if depth == 0 {
				return
			}
			most, depth = 2, depth-1
		}
		if length := rapid.IntRange(0, most).Draw(t, "length"); length > 0 {
			v.Set(reflect.MakeSlice(v.Type(), length, length))
			for i := range length {
				drawValue(t, v.Index(i), depth)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, "octet")))
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.String:
		if rapid.IntRange(0, 9).Draw(t, "raw") == 0 { // seldom, because the schema's strings are UTF-8, and an event has many
			v.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "octets")))
		} else {
			v.SetString(rapid.StringN(0, 20, -1).Draw(t, "text"))
		}
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
	default:
		panic(v.Type().String())
	}
}

// dump writes a value as text, one line for each field that is not zero, so that a field added later changes no old text.
func dump(b *strings.Builder, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			dump(b, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			dump(b, path, v.Elem())
		}
	case reflect.Interface:
		dump(b, path+"("+v.Elem().Elem().Type().Name()+")", v.Elem())
	case reflect.Array:
		if !v.IsZero() {
			octets := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(octets), v.Convert(reflect.ArrayOf(v.Len(), reflect.TypeFor[byte]())))
			fmt.Fprintf(b, "%s = %x\n", path, octets)
		}
	case reflect.Slice:
		for i := range v.Len() {
			dump(b, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.String:
		if v.Len() > 0 {
			fmt.Fprintf(b, "%s = %q\n", path, v.String())
		}
	default:
		if !v.IsZero() {
			fmt.Fprintf(b, "%s = %d\n", path, plainNumber(v))
		}
	}
}

func plainNumber(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Bool:
		return 1
	case v.CanInt():
		return v.Int()
	}
	return v.Uint()
}

func text(t *Transaction) string {
	var b strings.Builder
	dump(&b, "Transaction", reflect.ValueOf(*t))
	return b.String()
}
