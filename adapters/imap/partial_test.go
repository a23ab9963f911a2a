package imap

import (
	"fmt"
	"testing"
)

// RFC 9394 sections 3.3 and 3.4.
func TestPartialFetch(t *testing.T) {
	s := start(t)
	s.fill(12)
	s.expunge("3,8")
	c := s.selected("INBOX")
	for page, want := range map[string][]int{
		"-1:-3": {10, 11, 12}, "-3:-1": {10, 11, 12}, "1:5": {2, 4, 5, 6, 7}, "5:1": {2, 4, 5, 6, 7}, "9:20": {12}, "-9:-20": {2}, "20:30": nil, "-20:-30": nil, "2:2": {4}, "4294967295:1": {2, 4, 5, 6, 7, 9, 10, 11, 12},
	} {
		lines := []string{}
		for _, uid := range want {
			lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS (...))", uid-map[bool]int{true: 1}[uid > 3]-map[bool]int{true: 1}[uid > 8], uid))
		}
		c.cmd("UID FETCH 2:600 (UID FLAGS) (PARTIAL %s)", page).want(append(lines, "OK UID FETCH completed")...)
	}
	since := s.modseq()
	c.cmd(`UID STORE 2,11 +FLAGS (\Seen)`).ok()
	eleven := fmt.Sprintf(`* 9 FETCH (UID 11 FLAGS (\Seen ...) MODSEQ (%d))`, s.modseq())
	c.cmd("UID FETCH 1:* (FLAGS) (PARTIAL -1:-3 CHANGEDSINCE %d)", since).has(eleven).hasNot("* 2 FETCH ...").ok()
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d PARTIAL -1:-3)", since).want(eleven, "OK ...")
	for _, wrong := range []string{"0:1", "1:0", "1", "-1:2", "1:-2", "1:*", "", "-1:-4294967296"} {
		c.cmd("UID FETCH 1:* (FLAGS) (PARTIAL %s)", wrong).bad()
	}
	c.cmd("FETCH 1:* (FLAGS) (PARTIAL 1:2)").bad()
	c.cmd("UID FETCH 1:* (FLAGS) (PARTIAL 1:2 PARTIAL 3:4)").bad("PARTIAL is given twice")
}
