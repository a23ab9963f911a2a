package filing

import (
	"context"
	"encoding/base64"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
)

// Vacation settings are answered by the same rules as the action vacation of a script (RFC 5230, RFC 3834): they are made into a script of their own, which runs after the active one. A message that the active one
// refuses, discards or answers itself is not answered again.

// vacate adds the answer of the account's setting to what its script came to.
func (f *Filer) vacate(ctx context.Context, id domain.AccountID, scripts account.Scripts, m Mail, out *sieve.Outcome) {
	if !scripts.Vacation.Holds(m.Add.Now) || len(out.Actions) == 0 {
		return
	}
	for _, a := range out.Actions {
		if a.Kind == sieve.Reject || a.Kind == sieve.Vacation {
			return
		}
	}
	if f.cfg.Queue == nil { // What the script does stands all the same.
		out.Notes = append(out.Notes, "vacation answers nobody: this server sends no mail")
		return
	}
	defer func() {
		if p := recover(); p != nil { // as in run
			f.cfg.Logger.Error("a vacation setting panics", "id", m.ID, "account", id, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	script, err := f.cache.compile(vacationScript(&scripts.Vacation))
	if err != nil {
		f.cfg.Logger.Error("a vacation setting does not become a script", "account", id, "error", err)
		return
	}
	answer := script.Run(f.context(ctx, id, scripts, m))
	if answer.Err != nil {
		f.cfg.Logger.Warn("a message is not answered", "id", m.ID, "account", id, "error", answer.Err)
		return
	}
	for _, a := range answer.Actions {
		if a.Kind == sieve.Vacation {
			out.Actions = append(out.Actions, a)
		}
	}
	out.Remember = append(out.Remember, answer.Remember...)
	out.Notes = append(out.Notes, answer.Notes...)
}

// vacationScript writes a setting as a script.
func vacationScript(v *account.Vacation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "require \"vacation\";\nvacation :days 365 :handle \"setting of %d\"", v.Set)
	if v.Subject != "" {
		b.WriteString(" :subject " + quote(v.Subject))
	}
	if v.HTML == "" {
		b.WriteString(" " + quote(v.Text) + ";\n")
		return b.String()
	}
	const boundary = "=_vacation"
	var entity strings.Builder
	entity.WriteString("Content-Type: multipart/alternative; boundary=\"" + boundary + "\"\n\n")
	for _, part := range [][2]string{{"plain", v.Text}, {"html", v.HTML}} {
		if part[1] != "" {
			encoding, text := encode(part[1])
			entity.WriteString("--" + boundary + "\nContent-Type: text/" + part[0] + "; charset=utf-8\nContent-Transfer-Encoding: " + encoding + "\n\n" + text + "\n")
		}
	}
	entity.WriteString("--" + boundary + "--\n")
	b.WriteString(" :mime " + quote(entity.String()) + ";\n")
	return b.String()
}

// encode writes a text as quoted-printable, or as base64 where that becomes long (RFC 2045 section 6), so that two of account.MaxVacationText always fit into a script.
func encode(text string) (encoding, encoded string) {
	encoded = sieve.QuotedPrintable(text)
	if len(quote(encoded)) <= account.MaxVacationText*3/2 {
		return "quoted-printable", encoded
	}
	const line = 57 // octets, which become 76
	var b strings.Builder
	for piece := range slices.Chunk([]byte(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")), line) {
		b.WriteString(base64.StdEncoding.EncodeToString(piece) + "\n")
	}
	return "base64", b.String()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
