-- How far these rows have come. The one row is written in the same SQL transaction as the rows that it covers.
create table head (
    one     integer not null check (one = 1),
    version integer not null, -- of the projection that made the rows; 0: none has begun
    ready   integer not null, -- 1 once the rows were complete
    seq     integer not null, -- position of the last entry applied
    at      integer not null, -- when that entry was decided, Unix milliseconds
    counted integer not null default 0, -- seq, if digests is that of these rows
    primary key (one)
) without rowid;

insert into head (one, version, ready, seq, at) values (1, 0, 0, 0, 0);
