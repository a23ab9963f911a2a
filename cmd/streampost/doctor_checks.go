package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections"
)

// doctor looks at everything that an operator can get wrong and the server cannot put right.
func (c *core) doctor(ctx context.Context) []webadmin.Finding {
	var all []webadmin.Finding
	for _, look := range []func(context.Context) []webadmin.Finding{c.doctorLog, c.doctorViews, c.doctorBlobs, c.doctorFiles, c.doctorDisk, c.doctorTLS, c.doctorClock} {
		all = append(all, look(ctx)...)
	}
	return all
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
		found = append(found, ok("durability", "the embedded log is synced to disk before every answer"))
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
		case p.State == projections.Stopped:
			found = append(found, problem("views", "run streampost log verify", "projection %s of %s has stopped: %s", p.Name, p.Stream, p.Error))
		case p.LagEntries > maxLag:
			behind++
		}
	}
	if behind > 0 {
		return append(found, warning("views", "wait, or look for a busy disk", "%d projections are more than %d entries behind", behind, maxLag))
	}
	if found == nil {
		found = append(found, ok("views", "all projections follow the log"))
	}
	return found
}

// doctorBlobs finds out whether a message could be stored.
func (c *core) doctorBlobs(ctx context.Context) []webadmin.Finding {
	upload, err := c.blobs.Create(ctx)
	if err != nil {
		return []webadmin.Finding{problem("blobs", "make "+c.data.join("blobs")+" writable for the server's user", "no message can be stored: %v", err)}
	}
	upload.Abort()
	return []webadmin.Finding{ok("blobs", "messages can be stored")}
}

// doctorFiles looks for files that others can read. Names are those of dataDir.
func (c *core) doctorFiles(context.Context) (found []webadmin.Finding) {
	for _, name := range []string{"", "keys", "tls", "log", "blobs", "views", adminFile, demoFile} {
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

// doctorClock compares the clock with the newest file that the server wrote: a clock that stands before it was set back.
func (c *core) doctorClock(context.Context) []webadmin.Finding {
	info, err := os.Stat(c.data.join("lock"))
	switch now := time.Now(); {
	case err != nil:
		return []webadmin.Finding{problem("clock", "", "%v", err)}
	case now.Year() < 2025:
		return []webadmin.Finding{problem("clock", "set the clock and let it be synchronised", "it is %s", now.Format(time.RFC3339))}
	case info.ModTime().After(now.Add(time.Minute)):
		return []webadmin.Finding{problem("clock", "let the clock be synchronised", "it was set back by %s since the server started", info.ModTime().Sub(now).Round(time.Second))}
	}
	return []webadmin.Finding{ok("clock", "it has not gone back since the server started")}
}
