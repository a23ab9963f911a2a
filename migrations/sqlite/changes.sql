-- What became of each mailbox, of those that are gone too.
create table changed (
    account  text    not null,
    mailbox  integer not null,
    created  integer not null, -- Tx
    changed  integer not null, -- Tx of the last change of its messages, its name or its special use, or of its end
    deleted  integer not null, -- Tx; 0 while it is there
    uid_next integer not null,
    floor    integer not null, -- Tx up to which the history of vanished messages has gaps; 0: none
    kept     integer not null, -- how many UIDs the rows of vanished have
    primary key (account, mailbox)
) without rowid;

-- UIDs that a transaction took out of a mailbox (RFC 7162), as ranges that neither touch nor overlap.
create table vanished (
    account text    not null,
    mailbox integer not null,
    modseq  integer not null, -- Tx
    lo      integer not null,
    hi      integer not null,
    primary key (account, mailbox, modseq, lo)
) without rowid;
