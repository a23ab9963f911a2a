-- Which emails of which accounts claim which blob: those in mailboxes and those in the vault.
create table blob_refs (
    account  text    not null,
    email    integer not null,
    blob_id  blob    not null,
    blob_key blob    not null,
    size     integer not null, -- octets of plain text
    primary key (account, email)
) without rowid;

create index blob_refs_by_blob on blob_refs (blob_id);
