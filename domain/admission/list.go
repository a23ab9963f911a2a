package admission

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain/authres"
)

// List is a list of addresses in DNS.
type List struct {
	Zone    string
	Score   int     // that an address which is listed gets
	Allow   bool    // it lists whom to believe: no other list and no missing name counts then
	Answers []Range // that count; none means all of 127.0.0.0/8 but 127.255.255.0/24, by which lists say that they do not answer, and of an Allow list but all that end in 255, by which some of those say so
}

// What sums of scores lead to.
const (
	RefuseAt = 100
	JunkAt   = 50
)

// Range is a range of answers, both ends included.
type Range struct{ From, To [4]byte }

func number(a [4]byte) uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}

func (r Range) has(a [4]byte) bool { return number(r.From) <= number(a) && number(a) <= number(r.To) }

// Counts tells whether an answer means that the address is listed. RFC 5782 section 2.1: an answer is from 127.0.0.0/8, and another one is that of somebody who answers every question, as
// those do who have bought a list's domain.
func (l *List) Counts(answer [4]byte) bool {
	if len(l.Answers) == 0 {
		return answer[0] == 127 && (answer[1] != 255 || answer[2] != 255) && !(l.Allow && answer[3] == 255)
	}
	for _, r := range l.Answers {
		if r.has(answer) {
			return true
		}
	}
	return false
}

// Question is the name by which a zone is asked about an address of 4 or 16 octets: its octets (RFC 5782 section 2.1) or its nibbles (section 2.4), the last one first.
func Question(address []byte, zone string) string {
	var b strings.Builder
	for i := len(address) - 1; i >= 0; i-- {
		if len(address) == 4 {
			b.WriteString(strconv.Itoa(int(address[i])) + ".")
		} else {
			fmt.Fprintf(&b, "%x.%x.", address[i]&0xf, address[i]>>4)
		}
	}
	return b.String() + zone
}

// Finding is what a list says of a client.
type Finding struct {
	List    *List
	Answers [][4]byte // that count; none: it is not listed, or nobody answers
	Text    string    // what the list says for people, of one that may refuse
}

// dotted writes answers as text.
func (f *Finding) dotted() string {
	all := make([]string, len(f.Answers))
	for i, a := range f.Answers {
		all[i] = fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
	}
	return strings.Join(all, ",")
}

// ListsField is the name of the field that tells which lists a client is on.
const ListsField = "X-DNS-Lists"

// Weigh adds up what lists say of a client, whose address is given as text, and adds it to an opinion. id is the name of this server in what it adds to a message.
func (o *Opinion) Weigh(findings []Finding, address, id string) {
	sum := 0
	var worst *Finding
	var listed []string
	for i := range findings {
		f := &findings[i]
		if len(f.Answers) == 0 {
			continue
		}
		listed = append(listed, f.List.Zone+"="+f.dotted())
		if f.List.Allow { // RFC 8904 section 2.
			o.Known = true
			o.Methods = append(o.Methods, authres.Method{Name: "dnswl", Result: authres.Pass, Properties: []authres.Property{
				{Type: "dns", Name: "zone", Value: f.List.Zone}, {Type: "dns", Name: "sec", Value: "na"}, {Type: "policy", Name: "ip", Value: f.dotted()},
			}})
			continue
		}
		sum += f.List.Score
		if worst == nil || f.List.Score > worst.List.Score {
			worst = f
		}
	}
	if len(listed) > 0 {
		o.Fields += ListsField + ": " + id + ";\r\n\t" + strings.Join(listed, ";\r\n\t") + "\r\n"
	}
	if worst == nil || o.Known {
		return
	}
	o.Junk = o.Junk || sum >= JunkAt
	if sum < RefuseAt || o.Refusal != nil {
		return
	}
	text := fmt.Sprintf("Refused: your address [%s] is listed by %s", address, worst.List.Zone)
	if why := Printable(worst.Text); why != "" {
		text += ": " + why
	}
	o.Refusal = &Refusal{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: text, Why: "list"}
}

// TestPoints are two addresses of the family of which every list has the first and none the second (RFC 5782 section 5).
func TestPoints(v6 bool) (listed, clear []byte) {
	if !v6 {
		return []byte{127, 0, 0, 2}, []byte{127, 0, 0, 1}
	}
	mapped := func(last byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last} }
	return mapped(2), mapped(1)
}
