package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check says everything that is wrong with a configuration, one mistake per line. It looks at nothing outside the configuration.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range Fields(c) {
		switch v := f.value.Interface().(type) {
		case string:
			if f.Enum != nil && !slices.Contains(f.Enum, v) {
				bad("%s cannot be %q: it is %s", f.Key, v, f.Type())
			}
		case Secret:
			if v.Reveal() == v.String() && v != "" {
				bad("%s is the mask that config print shows, not the secret", f.Key)
			}
		case []string:
			if strings.Contains(f.Key[strings.LastIndexByte(f.Key, '.')+1:], "listen") {
				for _, address := range v {
					if err := checkAddress(address, c.PortOffset); err != nil {
						bad("%s: %w", f.Key, err)
					}
				}
			}
			if strings.HasSuffix(f.Key, ".proxies") {
				for _, network := range v {
					if _, err := netip.ParsePrefix(network); err != nil {
						bad("%s has the member %q, which is no network such as 192.0.2.0/24 or 2001:db8::1/128", f.Key, network)
					}
				}
			}
			for _, member := range v {
				if member == "" {
					bad("%s has an empty member", f.Key)
				}
			}
		default:
			if f.value.CanInt() && f.value.Int() < 0 {
				bad("%s cannot be negative", f.Key)
			}
		}
		if (strings.Contains(f.Key, ".limits.") || strings.HasPrefix(f.Key, "logins.")) && f.value.CanInt() && f.value.Int() == 0 {
			bad("%s cannot be 0: every limit needs a value", f.Key)
		}
	}
	if c.Data == "" {
		bad("data cannot be empty")
	}
	for _, address := range c.Search.OpenSearch.URL {
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("search.opensearch.url has the member %q, which is no URL such as https://search1.example.org:9200", address)
		}
	}
	if t := c.Search.Tika; t.URL != "" {
		if u, err := url.Parse(t.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("search.tika.url is %q, which is no URL such as http://127.0.0.1:9998", t.URL)
		}
		if len(t.Types) == 0 || t.File < 1 || t.Text < 1 || t.Time < time.Second || t.Parallel < 1 {
			bad("search.tika: types cannot be empty, file, text and parallel are at least 1, and time at least 1s")
		}
	}
	if o := c.Logins.OIDC; o.Issuer != "" && len(o.Audience) == 0 {
		bad("logins.oidc.audience cannot be empty: tokens for any other service would do")
	}
	if c.Views.VerifyCPU < 1 || c.Views.VerifyCPU > 100 {
		bad("views.verify_cpu is 1 to 100 percent")
	}
	errs = append(errs, c.checkListeners()...)
	if c.Hostname != "" && strings.ContainsFunc(c.Hostname, func(r rune) bool { return r <= ' ' || strings.ContainsRune("/@:()<>", r) }) {
		bad("hostname: %q is not the name of a machine", c.Hostname)
	}
	if at := strings.LastIndexByte(c.Postmaster, '@'); c.Postmaster != "" && (at <= 0 || at == len(c.Postmaster)-1) {
		bad("postmaster: %q is not an address such as admin@example.org", c.Postmaster)
	}
	errs = append(errs, c.Outbound.check()...)
	errs = append(errs, c.Listeners.check()...)
	if p := c.Pipeline; p.Visits < 1 || p.Parallel < 1 || p.CallTime < time.Second || p.CallTime > 10*time.Minute {
		bad("pipeline: visits and parallel are at least 1, and call_time 1s to 10m")
	}
	errs = append(errs, c.SMTP.Verify.check()...)
	errs = append(errs, c.SMTP.Lists.check()...)
	errs = append(errs, c.SMTP.Greylist.check()...)
	errs = append(errs, checkMilters(c.SMTP.Milters)...)
	if c.Rates.Remembered < 1_000 {
		bad("rates.remembered is at least 1,000")
	}
	errs = append(errs, c.Streams.check()...)
	errs = append(errs, c.Cluster.check(&c.Streams)...)
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		bad("tls.certificate and tls.key go together")
	}
	if url := c.Views.URL.Reveal(); url != "" && !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		bad("views.url is not a URL such as postgres://streampost@db.example.org/mail")
	}
	if c.Views.Connections < 16 { // seven projections of a stream commit together, and one comparison holds as many snapshots and a shadow
		bad("views.connections: the views need at least 16")
	}
	errs = append(errs, c.Blobs.check()...)
	if (c.Blobs.Kind == "directory" || c.Blobs.Kind == "auto" && c.Streams.URL != "") && !c.Blobs.DirectoryIsShared && !c.Blobs.OneNode && c.Streams.Replicas > 1 {
		errs = append(errs, ErrLocalBlobs)
	}
	if c.Snapshots.Every < 1 || c.Snapshots.CPU < 1 || c.Snapshots.CPU > 100 {
		bad("snapshots.every is at least 1, and snapshots.cpu 1 to 100")
	}
	if c.Archive.Every < 100*time.Millisecond || c.Archive.Keep < 0 {
		bad("archive.every is at least 100ms, and archive.keep not negative")
	}
	if c.Archive.Kind == "s3" && (c.Blobs.S3.URL == "" || c.Blobs.S3.Bucket == "") {
		bad("archive.kind is s3: say where with blobs.s3.url and blobs.s3.bucket")
	}
	if c.Archive.Directory != "" && c.Archive.Kind != "directory" && c.Archive.Kind != "auto" {
		bad("archive.directory is for archive.kind directory, which has to be set too")
	}
	if m := c.IMAP; m.MessageLimit > 0 && m.MessageLimit < 1000 || m.SaveLimit > 0 && m.SaveLimit < 1000 {
		bad("imap.message_limit and imap.save_limit are 0 or at least 1,000 (RFC 9738)")
	} else if m.MessageLimit > 0 && m.SaveLimit > 0 {
		bad("imap.message_limit covers what imap.save_limit does: set one of them")
	} else if m.EnforcedLimit > 0 && m.EnforcedLimit < max(m.MessageLimit, m.SaveLimit, 1000) {
		bad("imap.enforced_limit cannot be less than what clients are offered, nor than 1,000")
	}
	for _, rule := range c.IMAP.Clients {
		if _, err := ParseClientRule(rule); err != nil {
			bad("imap.clients: %w", err)
		}
	}
	if l := c.IMAP.Limits; l.MetadataValue < 1<<10 || l.MetadataEntries < 10 || l.MetadataOctets < l.MetadataValue {
		bad("imap.limits.metadata_value is at least 1KiB, metadata_entries at least 10, and metadata_octets not less than metadata_value (RFC 5464)")
	}
	for _, prefix := range []string{c.IMAP.Namespaces.Others, c.IMAP.Namespaces.Shared} {
		if len(prefix) < 2 || !strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") || strings.ContainsAny(prefix, "*%\r\n\x00") ||
			strings.EqualFold(strings.SplitN(prefix, "/", 2)[0], "INBOX") {
			bad("imap.namespaces has the prefix %q: it is a name such as \"Other Users/\", which ends in / and is not below INBOX", prefix)
		}
	}
	if n := c.IMAP.Namespaces; strings.HasPrefix(n.Others, n.Shared) || strings.HasPrefix(n.Shared, n.Others) {
		bad("imap.namespaces has a prefix that begins with the other one")
	}
	if c.Quota.Messages < 0 || c.Quota.Mailboxes < 0 {
		bad("quota.messages and quota.mailboxes cannot be negative")
	}
	if _, err := c.Quota.Percentages(); err != nil {
		errs = append(errs, err)
	}
	if c.Trace.Keep < 0 || c.Trace.Keep > 0 && c.Trace.Size < 1<<20 {
		bad("trace.keep cannot be negative, and trace.size is at least 1MiB")
	}
	if c.Quota.WarnGrace < 0 {
		bad("quota.warn_grace cannot be negative")
	}
	tokens := []string{c.Admin.Token.Reveal(), c.Admin.ReadOnlyToken.Reveal(), c.Admin.NoDeleteToken.Reveal()}
	for i, token := range tokens {
		if token != "" && slices.Contains(tokens[i+1:], token) {
			bad("admin.token, read_only_token and no_delete_token have to differ")
		}
	}
	if keys := c.Keys.Master.Reveal(); keys != "" {
		for key := range strings.SplitSeq(keys, ",") {
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key)); err != nil || len(raw) != 32 {
				bad("keys.master is not base64 of 32 octets, or two such keys with a comma between them")
			}
		}
	}
	return errors.Join(errs...)
}

