/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the page_cache selftests share: a fresh XFS per test, files that carry
 * a model of their own content, and every way to read that content back.
 *
 * Every function that can fail returns 0 or a negative errno and has already
 * said on stderr, as a TAP comment, what failed.  That keeps this file free of
 * kselftest_harness.h, which can be included only once in a program.
 */
#ifndef _PAGE_CACHE_COMMON_H
#define _PAGE_CACHE_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include <linux/falloc.h>
#include <linux/kernel-page-flags.h>

#include "kselftest.h"

#define PC_PAGE		4096UL
#define KIB(n)		((size_t)(n) << 10)
#define MIB(n)		((size_t)(n) << 20)
#define PC_MAX_FILES	32
#define PC_NO_SHARING	"this kernel does not share page cache (no share_cache)"

/*
 * A file and what it must contain.  Bytes of data beyond size are always zero,
 * so that a file that grows again shows zeros.  Lives in shared memory: a
 * forked process sees and may change the model.
 */
struct pc_model {
	size_t		size;
	size_t		cap;
	unsigned char	data[];
};

/*
 * One of the files of a file system.  It belongs to that, which closes, unmaps
 * and forgets what a test has left.
 */
struct pc_file {
	struct pc_fs	*fs;		/* NULL: there is no file here */
	char		path[128];
	int		fd;		/* -1: shut */
	struct pc_model	*m;
	unsigned char	*map;		/* of pc_map() */
	size_t		map_len;
};

/* Ways to read a file. */
enum pc_via {
	PC_READ,	/* read(2), odd chunk */
	PC_PREAD,	/* pread(2), pages from the end to the start */
	PC_READV,	/* readv(2), vectors that straddle pages */
	PC_SPLICE,	/* splice(2) through a pipe */
	PC_SENDFILE,	/* sendfile(2) to a socket */
	PC_MMAP,	/* shared mapping, read only */
	PC_DIRECT,	/* O_DIRECT read */
	PC_VIA_MAX
};

const char *pc_via_name(enum pc_via via);

/* Counters of /proc/vmstat. */
enum pc_counter {
	PC_HOME,
	PC_ALIAS,
	PC_FRAGMENT,
	PC_ATTACH,
	PC_DONATE,
	PC_BREAK,
	PC_RECLAIM,
	PC_COUNTERS
};

struct pc_stat {
	long long v[PC_COUNTERS];
};

/* The file system under test. */
struct pc_fs {
	char		mnt[80];	/* mount point */
	char		dev[64];	/* what is mounted */
	char		why[256];	/* why the set-up says "skip" */
	const char	*opts;		/* mount options */
	int		img_fd;		/* loop device or -1 */
	bool		mounted;
	struct pc_stat	before;		/* mount */
	struct pc_stat	cold;		/* of pc_clones() */
	struct pc_file	file[PC_MAX_FILES];
	pid_t		child[16];	/* of pc_fork() */
};

/* How to make it. */
struct pc_fs_args {
	const char	*opts;		/* mount options, NULL: none */
	unsigned int	bsize;		/* file system block, 0: 4096 */
	unsigned int	mib;		/* size, 0: 96 */
	const char	*dev;		/* instead of $PAGE_CACHE_DEV or loop */
	bool		rmap;		/* what online repair asks */
};

/* A child that goes on step by step with its parent, see pc_fork_peer(). */
struct pc_peer {
	pid_t	pid;
	int	fd;
};

/* Does the running kernel share?  Looks at /proc/vmstat. */
bool pc_sharing(void);
long long pc_vmstat(const char *name);
void pc_stat(struct pc_stat *s);
/* now minus then */
struct pc_stat pc_since(const struct pc_stat *then);
const char *pc_stat_str(const struct pc_stat *s);

void __printf(1, 2) pc_log(const char *fmt, ...);
/* Errors are not printed while they are expected. */
void pc_hush(bool on);
/* Prints fmt and errno as it is, returns -errno. */
int __printf(1, 2) pc_err(const char *fmt, ...);

int pc_write_str(const char *path, const char *val);
int pc_read_str(const char *path, char *buf, size_t len);
/* The number behind a name, as in "name 5" or "Name:  5 kB", or -1. */
long long pc_number(const char *path, const char *name);
/* Forks and runs argv; exit status (127: not there) or -errno. */
int pc_run(const char *const argv[]);

