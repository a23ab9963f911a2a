package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections"
)

// doctorPatience is how long doctor waits for what does not answer.
const doctorPatience = 5 * time.Second

// doctor looks at everything that an operator can get wrong and the server cannot put right.
func (c *core) doctor(ctx context.Context) []webadmin.Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	looks := []func(context.Context) []webadmin.Finding{c.doctorLog, c.doctorViews, c.doctorBlobs, c.doctorArchive, c.doctorFiles, c.doctorDisk, c.doctorTLS, c.doctorClock, c.doctorMappings, c.doctorLists}
	found := make([][]webadmin.Finding, len(looks))
	var wg sync.WaitGroup
	for i, look := range looks {
		wg.Go(func() { found[i] = look(ctx) })
	}
	wg.Wait()
	return slices.Concat(found...)
}

func ok(check, format string, args ...any) webadmin.Finding {
	return webadmin.Finding{Check: check, Status: "ok", Found: fmt.Sprintf(format, args...)}
}

func warning(check, hint, format string, args ...any) webadmin.Finding {
	return webadmin.Finding{Check: check, Status: "warning", Found: fmt.Sprintf(format, args...), Hint: hint}
}

func problem(check, hint, format string, args ...any) webadmin.Finding {
	return webadmin.Finding{Check: check, Status: "problem", Found: fmt.Sprintf(format, args...), Hint: hint}
}

func (c *core) doctorLog(ctx context.Context) (found []webadmin.Finding) {
	if c.nats != nil {
		synced := "the embedded log is synced to disk before every answer"
		if copies := c.streams.Topology().Replicas; c.nodes != nil {
			synced += fmt.Sprintf(", by %d of %d nodes", copies/2+1, copies)
		}
		found = append(found, ok("durability", "%s", synced))
		if address := c.nats.Address(); address != "" {
			found = append(found, warning("log", "remove streams.listen when you no longer look at it", "the embedded NATS server listens on %s", address))
		}
	} else if d := c.external.Durability(ctx); d.Safe {
		found = append(found, ok("durability", "%s", d.String()))
	} else {
		found = append(found, problem("durability", "set sync_interval: always in the jetstream section of every server and list their monitoring addresses in streams.monitor", "%s", d.String()))
	}
	for _, stream := range c.streams.Streams() {
		if _, err := c.streams.Head(ctx, stream); err != nil {
			found = append(found, problem("log", "see the server's log", "stream %s cannot be read: %v", stream, err))
		}
	}
	if c.audit != nil {
		if status, cause := c.audit.look(ctx); status != health.Healthy {
			found = append(found, problem("log", "run streampost log verify, look at the disk, and restore the backup", "%s", cause))
		}
	}
	if keys := c.streams.MasterKey(); len(keys) > 1 {
		hint := "run streampost keys rotate again to finish"
		if c.cfg.Keys.Master != "" {
			hint = "run streampost keys rotate, then leave only the new key in STREAMPOST_KEYS_MASTER"
		}
		found = append(found, warning("keys", hint, "a rotation of the master key is not finished: keys %s are in use", strings.Join(keys, ", ")))
	}
	return found
}

func (c *core) doctorViews(ctx context.Context) (found []webadmin.Finding) {
	behind := 0
	for _, p := range c.runner.Status(ctx) {
		switch {
		case !p.Serves():
		case p.State == projections.Damaged:
			found = append(found, warning("views", "wait until it is made anew; look at the disk of the views", "projection %s of %s is damaged: %s", p.Name, p.Stream, p.Error))
		case p.State == projections.Stopped:
			hint := p.Hint
			if hint == "" {
				hint = "run streampost log verify"
			}
			found = append(found, problem("views", hint, "projection %s of %s has stopped: %s", p.Name, p.Stream, p.Error))
		case p.LagEntries > maxLag:
			behind++
		}
	}
	if s := c.runner.Stats(); s.Miscounts > 0 {
		found = append(found, problem("views", "run streampost projection count --repair, and look at the disk of the views", "%d digests do not agree with the rows; the last was %s", s.Miscounts, s.Miscount))
	}
	if behind > 0 {
		return append(found, warning("views", "wait, or look for a busy disk", "%d projections are more than %d entries behind", behind, maxLag))
	}
	if found == nil {
		found = append(found, ok("views", "all projections follow the log"))
	}
	return found
}

