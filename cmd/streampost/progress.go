package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/streampost/streampost/adapters/webadmin"
)

// bar shows progress on a terminal once something has taken longer than barAfter. Elsewhere it shows nothing.
type bar struct {
	env   *Env
	on    bool
	began time.Time
	bar   *progressbar.ProgressBar
}

const barAfter = 2 * time.Second

func newBar(env *Env) *bar {
	file, ok := env.Stderr.(*os.File)
	return &bar{env: env, on: ok && term.IsTerminal(int(file.Fd())), began: time.Now()}
}

func (b *bar) show(p webadmin.Progress) {
	if !b.on || time.Since(b.began) < barAfter {
		return
	}
	total := int64(p.Total)
	if total == 0 {
		total = -1
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.env.Stderr), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(p.Unit), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	b.bar.Describe(p.At)
	b.bar.ChangeMax64(total)
	_ = b.bar.Set64(int64(p.Done)) // a terminal that cannot show it misses nothing
}

// pause makes room for a line of output.
func (b *bar) pause() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

func (b *bar) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
		b.bar = nil
	}
}
