package imap

import (
	"context"
	"log/slog"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
)

func init() {
	register(spec{name: "ID", states: anyState, run: runID})
	advertise("ID", always)
}

// Bounds of RFC 2971 section 3.3.
const (
	maxIDFields = 30
	maxIDField  = 30
	maxIDValue  = 1024
)

// runID is ID (RFC 2971). What the client says goes to the log, and decides by Config.Clients what it is offered from then on.
func runID(_ context.Context, c *conn, cmd *command) error {
	var fields []any
	said := map[string]string{}
	if !cmd.dec.ExpectSP() || !cmd.dec.NIL() && !cmd.dec.ExpectList(func() bool {
		var field, value string
		if !cmd.dec.ExpectString(&field) || !cmd.dec.ExpectSP() {
			return false
		}
		present, ok := cmd.dec.ExpectNString(&value)
		if len(field) > maxIDField || len(value) > maxIDValue || len(fields) >= maxIDFields {
			return cmd.dec.Fail(wire.Syntaxf("ID takes at most %d fields of %d and values of %d octets", maxIDFields, maxIDField, maxIDValue))
		}
		if present {
			field = strings.ToLower(printable(field))
			fields = append(fields, slog.String(field, value))
			said[field] = value
		}
		return ok && cmd.dec.Err() == nil
	}) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	if len(fields) > 0 {
		c.log.Info("client", slog.Group("client", fields...))
	}
	c.enc.Raw(`* ID ("name" `).String(c.server.cfg.Name)
	if c.server.cfg.Version != "" {
		c.enc.Raw(` "version" `).String(c.server.cfg.Version)
	}
	c.enc.Raw(")\r\n")
	if c.identified(said) {
		cmd.ok(c.capabilityCode(), "ID completed")
	}
	return nil
}
