package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWebhooks(t *testing.T) {
	got, err := ParseWebhook("crm https://hooks.example.org/s3cret secret=/etc/crm event=Message* event=AccountAdded domain=Example.org account=a@b from=beginning timeout=5s attempts=3 ca=/ca.pem content")
	want := Webhook{
		Name: "crm", URL: "https://hooks.example.org/s3cret", Secret: "/etc/crm", CA: "/ca.pem", Events: []string{"Message*", "AccountAdded"}, Accounts: []string{"a@b"}, Domains: []string{"example.org"},
		Beginning: true, Timeout: 5 * time.Second, Attempts: 3, Content: true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, problem := range map[string]string{
		"":                                  "has a name",
		"Crm https://s3cret secret=/x":      "has a name",
		"crm":                               "lacks a URL",
		"crm https://s3cret":                "lacks secret=",
		"crm ftp://s3cret secret=/x":        "a URL that is none",
		"crm https://me:s3cret@h secret=/x": "a URL that is none",
		"crm http://s3cret secret=/x":       "without TLS",
		"crm https://s3cret secret=/x timeout=1h":    "timeout",
		"crm https://s3cret secret=/x attempts=0":    "attempts",
		"crm https://s3cret secret=/x events=s3cret": `its word "events"`,
		"crm https://s3cret secret=/x from=s3cret":   `its word "from"`,
	} {
		if _, err := ParseWebhook(text); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := ParseWebhook("crm http://127.0.0.1:9 secret=/x private"); err != nil {
		t.Error(err)
	}
	l := Listeners{Webhooks: []string{"a https://x secret=/x", "a https://y secret=/x"}, Learning: Learning{URL: "x"}, Export: Export{Directory: "x"}, Publish: Publish{Stream: "a.b", Subject: "mail.>"}}
	if errs := l.check(); len(errs) != 7 {
		t.Errorf("%q", errs)
	}
}
