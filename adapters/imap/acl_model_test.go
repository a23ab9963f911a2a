package imap

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"pgregory.net/rapid"
)

// openAs selects alice's INBOX as somebody else, who may be refused things from then on.
func openAs(s *shared, who string, as kind) *model {
	m := &model{client: s.as(who), kind: as, mailbox: alicesInbox, refused: true}
	m.enable()
	m.reselect()
	return m
}

// reselect begins anew. Where the mailbox may not be read, the session has none.
func (m *model) reselect() {
	m.t.Helper()
	m.messages, m.told, m.highest = nil, 0, ""
	if a := m.cmd("SELECT %s", m.mailbox); strings.HasPrefix(a.tagged, "OK ") {
		m.learn(a)
		m.catchUp()
		return
	} else {
		m.done(a)
	}
	m.cmd("SELECT Trash").ok() // so that commands on messages have something to be about, which is nothing
}

// agrees is check for somebody whose rights have changed meanwhile: a mailbox that he could not read for a while is empty to him, until he selects it again.
func (m *model) agrees(s *shared) error {
	m.t.Helper()
	m.learn(m.cmd("NOOP")).ok()
	m.catchUp()
	if len(m.messages) == 0 {
		m.reselect()
	}
	if m.mayRead(s) {
		return m.check(s.testServer)
	}
	if len(m.messages) > 0 {
		return fmt.Errorf("the client still knows %v, and may not read it", m.messages)
	}
	return nil
}

func (m *model) mayRead(s *shared) (may bool) {
	_ = s.Accounts.View(m.t.Context(), s.account, func(state *account.State) error {
		inbox, _ := state.Mailbox("INBOX")
		may = inbox.Rights(s.ids[bob])&account.MayRead != 0
		return nil
	})
	return may
}

// someRights mostly leave something to do.
var someRights = []string{"lrswipkxtea", "lrswipkxtea", "lrswite", "lrsite", "lriwt", "lr", "lrs", "lrit", "li", "", "rwte"}

// TestModelsWhoseRightsChange lets the owner and others, whose rights come and go, do random commands in one mailbox. Each knows what is in it from what it is
// told, STOREs that do a part of what they say included.
func TestModelsWhoseRightsChange(t *testing.T) {
	s := share(t)
	rapid.Check(t, func(r *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "n") }
		s.grant(alice, "INBOX", bob, "lrswipkxtea")
		owner := open(s.testServer, "INBOX", someKinds[draw(len(someKinds))])
		others := []*model{openAs(s, bob, someKinds[draw(len(someKinds))]), openAs(s, bob, someKinds[draw(len(someKinds))])}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			switch n := draw(8); {
			case n == 0:
				s.grant(alice, "INBOX", bob, someRights[draw(len(someRights))])
			case n < 3:
				owner.step(draw)
			default:
				others[n%2].step(draw)
			}
		}
		if err := owner.check(s.testServer); err != nil {
			r.Fatal(err)
		}
		for _, m := range others {
			if err := m.agrees(s); err != nil {
				r.Fatal(err)
			}
			m.cmd("LOGOUT").ok()
		}
		owner.cmd("LOGOUT").ok()
	})
}

// TestRightsChangeWhileSessionsAreBusy does so at the same time.
func TestRightsChangeWhileSessionsAreBusy(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lrswipkxtea")
	owner := open(s.testServer, "INBOX")
	var others []*model
	for _, k := range someKinds {
		others = append(others, openAs(s, bob, k))
	}
	for round := range 4 {
		var busy sync.WaitGroup
		work := func(i int, f func(draw func(int) int)) {
			random := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			busy.Go(func() {
				for range 25 {
					f(random.IntN)
				}
			})
		}
		work(0, func(draw func(int) int) { owner.step(draw) })
		work(1, func(draw func(int) int) { s.grant(alice, "INBOX", bob, someRights[draw(len(someRights))]) })
		for i, m := range others {
			work(i+2, m.step)
		}
		busy.Wait()
		if t.Failed() {
			t.FailNow()
		}
		if round%2 == 0 {
			s.grant(alice, "INBOX", bob, "lrswipkxtea")
		}
		if err := owner.check(s.testServer); err != nil {
			t.Fatal(err)
		}
		for _, m := range others {
			if err := m.agrees(s); err != nil {
				t.Fatal(err)
			}
		}
	}
}
