package projections

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/streampost/streampost/domain/account"
)

// Digests is the table, beside head, in which every generation has a digest of the rows of each account: the sum of RowDigest over them, its 64 bits as a
// signed number. Rows of tables without a column account belong to the account "". An account whose rows add up to 0 has none.
//
// The view store keeps it in the transaction that changes the rows, from their old and new values and never by counting again. So rows that were changed by
// anything else do not agree with it, and two nodes of which one folded otherwise disagree, whatever the order in which either came to its rows.
const Digests = "digests"

// RowDigest is what a row adds to the digest of its account: a hash of the table's name and all values in the order of the columns. Stores of all kinds and
// nodes of all builds compute the same: it never changes (TestRowDigestIsForEver).
func RowDigest(table string, row []any) account.Digest {
	var room [1024]byte // most rows are hashed without asking for memory
	b := appendOctets(room[:0], 't', table)
	for _, value := range row {
		switch v := value.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case string:
			b = appendOctets(b, 't', v)
		case []byte:
			b = appendOctets(b, 'b', v)
		default: // a value that no projection writes
			b = append(b, '?')
		}
	}
	sum := sha256.Sum256(b)
	return account.Digest(binary.BigEndian.Uint64(sum[:]))
}

func appendOctets[T string | []byte](b []byte, tag byte, octets T) []byte {
	return append(binary.BigEndian.AppendUint64(append(b, tag), uint64(len(octets))), octets...)
}
