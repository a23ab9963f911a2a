package natsd

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"github.com/streampost/streampost/domain"
)

// marks keeps, for each stream, the last sequence that was acknowledged as durable, in a file of twelve bytes: the sequence and a checksum.
// A mark is written after the sync and is not synced itself, so it may lag behind the log after a power failure but is never ahead of it.
type marks struct {
	dir   string
	mu    sync.Mutex
	files map[string]*os.File
}

// Mark notes that a stream is durable up to seq. A mark that cannot be written is left as it is: it is a safeguard, not the log.
func (s *Server) Mark(stream string, seq domain.Seq) {
	f, err := s.marks.file(stream)
	if err != nil {
		return
	}
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(seq))
	binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	_, _ = f.WriteAt(b[:], 0)
}

// Marked gives a stream's mark; 0 when there is none that can be trusted.
func (s *Server) Marked(stream string) domain.Seq { return s.marks.read(stream) }

func (m *marks) read(stream string) domain.Seq {
	b, err := os.ReadFile(filepath.Join(m.dir, stream))
	if err != nil || len(b) != 12 || binary.BigEndian.Uint32(b[8:]) != crc32.ChecksumIEEE(b[:8]) {
		return 0
	}
	return domain.Seq(binary.BigEndian.Uint64(b))
}

func (m *marks) file(stream string) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, open := m.files[stream]; open {
		return f, nil
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(m.dir, stream), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if m.files == nil {
		m.files = map[string]*os.File{}
	}
	m.files[stream] = f
	return f, nil
}

func (m *marks) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, f := range m.files {
		_ = f.Close()
		delete(m.files, name)
	}
}
