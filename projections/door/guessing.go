package door

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
)

// Gossip carries words to the other nodes of the installation. None of them is promised to arrive: who misses one knows less, and nothing breaks.
type Gossip interface {
	// Tell says something to all other nodes, without waiting for anybody.
	Tell(words []byte) error
	// Hear has heard called with what others say, one after the other.
	Hear(heard func(words []byte)) error
}

// word is what nodes tell each other about logins.
type word struct {
	Kind   string `json:"k"` // failed, known or clear
	Source string `json:"s,omitempty"`
	Login  string `json:"l,omitempty"` // with clear: the name
}

// rumours counts words.
type rumours struct {
	gossip            Gossip // nil: there are no other nodes
	sent, heard, lost atomic.Uint64
}

// longestWord is what is told of a name, in octets. Longer names are no addresses, and each node counts them alone.
const longestWord = 1024

func (d *Directory) tell(w word) {
	r := &d.rumours
	if r.gossip == nil || len(w.Login)+len(w.Source) > longestWord {
		return
	}
	words, err := json.Marshal(w)
	if err == nil {
		err = r.gossip.Tell(words)
	}
	if err != nil {
		r.lost.Add(1)
		return
	}
	r.sent.Add(1)
}

func (d *Directory) hear(words []byte) {
	var w word
	if err := json.Unmarshal(words, &w); err != nil || len(w.Login)+len(w.Source) > longestWord {
		d.rumours.lost.Add(1)
		return
	}
	d.rumours.heard.Add(1)
	switch w.Kind {
	case "failed":
		d.guesses.fail(d.setup.clock(), w.Source, w.Login)
	case "known":
		d.guesses.succeed(w.Source, w.Login)
	case "clear":
		d.guesses.clear(w.Login)
	}
}

// Login checks a password for a protocol (of directory.Protocols) in its turn: Admit, Authenticate and Tried in one. App passwords come in without
// waiting for what others guess, because nobody guesses them. Errors: those of Admit and Authenticate.
func (d *Directory) Login(ctx context.Context, protocol, source, login, password string) (Identity, error) {
	if who, err := d.app(ctx, protocol, login, password); err != nil || who.Account != "" {
		return who, err
	}
	if err := d.Admit(ctx, source, login); err != nil {
		return Identity{}, err
	}
	var c comparison
	who, wrong := d.authenticate(ctx, login, password, &c)
	err := d.again(ctx, wrong, func() (err error) { // the password may have been changed, or the app password made, on another node a moment ago
		if who, err = d.authenticate(ctx, login, password, &c); !domain.Is(err, domain.Denied) {
			return err
		}
		if who, err = d.app(ctx, protocol, login, password); err == nil && who.Account == "" {
			err = errWrong
		}
		return err
	})
	if err != nil && domain.Is(wrong, domain.Denied) { // A guess is one also while other nodes cannot be asked.
		d.Tried(source, login, wrong)
	} else {
		d.Tried(source, login, err)
	}
	return who, err
}

// Admit lets an attempt to log in wait as long as earlier failures ask. source names where it comes from, such as an IP address; empty means
// a place where nobody guesses. An empty login means that the attempt is not at a secret of one account. It comes before Authenticate and Scram, and
// Tried after them.
// Errors: domain.TooLarge when so many attempts wait already that this one may not; domain.Unavailable when ctx ends.
func (d *Directory) Admit(ctx context.Context, source, login string) error {
	wait, refused := d.guesses.admit(d.setup.clock(), source, login)
	if refused {
		return domain.Errorf(domain.TooLarge, "too many failed logins: try again later")
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "wait for a login")
	}
}

// Tried books how an attempt to log in ended: nil is a success and domain.Denied a failure; other errors say nothing about the client.
func (d *Directory) Tried(source, login string, err error) {
	switch {
	case err == nil:
		if d.guesses.succeed(source, login) && source != "" {
			d.tell(word{"known", source, login})
		}
	case domain.Is(err, domain.Denied):
		d.guesses.fail(d.setup.clock(), source, login)
		d.tell(word{"failed", source, login})
	}
}

// Blocks lists the accounts and sources whose next attempts to log in have to wait, as this node knows it, the worst first.
func (d *Directory) Blocks() []Block { return d.guesses.blocks(d.setup.clock()) }

// Unblock forgets the failures of an account, by any spelling of the login that was tried, or of a source, on all nodes. Errors: domain.NotFound when
// this node knows of none.
func (d *Directory) Unblock(name string) error {
	d.tell(word{Kind: "clear", Login: name})
	if !d.guesses.clear(name) {
		return domain.Errorf(domain.NotFound, "no failed logins of %s are known", name)
	}
	return nil
}

// LoginStats counts what concerns logging in, for metrics.
type LoginStats struct {
	Waited, PutOff      uint64 // attempts
	Blocked, Remembered int    // accounts and sources
	Sent, Heard, Lost   uint64 // words between nodes
	Sessions            int
	Refused             uint64 // sessions that were one too many
}

// LoginStats reads the counts.
func (d *Directory) LoginStats() LoginStats {
	s := LoginStats{Sent: d.rumours.sent.Load(), Heard: d.rumours.heard.Load(), Lost: d.rumours.lost.Load()}
	now := d.setup.clock()
	d.guesses.mu.Lock()
	s.Waited, s.PutOff, s.Remembered = d.guesses.waited, d.guesses.putOff, len(d.guesses.failed.byKey)+len(d.guesses.known.byKey)
	for _, f := range d.guesses.failed.all {
		if d.guesses.delay(now, f) > 0 {
			s.Blocked++
		}
	}
	d.guesses.mu.Unlock()
	d.present.mu.Lock()
	defer d.present.mu.Unlock()
	s.Refused = d.present.refused
	for _, here := range d.present.here {
		s.Sessions += len(here)
	}
	return s
}
