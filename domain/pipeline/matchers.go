package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// matcher gives those of a mail's recipients that it finds, in their order.
type matcher func(m *Mail, w World) ([]string, error)

// matchers are made of the text behind = by name. The names are James's.
var matchers map[string]func(value string) (matcher, error)

func init() {
	matchers = map[string]func(string) (matcher, error){
		"All":                       plain(func(*Mail, World) (bool, error) { return true, nil }),
		"RecipientIs":               each(func(a delivery.Address, want map[string]bool) bool { return want[a.Key()] }, addresses),
		"UserIs":                    each(func(a delivery.Address, want map[string]bool) bool { return want[strings.ToLower(a.Local)] }, words),
		"HostIs":                    each(func(a delivery.Address, want map[string]bool) bool { return want[a.DomainKey()] }, hosts),
		"RecipientDomainIs":         each(func(a delivery.Address, want map[string]bool) bool { return want[a.DomainKey()] }, hosts),
		"RecipientIsRegex":          recipientRegex,
		"RecipientIsLocal":          recipientIsLocal,
		"HostIsLocal":               hostIsLocal,
		"RecipientCountExceeds":     over(func(m *Mail, _ World) (int64, error) { return int64(len(m.Recipients)), nil }),
		"TooManyRecipients":         over(func(m *Mail, _ World) (int64, error) { return int64(len(m.Recipients)), nil }),
		"IsSingleRecipient":         plain(func(m *Mail, _ World) (bool, error) { return len(m.Recipients) == 1, nil }),
		"SenderIs":                  sender(func(a delivery.Address, want map[string]bool) bool { return want[a.Key()] }, addresses),
		"SenderHostIs":              sender(func(a delivery.Address, want map[string]bool) bool { return want[a.DomainKey()] }, hosts),
		"SenderDomainIs":            sender(func(a delivery.Address, want map[string]bool) bool { return want[a.DomainKey()] }, hosts),
		"SenderIsNull":              plain(func(m *Mail, _ World) (bool, error) { return m.Sender == "", nil }),
		"SenderIsLocal":             plain(senderIsLocal),
		"SenderIsRegex":             regex(func(m *Mail, _ World) ([]string, error) { return []string{m.Sender}, nil }),
		"HasHeader":                 hasHeader,
		"HasHeaderWithPrefix":       hasHeaderWithPrefix,
		"CompareNumericHeaderValue": compareHeader,
		"SubjectIs":                 subject(func(subject, want string) bool { return subject == want }),
		"SubjectStartsWith":         subject(strings.HasPrefix),
		"SubjectIsRegex":            regex(func(m *Mail, w World) ([]string, error) { return m.values(w, "Subject") }),
		"IsMarkedAsSpam":            plain(isMarkedAsSpam),
		"IsFromMailingList":         plain(isFromMailingList),
		"SizeGreaterThan":           over(func(m *Mail, _ World) (int64, error) { return m.Size, nil }),
		"RelayLimit":                over(relays),
		"RemoteAddrInNetwork":       network(true),
		"SMTPIsAuthNetwork":         network(true),
		"RemoteAddrNotInNetwork":    network(false),
		"SMTPAuthSuccessful":        plain(func(m *Mail, _ World) (bool, error) { return m.Login != "", nil }),
		"SMTPAuthUserIs":            list(func(m *Mail, want map[string]bool) bool { return want[strings.ToLower(m.Login)] }, words),
		"SentByMailet":              plain(func(m *Mail, _ World) (bool, error) { return m.Attributes[AttributeServer] != "", nil }),
		"HasMailAttribute":          hasAttribute,
		"HasMailAttributeWithValue": hasAttributeWithValue,
		"HasException":              plain(func(m *Mail, _ World) (bool, error) { return m.Attributes[AttributeError] != "", nil }),
	}
}

// Matchers lists the names that there are.
func Matchers() []string { return sorted(matchers) }

