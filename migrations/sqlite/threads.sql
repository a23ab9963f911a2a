-- Which conversation a thread key leads to. The first message with the key decides, and the row stays when the message goes.
create table threads (
    account    text    not null,
    thread_key integer not null,
    thread     integer not null,
    primary key (account, thread_key)
) without rowid;
