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
#include <sys/types.h>

#include <linux/falloc.h>

#include "kselftest.h"

#define PC_PAGE		4096UL
#define KIB(n)		((size_t)(n) << 10)
#define MIB(n)		((size_t)(n) << 20)
#define PC_MAX_FILES	32
#define PC_NO_SHARING	"this kernel does not share page cache (no share_cache)"

struct pc_file;

/* The file system under test. */
struct pc_fs {
	char		dir[64];	/* private work directory */
	char		mnt[80];	/* mount point, below dir */
	char		dev[64];	/* what is mounted */
	char		why[256];	/* why the set-up says "skip" */
	const char	*opts;		/* mount options */
	int		img_fd;		/* loop device or -1 */
	bool		mounted;
	long long	before[3];	/* home, alias, fragment before mount */
	struct pc_file	*files[PC_MAX_FILES];
	pid_t		child[16];	/* of pc_fork() */
};

/* How to make it. */
struct pc_fs_args {
	const char	*opts;		/* mount options, NULL: none */
	unsigned int	bsize;		/* file system block, 0: 4096 */
	unsigned int	mib;		/* size, 0: 96 */
	const char	*dev;		/* instead of $PAGE_CACHE_DEV or loop */
};

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

struct pc_file {
	struct pc_fs	*fs;
	char		path[128];
	int		fd;
	struct pc_model	*m;
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

/* Does the running kernel share?  Looks at /proc/vmstat. */
bool pc_sharing(void);
long long pc_vmstat(const char *name);
void pc_stat(struct pc_stat *s);
/* now minus then */
struct pc_stat pc_since(const struct pc_stat *then);
const char *pc_stat_str(const struct pc_stat *s);

void __printf(1, 2) pc_log(const char *fmt, ...);
/* Prints fmt and errno as it is, returns -errno. */
int __printf(1, 2) pc_err(const char *fmt, ...);

int pc_write_str(const char *path, const char *val);
int pc_read_str(const char *path, char *buf, size_t len);
/* Forks and runs argv; exit status (127: not there) or -errno. */
int pc_run(const char *const argv[]);

/* 0, -errno, or 1 for "skip": the reason is in fs->why. */
int pc_fs_setup(struct pc_fs *fs, const struct pc_fs_args *args);
/* Work directory and block device only; for tests that put dm in between. */
int pc_fs_device(struct pc_fs *fs, const struct pc_fs_args *args);
int pc_fs_mkfs(struct pc_fs *fs, const struct pc_fs_args *args);
int pc_fs_mount(struct pc_fs *fs, const char *opts);
int pc_fs_umount(struct pc_fs *fs);
int pc_fs_remount(struct pc_fs *fs, const char *opts);
/* umount and mount; files of the fs are closed and opened again */
int pc_fs_cycle(struct pc_fs *fs);
void pc_fs_teardown(struct pc_fs *fs);
/* Counters that must be back where they were before mount, else text. */
const char *pc_fs_leak(struct pc_fs *fs);
/* Inodes that were unlinked are gone, and their blocks are free. */
int pc_fs_settle(struct pc_fs *fs);
/* fork() of a child that the teardown kills if the test did not wait for it */
pid_t pc_fork(struct pc_fs *fs);
/* Waits for a child; 0 when it exited with 0. */
int pc_wait(struct pc_fs *fs, pid_t pid);
/* The options of the mount point as /proc/self/mounts shows them. */
int pc_fs_options(struct pc_fs *fs, char *buf, size_t len);
bool pc_fs_has_option(struct pc_fs *fs, const char *opt);

void pc_fill(void *buf, size_t len, uint64_t seed, uint64_t pos);
uint64_t pc_rand(uint64_t *state);

/* sync and drop clean page cache, dentries and inodes ("1", "2" or "3") */
int pc_drop_caches(const char *how);

/* An empty model with room for cap bytes, in shared memory. */
struct pc_model *pc_model(size_t cap);
int pc_open(struct pc_file *f, struct pc_fs *fs, const char *name, int flags,
	    size_t cap);
void pc_close(struct pc_file *f);
int pc_unlink(struct pc_file *f);
/* A new file of size bytes of pattern, on disk and not in the page cache. */
int pc_create(struct pc_file *f, struct pc_fs *fs, const char *name,
	      size_t size, uint64_t seed);
/* A new file that is a clone of src. */
int pc_clone(struct pc_file *dst, struct pc_file *src, const char *name);
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

/* Device address of the written block at off, 0 when there is none. */
uint64_t pc_physical(struct pc_file *f, size_t off);
/* Is there a delayed allocation in the range, without writing it back? */
bool pc_delalloc(struct pc_file *f, size_t off, size_t len);
/* Pages that lie in one extent, page aligned on the device, all before EOF. */
size_t pc_shareable(struct pc_file *f, unsigned int bsize);

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

/*
 * The caller goes into a memory cgroup of its own, limited to max bytes unless
 * that is 0.  0 and its path, or 1 and why not.
 */
int pc_memcg_enter(const char *name, size_t max, char *path, size_t len);
/* The one that pid made, and left by its exit or leaves now. */
void pc_memcg_remove(const char *name, pid_t pid);

#endif /* _PAGE_CACHE_COMMON_H */
