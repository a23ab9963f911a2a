-- The sum of the digests of each account's rows (projections.Digests). An account whose rows add up to 0 has none.
create table digests (
    account text    not null, -- empty: of tables that have no such column
    digest  integer not null, -- its 64 bits as a signed number
    primary key (account)
) without rowid;
