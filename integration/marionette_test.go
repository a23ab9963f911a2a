package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marionette drives a program of Mozilla's by its remote protocol: "length:JSON" over TCP, [0, id, command, parameters] one way and [1, id, error, result]
// the other.
type marionette struct {
	nc net.Conn
	r  *bufio.Reader
	id int
}

func (m *marionette) receive(into any) error {
	length, err := m.r.ReadString(':')
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(m.r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// patience is how long Thunderbird may take for one thing, where it gets little of a processor.
const patience = 5 * time.Minute

// call gives a command and waits for its answer.
func (m *marionette) call(command string, parameters any) (json.RawMessage, error) {
	m.id++
	text, err := json.Marshal([]any{0, m.id, command, parameters})
	if err != nil {
		return nil, err
	}
	_ = m.nc.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(m.nc, "%d:%s", len(text), text); err != nil {
		return nil, err
	}
	var answer [4]json.RawMessage
	if err := m.receive(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	if string(answer[2]) != "null" {
		return nil, fmt.Errorf("%s: %s", command, answer[2])
	}
	return answer[3], nil
}

// thunderbird is a profile and, now and then, the program that uses it.
type thunderbird struct {
	t       *testing.T
	profile string
	script  string
	cmd     *exec.Cmd
	out     printed
	*marionette
}

// open starts Thunderbird without a screen and connects to it.
func (tb *thunderbird) open() {
	tb.t.Helper()
	tb.cmd = exec.Command("thunderbird", "--headless", "--no-remote", "--profile", tb.profile, "--marionette", "--remote-allow-system-access")
	tb.cmd.Env = append(os.Environ(), "HOME="+tb.profile, "MOZ_CRASHREPORTER_DISABLE=1")
	tb.cmd.Stdout, tb.cmd.Stderr = &tb.out, &tb.out
	tb.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts others
	if err := tb.cmd.Start(); err != nil {
		tb.t.Fatal(err)
	}
	port := filepath.Join(tb.profile, "MarionetteActivePort")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(port)
		if err == nil {
			var nc net.Conn
			if nc, err = net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(text))); err == nil {
				tb.marionette = &marionette{nc: nc, r: bufio.NewReader(nc)}
				break
			}
		}
		if time.Now().After(deadline) {
			tb.t.Fatalf("Thunderbird does not listen: %v\n%s", err, tail(tb.out.Bytes(), 8<<10))
		}
	}
	var hello struct{ ApplicationType string }
	if err := tb.receive(&hello); err != nil || hello.ApplicationType != "gecko" {
		tb.t.Fatalf("Thunderbird greets as %+v: %v", hello, err)
	}
	for _, step := range []struct {
		command    string
		parameters any
	}{
		{"WebDriver:NewSession", map[string]any{}},
		{"Marionette:SetContext", map[string]any{"value": "chrome"}},
		{"WebDriver:SetTimeouts", map[string]any{"script": (patience - time.Minute).Milliseconds()}},
	} {
		if _, err := tb.call(step.command, step.parameters); err != nil {
			tb.t.Fatalf("%v\n%s", err, tail(tb.out.Bytes(), 8<<10))
		}
	}
}

// do runs a step of testdata/thunderbird.js and reads its outcome into something, unless that is nil.
func (tb *thunderbird) do(into any, step string, args ...any) {
	tb.t.Helper()
	answer, err := tb.call("WebDriver:ExecuteAsyncScript", map[string]any{"script": tb.script, "args": append([]any{step}, args...), "sandbox": "system", "newSandbox": true})
	var outcome struct {
		Value struct {
			Value json.RawMessage
			Error string
		}
	}
	if err == nil {
		err = json.Unmarshal(answer, &outcome)
	}
	if err == nil && outcome.Value.Error != "" {
		err = errors.New(outcome.Value.Error)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(outcome.Value.Value, into)
	}
	if err != nil {
		tb.t.Fatalf("Thunderbird, %s: %v\n%s", step, err, tail(tb.out.Bytes(), 4<<10))
	}
}

// quit has Thunderbird write everything to its profile and end.
func (tb *thunderbird) quit() {
	tb.t.Helper()
	ended := make(chan error, 1)
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(tb.cmd)
	_, _ = tb.call("Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}})
	_ = tb.nc.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		tb.t.Errorf("Thunderbird does not end\n%s", tail(tb.out.Bytes(), 4<<10))
		tb.kill()
		<-ended
	}
	tb.cmd = nil
}

// kill ends a Thunderbird that is left over.
func (tb *thunderbird) kill() {
	if tb.cmd != nil {
		_ = syscall.Kill(-tb.cmd.Process.Pid, syscall.SIGKILL)
	}
}
