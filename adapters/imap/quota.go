package imap

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// QUOTA (RFC 9208). An account has one quota root, called "" by its owner. Limits are enforced where a change is decided, so commands that come at
// the same time cannot pass one together. An administrator of the configuration calls the roots of others by their addresses.
//
// How much of other people's space is used is confidential (RFC 9208 section 8): whoever reads a mailbox of theirs is told of no quota root. An account
// that belongs to a group has no such secret, so those who read one of its mailboxes are told what is left of it.

func init() {
	register(spec{name: "GETQUOTA", states: loggedIn, run: runGetQuota, capabilities: []string{"QUOTA"}})
	register(spec{name: "GETQUOTAROOT", states: loggedIn, run: runGetQuotaRoot, capabilities: []string{"QUOTA"}})
	register(spec{name: "SETQUOTA", states: loggedIn, run: runSetQuota, capabilities: []string{"QUOTASET"}})
	for _, r := range quotaResources {
		advertise("QUOTA=RES-"+r.name, whenAuthenticated)
	}
	// RFC 9208 section 4.1.4. The octets are those of RFC822.SIZE, which expunging frees.
	statusItems["DELETED-STORAGE"] = statusItem{capability: "QUOTA=RES-STORAGE", number: func(_ *conn, _ owner, m *account.Mailbox) (octets uint64) {
		if m.Counts.Deleted == 0 {
			return 0
		}
		for i, f := range m.Flags {
			if f&event.Deleted != 0 {
				octets += uint64(m.Size[i])
			}
		}
		return octets
	}}
}

// quotaResource is a resource that can be limited (RFC 9208 section 5).
type quotaResource struct {
	name  string
	unit  int64 // how many of ours one of the protocol's is
	used  func(s *account.State) int64
	limit func(l *account.Limits) *int64
}

var quotaResources = []quotaResource{
	{"STORAGE", 1024, func(s *account.State) int64 { return s.Usage.Bytes }, func(l *account.Limits) *int64 { return &l.Bytes }}, // section 5.1: units of 1024 octets.
	{"MESSAGE", 1, func(s *account.State) int64 { return s.Usage.Messages }, func(l *account.Limits) *int64 { return &l.Messages }},
	{"MAILBOX", 1, func(s *account.State) int64 { return int64(len(s.Mailboxes)) }, func(l *account.Limits) *int64 { return &l.Mailboxes }},
}

// isAdmin says whether the session's user may see and set the quota of everybody.
func (c *conn) isAdmin() bool {
	return slices.ContainsFunc(c.server.cfg.Admins, func(name string) bool { return strings.EqualFold(name, c.login) })
}

// quotaRoot finds the account of a quota root. To others than administrators no roots but their own exist.
func (c *conn) quotaRoot(ctx context.Context, root string) (domain.AccountID, error) {
	if root == "" {
		return c.id, nil
	}
	if c.isAdmin() {
		found, err := c.directory.Lookup(ctx, root)
		if err == nil || !domain.Is(err, domain.NotFound) {
			return found.ID, err
		}
	}
	return "", domain.Errorf(domain.NotFound, "there is no such quota root")
}

// runGetQuota is GETQUOTA (RFC 9208 section 4.1.1).
func runGetQuota(ctx context.Context, c *conn, cmd *command) error {
	var root string
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectAString(&root) || !d.ExpectCRLF() {
		return d.Err()
	}
	id, err := c.quotaRoot(ctx, root)
	if err != nil {
		return err
	}
	return c.sendQuota(ctx, root, id)
}

// runGetQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.1.2). The mailbox need not exist.
func runGetQuotaRoot(ctx context.Context, c *conn, cmd *command) error {
	var mailbox string
	if !mailboxName(cmd.dec, &mailbox) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, err := c.whose(ctx, mailbox)
	if err != nil {
		return err
	}
	root := ""
	if c.foreign(at.owner) { // RFC 9208 section 4.1.2 with RFC 4314: "r". Its root is its owner's.
		if err := c.viewOf(ctx, at.owner, func(s *account.State) error {
			_, err := c.reach(s, at, account.MayRead)
			return err
		}); err != nil {
			return err
		}
		if !strings.HasPrefix(at.prefix, c.server.namespaces.Shared) && !c.isAdmin() {
			c.enc.Raw("* QUOTAROOT ").Mailbox(mailbox).CRLF() // RFC 9208 section 4.2.2: there may be no root.
			return nil
		}
		root = strings.TrimSuffix(at.prefix, "/")
	}
	c.enc.Raw("* QUOTAROOT ").Mailbox(mailbox).SP().AString(root).CRLF()
	return c.sendQuota(ctx, root, at.id)
}

// sendQuota writes a QUOTA response (RFC 9208 section 4.2.1), which names what is limited.
func (c *conn) sendQuota(ctx context.Context, root string, id domain.AccountID) error {
	var list []byte
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	err := c.accounts.View(ctx, id, func(s *account.State) error {
		list = appendQuota(nil, s)
		return nil
	})
	if err == nil {
		c.enc.Raw("* QUOTA ").AString(root).Raw(" (").Bytes(list).Raw(")\r\n")
	}
	return err
}

func appendQuota(b []byte, s *account.State) []byte {
	limits := s.Limits
	for _, r := range quotaResources {
		limit := *r.limit(&limits)
		if limit == 0 {
			continue
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, r.name...), ' ')
		b = appendUnits(b, r.used(s), r.unit)
		b = appendUnits(append(b, ' '), limit, r.unit)
	}
	return b
}

// appendUnits writes a number in units, a unit that has begun counting as one.
func appendUnits(b []byte, n, unit int64) []byte {
	units := n / unit
	if n%unit > 0 {
		units++
	}
	return strconv.AppendInt(b, units, 10)
}

// runSetQuota is SETQUOTA (RFC 9208 section 4.1.3): what it does not name is no longer limited.
func runSetQuota(ctx context.Context, c *conn, cmd *command) error {
	var root string
	var limits account.Limits
	var refused error
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectAString(&root) || !d.ExpectSP() || !d.ExpectList(func() bool {
		var name string
		var units int64
		if !d.ExpectName(&name) || !d.ExpectSP() || !d.ExpectNumber64(&units) {
			return false
		}
		at := slices.IndexFunc(quotaResources, func(r quotaResource) bool { return r.name == name })
		switch {
		case at < 0:
			refused = domain.Errorf(domain.Invalid, "there is no resource %s", name)
		case units == 0: // section 3.1.2: no use at all, which no account here can be told.
			refused = domain.Errorf(domain.Invalid, "a limit of 0 cannot be set")
		case units > math.MaxInt64/quotaResources[at].unit:
			refused = domain.Errorf(domain.TooLarge, "the limit is too large")
		default:
			*quotaResources[at].limit(&limits) = units * quotaResources[at].unit
		}
		return true
	}) || !d.ExpectCRLF() {
		return d.Err()
	}
	if !c.isAdmin() {
		return domain.Errorf(domain.Denied, "only an administrator sets limits")
	}
	id, err := c.quotaRoot(ctx, root)
	if err == nil {
		err = refused
	}
	if err == nil {
		within, cancel := context.WithTimeout(ctx, c.server.limits.Work)
		_, err = c.accounts.Do(within, id, "imap:"+c.login, account.SetLimits{Limits: limits})
		cancel()
	}
	if err != nil {
		return err
	}
	return c.sendQuota(ctx, root, id)
}