/* 0, -errno, or 1 for "skip": the reason is in fs->why. */
int pc_fs_setup(struct pc_fs *fs, const struct pc_fs_args *args);
/* Its two halves, for tests that put something between device and fs. */
int pc_fs_device(struct pc_fs *fs, const struct pc_fs_args *args);
int pc_fs_start(struct pc_fs *fs, const struct pc_fs_args *args);
/* These two print nothing. */
int pc_fs_mount(struct pc_fs *fs, const char *opts);
int pc_fs_remount(struct pc_fs *fs, const char *opts);
/* Shuts all files first. */
int pc_fs_umount(struct pc_fs *fs);
/* All files, see pc_reopen(). */
int pc_fs_reopen(struct pc_fs *fs, int flags);
/* umount and mount with fs->opts; the files are open again, not mapped */
int pc_fs_cycle(struct pc_fs *fs);
/* Kills children, closes files, unmounts. */
void pc_fs_teardown(struct pc_fs *fs);
/* Counters that must be back where they were before mount, else text. */
const char *pc_fs_leak(struct pc_fs *fs);
/* Inodes that were unlinked are gone, and their blocks are free. */
int pc_fs_settle(struct pc_fs *fs);
/* fork() of a child that the teardown kills if the test did not wait for it */
pid_t pc_fork(struct pc_fs *fs);
/* Waits for a child; 0 when it exited with 0. */
int pc_wait(struct pc_fs *fs, pid_t pid);
/* Has the child not come to its end yet? */
bool pc_runs(pid_t pid);
/*
 * pc_fork() of a child that waits for its parent and the other way round: each
 * hears what the other says.  Who is gone is not waited for: -EPIPE.
 */
pid_t pc_fork_peer(struct pc_fs *fs, struct pc_peer *peer);
int pc_say(struct pc_peer *peer);
int pc_hear(struct pc_peer *peer);
/* Says so, and then waits for the child as pc_wait(). */
int pc_end(struct pc_fs *fs, struct pc_peer *peer);
/* Until the process sleeps in the system call: 0, or -ETIME. */
int pc_sleeps_in(pid_t pid, long nr);
/* The options of the mount point as /proc/self/mounts shows them. */
int pc_fs_options(struct pc_fs *fs, char *buf, size_t len);
bool pc_fs_has_option(struct pc_fs *fs, const char *opt);

void pc_fill(void *buf, size_t len, uint64_t seed, uint64_t pos);
uint64_t pc_rand(uint64_t *state);

/* sync and drop clean page cache, dentries and inodes ("1", "2" or "3") */
int pc_drop_caches(const char *how);
/* Does the device count what it reads?  It may be told not to. */
bool pc_counts_reads(struct pc_fs *fs);
/* Sectors it has read so far, or -1. */
int64_t pc_sectors_read(struct pc_fs *fs);
/* No CPU has pages on their way to the LRU then, which count as in use. */
void pc_drain(void);

/* A file of the fs, its model empty and with room for cap bytes. */
int pc_open(struct pc_file **f, struct pc_fs *fs, const char *name, int flags,
	    size_t cap);
/* The fs forgets it: f is nothing any more. */
void pc_close(struct pc_file *f);
int pc_unlink(struct pc_file *f);
/* Closed and unmapped, but still known: open it again before anything else. */
void pc_shut(struct pc_file *f);
int pc_reopen(struct pc_file *f, int flags);
/* Its one mapping, in place of the one before; NULL if there is none. */
unsigned char *pc_map(struct pc_file *f, size_t len, int prot, int flags);
void pc_unmap(struct pc_file *f);
/* A new file of size bytes of pattern, on disk and not in the page cache. */
int pc_create(struct pc_file **f, struct pc_fs *fs, const char *name,
	      size_t size, uint64_t seed);
/* A new file that is a clone of src. */
int pc_clone(struct pc_file **dst, struct pc_file *src, const char *name);
/* A cold file with the bytes of one that is on another file system. */
int pc_copy_in(struct pc_file **f, struct pc_fs *fs, const char *name,
	       const char *from);
