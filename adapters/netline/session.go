package netline

import (
	"bufio"
	"io"
	"time"
)

// Metrics hears what happens in the sessions of a protocol. Its methods are called by many connections at once and must not block.
type Metrics interface {
	Connected()
	Disconnected()
	Refused() // a connection above a limit
	LoggedIn(ok bool)
	// Answered tells of one command: its name in upper case (OTHER if unknown), the protocol's word for how it was answered and how long it ran.
	Answered(command, status string, took time.Duration)
}

// NoMetrics hears nothing.
type NoMetrics struct{}

func (NoMetrics) Connected()                            {}
func (NoMetrics) Disconnected()                         {}
func (NoMetrics) Refused()                              {}
func (NoMetrics) LoggedIn(bool)                         {}
func (NoMetrics) Answered(_, _ string, _ time.Duration) {}

// Sessions gives the Config of a listener whose connections are sessions: m hears of them, and before its login each may be silent for login.
func Sessions(limits Limits, login time.Duration, m Metrics) Config {
	limits.Idle = login
	return Config{Limits: limits, OnOpen: func(*Conn) { m.Connected() }, OnClose: func(*Conn) { m.Disconnected() }, OnLimit: m.Refused}
}

const (
	readBuffer  = 4 << 10
	writeBuffer = 16 << 10
)

// Buffers give what a session reads from and writes to a connection by. All there is to say is written before the session waits for more to do, so that
// pipelined commands share writes.
func Buffers(over io.ReadWriter) (*bufio.Reader, *bufio.Writer) {
	out := bufio.NewWriterSize(over, writeBuffer)
	return bufio.NewReaderSize(&flushing{out, over}, readBuffer), out
}

// flushing writes what waits before it reads.
type flushing struct {
	out *bufio.Writer
	in  io.Reader
}

func (f *flushing) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.in.Read(p)
}
