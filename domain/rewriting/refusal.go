package rewriting

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Refusal is what an error mapping answers.
type Refusal struct {
	Code     int // of RFC 5321 section 4.2.1, 400 to 599
	Enhanced [3]int
	Text     string
}

func (r Refusal) String() string {
	return fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
}

var (
	coded    = regexp.MustCompile(`^([45])([0-5])([0-9])(?: |$)`)
	enhanced = regexp.MustCompile(`^([45])\.([0-9]{1,3})\.([0-9]{1,3})(?: |$)`)
)

// maxReply keeps the text of a refusal in one line of SMTP (RFC 5321 section 4.5.3.1.5).
const maxReply = 400

// ParseRefusal reads a refusal: a reply code, an enhanced code (RFC 3463) and a text, of which the first two may be left out. Errors: domain.Invalid.
func ParseRefusal(text string) (r Refusal, err error) {
	r = Refusal{Code: 550}
	rest := strings.TrimSpace(text)
	if m := coded.FindStringSubmatch(rest); m != nil {
		r.Code = int(m[1][0]-'0')*100 + int(m[2][0]-'0')*10 + int(m[3][0]-'0')
		rest = strings.TrimSpace(rest[3:])
	}
	if r.Code == 421 { // It would say that the server closes the connection.
		return r, domain.Errorf(domain.Invalid, "421 is no answer to a recipient")
	}
	r.Enhanced = [3]int{r.Code / 100, 7, 1}
	if m := enhanced.FindStringSubmatch(rest); m != nil {
		if _, err := fmt.Sscanf(m[0], "%d.%d.%d", &r.Enhanced[0], &r.Enhanced[1], &r.Enhanced[2]); err != nil || r.Enhanced[0] != r.Code/100 {
			return r, domain.Errorf(domain.Invalid, "the enhanced code %s does not go with the code %d", strings.TrimSpace(m[0]), r.Code)
		}
		rest = strings.TrimSpace(rest[len(strings.TrimSpace(m[0])):])
	}
	r.Text = strings.Join(strings.Fields(rest), " ")
	if r.Text == "" {
		r.Text = "The recipient does not take mail"
	}
	if len(r.Text) > maxReply || strings.ContainsFunc(r.Text, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
		return r, domain.Errorf(domain.Invalid, "the text of a refusal is one line of at most %d characters of ASCII", maxReply)
	}
	return r, nil
}