/*
 * New files "a", "b" and so on up to a NULL: pattern 1, and clones of that.
 * None is cached then, and fs->cold has the counters.
 */
int pc_clones(struct pc_fs *fs, size_t size, struct pc_file **const *files);
/* A new file that takes all room, but none of it shows in its size. */
int pc_fill_up(struct pc_file **f, struct pc_fs *fs, const char *name);
/* fsync and drop what is cached of this file */
int pc_evict(struct pc_file *f);

/*
 * Operations on the file and on its model.  The file's new bytes are the
 * pattern of seed.  On failure neither is thought to have changed.
 */
int pc_write(struct pc_file *f, size_t off, size_t len, uint64_t seed);
int pc_append(struct pc_file *f, size_t len, uint64_t seed);
int pc_write_direct(struct pc_file *f, size_t off, size_t len, uint64_t seed);
int pc_write_mmap(struct pc_file *f, size_t off, size_t len, uint64_t seed);
int pc_truncate(struct pc_file *f, size_t size);
int pc_fallocate(struct pc_file *f, int mode, size_t off, size_t len);
int pc_clone_range(struct pc_file *dst, size_t doff, struct pc_file *src,
		   size_t soff, size_t len);
/* 0: deduplicated, 1: kernel says the ranges differ, else -errno */
int pc_dedupe(struct pc_file *dst, size_t doff, struct pc_file *src,
	      size_t soff, size_t len);
int pc_exchange(struct pc_file *a, size_t aoff, struct pc_file *b, size_t boff,
		size_t len);
int pc_copy_range(struct pc_file *dst, size_t doff, struct pc_file *src,
		  size_t soff, size_t len);

/* What the operations do to a model alone. */
void pc_model_write(struct pc_model *m, size_t off, size_t len, uint64_t seed);
void pc_model_truncate(struct pc_model *m, size_t size);
void pc_model_fallocate(struct pc_model *m, int mode, size_t off, size_t len);
void pc_model_copy(struct pc_model *dst, size_t doff,
		   const struct pc_model *src, size_t soff, size_t len);
void pc_model_exchange(struct pc_model *a, size_t aoff, struct pc_model *b,
		       size_t boff, size_t len);

/*
 * Read len bytes at off in the given way.  Bytes read, fewer at end of file,
 * or -errno (not printed).  off and len need PC_PAGE alignment for PC_DIRECT,
 * PC_MMAP must not reach beyond the end of the file.
 */
ssize_t pc_read_via(int fd, const char *path, enum pc_via via, void *buf,
		    size_t off, size_t len);
/* The whole file must be what the model says, its size too. */
int pc_verify(struct pc_file *f, enum pc_via via);
/* read(2) then O_DIRECT, of every open file of the file system */
int pc_verify_all(struct pc_fs *fs);
/* ...then once more after umount and mount, cold and warm */
int pc_verify_cycle(struct pc_fs *fs);
/* Memory that forked processes share, zeroed, or NULL. */
void *pc_shared(size_t len);
/* Compares, tells the first difference; 0 or -EILSEQ. */
int pc_compare(const char *what, const void *want, const void *got,
	       size_t len, size_t pos);

/* Reads a byte that the compiler must not leave out. */
static inline void pc_touch(const unsigned char *p)
{
	asm volatile("" : : "r" (*p) : "memory");
}

/* Does reading a byte, or filling with a pattern, raise SIGBUS? */
bool pc_touch_raises_bus(const unsigned char *p);
bool pc_fill_raises_bus(unsigned char *p, size_t len, uint64_t seed,
			uint64_t pos);
/* Copying len bytes from a mapping? */
bool pc_copy_raises_bus(void *to, const void *from, size_t len);

/*
 * What the page table of this process has at an address: a page frame number,
 * or 0.  Asking does not fault it in.
 */
uint64_t pc_pfn(const void *p);
/* How often it is mapped, and its KPF_ bits; all ones when that is not told. */
uint64_t pc_mapcount(uint64_t pfn);
uint64_t pc_page_flags(uint64_t pfn);
/* Is the page anonymous that this process has at p? */
bool pc_is_anon(const void *p);
/* What smaps says in kB of the mapping that begins at p, or -1. */
long long pc_smaps(const void *p, const char *name);

