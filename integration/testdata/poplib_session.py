# A session with Python's poplib, over STLS: python3 poplib_session.py PORT USER PASSWORD
import poplib, ssl, sys

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def connect():
    m = poplib.POP3("127.0.0.1", port, timeout=30)
    m.stls(context)
    m.utf8()
    m.user(user)
    m.pass_(password)
    return m


a = connect()
count, octets = a.stat()
listing = [line.split() for line in a.list()[1]]
print("STAT", count == len(listing), octets == sum(int(size) for _, size in listing))
sizes = []
for number, size in listing:
    sizes.append(sum(len(line) + 2 for line in a.retr(int(number))[1]) == int(size))
print("SIZES", all(sizes))
ids = [line.split()[1] for line in a.uidl()[1]]
print("UIDL", len(set(ids)) == count)
print("TOP", a.top(1, 0)[1] == a.retr(1)[1][: len(a.top(1, 0)[1])])
a.dele(1)
a.rset()
a.dele(count)
a.close()  # without QUIT

b = connect()
print("DROPPED", b.stat() == (count, octets))
b.dele(1)
b.quit()

c = connect()
print("DELETED", [line.split()[1] for line in c.uidl()[1]] == ids[1:])
c.quit()
