# A client that speaks CONDSTORE by hand on Python's imaplib: python3 imaplib_resync.py PORT USER PASSWORD [UIDVALIDITY HIGHESTMODSEQ]
# With the last two it only comes back, and tells the state and what has changed since.
import imaplib, re, sys

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect():
    m = imaplib.IMAP4("127.0.0.1", port)
    m.login(user, password)
    return m


def state(m):
    m.select("INBOX")
    return m.response("UIDVALIDITY")[1][0].decode() + " " + m.response("HIGHESTMODSEQ")[1][0].decode()


def changed(m, since):
    answers = m.uid("FETCH", "1:*", "(FLAGS)", "(CHANGEDSINCE " + since + ")")[1]
    return [line for line in answers if line]


a = connect()
if len(sys.argv) > 4:
    print(state(a))
    print("CHANGED", changed(a, sys.argv[5]))
    a.logout()
    sys.exit()
print("ENABLE", a.enable("CONDSTORE")[0])
a.select("INBOX")
validity, highest = a.response("UIDVALIDITY")[1][0].decode(), a.response("HIGHESTMODSEQ")[1][0].decode()
uids = a.uid("SEARCH", None, "ALL")[1][0].split()
a.logout()

b = connect()
b.select("INBOX")
b.uid("STORE", uids[0], "+FLAGS", "(\\Flagged)")
print("STALE", b.uid("STORE", uids[0], "(UNCHANGEDSINCE " + highest + ")", "+FLAGS (x)")[0], b.response("MODIFIED")[1][0].decode() == uids[0].decode())
b.uid("STORE", uids[1], "+FLAGS", "(\\Deleted)")
b.expunge()
print("CHANGED", [re.search(rb"UID (\d+)", line).group(1) == uids[0] for line in changed(b, highest)])
b.logout()
print(state(connect()))