func sorted[V any](all map[string]V) (names []string) {
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// compile makes a matcher of what is written.
func (e *expression) compile() (matcher, error) {
	if e.op == "" {
		make, known := matchers[e.name]
		if !known {
			return nil, domain.Errorf(domain.Invalid, "there is no matcher %q; there are %s", e.name, strings.Join(Matchers(), ", "))
		}
		m, err := make(e.value)
		if err != nil {
			return nil, fmt.Errorf("matcher %s: %w", e.name, err)
		}
		return m, nil
	}
	left, err := e.left.compile()
	if err != nil {
		return nil, err
	}
	if e.op == "not" {
		return func(m *Mail, w World) ([]string, error) {
			found, err := left(m, w)
			return without(m.Recipients, found), err
		}, nil
	}
	right, err := e.right.compile()
	if err != nil {
		return nil, err
	}
	return func(m *Mail, w World) ([]string, error) {
		a, err := left(m, w)
		if err != nil || e.op == "and" && len(a) == 0 || e.op == "or" && len(a) == len(m.Recipients) {
			return a, err
		}
		b, err := right(m, w)
		if err != nil {
			return nil, err
		}
		return filter(m.Recipients, func(r string) bool {
			inA, inB := slices.Contains(a, r), slices.Contains(b, r)
			switch e.op {
			case "and":
				return inA && inB
			case "or":
				return inA || inB
			}
			return inA != inB
		}), nil
	}, nil
}

// walk calls f with each atom.
func (e *expression) walk(f func(*expression)) {
	if e == nil {
		return
	}
	if e.op == "" {
		f(e)
	}
	e.left.walk(f)
	e.right.walk(f)
}

// all reports whether the expression finds every recipient whatever the mail is.
func (e *expression) all() bool { return e.op == "" && e.name == "All" }

func filter(all []string, is func(string) bool) (some []string) {
	for _, r := range all {
		if is(r) {
			some = append(some, r)
		}
	}
	return some
}

func without(all, some []string) []string {
	if len(some) == len(all) {
		return nil
	}
	return filter(all, func(r string) bool { return !slices.Contains(some, r) })
}

// whole is a matcher that finds all recipients or none.
func whole(is func(m *Mail, w World) (bool, error)) matcher {
	return func(m *Mail, w World) ([]string, error) {
		if found, err := is(m, w); err != nil || !found {
			return nil, err
		}
		return m.Recipients, nil
	}
}

// plain is one without a value.
func plain(is func(m *Mail, w World) (bool, error)) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		if value != "" {
			return nil, domain.Errorf(domain.Invalid, "it has no value")
		}
		return whole(is), nil
	}
}

// words reads a list with commas.
func words(value string) (map[string]bool, error) {
	set := map[string]bool{}
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.ToLower(strings.TrimSpace(word)); word != "" {
			set[word] = true
		}
	}
	if len(set) == 0 {
		return nil, domain.Errorf(domain.Invalid, "it needs a value: a list with commas")
	}
	return set, nil
}

func addresses(value string) (map[string]bool, error) {
	texts, err := words(value)
	set := map[string]bool{}
	for text := range texts {
		a, err := delivery.ParseAddress(text)
		if err != nil {
			return nil, domain.Errorf(domain.Invalid, "%q is no address", text)
		}
		set[a.Key()] = true
	}
	return set, err
}

func hosts(value string) (map[string]bool, error) {
	texts, err := words(value)
	set := map[string]bool{}
	for text := range texts {
		set[idn.Unicode(text)] = true
	}
	return set, err
}

func each(is func(delivery.Address, map[string]bool) bool, read func(string) (map[string]bool, error)) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		want, err := read(value)
		return func(m *Mail, _ World) ([]string, error) {
			return filter(m.Recipients, func(r string) bool { return is(address(r), want) }), nil
		}, err
	}
}

func sender(is func(delivery.Address, map[string]bool) bool, read func(string) (map[string]bool, error)) func(string) (matcher, error) {
	return list(func(m *Mail, want map[string]bool) bool { return m.Sender != "" && is(address(m.Sender), want) }, read)
}

