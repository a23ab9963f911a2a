-- What each mailbox holds: the sum of the deltas that its events carry.
create table counters (
    account  text    not null,
    mailbox  integer not null,
    messages integer not null,
    unseen   integer not null, -- without \Seen
    deleted  integer not null, -- with \Deleted
    bytes    integer not null,
    primary key (account, mailbox)
) without rowid;