/* <linux/kernel-page-flags.h> has it for the kernel only. */
#define PC_KPF_MLOCKED	33

/* Device address of the written block at off, 0 when there is none. */
uint64_t pc_physical(struct pc_file *f, size_t off);
/* Is there a delayed allocation in the range, without writing it back? */
bool pc_delalloc(struct pc_file *f, size_t off, size_t len);
/* Pages that lie in one extent, page aligned on the device, all before EOF. */
size_t pc_shareable(struct pc_file *f, unsigned int bsize);

/* Where tracefs is; mounts it if it is not there yet.  Is there one now? */
#define PC_TRACING	"/sys/kernel/tracing"
bool pc_tracefs(void);

/* mm/gup_test.h, and its file */
#define PC_GUP_TEST	"/sys/kernel/debug/gup_test"

struct pc_pin_longterm {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
};

#define PC_PIN_START	_IOW('g', 7, struct pc_pin_longterm)
#define PC_PIN_STOP	_IO('g', 8)
#define PC_PIN_READ	_IOW('g', 9, uint64_t)
#define PC_PIN_FAST	2

/*
 * Readers that race with writers.  A cell is one page of a file; every value
 * that is written to it goes into its log before the write begins and counts
 * as done when the write has returned.  A read may see any value from the last
 * one done when it began to the last one begun when it ended, nothing else.
 * Writers of a cell exclude each other; the value 0 stands for zeros.
 */
#define PC_RACE_LOG	256

struct pc_cell {
	uint32_t	begun;
	uint32_t	done;
	uint64_t	log[PC_RACE_LOG];
	/* a writer that readers with read(2) cannot meet half way */
	bool		whole[PC_RACE_LOG];
};

void pc_cell_begin(struct pc_cell *c, uint64_t value, bool whole);
void pc_cell_end(struct pc_cell *c);
uint64_t pc_cell_value(const struct pc_cell *c);
void pc_cell_fill(void *buf, uint64_t value, size_t page);
/* before the read */
uint32_t pc_cell_enter(const struct pc_cell *c);
/*
 * After it: 0, -EILSEQ when no value allowed is there, 1 when the log went
 * round and nothing can be said.  tear: a mix of allowed values may be there.
 */
int pc_cell_check(const char *what, const struct pc_cell *c, uint32_t entered,
		  const void *buf, size_t page, bool tear);

/* A test in which one process writes the cells of a file and others read. */
struct pc_race {
	int		stop;
	uint64_t	reads;		/* that could be judged */
	struct pc_cell	cell[];
};

/* Reads that must have met the writer, or nothing was tested. */
#define PC_RACE_READS	50

/* In shared memory; all of the pages hold the value. */
struct pc_race *pc_race(size_t pages, uint64_t value);
/*
 * Is there to be an i-th write?  There are that many at least, and more while
 * readers that began late have not read enough.
 */
bool pc_race_writes(const struct pc_race *r, int i, int writes);
void pc_race_stop(struct pc_race *r);
bool pc_race_stopped(const struct pc_race *r);
void pc_race_read(struct pc_race *r);
/* Looks at a page of a mapping that a writer may be at; 0 or -EILSEQ. */
int pc_race_look(struct pc_race *r, const unsigned char *map, size_t page);

/*
 * The caller goes into a memory cgroup of its own, limited to max bytes unless
 * that is 0.  0 and its path, or 1 and why not.
 */
int pc_memcg_enter(const char *name, size_t max, char *path, size_t len);
/* A number of its memory.stat, or -1. */
long long pc_memcg_stat(const char *path, const char *name);
/*
 * The same once it is between two values, or after ten seconds: few changes are
 * summed up every other second only.
 */
long long pc_memcg_until(const char *path, const char *name, long long low,
			 long long high);
/* Asks for bytes to be reclaimed from it; -EAGAIN if fewer were to be had. */
int pc_memcg_reclaim(const char *path, size_t bytes);
/* The one that pid made, and left by its exit or leaves now. */
void pc_memcg_remove(const char *name, pid_t pid);

#endif /* _PAGE_CACHE_COMMON_H */
