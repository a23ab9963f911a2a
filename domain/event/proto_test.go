package event

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bufbuild/protocompile"
	"github.com/streampost/streampost/domain"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

// schema compiles transaction.proto.
func schema(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"."}}}
	files, err := c.Compile(t.Context(), "transaction.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Transaction")
}

// TestSchemaHasEveryEvent compares the numbers of package event with those of transaction.proto.
func TestSchemaHasEveryEvent(t *testing.T) {
	fields := schema(t).Fields().ByName("events").Message().Fields()
	if fields.Len() != len(kinds) {
		t.Errorf("the schema has %d events, the code %d", fields.Len(), len(kinds))
	}
	for number, make := range kinds {
		f := fields.ByNumber(protowire.Number(number))
		if f == nil || string(f.Message().Name()) != Name(make()) {
			t.Errorf("%d is %v in the schema and %s in the code", number, f, Name(make()))
		}
	}
}

// TestSchemaReadsWhatIsWritten decodes what Marshal writes through transaction.proto, with another implementation of protocol buffers, and
// compares every value; then it decodes what that implementation writes.
func TestSchemaReadsWhatIsWritten(t *testing.T) {
	descriptor := schema(t)
	check := func(t interface{ Fatalf(string, ...any) }, tx *Transaction) {
		m := dynamicpb.NewMessage(descriptor)
		if err := proto.Unmarshal(Marshal(tx), m); err != nil {
			t.Fatalf("%v", err)
		}
		want := map[string]string{}
		flattenGo(want, "", reflect.ValueOf(*tx))
		got := map[string]string{}
		if err := flattenProto(got, "", m); err != nil {
			t.Fatalf("%v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("through the schema\n%v\nwas written as\n%v", got, want)
		}
		octets, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if back, err := Unmarshal(octets); err != nil || !reflect.DeepEqual(back, tx) {
			t.Fatalf("%v: what the other implementation writes is read as\n%v", err, back)
		}
	}
	for _, name := range names() {
		t.Run(name, func(t *testing.T) {
			check(t, goldenOf(name))
			rapid.Check(t, func(t *rapid.T) {
				tx := &Transaction{At: 1, Events: []Event{draw(t, name)}}
				if !validStrings(descriptor, tx) {
					t.Skip("no UTF-8 where the schema says string")
				}
				check(t, tx)
			})
		})
	}
}

// validStrings tells whether all that the schema calls string is UTF-8.
func validStrings(descriptor protoreflect.MessageDescriptor, tx *Transaction) bool {
	return proto.Unmarshal(Marshal(tx), dynamicpb.NewMessage(descriptor)) == nil
}

// flattenGo lists every value that is not zero by its path. Names are compared without case and underscores; a message that the schema
// spreads over fields of its parent (BlobRef) is spread here.
func flattenGo(out map[string]string, path string, v reflect.Value) {
	if set, ok := v.Interface().(domain.UIDSet); ok {
		var end domain.UID
		for i, r := range set {
			out[fmt.Sprintf("%s[%d]", path, 2*i)] = fmt.Sprint(uint32(r.Lo - end))
			out[fmt.Sprintf("%s[%d]", path, 2*i+1)] = fmt.Sprint(uint32(r.Hi - r.Lo))
			end = r.Hi
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := strings.ToLower(v.Type().Field(i).Name)
			if v.Type() == reflect.TypeFor[domain.BlobRef]() {
				flattenGo(out, path+name, v.Field(i)) // ".blob" and "id"
			} else {
				flattenGo(out, path+"."+name, v.Field(i))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out[path] = "there"
			flattenGo(out, path, v.Elem())
		}
	case reflect.Interface:
		e := v.Elem().Elem()
		path += "." + strings.ToLower(e.Type().Name())
		out[path] = "there"
		flattenGo(out, path, e)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Len() > 0 {
				out[path] = fmt.Sprintf("%q", v.Bytes())
			}
			return
		}
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			switch e := v.Index(i); e.Kind() { // In a list, zero counts.
			case reflect.String:
				out[at] = fmt.Sprintf("%q", e.String())
			case reflect.Uint64:
				out[at] = fmt.Sprint(e.Uint())
			default:
				flattenGo(out, at, e)
			}
		}
	case reflect.Array:
		octets := make([]byte, v.Len())
		for i := range octets {
			octets[i] = byte(v.Index(i).Uint())
		}
		out[path] = fmt.Sprintf("%q", octets)
	case reflect.String:
		if v.Len() > 0 {
			out[path] = fmt.Sprintf("%q", v.String())
		}
	case reflect.Bool:
		if v.Bool() {
			out[path] = "true"
		}
	default:
		if !v.IsZero() {
			out[path] = fmt.Sprint(plainNumber(v))
		}
	}
}

func flattenProto(out map[string]string, path string, m protoreflect.Message) (err error) {
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("%s has fields that the schema does not know", path)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + "." + strings.ReplaceAll(string(f.Name()), "_", "")
		if !f.IsList() {
			err = flattenProtoValue(out, at, f, v)
			return err == nil
		}
		for i := range v.List().Len() {
			if err = flattenProtoValue(out, fmt.Sprintf("%s[%d]", at, i), f, v.List().Get(i)); err != nil {
				return false
			}
		}
		return true
	})
	return err
}

func flattenProtoValue(out map[string]string, at string, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind:
		if f.ContainingOneof() != nil || f.Name() == "embedded" {
			out[at] = "there"
		}
		return flattenProto(out, at, v.Message())
	case protoreflect.StringKind:
		if !utf8.ValidString(v.String()) {
			return fmt.Errorf("%s is no UTF-8", at)
		}
		out[at] = fmt.Sprintf("%q", v.String())
	case protoreflect.BytesKind:
		out[at] = fmt.Sprintf("%q", v.Bytes())
	default:
		out[at] = v.String()
	}
	return nil
}
