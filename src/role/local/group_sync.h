/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making files durable, many at once. A few deliveries sync their own file and folder. When
 * many are under way, one syncfs() does for all that wait at that moment: on a journalling file system it costs
 * little more than a single fsync(). Where other programs keep the file system so busy that
 * it does not, each syncs its own again.
 *
 * For helper threads: these functions block.
 */
#pragma once

/* Around each delivery, so that the group knows how many are under way. */
void group_sync_enter(void);
void group_sync_leave(void);
/* Returns when what was written to this open file, or changed in this open folder, is on disk. 0 or -errno. */
[[nodiscard]] int group_sync(int fd);
