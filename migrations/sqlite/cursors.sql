-- How far each projection has come in each stream. The row is written in the same SQL transaction as the rows that it covers.
create table if not exists cursors (
    stream     text    not null,
    projection text    not null,
    version    integer not null, -- of the projection that made the rows; another version makes them anew
    seq        integer not null, -- position of the last entry applied
    at         integer not null, -- when that entry was decided, Unix milliseconds
    primary key (stream, projection)
) without rowid;
