package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streampost/streampost/ops/config"
)

func load(t *testing.T, yaml string, src config.Source) (*config.Loaded, error) {
	t.Helper()
	if yaml != "" {
		src.File = filepath.Join(t.TempDir(), "streampost.yaml")
		if err := os.WriteFile(src.File, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(config.Default(), src)
}

func TestLayersAndOrigins(t *testing.T) {
	l, err := load(t, "data: /from/file\nlogging:\n  level: warn\n  format: json\nimap:\n  limits:\n    message: 10MiB\n", config.Source{
		Environ: []string{"STREAMPOST_LOGGING_LEVEL=debug", "STREAMPOST_IMAP_LISTEN=127.0.0.1:1, [::1]:2", "HOME=/", "STREAMPOST_SERVICE_HOST=10.0.0.1", "STREAMPOST_PORT=tcp://10.0.0.1:25"},
		Sets:    []config.Set{{Key: "data", Value: "/from/flag", Flag: "--data"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.Data != "/from/flag" || c.Logging.Level != "debug" || c.Logging.Format != "json" || c.IMAP.Limits.Message != 10<<20 || len(c.IMAP.Listen) != 2 {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]string{"data": "--data", "logging.level": "STREAMPOST_LOGGING_LEVEL", "logging.format": ":4", "imap.limits.message": ":7", "drain": "default"} {
		if got := l.Origin(key); !strings.HasSuffix(got, want) {
			t.Errorf("origin of %s is %q, want %q", key, got, want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		yaml string
		env  string
		want []string
	}{
		{yaml: "data: x\nimpa:\n  listen: []\n", want: []string{`streampost.yaml:2: unknown key "impa"`}},
		{yaml: "imap:\n  lisen: []\n  limits:\n    mesage: 1\n", want: []string{`:2: unknown key "lisen"`, `:4: unknown key "mesage"`}},
		{yaml: "drain: tomorrow\n", want: []string{":1: ", "tomorrow"}},
		{yaml: "data: a\ndata: b\n", want: []string{"data", "already"}},
		{yaml: "data: a\n---\ndata: b\n", want: []string{"only one YAML document"}},
		{yaml: "data: [\n", want: []string{"streampost.yaml"}},
		{yaml: "logging: {level: loud}\n", want: []string{`logging.level cannot be "loud": it is debug or info or warn or error`}},
		{yaml: "imap: {listen: ['1143']}\nstreams: {shards: 2000}\n", want: []string{`imap.listen: "1143"`, "streams.shards"}},
		{yaml: "streams: {url: 'http://nats.example.org', certificate: a.pem, monitor: ['nats1:8222']}\n", want: []string{`streams.url: "http://nats.example.org"`, "go together", `"nats1:8222"`}},
		{yaml: "streams: {url: 'nats://mail:secret@nats.example.org:4222'}\n", want: []string{"streams.user and streams.password"}},
		{yaml: "imap: {limits: {message: 0}}\n", want: []string{"imap.limits.message cannot be 0"}},
		{yaml: "imap: {message_limit: 10}\n", want: []string{"imap.message_limit"}},
		{yaml: "imap: {message_limit: 1000, save_limit: 1000}\n", want: []string{"set one of them"}},
		{yaml: "imap: {save_limit: 5000, enforced_limit: 4000}\n", want: []string{"imap.enforced_limit"}},
		{yaml: "imap: {clients: ['name=x']}\n", want: []string{"imap.clients: the rule"}},
		{yaml: "port_offset: 65000\n", want: []string{"port_offset must lie"}},
		{yaml: "tls: {certificate: x}\n", want: []string{"go together"}},
		{yaml: "imap: {namespaces: {others: Users}}\n", want: []string{`has the prefix "Users"`}},
		{yaml: "imap: {namespaces: {shared: Other Users/x/}}\n", want: []string{"begins with the other one"}},
		{yaml: "admin: {token: (secret)}\n", want: []string{"admin.token is the mask"}},
		{yaml: "keys: {master: c2hvcnQ=}\n", want: []string{"32 octets"}},
		{yaml: "smtp: {lists: {zones: ['bl.example score=x', 'a/b', 'bl.example answer=127.0.0.1-126.0.0.1', 'bl.example what'], time: 1ms}}\n", want: []string{"no number", "no name of a zone", "answer=127.0.0.1-126.0.0.1", "strange in what", "smtp.lists.time"}},
		{yaml: "smtp: {greylist: {delay: 1h, window: 1h, entries: 1}}\nrates: {remembered: 1, account_messages: -1}\n", want: []string{"window more than delay", "entries is at least", "rates.remembered", "rates.account_messages cannot be negative"}},
		{yaml: "smtp: {milters: ['a 127.0.0.1:1 time=3m', 'b 127.0.0.1:2 time=2m', 'c 127.0.0.1:3']}\n", want: []string{"together", "5m30s", "shorter time="}},
		{yaml: "smtp: {milters: ['rspamd', 'A 127.0.0.1:1', 'a 127.0.0.1', 'a unix:x', 'a 127.0.0.1:1 time=1h', 'b 127.0.0.1:1 what', 'c 127.0.0.1:1', 'c 127.0.0.1:2']}\n", want: []string{"lacks a name", "no word of", "neither host:port", "does not begin with /", "between 1s and 5m", "strange in what", "two milters with the name c"}},
		{env: "STREAMPOST_LOGING_LEVEL=info", want: []string{"STREAMPOST_LOGING_LEVEL names no key"}},
		{env: "STREAMPOST_DRAIN=soon", want: []string{`STREAMPOST_DRAIN: drain cannot be "soon": it is a duration`}},
		{env: "STREAMPOST_IMAP_LIMITS_MESSAGE=", want: []string{"it is a size"}},
	} {
		_, err := load(t, c.yaml, config.Source{Environ: []string{c.env}})
		if err == nil {
			t.Errorf("%q %q is accepted", c.yaml, c.env)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q %q: %q does not say %q", c.yaml, c.env, err, want)
			}
		}
	}
}

// TestTimeOfAllMilters may be what clients wait for, and no more (TestMistakesAreNamed).
func TestTimeOfAllMilters(t *testing.T) {
	if _, err := load(t, "smtp: {milters: ['a 127.0.0.1:1 time=3m', 'b 127.0.0.1:2 time=90s', 'c 127.0.0.1:3']}\n", config.Source{}); err != nil {
		t.Error(err)
	}
}

func TestDefaultIsValidAndDocumented(t *testing.T) {
	c := config.Default()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for _, f := range config.Fields(&c) {
		if f.Doc() == "" {
			t.Errorf("%s has no comment", f.Key)
		}
	}
}

// What config print writes is itself a configuration, and gives the same one.
func TestPrintRoundTrips(t *testing.T) {
	l, err := load(t, "data: 'a # b'\nimap: {listen: []}\n", config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	var first, second strings.Builder
	if err := l.WriteYAML(&first, false); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, first.String(), config.Source{})
	if err != nil {
		t.Fatalf("%v\n%s", err, first.String())
	}
	if err := again.WriteYAML(&second, false); err != nil {
		t.Fatal(err)
	}
	if values(first.String()) != values(second.String()) {
		t.Errorf("%s\n%s", first.String(), second.String())
	}
}

func values(yaml string) string {
	var b strings.Builder
	for line := range strings.Lines(yaml) {
		if value, _, ok := strings.Cut(line, "  # "); ok {
			b.WriteString(strings.TrimSpace(value) + "\n")
		}
	}
	return b.String()
}

func TestSecretsAreMasked(t *testing.T) {
	const secret = "dGhpcnR5LXR3byBvY3RldHMgb2Ygc2VjcmV0IGtleSE="
	l, err := load(t, "admin: {token: hunter2}\ncluster: {notify: {webhook: https://example.org/hook/hunter2}}\n", config.Source{Environ: []string{"STREAMPOST_KEYS_MASTER=" + secret}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := l.WriteYAML(&b, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), secret) || strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "(secret)") {
		t.Error(b.String())
	}
	if l.Config.Keys.Master.Reveal() != secret {
		t.Error("the secret is lost")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "512": 512, "64KiB": 64 << 10, "50 MiB": 50 << 20, "1kB": 1000, "3GiB": 3 << 30} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "9999999999GiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is accepted as %d", text, got)
		}
	}
	if s := config.Size(50 << 20).String(); s != "50MiB" {
		t.Error(s)
	}
}

func TestShift(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:1143": "127.0.0.1:1243", "[::1]:25": "[::1]:125", "unix:/run/lmtp": "unix:/run/lmtp", "127.0.0.1:0": "127.0.0.1:0"} {
		if got := config.Shift(address, 100); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

// A size that is none is named with its key and line, and so is every other one.
func TestMistakesInSizesHaveLines(t *testing.T) {
	_, err := load(t, "reserve: 5XB\nviews:\n  hot: much\n", config.Source{})
	for _, want := range []string{":1: reserve: \"5XB\"", ":3: views.hot: \"much\""} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestMistakesThatOnlyShowTogether(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"smtp.listen=127.0.0.1:1143", `smtp.listen: "127.0.0.1:1143" is taken by imap.listen`},
		{"hostname=bad@host", "not the name of a machine"},
		{"postmaster=root", "postmaster"},
		{"streams.url=nats", "streams.url"},
		{"blobs.kind=s3", "say where with blobs.s3.url and blobs.s3.bucket"},
		{"blobs.kind=tape", "blobs.kind"},
		{"blobs.kind=jetstream blobs.one_node=true", "are for blobs.kind directory"},
		{"blobs.one_node=true blobs.directory_is_shared=true", "exclude each other"},
		{"blobs.s3.url=http://s3.example/bucket", "the bucket is not part of it"},
		{"blobs.s3.url=http://s3.example blobs.s3.access_key=x", "go together"},
		{"blobs.jetstream.chunk=9MiB", "blobs.jetstream.chunk"},
		{"streams.url=nats://nats.example streams.replicas=3", "set blobs.kind to jetstream"},
	} {
		var sets []config.Set
		for set := range strings.FieldsSeq(c.set) {
			key, value, _ := strings.Cut(set, "=")
			sets = append(sets, config.Set{Key: key, Value: value, Flag: "--set"})
		}
		_, err := config.Load(config.Default(), config.Source{Sets: sets})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.set, err)
		}
	}
}

// Nobody's log is copied anywhere before they say where.
func TestNoArchiveByDefault(t *testing.T) {
	if kind := config.Default().Archive.Kind; kind != "none" {
		t.Errorf("archive.kind is %q by default", kind)
	}
}