func (s *Streams) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Listen != "" {
		if err := checkAddress(s.Listen, 0); err != nil {
			bad("streams.listen: %w", err)
		}
	}
	if s.Shards > 1024 {
		bad("streams.shards cannot be more than 1024")
	}
	if !slices.Contains([]int{0, 1, 3, 5}, s.Replicas) {
		bad("streams.replicas is 1, 3 or 5, or 0 for what is usual")
	}
	for address := range strings.SplitSeq(s.URL, ",") {
		switch u, err := url.Parse(strings.TrimSpace(address)); {
		case s.URL == "":
		case err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Host == "":
			bad("streams.url: %q is not a URL such as nats://nats.example.org:4222", address)
		case u.User != nil:
			bad("streams.url: a user belongs in streams.user and streams.password, which are masked where the configuration is shown")
		}
	}
	for _, address := range s.Monitor {
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("streams.monitor has the member %q, which is no URL such as http://nats1.example.org:8222", address)
		}
	}
	if (s.Certificate == "") != (s.Key == "") {
		bad("streams.certificate and streams.key go together")
	}
	if s.URL == "" && (s.Credentials != "" || s.CA != "" || s.Certificate != "" || s.Token != "" || len(s.Monitor) > 0) {
		bad("streams.credentials, token, ca, certificate and monitor need streams.url")
	}
	if s.URL != "" && s.Listen != "" {
		bad("streams.listen is for the embedded server: it cannot be used with streams.url")
	}
	return errs
}

