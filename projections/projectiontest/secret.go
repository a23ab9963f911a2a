package projectiontest

import (
	"context"
	"crypto/sha256"

	"github.com/streampost/streampost/domain"
)

// Secret gives a secret of the installation.
func (l *Log) Secret(_ context.Context, purpose string) ([32]byte, error) {
	return sha256.Sum256([]byte("installation " + purpose)), nil
}

// AccountSecret gives a secret of an account until it is erased.
func (l *Log) AccountSecret(_ context.Context, id domain.AccountID, purpose string) ([32]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.erased[id] {
		return [32]byte{}, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	return sha256.Sum256([]byte(string(id) + " " + purpose)), nil
}
