package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/parking"
)

// submit sends a message by submission at $OFFSET: submit USER PASSWORD FILE RCPT... A user with <> in front sends with the null sender.
func submit(ts *testscript.TestScript, neg bool, args []string) {
	offset, err := strconv.Atoi(ts.Getenv("OFFSET"))
	ts.Check(err)
	user, null := strings.CutPrefix(args[0], "<>")
	sender := user
	if null {
		sender = ""
	}
	body := strings.ReplaceAll(ts.ReadFile(args[2]), "\n", "\r\n")
	err = func() error {
		c, err := smtp.Dial(fmt.Sprintf("127.0.0.1:%d", 1587+offset))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Auth(smtp.PlainAuth("", user, args[1], "127.0.0.1")); err != nil {
			return err
		}
		if err := c.Mail(sender); err != nil {
			return err
		}
		for _, to := range args[3:] {
			if err := c.Rcpt(to); err != nil {
				return err
			}
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, body); err != nil {
			return err
		}
		return w.Close()
	}()
	if neg != (err != nil) {
		ts.Fatalf("submission: %v", err)
	}
}

// queuedMessages asks the server of data.
func queuedMessages(ts *testscript.TestScript) (page webadmin.QueuePage) {
	_, text := asked(ts, "data", "GET", "/v1/queues/outgoing/messages", "")
	ts.Check(json.Unmarshal([]byte(text), &page))
	return page
}

// queued waits until so many messages are queued, of which none is being attempted and each has an error with the text: queued N [TEXT]
func queued(ts *testscript.TestScript, _ bool, args []string) {
	var page webadmin.QueuePage
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		page = queuedMessages(ts)
		settled := strconv.Itoa(len(page.Messages)) == args[0]
		for _, m := range page.Messages {
			settled = settled && !m.Active && (len(args) < 2 || strings.Contains(m.Error, args[1]))
		}
		if settled {
			return
		}
	}
	ts.Fatalf("the queue is %+v", page)
}

// parkedAt waits until so many messages are in a repository, and puts the key of the first into KEY: parked REPOSITORY N
func parkedAt(ts *testscript.TestScript, _ bool, args []string) {
	var page parking.Page
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, text := asked(ts, "data", "GET", "/v1/parked/"+args[0]+"/messages", "")
		ts.Check(json.Unmarshal([]byte(text), &page))
		if strconv.Itoa(len(page.Messages)) == args[1] {
			if len(page.Messages) > 0 {
				ts.Setenv("KEY", page.Messages[0].Key.String())
			}
			return
		}
	}
	ts.Fatalf("%s has %+v", args[0], page)
}

// first puts the id of the first queued message into ID.
func first(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("ID", queuedMessages(ts).Messages[0].ID.String())
}

// heardByPeers is what the peers of all scripts heard.
var heardByPeers sync.Map

// heard is what one peer heard.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

// peer starts a server that takes all mail but that for addresses which begin with "no", and puts its address into PEER.
func peer(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("PEER", l.Addr().String())
	h := &heard{}
	heardByPeers.Store(ts.Getenv("WORK"), h)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
}

func (h *heard) serve(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "220 peer\r\n")
	data := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		h.mu.Lock()
		h.text.WriteString(line + "\n")
		h.mu.Unlock()
		answer := "250 OK"
		switch {
		case data && line != ".":
			continue
		case line == "DATA":
			answer = "354 go on"
		case strings.HasPrefix(line, "RCPT TO:<no"):
			answer = "550 5.1.1 there is no such mailbox"
		}
		data = line == "DATA"
		_, _ = io.WriteString(c, answer+"\r\n")
	}
}

// got waits until the peer has heard something: got TEXT
func got(ts *testscript.TestScript, _ bool, args []string) {
	h, _ := heardByPeers.Load(ts.Getenv("WORK"))
	p := h.(*heard)
	heard := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		heard = p.text.String()
		p.mu.Unlock()
		if strings.Contains(heard, args[0]) {
			return
		}
	}
	ts.Fatalf("the peer heard no %q in:\n%s", args[0], heard)
}