// doctorFiles looks for files that others can read. Names are those of dataDir.
func (c *core) doctorFiles(context.Context) (found []webadmin.Finding) {
	for _, name := range []string{"", "keys", "tls", "log", "blobs", "archive", "views", adminFile, demoFile} {
		info, err := os.Stat(c.data.join(name))
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			found = append(found, problem("permissions", "chmod go= "+c.data.join(name), "others can use %s (mode %o)", c.data.join(name), info.Mode().Perm()))
		}
	}
	err := filepath.WalkDir(c.data.join("keys"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			found = append(found, problem("permissions", "chmod go= "+path+" and run streampost keys rotate", "others can read the key %s", path))
		}
		return nil
	})
	if err != nil && c.cfg.Keys.Master == "" {
		found = append(found, problem("permissions", "", "the keys cannot be looked at: %v", err))
	}
	if found == nil {
		found = append(found, ok("permissions", "only this user can read the data directory and its keys"))
	}
	return found
}

func (c *core) doctorDisk(context.Context) []webadmin.Finding {
	space, err := health.FreeSpace(c.data.path)
	switch hint := "free space or move the data directory to a larger disk"; {
	case err != nil:
		return []webadmin.Finding{problem("disk", "", "%v", err)}
	case space.Free < uint64(c.cfg.Reserve):
		return []webadmin.Finding{problem("disk", hint, "new mail is refused: only %s are free", octets(int64(space.Free)))}
	case space.Free < space.Total/10:
		return []webadmin.Finding{warning("disk", hint, "%s of %s are free", octets(int64(space.Free)), octets(int64(space.Total)))}
	case space.AllInodes > 0 && space.FreeInodes < space.AllInodes/20:
		return []webadmin.Finding{warning("disk", hint, "%d of %d inodes are free; every message needs one", space.FreeInodes, space.AllInodes)}
	}
	return []webadmin.Finding{ok("disk", "%s of %s are free", octets(int64(space.Free)), octets(int64(space.Total)))}
}

func (c *core) doctorTLS(context.Context) []webadmin.Finding {
	file := c.cfg.TLS.Certificate
	if file == "" {
		return []webadmin.Finding{warning("certificate", "set tls.certificate and tls.key", "the certificate is self-signed: clients will ask or refuse")}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return []webadmin.Finding{problem("certificate", "", "%v", err)}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return []webadmin.Finding{problem("certificate", "", "%s is not a PEM file", file)}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return []webadmin.Finding{problem("certificate", "", "%s: %v", file, err)}
	}
	hint := "renew it, then send the server SIGHUP"
	switch left := time.Until(cert.NotAfter); {
	case left < 0:
		return []webadmin.Finding{problem("certificate", hint, "it expired on %s", cert.NotAfter.Format(time.DateOnly))}
	case left < 14*24*time.Hour:
		return []webadmin.Finding{warning("certificate", hint, "it expires on %s", cert.NotAfter.Format(time.DateOnly))}
	case cert.VerifyHostname(c.hostname()) != nil:
		return []webadmin.Finding{warning("certificate", "set hostname to a name in the certificate, or get one for it", "it is not for %s", c.hostname())}
	}
	return []webadmin.Finding{ok("certificate", "it is for %s and good until %s", c.hostname(), cert.NotAfter.Format(time.DateOnly))}
}

// doctorClock compares the clock with the log's newest entry: a clock that stands before it was set back, or is another's.
func (c *core) doctorClock(ctx context.Context) []webadmin.Finding {
	written, err := c.streams.Written(ctx)
	return []webadmin.Finding{clock(time.Now(), written, err)}
}

func clock(now, written time.Time, err error) webadmin.Finding {
	const hint = "set the clock and let it be synchronised"
	switch {
	case err != nil:
		return problem("clock", "", "the log cannot be asked for the time of its newest entry: %v", err)
	case now.Year() < 2025:
		return problem("clock", hint, "it is %s", now.Format(time.RFC3339))
	case written.After(now.Add(time.Minute)):
		return problem("clock", hint, "the newest entry of the log is from %s, which is %s in the future", written.UTC().Format(time.RFC3339), written.Sub(now).Round(time.Second))
	case written.IsZero():
		return ok("clock", "it is %s", now.UTC().Format(time.RFC3339))
	}
	return ok("clock", "it is past the newest entry of the log, from %s", written.UTC().Format(time.RFC3339))
}
