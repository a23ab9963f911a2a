package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestKilledWhileTasksRun orders tasks while the process dies again and again, at random moments and wherever the log is written. Every order
// that was taken must be known afterwards and must have ended, and none may be in progress for ever.
func TestKilledWhileTasksRun(t *testing.T) {
	t.Parallel()
	kills := 12
	if testing.Short() {
		kills = 4
	}
	points := []string{"log.before-publish", "log.published", "log.synced", "project.before-commit", "project.committed"}
	s := demoServer(t)
	s.kill(syscall.SIGKILL)
	var mu sync.Mutex
	var taken []string
	for n := range kills {
		crash := ""
		if n%2 == 1 {
			crash = fmt.Sprintf("%s:%d", points[n/2%len(points)], 1+rand.IntN(12))
		}
		if !s.start(crash) {
			continue // it died while it recovered, which is as good a place as any
		}
		var wg sync.WaitGroup
		first := make(chan struct{}, 3)
		for w := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					order := [][]string{{"log-verify", "stream=DIRECTORY"}, {"projection-verify"}, {"projection-rebuild", "projection=counters"}, {"projection-rebuild", "projection=tasks"}}[(w+i)%4]
					out, err := s.try(append([]string{"task", "run"}, order...)...)
					if err != nil {
						return // the server has died
					}
					mu.Lock()
					taken = append(taken, strings.TrimSpace(out))
					mu.Unlock()
					select {
					case first <- struct{}{}:
					default:
					}
				}
			})
		}
		if crash == "" {
			select {
			case <-first:
			case <-time.After(3 * time.Minute):
				t.Error("nobody takes an order")
			}
			time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond) // the random moment of death
			s.kill(syscall.SIGKILL)
		} else {
			s.dies(crash, 2*time.Minute)
		}
		wg.Wait()
	}
	s.start("")
	ends := map[string]int{}
	for _, id := range taken {
		out, _ := s.try("task", "wait", "--json", id) // its exit code tells of failed tasks too
		var ended struct {
			Status string
			Error  string
		}
		if err := json.Unmarshal([]byte(out), &ended); err != nil {
			t.Fatalf("task %s was ordered and is now %s", id, out)
		}
		if ends[ended.Status]++; ended.Status != "completed" && !strings.Contains(ended.Error, "without notice") {
			t.Errorf("task %s ended as %s", id, out)
		}
	}
	t.Logf("%d kills; %d tasks ordered, %v", kills, len(taken), ends)
	if len(taken) < kills {
		t.Errorf("only %d tasks were ordered: the test did not test much", len(taken))
	}
	for _, status := range []string{"waiting", "inProgress"} {
		for deadline := time.Now().Add(3 * time.Minute); ; { // those whose order was taken but not answered
			out := s.run("task", "list", "--json", "--status", status)
			if strings.TrimSpace(out) == "[]" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("still %s: %s", status, out)
			}
		}
	}
	s.clean()
}
