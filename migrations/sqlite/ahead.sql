-- Accounts whose rows show more of their logs than the head says, because they come from a snapshot (projections.Ahead).
create table ahead (
    account text    not null,
    seq     integer not null, -- position in the stream of the last entry that the rows show
    tx      integer not null, -- its number in the account's log
    hash    blob    not null, -- and its hash
    primary key (account)
) without rowid;
