package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source names the layers that Load puts on top of each other, weakest first: defaults, file, environment, flags.
type Source struct {
	File    string   // path of the YAML file; empty means none
	Environ []string // "NAME=value" pairs, as os.Environ gives them
	Sets    []Set    // from flags
}

// Set is one key given on the command line.
type Set struct{ Key, Value, Flag string }

// Loaded is a configuration together with where each of its values came from.
type Loaded struct {
	Config  Config
	origins map[string]string
}

// Origin says where a key's value came from: "default", "streampost.yaml:12", "STREAMPOST_LOG_LEVEL" or "--data".
func (l *Loaded) Origin(key string) string {
	if o, ok := l.origins[key]; ok {
		return o
	}
	return "default"
}

// Load reads all layers on top of the given defaults and then checks the result. Every mistake found is in the error, one per line.
func Load(defaults Config, src Source) (*Loaded, error) {
	l := &Loaded{Config: defaults, origins: map[string]string{}}
	var errs []error
	if src.File != "" {
		errs = append(errs, l.file(src.File))
	}
	errs = append(errs, l.environment(src.Environ), l.sets(src.Sets))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, l.Config.Check()
}

func (l *Loaded) file(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err == nil && len(tree.Content) > 0 {
		if err := l.sizes(path, "", tree.Content[0]); err != nil {
			return err
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&l.Config); errors.Is(err, io.EOF) {
		return nil // an empty file, or one of comments only
	} else if err != nil {
		return placed(path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: only one YAML document is allowed", path)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return placed(path, err)
	}
	if len(root.Content) > 0 {
		l.mark(path, "", root.Content[0])
	}
	return nil
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)
	yamlUnknown = regexp.MustCompile(`field (\S+) not found in type config\.(\w+)`)
)

// placed gives each mistake that the YAML decoder found as "file:line: mistake".
func placed(path string, err error) error {
	lines := []string{err.Error()}
	if t := (*yaml.TypeError)(nil); errors.As(err, &t) {
		lines = t.Errors
	}
	var errs []error
	for _, line := range lines {
		line = yamlUnknown.ReplaceAllString(line, `unknown key "$1"`)
		if m := yamlLine.FindStringSubmatch(line); m != nil {
			line = fmt.Sprintf("%s:%s: %s", path, m[1], line[len(m[0]):])
		} else {
			line = path + ": " + strings.TrimPrefix(line, "yaml: ")
		}
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

// sizes finds the sizes that are none. The YAML decoder would name neither key nor line, and end at the first.
func (l *Loaded) sizes(path, prefix string, n *yaml.Node) error {
	var errs []error
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			errs = append(errs, l.sizes(path, strings.TrimPrefix(prefix+"."+n.Content[i].Value, "."), n.Content[i+1]))
		}
		return errors.Join(errs...)
	}
	fields := Fields(&l.Config)
	if i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == prefix }); i >= 0 && n.Kind == yaml.ScalarNode {
		if _, size := fields[i].value.Interface().(Size); size && n.Tag != "!!null" {
			if _, err := ParseSize(n.Value); err != nil {
				return fmt.Errorf("%s:%d: %s: %w", path, n.Line, prefix, err)
			}
		}
	}
	return nil
}

// mark records the line of every key that the file sets.
func (l *Loaded) mark(path, prefix string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.origins[prefix] = fmt.Sprintf("%s:%d", path, n.Line)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		l.mark(path, strings.TrimPrefix(prefix+"."+n.Content[i].Value, "."), n.Content[i+1])
	}
}

// EnvPrefix begins the name of every environment variable that sets a key.
const EnvPrefix = "STREAMPOST_"

// OtherVariables have the prefix but are not keys: the command line's own, and those of tests.
var OtherVariables = []string{"STREAMPOST_URL", "STREAMPOST_TOKEN", "STREAMPOST_CONFIG", "STREAMPOST_COMPARE_TOKEN", "STREAMPOST_CRASH", "STREAMPOST_CORPUS", "STREAMPOST_REQUIRE", "STREAMPOST_KILLS", "STREAMPOST_SOAK", "STREAMPOST_VERSIONS", "STREAMPOST_AS_VERSION", "STREAMPOST_LATER", "STREAMPOST_POSTGRES_URL", "STREAMPOST_OPENSEARCH_URL", "STREAMPOST_TIKA_URL", "STREAMPOST_S3_URL", "STREAMPOST_TEST_*"}