// ErrLocalBlobs says why a cluster does not keep blobs in a directory of one node.
var ErrLocalBlobs = errors.New("blobs.kind is directory, but the log is in a cluster: its other nodes could not read the messages that this one stores, and what this disk loses would be lost; " +
	"set blobs.kind to jetstream, which needs no other product, or to s3, and move what there is with `streampost blob copy`. If all nodes have the same directory, say so with " +
	"blobs.directory_is_shared; if there is one node only, with blobs.one_node")

func (b *Blobs) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if b.Grace < time.Hour {
		bad("blobs.grace cannot be less than an hour: a message is stored before the log names it")
	}
	if b.JetStream.Chunk < 1<<10 || b.JetStream.Chunk > 8<<20-1<<10 {
		bad("blobs.jetstream.chunk is at least 1KiB, and at most 8MiB less 1KiB")
	}
	if b.Kind != "auto" && b.Kind != "directory" && (b.DirectoryIsShared || b.OneNode || b.Directory != "") {
		bad("blobs.directory, directory_is_shared and one_node are for blobs.kind directory")
	}
	if b.DirectoryIsShared && b.OneNode {
		bad("blobs.directory_is_shared and blobs.one_node exclude each other")
	}
	s := &b.S3
	if s.Timeout < time.Second {
		bad("blobs.s3.timeout is at least 1s")
	}
	if b.Kind == "s3" && (s.URL == "" || s.Bucket == "") {
		bad("blobs.kind is s3: say where with blobs.s3.url and blobs.s3.bucket")
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
		bad("blobs.s3.url is %q, which is no URL such as https://s3.eu-central-1.amazonaws.com; the bucket is not part of it", s.URL)
	}
	if s.URL != "" && (s.AccessKey == "") != (s.SecretKey == "") {
		bad("blobs.s3.access_key and blobs.s3.secret_key go together")
	}
	if s.AccessKey != "" && s.Credentials != "" {
		bad("blobs.s3.access_key and blobs.s3.credentials exclude each other")
	}
	return errs
}

// checkListeners finds addresses that are given twice.
func (c *Config) checkListeners() (errs []error) {
	seen := map[string]string{}
	for _, f := range Fields(c) {
		list, _ := f.value.Interface().([]string)
		if list == nil || !strings.Contains(f.Key, "listen") {
			continue
		}
		for _, address := range list {
			if strings.HasSuffix(address, ":0") {
				continue // a free port, another one each time
			}
			if other, twice := seen[address]; twice {
				errs = append(errs, fmt.Errorf("%s: %q is taken by %s", f.Key, address, other))
			}
			seen[address] = f.Key
		}
	}
	return errs
}

func checkAddress(address string, offset int) error {
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		if path == "" || len(path) > 100 { // sun_path has 104 to 108 octets
			return fmt.Errorf("%q is not a socket path of at most 100 octets", address)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:1143, [::1]:1143 or unix:/path", address)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || n != 0 && (n+offset < 1 || n+offset > 65535) {
		return fmt.Errorf("%q: the port plus port_offset must lie between 1 and 65535", address)
	}
	return nil
}

// Shift gives the address with the offset added to its port. Port 0 and socket paths stay as they are.
func Shift(address string, offset int) string {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.Atoi(port)
	if strings.HasPrefix(address, "unix:") || err != nil || bad != nil || n == 0 {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(n+offset))
}

// Percentages reads warn_at.
func (q *Quota) Percentages() (all []int, err error) {
	for _, text := range q.WarnAt {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return nil, fmt.Errorf("quota.warn_at has %q: it is a percentage from 1 to 100, without a sign", text)
		}
		all = append(all, n)
	}
	return all, nil
}
