package imap

import (
	"context"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
)

func init() {
	register(spec{name: "LANGUAGE", states: anyState, run: runLanguage, capabilities: []string{"LANGUAGE"}})
}

// maxLanguages bounds the ranges of one command.
const maxLanguages = 100

// runLanguage is LANGUAGE (RFC 5255 section 3.2). All texts of this server are in English, which is what i-default is, so there is nothing to remember.
func runLanguage(_ context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	answer, asked := "", 0
	for d.SP() {
		var r string
		if !d.ExpectAString(&r) {
			return d.Err()
		}
		if asked++; asked > maxLanguages {
			return &wire.SyntaxError{Code: "LIMIT", Text: "LANGUAGE names too many languages"}
		}
		if answer == "" {
			answer = language(r)
		}
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	switch {
	case asked == 0: // section 3.3: more than one tag is what there is.
		c.enc.Raw("* LANGUAGE (EN i-default)\r\n")
	case answer == "":
		return domain.Errorf(domain.Invalid, "the language is not supported")
	default:
		c.enc.Raw("* LANGUAGE (").Raw(answer).Raw(")\r\n")
	}
	return nil
}

// language gives the tag that serves a language range (RFC 4647 section 3.4, lookup); empty if none does.
func language(r string) string {
	switch r = strings.ToLower(r); {
	case r == "en" || strings.HasPrefix(r, "en-") || r == "*":
		return "EN"
	case r == "i-default" || r == "default":
		return "i-default"
	}
	return ""
}
