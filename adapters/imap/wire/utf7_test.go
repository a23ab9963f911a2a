package wire

import (
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for wire, name := range map[string]string{
		"INBOX":                           "INBOX",
		"~peter/mail/&U,BTFw-/&ZeVnLIqe-": "~peter/mail/台北/日本語", // RFC 3501 section 5.1.3.
		"R&-D":                            "R&D",
		"&-":                              "&",
		"&-&-":                            "&&",
		"Entw&APw-rfe":                    "Entwürfe",
		"&2D3eAA-":                        "😀",
		"&AAo-":                           "\n",
		"a&AOk-&-b":                       "aé&b",
		"&AOk-x&AOk-":                     "éxé",
		"&Jjo-!":                          "☺!",
		"Hi Mom -&Jjo--!":                 "Hi Mom -☺-!",
		"&AP8-&-&AP8-":                    "ÿ&ÿ",
		"a b.c/d+e,f-g]h}~":               "a b.c/d+e,f-g]h}~",
	} {
		if got, err := DecodeUTF7(wire); err != nil || got != name {
			t.Errorf("decoding %s: %q, %v, want %q", wire, got, err, name)
		}
		if got := string(AppendUTF7(nil, name)); got != wire {
			t.Errorf("encoding %q: %s, want %s", name, got, wire)
		}
	}
	for what, wire := range map[string]string{
		"no end":                    "&AOk",
		"two shifts in a row":       "&Jjo-&Jjo-", // RFC 3501 section 5.1.3: a null shift.
		"ASCII in base64":           "&AGE-",
		"padding":                   "&AOk=-",
		"/ for ,":                   "&U/BTFw-",
		"half a code unit":          "&AA-",
		"trailing bits":             "&AOl-",
		"a high surrogate alone":    "&2D0-",
		"a low surrogate alone":     "&3gA-",
		"a surrogate and no second": "&2D0A4Q-",
		"an 8-bit octet":            "é",
		"a control character":       "a\tb",
		"an ampersand at the end":   "a&",
	} {
		if got, err := DecodeUTF7(wire); err == nil {
			t.Errorf("%s: %s is taken as %q", what, wire, got)
		}
	}
}

// Each name has one spelling, and each spelling one name.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"INBOX", "&U,BTFw-", "Entwürfe", "R&-D", "&Jjo-&Jjo-", "😀&", "&2D3eAA-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeUTF7(s); err == nil {
			if again := string(AppendUTF7(nil, name)); again != s {
				t.Errorf("%q decodes to %q, which encodes to %q", s, name, again)
			}
		}
		if !utf8.ValidString(s) {
			return
		}
		if name, err := DecodeUTF7(string(AppendUTF7(nil, s))); err != nil || name != s {
			t.Errorf("%q comes back as %q, %v", s, name, err)
		}
	})
}
