package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Webhook is one member of listeners.webhooks.
type Webhook struct {
	Name, URL, Secret, CA     string
	Events, Accounts, Domains []string
	Beginning                 bool // begin with the log's first entry
	Timeout                   time.Duration
	Attempts                  int
	Private, Content          bool
}

// webhookName fits into the name of a listener.
var webhookName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// ParseWebhook reads a webhook such as
//
//	crm https://hooks.example.org/mail secret=/etc/streampost/crm.secret event=Message* domain=example.org
//
// No error quotes the URL, whose path may be a secret.
func ParseWebhook(text string) (Webhook, error) {
	words := strings.Fields(text)
	h := Webhook{Timeout: 10 * time.Second, Attempts: 14}
	wrong := func(format string, args ...any) (Webhook, error) {
		return h, fmt.Errorf(`the webhook %q %s: it reads as crm https://hooks.example.org/mail secret=/etc/streampost/crm.secret event=Message* domain=example.org`, h.Name, fmt.Sprintf(format, args...))
	}
	if len(words) > 0 {
		h.Name = words[0]
	}
	if !webhookName.MatchString(h.Name) {
		return wrong("has a name that is no word of at most 31 lower-case letters, digits and -")
	}
	if len(words) < 2 {
		return wrong("lacks a URL")
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch {
		case word == "private":
			h.Private = true
		case word == "content":
			h.Content = true
		case word == "from=beginning" || word == "from=now":
			h.Beginning = value == "beginning"
		case value == "":
			return wrong("has something strange in its word %q", key)
		case key == "secret":
			h.Secret = value
		case key == "ca":
			h.CA = value
		case key == "event":
			h.Events = append(h.Events, value)
		case key == "account":
			h.Accounts = append(h.Accounts, value)
		case key == "domain":
			h.Domains = append(h.Domains, strings.ToLower(value))
		case key == "timeout":
			if h.Timeout, err = time.ParseDuration(value); err != nil || h.Timeout < time.Second || h.Timeout > 2*time.Minute {
				return wrong("has a timeout that is not between 1s and 2m")
			}
		case key == "attempts":
			if h.Attempts, err = strconv.Atoi(value); err != nil || h.Attempts < 1 || h.Attempts > 100 {
				return wrong("has attempts that are not between 1 and 100")
			}
		default:
			return wrong("has something strange in its word %q", key)
		}
	}
	if h.Secret == "" {
		return wrong("lacks secret= with a file")
	}
	h.URL = words[1]
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return wrong("has a URL that is none")
	}
	if u.Scheme == "http" && !h.Private {
		return wrong("has a URL without TLS, and is not for private networks: use https, or add private")
	}
	return h, nil
}

func (l *Listeners) check() (errs []error) {
	named := map[string]bool{}
	for _, text := range l.Webhooks {
		h, err := ParseWebhook(text)
		if err == nil && named[h.Name] {
			err = fmt.Errorf("there are two webhooks with the name %s", h.Name)
		}
		if named[h.Name] = true; err != nil {
			errs = append(errs, fmt.Errorf("listeners.webhooks: %w", err))
		}
	}
	if a := l.Learning; a.URL != "" {
		if u, err := url.Parse(a.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			errs = append(errs, errors.New("listeners.learning.url is no URL such as http://127.0.0.1:11334"))
		}
		if a.Message < 1 || a.Time < time.Second {
			errs = append(errs, errors.New("listeners.learning: message is at least 1, and time at least 1s"))
		}
	}
	if e := l.Export; e.Directory != "" {
		if !filepath.IsAbs(e.Directory) {
			errs = append(errs, errors.New("listeners.export.directory is a path that begins with /"))
		}
		if e.Size < 64<<10 || e.Age < time.Second {
			errs = append(errs, errors.New("listeners.export: size is at least 64KiB, and age at least 1s"))
		}
	}
	if p := l.Publish; p.Stream != "" {
		if p.Subject == "" || strings.ContainsAny(p.Subject, " \t\r\n*>") || strings.HasPrefix(p.Subject, ".") || strings.HasSuffix(p.Subject, ".") || strings.HasPrefix(p.Subject, "$") {
			errs = append(errs, errors.New("listeners.publish.subject is no subject such as mail.events"))
		}
		if strings.ContainsAny(p.Stream, " \t\r\n.*>/\\") {
			errs = append(errs, fmt.Errorf("listeners.publish.stream: %q is not the name of a stream", p.Stream))
		}
	}
	return errs
}
