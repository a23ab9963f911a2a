package outbound

import (
	"bufio"
	"errors"
	"strings"
)

// reply is a peer's answer (RFC 5321 section 4.2).
type reply struct {
	code   int
	status string   // RFC 3463; empty when there was none
	text   string   // in one line, with the code
	lines  []string // behind the code
}

func (r *reply) ok() bool { return r.code/100 == 2 }

// Errors of a peer that does not speak SMTP.
var (
	errLine  = errors.New("a line of the answer is too long")
	errLines = errors.New("the answer has too many lines")
	errForm  = errors.New("the answer is not one of SMTP")
)

// readReply reads one answer. The reader's buffer bounds a line.
func readReply(r *bufio.Reader, most int) (*reply, error) {
	answer := &reply{}
	for {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, errLine
		}
		if err != nil {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		code, last, rest, ok := splitLine(text)
		if !ok || len(answer.lines) > 0 && code != answer.code {
			return nil, errForm
		}
		if len(answer.lines) == most {
			return nil, errLines
		}
		answer.code = code
		answer.lines = append(answer.lines, rest)
		if last {
			answer.finish(text[:3])
			return answer, nil
		}
	}
}

// splitLine takes a line apart. A code alone is a line as well (RFC 5321 section 4.2).
func splitLine(s string) (code int, last bool, rest string, ok bool) {
	if len(s) < 3 || s[0] < '2' || s[0] > '5' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0, false, "", false
	}
	code = int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	if len(s) == 3 {
		return code, true, "", true
	}
	if s[3] != ' ' && s[3] != '-' {
		return 0, false, "", false
	}
	return code, s[3] == ' ', s[4:], true
}

// maxReplyText bounds what is kept of an answer's text, in octets.
const maxReplyText = 500

// finish finds the enhanced status code, which each line may begin with (RFC 2034 section 4), and makes one line of all.
func (r *reply) finish(code string) {
	var words []string
	for _, line := range r.lines {
		first, rest, _ := strings.Cut(line, " ")
		if isStatus(first) && first[0] == code[0] {
			r.status = first
			line = rest
		}
		words = append(words, strings.Fields(printable(line))...)
	}
	text := strings.Join(words, " ")
	if len(text) > maxReplyText {
		text = strings.ToValidUTF8(text[:maxReplyText], "") + "..."
	}
	if r.status != "" {
		code += " " + r.status
	}
	r.text = strings.TrimSpace(code + " " + text)
}

func isStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// printable takes out what could mislead whoever reads a log or a report.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