// foreign are the variables that container platforms set for a service that is named streampost.
var foreign = regexp.MustCompile(`^STREAMPOST_(SERVICE_|PORT$|PORT_[0-9])`)

func (l *Loaded) environment(environ []string) error {
	fields := Fields(&l.Config)
	var errs []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) || foreign.MatchString(name) || slices.ContainsFunc(OtherVariables, func(o string) bool {
			prefix, wild := strings.CutSuffix(o, "*")
			return name == o || wild && strings.HasPrefix(name, prefix)
		}) {
			continue
		}
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Env() == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("environment: %s names no key", name))
			continue
		}
		errs = append(errs, l.set(fields[i], value, name))
	}
	return errors.Join(errs...)
}

func (l *Loaded) sets(sets []Set) error {
	fields := Fields(&l.Config)
	var errs []error
	for _, s := range sets {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == s.Key })
		if i < 0 {
			errs = append(errs, fmt.Errorf("%s: unknown key %q", s.Flag, s.Key))
			continue
		}
		errs = append(errs, l.set(fields[i], s.Value, s.Flag))
	}
	return errors.Join(errs...)
}

func (l *Loaded) set(f Field, value, origin string) error {
	if err := f.parse(value); err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	l.origins[f.Key] = origin
	return nil
}

// Field is one key of the configuration.
type Field struct {
	Key     string // "imap.limits.literal"
	Enum    []string
	value   reflect.Value
	section string // name of the struct type that the section has
	owner   string // name of the struct type that declares it, to find the comment
	name    string // name of the Go field
}

// Env is the environment variable that sets the key.
func (f Field) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Key, ".", "_"))
}

// Value gives the value as it would be written in YAML, secrets masked.
func (f Field) Value() string {
	if list, ok := f.value.Interface().([]string); ok {
		return "[" + strings.Join(list, ", ") + "]"
	}
	if s, ok := f.value.Interface().(string); ok && s == "" {
		return `""`
	}
	return fmt.Sprint(f.value.Interface())
}

// parse reads the one-line form that the environment and flags have: lists have commas between their members.
func (f Field) parse(value string) error {
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		*p = value
	case *Secret:
		*p = Secret(value)
	case *[]string:
		*p = nil
		for member := range strings.SplitSeq(value, ",") {
			if member = strings.TrimSpace(member); member != "" {
				*p = append(*p, member)
			}
		}
	default:
		if err := yaml.Unmarshal([]byte(value), p); err != nil || strings.TrimSpace(value) == "" {
			return fmt.Errorf("%s cannot be %q: it is %s", f.Key, value, f.Type())
		}
	}
	return nil
}

// Type names the kind of value for people.
func (f Field) Type() string {
	switch f.value.Interface().(type) {
	case Size:
		return "a size"
	case Secret:
		return "a secret"
	case []string:
		return "a list"
	}
	switch {
	case f.value.Type() == durationType:
		return "a duration"
	case len(f.Enum) > 0:
		return strings.Join(f.Enum, " or ")
	case f.value.Kind() == reflect.Bool:
		return "true or false"
	case f.value.CanInt():
		return "a number"
	}
	return "a text"
}

// Fields lists every key in the order of the struct. Setting through them changes c.
func Fields(c *Config) []Field {
	v := reflect.ValueOf(c).Elem()
	return fields(nil, "", v.Type().Name(), v)
}

func fields(list []Field, prefix, section string, v reflect.Value) []Field {
	t := v.Type()
	for i := range t.NumField() {
		name, inline := t.Field(i).Tag.Get("yaml"), false
		if name, inline = strings.CutSuffix(name, ",inline"); inline {
			list = fields(list, prefix, section, v.Field(i))
			continue
		}
		key := strings.TrimPrefix(prefix+"."+name, ".")
		if t.Field(i).Type.Kind() == reflect.Struct {
			list = fields(list, key, t.Field(i).Type.Name(), v.Field(i))
			continue
		}
		f := Field{Key: key, value: v.Field(i), section: section, owner: t.Name(), name: t.Field(i).Name}
		if enum := t.Field(i).Tag.Get("enum"); enum != "" {
			f.Enum = strings.Split(enum, ",")
		}
		list = append(list, f)
	}
	return list
}
