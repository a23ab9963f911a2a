package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/streampost/streampost/ops/cluster"
)

var nodeForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)

func (n *Cluster) check(s *Streams) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nodeForm.MatchString(n.Node) {
		bad("cluster.node: %q may hold up to 63 letters, digits, \".\", \"-\" and \"_\" only", n.Node)
	}
	if !nodeForm.MatchString(n.Zone) {
		bad("cluster.zone: %q may hold up to 63 letters, digits, \".\", \"-\" and \"_\" only", n.Zone)
	}
	if secret := n.Secret.Reveal(); secret != "" {
		if _, err := cluster.Parse(secret); err != nil {
			bad("cluster.secret: %w", err)
		}
	}
	for _, address := range append([]string{n.Listen, n.Advertise}, n.Join...) {
		if err := checkAddress(WithPort(address, ClusterPort), 0); address != "" && err != nil {
			bad("cluster: %w", err)
		}
	}
	for _, address := range n.Notify.Mail {
		if _, err := mail.ParseAddress(address); err != nil || strings.ContainsAny(address, "<> ") {
			bad("cluster.notify.mail: %q is not an address", address)
		}
	}
	if hook := n.Notify.Webhook.Reveal(); hook != "" {
		if u, err := url.Parse(hook); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("cluster.notify.webhook: it is not a URL such as https://example.org/hook")
		}
	}
	if s.URL != "" && (len(n.Join) > 0 || n.Witness || n.Secret.Reveal() != "") {
		bad("cluster.join, secret and witness are for embedded NATS servers: they cannot be used with streams.url")
	}
	f := &n.Failover
	for _, least := range []struct {
		key       string
		is, least time.Duration
	}{
		{"beat", f.Beat, 100 * time.Millisecond}, {"pause", f.Pause, 0}, {"charge", f.Charge, 3 * f.Beat}, {"grace", f.Grace, f.Beat}, {"unfit", f.Unfit, 0},
		{"restart", f.Restart, 0}, {"steady", f.Steady, 0}, {"window", f.Window, time.Second},
	} {
		if least.is < least.least {
			bad("cluster.failover.%s is at least %v", least.key, least.least)
		}
	}
	if f.Threshold < 1 || f.Threshold > 50 {
		bad("cluster.failover.threshold lies between 1 and 50")
	}
	if f.Most < 1 || f.Rate < 1 || f.Rate > 1_000_000 {
		bad("cluster.failover.most and cluster.failover.rate are at least 1, and rate is at most 1000000")
	}
	return errs
}

// WithPort adds a port to an address that has none.
func WithPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}
