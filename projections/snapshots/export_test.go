package snapshots

import "github.com/streampost/streampost/domain"

// Name is where an account's snapshot lies, for tests that damage it.
func (s *Store) Name(id domain.AccountID) domain.BlobID { return s.name(id) }
