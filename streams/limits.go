package streams

import "time"

// entryHeaders is room for what is sent beside a sealed transaction, in octets: the message's id and its expectation.
const entryHeaders = 4 << 10

// Limits bounds what the log keeps in memory and how long it waits. A zero field means its default.
type Limits struct {
	Entry    int           // bytes of one sealed transaction; 4 MiB
	Round    int           // appends that share one sync; 1024
	Waiting  int           // appends that wait for a round, for each stream, before callers block; 8192
	Publish  time.Duration // for one acknowledgement of the server; 5 s
	Settle   time.Duration // to find out what became of an append without one; 20 s
	Request  time.Duration // for one answer of the server to a question, which is then asked again, a few times; 2 s
	Batch    int           // entries that Follow hands over at once; 512
	Fetch    int           // entries asked for at once when reading; 2048
	FetchMax int           // bytes asked for at once when reading, more than Entry; 8 MiB
	Keys     int           // account keys kept in memory; 65,536
}

func (l Limits) withDefaults() Limits {
	set(&l.Entry, 4<<20)
	set(&l.Round, 1024)
	set(&l.Waiting, 8192)
	set(&l.Publish, 5*time.Second)
	set(&l.Settle, 20*time.Second)
	set(&l.Request, 2*time.Second)
	set(&l.Batch, 512)
	set(&l.Fetch, 2048)
	set(&l.FetchMax, 8<<20)
	set(&l.Keys, 65536)
	return l
}

func set[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
