// Package milter has programs of others look at mail on its way in, by the protocol that Sendmail and Postfix speak with them: rspamd, ClamAV and many more.
//
// The packets are go-milter's; what this package adds is several milters in order, bounds, and what their answers mean for a message.
//
// Invariants:
//   - A milter that cannot be reached, is too slow, or answers what the protocol does not have is a failed one, and its Fail says what follows: the message goes on without it, or the client comes again
//     later. It never refuses mail for good.
//   - No stage waits for one milter longer than its Time, whatever it sends meanwhile, and no more than Limits of octets and changes are taken of its answers.
//   - Fields that a milter adds or changes are whole fields of the header: no line of them is anything else, whatever it sends.
//   - Milters see a message as it came, less fields that are forged, with what the milters before them have changed. Only fields are changed: that the body or the envelope may be changed is not offered,
//     and what was not offered is not done.
package milter
