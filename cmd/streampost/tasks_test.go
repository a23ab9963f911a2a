package main

import (
	"slices"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
)

// Each type of task is looked at once for whether it destroys.
func TestKindsThatDestroy(t *testing.T) {
	want := []string{
		webadmin.TaskErase, webadmin.TaskMailboxClear, webadmin.TaskVaultDelete, webadmin.TaskVaultExpire, webadmin.TaskBlobGC, webadmin.TaskLettersDrop, "tasks-cleanup",
		webadmin.TaskClearMailbox, webadmin.TaskEraseUser, webadmin.TaskEraseDomain, webadmin.TaskQueueClear, webadmin.TaskQueueDelete, webadmin.TaskParkedClear, webadmin.TaskParkedDelete, webadmin.TaskParkedExpire,
	}
	harmless := []string{
		"log-verify", "projection-rebuild", "projection-verify", "projection-count", "search-reindex", "keys-rotate", webadmin.TaskReindex, webadmin.TaskSnapshotMake, webadmin.TaskSnapshotVerify,
		webadmin.TaskRestore, webadmin.TaskVaultRestore, webadmin.TaskVaultExport, webadmin.TaskBlobVerify, webadmin.TaskBlobCopy,
		webadmin.TaskRedeliverAll, webadmin.TaskRedeliverGroup, webadmin.TaskRedeliverOne,
		webadmin.TaskReindexAll, webadmin.TaskReindexFailed, webadmin.TaskReindexUser, webadmin.TaskReindexMailbox, webadmin.TaskReindexMail, webadmin.TaskReindexMessage,
		webadmin.TaskSolveMailboxes, webadmin.TaskSolveMessages, webadmin.TaskSolveFlags, webadmin.TaskSolvePop3, webadmin.TaskSolveMappings, webadmin.TaskMissingParents,
		webadmin.TaskReplicaInitialise, webadmin.TaskEmailQueryView, webadmin.TaskFastViews, webadmin.TaskFastViewsOfUser, webadmin.TaskCounters, webadmin.TaskQuotas,
		webadmin.TaskReprocessAll, webadmin.TaskReprocessOne, webadmin.TaskParkedMove,
	}
	for _, k := range new(core).kinds() {
		if k.Destroys != slices.Contains(want, k.Name) || k.Destroys == slices.Contains(harmless, k.Name) {
			t.Errorf("%s: destroys is %v", k.Name, k.Destroys)
		}
	}
}