func list(is func(*Mail, map[string]bool) bool, read func(string) (map[string]bool, error)) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		want, err := read(value)
		return whole(func(m *Mail, _ World) (bool, error) { return is(m, want), nil }), err
	}
}

// address reads one of a mail's addresses, which were read before; the zero address stands for one that cannot be.
func address(text string) delivery.Address {
	a, _ := delivery.ParseAddress(text)
	return a
}

func pattern(value string) (*regexp.Regexp, error) {
	r, err := regexp.Compile(`^(?:` + value + `)$`)
	if err != nil || value == "" {
		return nil, domain.Errorf(domain.Invalid, "%q is no regular expression (RE2)", value)
	}
	return r, nil
}

func recipientRegex(value string) (matcher, error) {
	r, err := pattern(value)
	return func(m *Mail, _ World) ([]string, error) { return filter(m.Recipients, r.MatchString), nil }, err
}

func regex(of func(*Mail, World) ([]string, error)) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		r, err := pattern(value)
		return whole(func(m *Mail, w World) (bool, error) {
			texts, err := of(m, w)
			return slices.ContainsFunc(texts, r.MatchString), err
		}), err
	}
}

func recipientIsLocal(value string) (matcher, error) {
	if value != "" {
		return nil, domain.Errorf(domain.Invalid, "it has no value")
	}
	return func(m *Mail, w World) (found []string, err error) {
		for _, r := range m.Recipients {
			local, err := w.LocalRecipient(r)
			if err != nil {
				return nil, err
			}
			if local {
				found = append(found, r)
			}
		}
		return found, nil
	}, nil
}

func hostIsLocal(value string) (matcher, error) {
	if value != "" {
		return nil, domain.Errorf(domain.Invalid, "it has no value")
	}
	return func(m *Mail, w World) ([]string, error) {
		return filter(m.Recipients, func(r string) bool { return w.LocalDomain(address(r).Domain) }), nil
	}, nil
}

func senderIsLocal(m *Mail, w World) (bool, error) {
	if m.Sender == "" {
		return false, nil
	}
	return w.LocalRecipient(m.Sender)
}

// over finds all when something exceeds a number, which may have the unit k, m or g.
func over(of func(*Mail, World) (int64, error)) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		digits, unit := strings.ToLower(value), int64(1)
		for suffix, size := range map[string]int64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30} {
			if rest, is := strings.CutSuffix(digits, suffix); is {
				digits, unit = rest, size
				break
			}
		}
		limit, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || limit < 0 || limit > 1<<62/unit {
			return nil, domain.Errorf(domain.Invalid, "%q is no number such as 30 or 10m", value)
		}
		return whole(func(m *Mail, w World) (bool, error) {
			n, err := of(m, w)
			return n > limit*unit, err
		}), nil
	}
}

// relays counts Received fields (RFC 5321 section 6.3).
func relays(m *Mail, w World) (int64, error) {
	all, err := m.values(w, "Received")
	return int64(len(all)), err
}

func network(in bool) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		set, err := words(value)
		networks := sorted(set)
		return whole(func(m *Mail, w World) (bool, error) {
			return m.RemoteAddress != "" && w.InNetwork(m.RemoteAddress, networks) == in || m.RemoteAddress == "" && !in, nil
		}), err
	}
}

func hasAttribute(value string) (matcher, error) {
	if value == "" {
		return nil, domain.Errorf(domain.Invalid, "it needs a value: the name of an attribute")
	}
	return whole(func(m *Mail, _ World) (bool, error) { _, has := m.Attributes[value]; return has, nil }), nil
}

func hasAttributeWithValue(value string) (matcher, error) {
	name, want, found := strings.Cut(value, ",")
	if !found || strings.TrimSpace(name) == "" {
		return nil, domain.Errorf(domain.Invalid, "%q is no attribute with a value such as color, red", value)
	}
	name, want = strings.TrimSpace(name), strings.TrimSpace(want)
	return whole(func(m *Mail, _ World) (bool, error) { is, has := m.Attributes[name]; return has && is == want, nil }), nil
}
