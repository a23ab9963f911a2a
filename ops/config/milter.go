package config

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// Milter is one member of smtp.milters.
type Milter struct {
	Name    string
	Network string // tcp or unix
	Address string
	Time    time.Duration
	Later   bool
}

// ParseMilter reads a milter such as
//
//	rspamd 127.0.0.1:11332 fail=accept time=30s
func ParseMilter(text string) (Milter, error) {
	words := strings.Fields(text)
	m := Milter{Network: "tcp", Time: 30 * time.Second}
	wrong := func(what string) (Milter, error) {
		return m, fmt.Errorf(`the milter %q %s: it reads as rspamd 127.0.0.1:11332 fail=accept time=30s`, text, what)
	}
	if len(words) < 2 {
		return wrong("lacks a name or an address")
	}
	m.Name, m.Address = words[0], words[1]
	if len(m.Name) > 30 || strings.ContainsFunc(m.Name, func(r rune) bool { return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		return wrong("has a name that is no word of lower-case letters, digits, - and _")
	}
	if path, unix := strings.CutPrefix(m.Address, "unix:"); unix {
		m.Network, m.Address = "unix", path
		if !strings.HasPrefix(path, "/") {
			return wrong("has a socket whose path does not begin with /")
		}
	} else if host, port, err := net.SplitHostPort(m.Address); err != nil || host == "" || port == "" {
		return wrong("has an address that is neither host:port nor unix:/path")
	}
	for _, word := range words[2:] {
		bound, timed := strings.CutPrefix(word, "time=")
		switch {
		case word == "fail=later":
			m.Later = true
		case word == "fail=accept":
			m.Later = false
		case timed:
			var err error
			if m.Time, err = time.ParseDuration(bound); err != nil || m.Time < time.Second || m.Time > 5*time.Minute {
				return wrong("has a time that is not between 1s and 5m")
			}
		default:
			return wrong("has something strange in " + word)
		}
	}
	return m, nil
}

// maxMilters bounds the time of all milters together: a client waits for 10 minutes after the last octet (RFC 5321 section 4.5.3.2.6), and sends again what it does not know to be taken.
const maxMilters = 5 * time.Minute

func checkMilters(texts []string) (errs []error) {
	named, all := map[string]bool{}, time.Duration(0)
	for _, text := range texts {
		m, err := ParseMilter(text)
		if err == nil && named[m.Name] {
			err = fmt.Errorf("there are two milters with the name %s", m.Name)
		}
		if named[m.Name] = true; err != nil {
			errs = append(errs, fmt.Errorf("smtp.milters: %w", err))
			continue
		}
		all += m.Time
	}
	if all > maxMilters {
		errs = append(errs, fmt.Errorf("smtp.milters: the times of all milters are %s together, and may be %s: clients wait no longer for an answer; give some a shorter time=", all, maxMilters))
	}
	return errs
}
