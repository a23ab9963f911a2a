package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
			if strings.Contains(f.Key, "listen") {
				for _, address := range v {
					if err := checkAddress(address, c.PortOffset); err != nil {
						bad("%s: %w", f.Key, err)
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
		if strings.Contains(f.Key, ".limits.") && f.value.CanInt() && f.value.Int() == 0 {
			bad("%s cannot be 0: every limit needs a value", f.Key)
		}
	}
	if c.Streams.Listen != "" {
		if err := checkAddress(c.Streams.Listen, 0); err != nil {
			bad("streams.listen: %w", err)
		}
	}
	if c.Data == "" {
		bad("data cannot be empty")
	}
	if c.Streams.Shards > 1024 {
		bad("streams.shards cannot be more than 1024")
	}
	errs = append(errs, c.checkListeners()...)
	if c.Hostname != "" && strings.ContainsFunc(c.Hostname, func(r rune) bool { return r <= ' ' || strings.ContainsRune("/@:()<>", r) }) {
		bad("hostname: %q is not the name of a machine", c.Hostname)
	}
	if at := strings.LastIndexByte(c.Postmaster, '@'); c.Postmaster != "" && (at <= 0 || at == len(c.Postmaster)-1) {
		bad("postmaster: %q is not an address such as admin@example.org", c.Postmaster)
	}
	for address := range strings.SplitSeq(c.Streams.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(address)); c.Streams.URL != "" && (err != nil || u.Scheme == "" || u.Host == "") {
			bad("streams.url: %q is not a URL such as nats://nats.example.org:4222", address)
		}
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		bad("tls.certificate and tls.key go together")
	}
	if !slices.Contains([]int{1, 3, 5}, c.Streams.Replicas) {
		bad("streams.replicas is 1, 3 or 5")
	}
	if c.Streams.URL == "" && (c.Streams.Credentials != "" || c.Streams.CA != "" || c.Streams.Token != "" || c.Streams.Replicas > 1 || len(c.Streams.Monitor) > 0) {
		bad("streams.credentials, token, ca, monitor and replicas need streams.url")
	}
	if c.Streams.URL != "" && c.Streams.Listen != "" {
		bad("streams.listen is for the embedded server: it cannot be used with streams.url")
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
