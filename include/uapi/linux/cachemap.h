/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * FS_IOC_CACHEMAP tells which pages of a file are in memory, and which of these
 * are shared with other files.
 *
 * Who may know that of a file is who may know it by cachestat(2): its owner, or
 * who could write to it.
 */
#ifndef _UAPI_LINUX_CACHEMAP_H
#define _UAPI_LINUX_CACHEMAP_H

#include <linux/types.h>

/* The memory is that of blocks: other files with these blocks may have it, too. */
#define CACHEMAP_SHARED		(1 << 0)
#define CACHEMAP_DIRTY		(1 << 1)
#define CACHEMAP_WRITEBACK	(1 << 2)
/* The memory is that of the device itself: there is no page cache. */
#define CACHEMAP_DAX		(1 << 3)

/**
 * struct cachemap_run - Pages of a file that are in memory, and alike
 * @offset: Where they begin in the file, in bytes; a multiple of the page size.
 * @length: How much that is, in bytes; a multiple of the page size.
 * @id: If %CACHEMAP_SHARED, which memory it is, in pages: the next page has the
 *	next number.  Pages of two files of one file system that have the same
 *	number are one page in memory, if they are looked at while nothing
 *	changes.  Otherwise zero.
 * @flags: Any of CACHEMAP_*.
 * @sharers: If %CACHEMAP_SHARED, how many pages of files there are for each page
 *	of memory, on average and rounded up; this one is among them.  Otherwise
 *	zero.
 */
struct cachemap_run {
	__u64 offset;
	__u64 length;
	__u64 id;
	__u32 flags;
	__u32 sharers;
};

/**
 * struct cachemap - What FS_IOC_CACHEMAP is given, and gives back
 * @start: The first byte to look at; then, where to go on.
 * @length: How many bytes, from there on; then, how many are left.
 * @runs: Address of an array of &struct cachemap_run.
 * @nr_runs: How many there is room for, not zero; then, how many there are.
 * @flags: Must be zero.
 * @reserved: Must be zero.
 *
 * Runs are in the order of the file.  The first may begin before @start, by less
 * than a page.  What is not in a run is not in memory.  Call it again until
 * @length is zero: one call looks at so much only, even if it finds nothing.
 *
 * It is not a snapshot: pages come and go meanwhile.
 */
struct cachemap {
	__u64 start;
	__u64 length;
	__u64 runs;
	__u32 nr_runs;
	__u32 flags;
	__u64 reserved[2];
};

#endif /* _UAPI_LINUX_CACHEMAP_H */
