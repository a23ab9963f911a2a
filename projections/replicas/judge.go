package replicas

import (
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections"
)

// State is what a replica does.
type State string

// The states.
const (
	Initialising State = "initialising" // the node makes its first rows of the account
	Streaming    State = "streaming"    // the rows follow the log
	Lagging      State = "lagging"      // they are further behind than Limits allow
	Paused       State = "paused"       // on purpose
	Diverged     State = "diverged"     // the rows are not what the log says
	Unavailable  State = "unavailable"  // the node does not answer, or its rows cannot be read
)

// States lists them.
var States = []State{Initialising, Streaming, Lagging, Paused, Diverged, Unavailable}

// Replica is one account's replica on one node. The fields up to CanConnect have Carbonio's names and meanings; a script that reads those reads these.
type Replica struct {
	AccountID   domain.AccountID `json:"accountId"`
	ItemID      domain.EmailID   `json:"itemId"`    // the highest of a message that the node knows
	Sequence    domain.Tx        `json:"sequence"`  // the last of the account's transactions that its rows show
	MailboxID   int              `json:"mailboxId"` // the number of the account's stream
	Destination string           `json:"destination"`
	Available   bool             `json:"available"`
	Priority    uint32           `json:"priority"`
	CanConnect  bool             `json:"canConnectToKafka"` // it reaches the log, which has Kafka's place here

	State           State          `json:"state"`
	Paused          bool           `json:"paused"`
	LagTransactions *uint64        `json:"lagTransactions"` // null when nobody knows
	LagSeconds      *float64       `json:"lagSeconds"`      // age of the oldest entry that the rows do not show; null when nobody knows
	ETA             *float64       `json:"etaSeconds"`      // until it has caught up, at the pace of now; null when nobody knows
	Digest          account.Digest `json:"digest"`          // of the rows
	Cause           string         `json:"cause,omitempty"` // why it is not streaming

	reached domain.Seq // how far the rows of the whole stream have come, while some of the account's are missing
}

// known is where an account's log stands.
type known struct {
	Tx     domain.Tx
	Hash   string         // of the entry there, hexadecimal
	Digest account.Digest // that most nodes have there
	Votes  int            // how many
	Open   bool           // as many have another one: which is wrong is not known
}

// judge says how a replica is, from what its node says of itself, nil when it says nothing, and from where the account's log stands.
func judge(p directory.Placement, id domain.AccountID, stream string, said *heard, log known, limits Limits) Replica {
	r := Replica{AccountID: id, Destination: p.Node, Priority: p.Priority, Paused: p.Paused}
	unavailable := func(format string, args ...any) Replica {
		r.State, r.Cause = Unavailable, fmt.Sprintf(format, args...)
		if p.Paused {
			r.State = Paused
		}
		return r
	}
	switch {
	case said == nil:
		return unavailable("node %s does not answer", p.Node)
	case said.failure != "":
		return unavailable("node %s: %s", p.Node, said.failure)
	case said.Witness:
		return unavailable("node %s is a witness: it keeps the log and no mail", p.Node)
	}
	v, has := said.Views[stream]
	at, rows := said.Accounts[id]
	r.CanConnect = has && v.reaches()
	r.Sequence, r.ItemID, r.Digest = at.Tx, at.Email, at.Digest
	if !has || v.State == projections.Stopped || v.State == projections.Dropped {
		return unavailable("node %s has no rows that follow %s: %s", p.Node, stream, v.Error)
	}
	if v.Unread != "" && v.State != projections.Starting && v.State != projections.Damaged { // those are being made
		return unavailable("node %s cannot read its rows of %s: %s", p.Node, stream, v.Unread)
	}
	r.Available = true
	behind := uint64(log.Tx) - min(uint64(at.Tx), uint64(log.Tx))
	var age, eta float64
	if behind > 0 {
		age = v.Seconds
	}
	r.LagTransactions, r.LagSeconds = &behind, &age
	if behind > 0 {
		r.reached = v.Cursor
	}
	if behind == 0 {
		r.ETA = &eta
	} else if v.Rate > 0 {
		eta = float64(v.Lag) / v.Rate
		r.ETA = &eta
	}
	switch {
	case p.Paused:
		r.State = Paused
	case at.Tx > log.Tx:
		r.State, r.Cause = Diverged, fmt.Sprintf("its rows show transaction %d, and the log ends at %d", at.Tx, log.Tx)
	case rows && at.Tx == log.Tx && at.Hash != log.Hash:
		r.State, r.Cause = Diverged, fmt.Sprintf("its transaction %d is not that of the log", at.Tx)
	case rows && at.Tx == log.Tx && log.Open:
		r.State, r.Cause = Diverged, fmt.Sprintf("at transaction %d its rows have digest %s and those of other nodes have not: projection verify tells which are wrong", at.Tx, at.Digest)
	case rows && at.Tx == log.Tx && log.Votes > 0 && at.Digest != log.Digest:
		r.State, r.Cause = Diverged, fmt.Sprintf("at transaction %d its rows have digest %s, and %d other nodes have %s", at.Tx, at.Digest, log.Votes, log.Digest)
	case !rows && log.Tx > 0, v.State == projections.Starting, v.State == projections.Damaged:
		r.State, r.Cause = Initialising, v.Error
	case behind > limits.Transactions || behind > 0 && age > limits.Age.Seconds():
		r.State, r.Cause = Lagging, v.Error
	case at.Owes:
		r.State, r.Cause = Lagging, fmt.Sprintf("node %s still indexes what came while it was paused", p.Node)
	default:
		r.State = Streaming
	}
	return r
}
