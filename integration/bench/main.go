// Command bench measures Streampost beside Dovecot, in one run on one machine, and prints medians and their ratio.
//
//	go run ./integration/bench                 every figure
//	go run ./integration/bench -only lmtp,store
//	go run ./integration/bench -rival ""       Streampost alone
//	go run ./integration/bench -only rebuild -rival dovecot,cyrus
//	go run ./integration/bench -nodes 3 -only lmtp-32 -rival dovecot-dsync,dovecot-dsync-waits
//	go run ./integration/bench -only search-rare -dir D -rounds 0 && go run ./integration/bench -only search-rare -dir D
//
// The last one fills mailboxes first and measures afterwards, when the machine may be quieter: what a directory holds is used again.
//
// Both servers run on loopback with data below one temporary directory, so both meet the same disk. Dovecot (the sdbox format) comes
// from the system's package; without it Streampost is measured alone and the output says so. Rounds alternate between the servers, so that
// a machine that slows down slows both. A figure of one machine means little; the ratio is the point.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// target is a running server.
type target struct {
	name string
	imap string // host:port
	lmtp string
	smtp string // Streampost's
	pid  int
	idle int // hundredths of a second of CPU in a second, below which it does nothing; 0: 5
	stop func()
	user func(i int) string
	pass string

	rebuild func(ctx context.Context, user string) error // what can be made anew of an account is

	binary, data string // Streampost's
}

// figure is one thing that is measured: it prepares a server once and is then run round after round. Run gives a value in unit.
type figure struct {
	name    string
	about   string
	unit    string
	more    bool // more is better
	ours    bool // only Streampost is measured
	goal    string
	prepare func(context.Context, *target) error
	run     func(context.Context, *target) (float64, error)
}

// options are what the command line says.
type options struct {
	only, rivals, dir, binary string
	rounds, messages, nodes   int
}

func main() {
	var opt options
	flag.StringVar(&opt.only, "only", "", "comma-separated names or prefixes of the figures to measure")
	flag.IntVar(&opt.rounds, "rounds", 5, "rounds of each figure; with 0 servers are prepared only")
	flag.StringVar(&opt.rivals, "rival", "dovecot,dovecot-fsync", "rivals: dovecot (its default fsync), dovecot-fsync (mail_fsync=always), dovecot-mdbox, dovecot-dsync (a pair that replicates), dovecot-dsync-waits (before it answers), cyrus (see integration/cyrus)")
	flag.StringVar(&opt.dir, "dir", "", "where data goes, and is used again by the next run (default: a temporary directory)")
	flag.StringVar(&opt.binary, "binary", "", "streampost binary (default: built from this module)")
	flag.IntVar(&opt.messages, "messages", 50_000, "messages in the large mailbox")
	flag.IntVar(&opt.nodes, "nodes", 1, "nodes of Streampost: 1, or 3 on this machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, opt); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opt options) error {
	dir := opt.dir
	if dir == "" {
		made, err := os.MkdirTemp("", "streampost-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	var targets []*target
	defer func() {
		for _, t := range targets {
			t.stop()
		}
	}()
	start := startStreampost
	if opt.nodes == 3 {
		start = startThree
	}
	ours, err := start(ctx, dir, opt.binary)
	if err != nil {
		return err
	}
	targets = append(targets, ours)
	for name := range strings.SplitSeq(opt.rivals, ",") {
		if name == "" {
			continue
		}
		var t *target
		switch {
		case name == "cyrus":
			t, err = startCyrus(ctx, dir)
		case strings.HasPrefix(name, "dovecot-dsync"):
			t, err = startDovecots(ctx, dir, name)
		default:
			t, err = startDovecot(ctx, dir, name, "")
		}
		if err != nil {
			fmt.Printf("%s is not measured: %v\n", name, err)
			continue
		}
		targets = append(targets, t)
	}
	for _, f := range figures(opt.messages) {
		if !wanted(opt.only, f.name) {
			continue
		}
		measured := targets
		if f.ours {
			measured = targets[:1]
		}
		if err := measure(ctx, f, measured, opt); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func wanted(only, name string) bool {
	if only == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(only, ","), func(p string) bool { return strings.HasPrefix(name, p) })
}

func measure(ctx context.Context, f figure, targets []*target, opt options) error {
	fmt.Printf("%s: %s\n", f.name, f.about)
	if f.prepare != nil {
		for _, t := range targets {
			if err := f.prepare(ctx, t); err != nil {
				return fmt.Errorf("prepare %s: %w", t.name, err)
			}
		}
	}
	if opt.rounds == 0 {
		return nil
	}
	values := make([][]float64, len(targets))
	for range opt.rounds {
		for i, t := range targets {
			v, err := f.run(ctx, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			values[i] = append(values[i], v)
			calm(ctx, t) // what a server puts off must not slow down the next one
		}
	}
	ours := median(values[0])
	for i, t := range targets {
		m := median(values[i])
		line := fmt.Sprintf("  %-16s %12.4g %s  (%.4g to %.4g)", t.name, m, f.unit, slices.Min(values[i]), slices.Max(values[i]))
		if i > 0 {
			ratio := ours / m
			if !f.more {
				ratio = m / ours
			}
			line += fmt.Sprintf("  Streampost is %.2fx", ratio)
		}
		fmt.Println(line)
	}
	if f.goal != "" {
		fmt.Println("  goal:", f.goal)
	}
	return nil
}

func median[T cmp.Ordered](v []T) T {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}
