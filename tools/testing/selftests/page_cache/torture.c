// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once, at random, from a seed that is printed: several
 * processes read and change a few files that share blocks, while others drop
 * caches, reclaim, compact, migrate, take memory away and give it back, sync and
 * switch sharing off and on.
 *
 * There are two kinds of files and two oracles.
 *
 * An exact file has a model of its content in shared memory and a
 * reader/writer lock.  What changes content holds the lock of that file
 * exclusively, what only reads, or changes blocks and not content (dedupe,
 * unshare), holds it shared: readers of one file and of its clones run at the
 * same time, a clone is made while its source is read.  Each read must give
 * the bytes of the model.
 *
 * A racing file has no lock against readers.  Each of its pages is a cell with
 * a log of the values written to it (page_cache_common.h): a read may give any
 * value from the last one that was complete before it began to the last one
 * that was begun before it ended, and never anything older.
 *
 * Each process keeps three mappings of each file, shared to read, shared to
 * write and private, for as long as it can: what somebody else does to a file
 * has to show in page tables that were filled long before, through which no
 * system call tells the kernel that somebody looks.
 *
 * With --inject memory, allocations of the workers fail here and there, with
 * --inject io their reads of the disk.  An operation may fail then, as long as
 * each page is what it was or what it was to become, and works when nothing
 * fails any more.
 *
 * usage: torture [--seconds N] [--seed N] [--procs N] [--bsize N] [--dir D]
 *                [--inject memory|io]
 */
#include <assert.h>
#include <dirent.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "page_cache_common.h"

#define EXACT		8		/* exact files */
#define RACING		3		/* racing files */
#define MAX_SIZE	KIB(384)	/* of an exact file */
#define CELLS		24		/* pages of a racing file */
#define MAX_PROCS	16
#define HISTORY		40
#define IO_MAX		KIB(48)		/* of one read or write */
#define OFFLINES	4		/* pages taken out of use in one run */

#define MEMORY		"/sys/devices/system/memory"
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"

/* Headers of libc may be older. */
#define ADV_COLD		20
#define ADV_PAGEOUT		21
#define ADV_POPULATE_READ	22
#define ADV_POPULATE_WRITE	23
#define ADV_SOFT_OFFLINE	101
#define MOVE_ALL		4	/* MPOL_MF_MOVE_ALL */

/* What op functions return besides 0 and -errno. */
#define NOTHING		1		/* did not fit, try another */

struct event {
	unsigned long long seq;
	const char	*op;
	int		proc;
	int		file;
	int		other;		/* file, or -1 */
	size_t		off, len, other_off;
};

struct history {
	unsigned long long nr;
	struct event	ev[HISTORY];
};

struct exact {
	pthread_rwlock_t lock;
	uint32_t	gen;		/* counts unlinks of the path */
	struct history	hist;
};

struct racing {
	pthread_mutex_t	lock;		/* writers */
	struct pc_cell	cell[CELLS];
	struct history	hist;
};

#define MAX_OPS	64

struct shared {
	int		stop;
	int		failed;
	unsigned long long seq;
	unsigned long long value;
	unsigned long long count[MAX_OPS];
	unsigned long long unchecked;
	unsigned long long refused;
	unsigned long long injected;
	unsigned long long moved;
	unsigned long long offlined;
	char		why[256];	/* what failed first */
	pid_t		pid[MAX_PROCS + 1];
	struct exact	exact[EXACT];
	struct racing	racing[RACING];
};

/* The mappings that a process has of a file, from its beginning. */
enum mapping {
	READ_ONLY,			/* shared */
	WRITABLE,			/* shared */
	PRIVATE,			/* never written to */
	MAPPINGS
};

static const char * const mapping_name[MAPPINGS] = {
	"shared mapping", "writable mapping", "private mapping",
};

/* A process's own view of a file; the model in it is everybody's. */
struct handle {
	struct pc_file	*f;
	uint32_t	gen;
	unsigned char	*map[MAPPINGS];
};

static struct shared *sh;
static struct pc_fs fs = { .img_fd = -1 };
static char cgroup[256];
static size_t bsize = 4096;
static unsigned long long seed;
static bool own_fs = true;

/* What fails on purpose, and which operations stand it. */
enum {
	NO_MEMORY	= 1,
	NO_IO		= 2,
};

static int inject;			/* one of them, or 0 */

/* of this process */
static int me;
static uint64_t rnd;
static struct handle exact[EXACT], racing[RACING];
static unsigned char *buf;
static struct event now;		/* what it is doing */
static int make_it_fail = -1;		/* in /proc */
static bool failing;			/* may this process fail now? */

static uint64_t below(uint64_t n)
{
	return n ? pc_rand(&rnd) % n : 0;
}

static size_t down(size_t x)
{
	return x / bsize * bsize;
}

static bool stopped(void)
{
	return __atomic_load_n(&sh->stop, __ATOMIC_SEQ_CST);
}

static void add(unsigned long long *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* Injected failures */

#define DEBUG_FS	"/sys/kernel/debug/"

struct knob {
	const char	*name, *on, *off;
};

/* The kernel's own defaults, as for whom comes after. */
static const struct knob knobs[] = {
	{ "interval", "1", "1" },
	{ "times", "-1", "1" },
	{ "space", "0", "0" },
	{ "verbose", "0", "2" },
	{ "task-filter", "Y", "N" },
};

/* Sleeping allocations fail, too, and single pages. */
static const struct knob memory_knobs[] = {
	{ "ignore-gfp-wait", "N", "Y" },
	{ "ignore-gfp-highmem", "N", "Y" },
	{ "min-order", "0", "1" },
};

static int turn_knobs(const char *what, const struct knob *knob, size_t n,
		      bool on)
{
	char path[128];
	int ret;

	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), DEBUG_FS "%s/%s", what,
			 knob[i].name);
		ret = pc_write_str(path, on ? knob[i].on : knob[i].off);
		/* failslab and fail_page_alloc have not got the same ones. */
		if (ret && (ret != -ENOENT || knob != memory_knobs)) {
			errno = -ret;
			return pc_err("%s", path);
		}
	}
	return 0;
}

/* Per cent of all chances in a process that has it switched on. */
static int turn(const char *what, const char *percent)
{
	bool on = *percent != '0', memory = inject == NO_MEMORY;
	char path[128];
	int ret;

	snprintf(path, sizeof(path), DEBUG_FS "%s/probability", what);
	ret = turn_knobs(what, knobs, ARRAY_SIZE(knobs), on);
	if (!ret && memory)
		ret = turn_knobs(what, memory_knobs, ARRAY_SIZE(memory_knobs),
				 on);
	return ret ?: pc_write_str(path, percent);
}

/* 0, -errno, or 1 and why not. */
static int inject_on(void)
{
	char path[128];
	struct stat st;

	if (inject == NO_MEMORY) {
		if (access(DEBUG_FS "failslab", F_OK) ||
		    access(DEBUG_FS "fail_page_alloc", F_OK))
			goto none;
		return turn("failslab", "5") ?: turn("fail_page_alloc", "5");
	}
	if (access(DEBUG_FS "fail_make_request", F_OK))
		goto none;
	if (!own_fs) {
		snprintf(fs.why, sizeof(fs.why), "reads fail on a device of one's own");
		return 1;
	}
	if (stat(fs.dev, &st))
		return pc_err("%s", fs.dev);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/make-it-fail",
		 major(st.st_rdev), minor(st.st_rdev));
	return pc_write_str(path, "1") ?: turn("fail_make_request", "40");
none:
	snprintf(fs.why, sizeof(fs.why), "no fault injection in debugfs");
	return 1;
}

static void inject_off(void)
{
	if (inject == NO_MEMORY) {
		turn("failslab", "0");
		turn("fail_page_alloc", "0");
	} else if (inject == NO_IO) {
		turn("fail_make_request", "0");
	}
}

/* From here on this process may fail, and says nothing of it; or not. */
static void may_fail(bool on)
{
	if (make_it_fail < 0 || on == failing)
		return;
	failing = on;
	pc_hush(on);
	if (pwrite(make_it_fail, on ? "1" : "0", 1, 0) != 1)
		pc_err("make-it-fail");
}

/* What an operation may return that was made to fail. */
static bool is_injected(int err)
{
	switch (-err) {
	case ENOMEM:
	case EIO:
	case EAGAIN:			/* fork(), and writes half done */
	case ENFILE:			/* what pipe() makes of ENOMEM */
	case ENOBUFS:
	case EFAULT:			/* a page of ours that cannot be had */
	case EINVAL:			/* clones half done */
		return true;
	default:
		return false;
	}
}

/* Histories */

static void remember(struct history *h)
{
	uint64_t nr = __atomic_fetch_add(&h->nr, 1, __ATOMIC_RELAXED);

	h->ev[nr % HISTORY] = now;
}

static void say(const struct event *e)
{
	pc_log("  op %llu proc %d %s %zu+%zu%s", e->seq, e->proc, e->op,
	       e->off, e->len, e->other < 0 ? "" : " other:");
	if (e->other >= 0)
		pc_log("      file %d at %zu", e->other, e->other_off);
}

static void tell_history(const char *name, const struct history *h)
{
	uint64_t from = h->nr > HISTORY ? h->nr - HISTORY : 0;

	pc_log("last changes of %s, oldest first:", name);
	for (uint64_t i = from; i < h->nr; i++)
		say(&h->ev[i % HISTORY]);
}

/* The first failure of all processes is told, then the others stop. */
static void fail(const char *kind, int nr, int err)
{
	char name[32];

	if (__atomic_exchange_n(&sh->failed, 1, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&sh->stop, 1, __ATOMIC_SEQ_CST);
	snprintf(sh->why, sizeof(sh->why),
		 "FAILED: seed %llu, op %llu, process %d: %s on %s%d, offset %zu, length %zu: %s",
		 seed, now.seq, me, now.op, kind, nr, now.off, now.len,
		 err == -EILSEQ ? "wrong content" : strerror(-err));
	pc_log("%s", sh->why);
	snprintf(name, sizeof(name), "%s%d", kind, nr);
	tell_history(name, *kind == 'e' ? &sh->exact[nr].hist :
					  &sh->racing[nr].hist);
	if (now.other >= 0) {
		snprintf(name, sizeof(name), "%s%d", kind, now.other);
		tell_history(name, *kind == 'e' ?
			     &sh->exact[now.other].hist :
			     &sh->racing[now.other].hist);
	}
}

static void on_signal(int sig)
{
	/* Not safe in a handler, and better than nothing. */
	pc_log("seed %llu: signal %d in process %d, op %llu: %s, file %d, %zu+%zu",
	       seed, sig, me, now.seq, now.op ?: "?", now.file, now.off,
	       now.len);
	__atomic_store_n(&sh->failed, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&sh->stop, 1, __ATOMIC_SEQ_CST);
	_exit(1);
}

/* Handles */

/* All that can be mapped of a file, be it there or not. */
static size_t map_len(const struct handle *h)
{
	return h >= racing && h < racing + RACING ? CELLS * PC_PAGE : MAX_SIZE;
}

static void unmap(struct handle *h, enum mapping kind)
{
	bool was = failing;

	/* To split what mlock() has merged takes memory. */
	may_fail(false);
	if (h->map[kind])
		munmap(h->map[kind], map_len(h));
	h->map[kind] = NULL;
	may_fail(was);
}

static void unmap_all(struct handle *h)
{
	for (int kind = 0; kind < MAPPINGS; kind++)
		unmap(h, kind);
}

/* With the lock of the file held. */
static int get(struct handle *h, uint32_t gen)
{
	/* Mappings outlive the descriptor, but are of no use for another file. */
	if (h->gen != gen)
		unmap_all(h);
	else if (h->f->fd >= 0)
		return 0;
	h->gen = gen;
	/*
	 * A read that also updated the time would do it in a transaction, which
	 * has to end with a shutdown if then an inode cannot be read.
	 */
	return pc_reopen(h->f, O_RDWR | (inject ? O_NOATIME : 0));
}

/* To another address, with all the page tables that it has. */
static void move_map(struct handle *h, enum mapping kind)
{
	size_t len = map_len(h);
	void *to, *p;

	to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		return;
	p = mremap(h->map[kind], len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	/*
	 * If mlock() or madvise() has split it, or memory is short, it cannot be
	 * moved, or only the first part of it was: then it is mapped anew.
	 */
	if (p == MAP_FAILED) {
		munmap(to, len);
		unmap(h, kind);
	} else {
		h->map[kind] = p;
	}
}

/* The mapping, which may have been there for long. */
static unsigned char *get_map(struct handle *h, enum mapping kind)
{
	int prot = PROT_READ | (kind == WRITABLE ? PROT_WRITE : 0);
	void *p;

	if (h->map[kind] && !below(100))
		unmap(h, kind);
	else if (h->map[kind] && !below(50))
		move_map(h, kind);
	if (h->map[kind])
		return h->map[kind];
	p = mmap(NULL, map_len(h), prot,
		 kind == PRIVATE ? MAP_PRIVATE : MAP_SHARED, h->f->fd, 0);
	if (p == MAP_FAILED) {
		pc_err("mmap %s", h->f->path);
		return NULL;
	}
	/* Then a fault reads as large a folio as there can be. */
	if (below(2))
		madvise(p, map_len(h), MADV_HUGEPAGE);
	h->map[kind] = p;
	return p;
}

/* From a mapping: -EFAULT if there is a page that cannot be had. */
static int copy_mapped(void *to, const unsigned char *from, size_t len)
{
	if (!pc_copy_raises_bus(to, from, len))
		return 0;
	if (!failing)
		pc_log("SIGBUS by the mapping");
	return -EFAULT;
}

/*
 * iomap refuses direct I/O with EIO ("Direct I/O collision with buffered
 * writes!") when it finds a delayed allocation.  Seen rarely on XFS of 7.3.4
 * without any sharing, and with no page fault going on: once for a second of
 * retries.  So write back and try again, then believe it only if the delayed
 * allocation can be seen.  EIO for another reason is a failure.
 */
static bool refused(struct pc_file *f, int err, int *tries)
{
	if (err != -EIO)
		return false;
	add(&sh->refused);
	fsync(f->fd);
	return ++*tries < 5;
}

static bool stays_refused(struct pc_file *f, int err, size_t off, size_t len)
{
	size_t at;

	if (err != -EIO)
		return false;
	for (at = down(off); at < off + len; at += bsize)
		if (pc_delalloc(f, at, bsize))
			break;
	pc_log("%s: direct I/O %zu+%zu stays refused, size %zu, delayed allocation at %zd",
	       f->path, off, len, f->m->size,
	       at < off + len ? (ssize_t)at : -1);
	return at < off + len;
}

static ssize_t read_via(struct pc_file *f, enum pc_via via, size_t off,
			size_t len)
{
	int tries = 0;
	ssize_t n;

	do {
		n = pc_read_via(f->fd, f->path, via, buf, off, len);
	} while (via == PC_DIRECT && refused(f, n, &tries));
	if (via == PC_DIRECT && stays_refused(f, n, off, len))
		n = pc_read_via(f->fd, f->path, PC_READ, buf, off, len);
	return n;
}

static int write_direct(struct pc_file *f, size_t off, size_t len,
			uint64_t value)
{
	int tries = 0, ret;

	do {
		ret = pc_write_direct(f, off, len, value);
	} while (refused(f, ret, &tries));
	if (stays_refused(f, ret, off, len))
		ret = pc_write(f, off, len, value);
	return ret;
}

/* Operations on exact files; x is locked as the table says, y is the other. */

typedef int (*exact_op)(int x, int y);

static struct pc_file *file(int i)
{
	return exact[i].f;
}

static size_t size_of(int i)
{
	return file(i)->m->size;
}

/* A range inside of the file, in blocks; false if there is none. */
static bool blocks_inside(int x, size_t *off, size_t *len)
{
	size_t blocks = size_of(x) / bsize;

	if (!blocks)
		return false;
	*off = below(blocks) * bsize;
	*len = (1 + below(blocks - *off / bsize)) * bsize;
	if (*len > IO_MAX)
		*len = down(IO_MAX) ?: bsize;
	now.off = *off;
	now.len = *len;
	return true;
}

/* Any range that ends before max. */
static bool range_before(size_t max, size_t *off, size_t *len)
{
	if (!max)
		return false;
	*off = below(max);
	*len = 1 + below(max - *off);
	if (*len > IO_MAX)
		*len = 1 + below(IO_MAX);
	now.off = *off;
	now.len = *len;
	return true;
}

static int read_by(int x, enum pc_via via)
{
	size_t size = size_of(x), off, len, want;
	char what[32];
	ssize_t n;

	if (!range_before(via == PC_MMAP ? size : size + PC_PAGE, &off, &len))
		return NOTHING;
	if (via == PC_DIRECT) {
		off &= ~(PC_PAGE - 1);
		len = (len + PC_PAGE - 1) & ~(PC_PAGE - 1);
	}
	now.off = off;
	now.len = len;
	want = off >= size ? 0 : size - off < len ? size - off : len;
	n = read_via(file(x), via, off, len);
	if (n < 0)
		return n;
	snprintf(what, sizeof(what), "e%d by %s", x, pc_via_name(via));
	if ((size_t)n != want) {
		pc_log("%s: %zd bytes of %zu, size is %zu", what, n, want,
		       size);
		return -EILSEQ;
	}
	return pc_compare(what, file(x)->m->data + off, buf, want, off);
}

/* By a mapping that may have been there for long: stale page tables show. */
static int do_old_mapping(int x, int y)
{
	enum mapping kind = below(MAPPINGS);
	struct pc_model *m = file(x)->m;
	size_t off = 0, len = 0, tail, end;
	unsigned char *map;
	char what[48];
	int ret;

	if (m->size && !range_before(m->size, &off, &len))
		return NOTHING;
	map = get_map(&exact[x], kind);
	if (!map)
		return -ENOMEM;
	ret = copy_mapped(buf, map + off, len);
	snprintf(what, sizeof(what), "e%d by its %s", x, mapping_name[kind]);
	if (!ret)
		ret = pc_compare(what, m->data + off, buf, len, off);
	if (ret || off + len != m->size)
		return ret;
	/* Behind the end of the file its last page is zero... */
	tail = -m->size & (PC_PAGE - 1);
	end = m->size + tail;
	if (tail) {
		ret = copy_mapped(buf, map + m->size, tail);
		memset(buf + PC_PAGE, 0, tail);
		snprintf(what, sizeof(what), "e%d behind its end", x);
		if (!ret)
			ret = pc_compare(what, buf + PC_PAGE, buf, tail,
					 m->size);
	}
	/* ...and there is no other page, whatever was there once. */
	if (!ret && end < MAX_SIZE) {
		size_t page = below((MAX_SIZE - end) / PC_PAGE);

		now.off = end + page * PC_PAGE;
		now.len = 1;
		if (!pc_touch_raises_bus(map + now.off)) {
			pc_log("%s: a page at %zu, size is %zu", what, now.off,
			       m->size);
			ret = -EILSEQ;
		}
	}
	return ret;
}

static int do_whole(int x, int y)
{
	now.len = size_of(x);
	return pc_verify(file(x), below(2) ? PC_READ : PC_SPLICE);
}

static int do_private_write(int x, int y)
{
	struct pc_model *m = file(x)->m;
	unsigned char *map;
	size_t page, len;
	int ret;

	if (!m->size)
		return NOTHING;
	page = below(m->size) & ~(PC_PAGE - 1);
	len = m->size - page < PC_PAGE ? m->size - page : PC_PAGE;
	now.off = page;
	now.len = len;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, file(x)->fd,
		   page);
	if (map == MAP_FAILED)
		return pc_err("mmap");
	map[0] ^= 0xff;
	ret = map[0] == (m->data[page] ^ 0xff) ? 0 : -EILSEQ;
	if (!ret)
		ret = pc_compare("private mapping", m->data + page + 1, map + 1,
				 len - 1, page + 1);
	munmap(map, len);
	return ret;
}

static int do_fadvise(int x, int y)
{
	/* How it is read ahead decides how large folios are. */
	static const int advice[] = {
		POSIX_FADV_DONTNEED, POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED,
		POSIX_FADV_WILLNEED, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
		POSIX_FADV_NORMAL,
	};
	size_t off = below(size_of(x) + 1), len = below(KIB(64));

	now.off = off;
	now.len = len;
	posix_fadvise(file(x)->fd, off, len, advice[below(ARRAY_SIZE(advice))]);
	remember(&sh->exact[x].hist);
	return 0;
}

/* What of a mapping's pages can be done without a change to what they hold. */

/*
 * len bytes from off on, which must be in the file.  Not ADV_POPULATE_WRITE: that
 * makes blocks to be allocated, and a direct read that meets one in the making
 * gets EIO, on any kernel.
 */
static int advise(struct handle *h, size_t off, size_t len)
{
	static const int advice[] = {
		MADV_DONTNEED, ADV_COLD, ADV_PAGEOUT, ADV_PAGEOUT, MADV_WILLNEED,
		ADV_POPULATE_READ, MADV_RANDOM, MADV_NORMAL,
	};
	unsigned char *map = get_map(h, below(MAPPINGS));

	if (!map)
		return -ENOMEM;
	off &= ~(PC_PAGE - 1);
	madvise(map + off, len, advice[below(ARRAY_SIZE(advice))]);
	return 0;
}

static int lock_pages(struct handle *h, size_t off, size_t len)
{
	unsigned char *map = get_map(h, below(MAPPINGS));

	if (!map)
		return -ENOMEM;
	/* All of it unlocked, or in the end everything were locked. */
	if (below(2))
		munlock(map, map_len(h));
	else
		mlock(map + off, len);
	return 0;
}

/* Each page to any of two nodes. */
static int move_pages(struct handle *h, size_t off, size_t len)
{
	int node[IO_MAX / PC_PAGE + 2], status[IO_MAX / PC_PAGE + 2];
	void *page[IO_MAX / PC_PAGE + 2];
	unsigned char *map;
	size_t n = 0;

	map = get_map(h, below(MAPPINGS));
	if (!map)
		return -ENOMEM;
	for (size_t at = off & ~(PC_PAGE - 1); at < off + len; at += PC_PAGE) {
		/* What is not mapped is not moved. */
		if (below(4) && pc_touch_raises_bus(map + at))
			return -EFAULT;
		page[n] = map + at;
		node[n] = below(2);
		status[n++] = -1;
	}
	/* On a machine with one node, or busy pages, some or all stay. */
	syscall(__NR_move_pages, 0, n, page, node, status, MOVE_ALL);
	for (size_t i = 0; i < n; i++)
		if (status[i] == node[i])
			add(&sh->moved);
	return 0;
}

/* The page frame of a mapped page, or 0. */
static unsigned long frame(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)page / PC_PAGE * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* A page that is about to go bad: what it holds must come away from it. */
static int soft_offline(struct handle *h, size_t off, size_t len)
{
	unsigned char *map = get_map(h, below(MAPPINGS));
	unsigned long pfn;
	char text[32];

	if (!map)
		return -ENOMEM;
	/* Not many: only here are they given back. */
	if (!own_fs || access(UNPOISON, W_OK) ||
	    __atomic_load_n(&sh->offlined, __ATOMIC_RELAXED) >= OFFLINES)
		return NOTHING;
	off &= ~(PC_PAGE - 1);
	if (pc_touch_raises_bus(map + off))
		return -EFAULT;
	pfn = frame(map + off);
	if (!pfn || madvise(map + off, PC_PAGE, ADV_SOFT_OFFLINE))
		return NOTHING;
	add(&sh->offlined);
	/* If another was faster, it is another frame that was taken. */
	snprintf(text, sizeof(text), "%lu", pfn);
	pc_write_str(UNPOISON, text);
	return 0;
}

/* Does that to a part of an exact file. */
static int treat(int x, int (*fn)(struct handle *h, size_t off, size_t len))
{
	size_t off, len;

	if (!range_before(size_of(x), &off, &len))
		return NOTHING;
	return fn(&exact[x], off, len);
}

static int do_madvise(int x, int y)
{
	return treat(x, advise);
}

static int do_mlock(int x, int y)
{
	return treat(x, lock_pages);
}

static int do_move_pages(int x, int y)
{
	return treat(x, move_pages);
}

static int do_soft_offline(int x, int y)
{
	return treat(x, soft_offline);
}

/* A child with the same mappings: what it reads, 0 or -EILSEQ. */
static int in_child(int (*fn)(int nr, int none), int nr)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return pc_err("fork");
	if (!pid) {
		int ret;

		/* The switch is the parent's; this one inherited how it was. */
		make_it_fail = -1;
		ret = fn(nr, 0);
		_exit(ret < 0 && !(failing && is_injected(ret)));
	}
	if (waitpid(pid, &status, 0) != pid)
		return pc_err("waitpid");
	return status ? -EILSEQ : 0;
}

static int do_fork(int x, int y)
{
	return in_child(do_old_mapping, x);
}

static int do_fsync(int x, int y)
{
	if (below(2) ? fsync(file(x)->fd) : fdatasync(file(x)->fd))
		return pc_err("fsync");
	return 0;
}

/* Closed here, it may be evicted. */
static int do_close(int x, int y)
{
	if (below(2))
		unmap_all(&exact[x]);
	pc_shut(file(x));
	return 0;
}

/* Equal blocks become one, unequal ones do not: seen through the cache. */
static int do_dedupe(int x, int y)
{
	size_t off, len;
	bool equal;
	int ret;

	if (x == y || !blocks_inside(x, &off, &len))
		return NOTHING;
	if (off + len > down(size_of(y)))
		return NOTHING;
	now.other_off = off;
	equal = !memcmp(file(x)->m->data + off, file(y)->m->data + off,
			len);
	ret = pc_dedupe(file(x), off, file(y), off, len);
	remember(&sh->exact[x].hist);
	if (ret < 0)
		return ret;
	if (ret != !equal) {
		pc_log("dedupe says %s, but they are %s",
		       ret ? "they differ" : "equal",
		       equal ? "equal" : "different");
		return -EILSEQ;
	}
	return 0;
}

static int do_unshare(int x, int y)
{
	size_t off, len;

	if (!blocks_inside(x, &off, &len))
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), FALLOC_FL_UNSHARE_RANGE, off, len);
}

/* From here on with the lock held exclusively. */

static int do_write(int x, int y)
{
	size_t max = size_of(x) + KIB(8), off, len;

	range_before(max < MAX_SIZE ? max : MAX_SIZE, &off, &len);
	remember(&sh->exact[x].hist);
	return pc_write(file(x), off, len, now.seq);
}

static int do_write_blocks(int x, int y)
{
	size_t off, len;

	if (!blocks_inside(x, &off, &len))
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_write(file(x), off, len, now.seq);
}

static int do_append(int x, int y)
{
	size_t len = 1 + below(KIB(12));

	if (size_of(x) + len > MAX_SIZE)
		return NOTHING;
	now.off = size_of(x);
	now.len = len;
	remember(&sh->exact[x].hist);
	return pc_append(file(x), len, now.seq);
}

static int do_direct_write(int x, int y)
{
	size_t unit = below(4) ? PC_PAGE : 512, off, len;
	size_t max = (size_of(x) + KIB(8)) / unit;

	if (max > MAX_SIZE / unit)
		max = MAX_SIZE / unit;
	off = below(max);
	len = 1 + below(max - off);
	if (len > 8)
		len = 1 + below(8);
	now.off = off * unit;
	now.len = len * unit;
	remember(&sh->exact[x].hist);
	return write_direct(file(x), now.off, now.len, now.seq);
}

static int do_mmap_write(int x, int y)
{
	unsigned char *map;
	size_t off, len;

	if (!range_before(size_of(x), &off, &len))
		return NOTHING;
	map = get_map(&exact[x], WRITABLE);
	if (!map)
		return -ENOMEM;
	remember(&sh->exact[x].hist);
	pc_fill(map + off, len, now.seq, off);
	pc_model_write(file(x)->m, off, len, now.seq);
	/* Written back by this process: a failure would lose the data. */
	may_fail(false);
	if (!below(8) && msync(map, MAX_SIZE, MS_SYNC))
		return pc_err("msync");
	return 0;
}

static int do_truncate(int x, int y)
{
	size_t size = size_of(x);

	switch (below(3)) {
	case 0:
		size = down(below(size + 1));
		break;
	case 1:
		size = below(size + 1);
		break;
	default:
		size += below(KIB(20));
		break;
	}
	if (size > MAX_SIZE)
		return NOTHING;
	now.off = size;
	remember(&sh->exact[x].hist);
	return pc_truncate(file(x), size);
}

static int do_punch(int x, int y)
{
	size_t off, len;

	if (below(2) ? !blocks_inside(x, &off, &len) :
		       !range_before(size_of(x), &off, &len))
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    off, len);
}

static int do_zero(int x, int y)
{
	int mode = FALLOC_FL_ZERO_RANGE;
	size_t off, len;

	if (below(2) ? !blocks_inside(x, &off, &len) :
		       !range_before(size_of(x) + KIB(4), &off, &len))
		return NOTHING;
	if (off + len > MAX_SIZE)
		return NOTHING;
	if (below(2))
		mode |= FALLOC_FL_KEEP_SIZE;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), mode, off, len);
}

static int do_fallocate(int x, int y)
{
	size_t off, len;

	range_before(size_of(x) + KIB(8), &off, &len);
	if (off + len > MAX_SIZE)
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), below(2) ? FALLOC_FL_KEEP_SIZE : 0, off,
			    len);
}

static int do_collapse(int x, int y)
{
	size_t off, len;

	if (!blocks_inside(x, &off, &len) || off + len >= size_of(x))
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), FALLOC_FL_COLLAPSE_RANGE, off, len);
}

static int do_insert(int x, int y)
{
	size_t off, len;

	if (!blocks_inside(x, &off, &len) || off >= size_of(x) ||
	    size_of(x) + len > MAX_SIZE)
		return NOTHING;
	remember(&sh->exact[x].hist);
	return pc_fallocate(file(x), FALLOC_FL_INSERT_RANGE, off, len);
}

/* Blocks of y, which is locked shared, or of x itself, into x. */
static int do_clone_range(int x, int y)
{
	size_t soff, len, doff;

	if (!blocks_inside(y, &soff, &len))
		return NOTHING;
	/* Half of the time at the same offset. */
	doff = below(2) ? soff : below(MAX_SIZE / bsize) * bsize;
	if (doff + len > MAX_SIZE)
		return NOTHING;
	if (x == y && doff < soff + len && soff < doff + len)
		return NOTHING;
	now.off = doff;
	now.len = len;
	now.other_off = soff;
	remember(&sh->exact[x].hist);
	return pc_clone_range(file(x), doff, file(y), soff, len);
}

/* All of y, its partial last block too. */
static int do_clone(int x, int y)
{
	if (x == y)
		return NOTHING;
	remember(&sh->exact[x].hist);
	if (size_of(x) > size_of(y) && pc_truncate(file(x), 0))
		return -EIO;
	return pc_clone_range(file(x), 0, file(y), 0, 0);
}

/* The name gets a new inode, a clone of y. */
static int do_recreate(int x, int y)
{
	struct exact *e = &sh->exact[x];
	int ret;

	if (x == y)
		return NOTHING;
	remember(&e->hist);
	if (unlink(file(x)->path))
		return pc_err("unlink");
	e->gen++;
	pc_model_truncate(file(x)->m, 0);
	unmap_all(&exact[x]);
	ret = pc_reopen(file(x), O_RDWR | O_CREAT | O_EXCL);
	if (ret)
		return ret;
	exact[x].gen = e->gen;
	ret = pc_clone_range(file(x), 0, file(y), 0, 0);
	if (!ret && below(2) && fsync(file(x)->fd))
		ret = pc_err("fsync");
	return ret;
}

/* y's bytes into blocks of x's own: something to deduplicate. */
static int do_duplicate(int x, int y)
{
	size_t off, len;

	if (x == y || !blocks_inside(y, &off, &len) || off + len > MAX_SIZE)
		return NOTHING;
	remember(&sh->exact[x].hist);
	errno = 0;
	if (pwrite(file(x)->fd, file(y)->m->data + off, len, off) !=
	    (ssize_t)len)
		return pc_err("write");
	pc_model_copy(file(x)->m, off, file(y)->m, off, len);
	return 0;
}

static int do_copy_range(int x, int y)
{
	size_t soff, len, doff;

	if (x == y || !range_before(size_of(y), &soff, &len))
		return NOTHING;
	doff = below(2) ? soff : below(MAX_SIZE);
	if (doff + len > MAX_SIZE)
		return NOTHING;
	now.off = doff;
	now.other_off = soff;
	remember(&sh->exact[x].hist);
	return pc_copy_range(file(x), doff, file(y), soff, len);
}

/* Both locked exclusively. */
static int do_exchange(int x, int y)
{
	size_t xoff, yoff, len;

	if (!blocks_inside(x, &xoff, &len))
		return NOTHING;
	yoff = below(2) ? xoff : below(size_of(y) / bsize + 1) * bsize;
	if (yoff + len > down(size_of(y)))
		return NOTHING;
	if (x == y && xoff < yoff + len && yoff < xoff + len)
		return NOTHING;
	now.other_off = yoff;
	remember(&sh->exact[x].hist);
	if (x != y)
		remember(&sh->exact[y].hist);
	return pc_exchange(file(x), xoff, file(y), yoff, len);
}

enum mode {
	R,	/* x shared */
	W,	/* x exclusive */
	RR,	/* both shared */
	WR,	/* x exclusive, y shared */
	WW,	/* both exclusive */
};

static const struct {
	const char	*name;
	exact_op	fn;		/* NULL: read_by() via */
	enum mode	mode;
	unsigned int	weight;
	enum pc_via	via;
	int		stands;		/* which failures */
} ops[] = {
	{ "read", NULL, R, 14, PC_READ, NO_MEMORY | NO_IO },
	{ "pread", NULL, R, 4, PC_PREAD, NO_MEMORY | NO_IO },
	{ "readv", NULL, R, 4, PC_READV, NO_MEMORY | NO_IO },
	{ "splice", NULL, R, 5, PC_SPLICE, NO_MEMORY | NO_IO },
	{ "sendfile", NULL, R, 3, PC_SENDFILE, NO_MEMORY | NO_IO },
	{ "mmap read", NULL, R, 4, PC_MMAP, NO_MEMORY },
	{ "direct read", NULL, R, 5, PC_DIRECT },
	{ "old mapping", do_old_mapping, R, 10, .stands = NO_MEMORY | NO_IO },
	{ "read all", do_whole, R, 8, .stands = NO_MEMORY | NO_IO },
	{ "private write", do_private_write, R, 2, .stands = NO_MEMORY },
	{ "fadvise", do_fadvise, R, 8 },
	{ "madvise", do_madvise, R, 6, .stands = NO_MEMORY },
	{ "mlock", do_mlock, R, 2, .stands = NO_MEMORY },
	{ "move pages", do_move_pages, R, 3, .stands = NO_MEMORY },
	{ "soft offline", do_soft_offline, R, 1 },
	{ "fork", do_fork, R, 1, .stands = NO_MEMORY },
	{ "fsync", do_fsync, R, 4 },
	{ "close", do_close, R, 3 },
	{ "dedupe", do_dedupe, RR, 4, .stands = NO_MEMORY },
	{ "unshare", do_unshare, R, 2, .stands = NO_MEMORY },
	{ "write", do_write, W, 6, .stands = NO_MEMORY },
	{ "write blocks", do_write_blocks, W, 4, .stands = NO_MEMORY },
	{ "append", do_append, W, 2, .stands = NO_MEMORY },
	{ "direct write", do_direct_write, W, 5 },
	{ "mmap write", do_mmap_write, W, 5, .stands = NO_MEMORY },
	{ "truncate", do_truncate, W, 4, .stands = NO_MEMORY },
	{ "punch", do_punch, W, 2, .stands = NO_MEMORY },
	{ "zero range", do_zero, W, 2, .stands = NO_MEMORY },
	{ "fallocate", do_fallocate, W, 1, .stands = NO_MEMORY },
	{ "collapse", do_collapse, W, 2 },
	{ "insert", do_insert, W, 2 },
	{ "clone range", do_clone_range, WR, 8, .stands = NO_MEMORY },
	{ "clone", do_clone, WR, 5, .stands = NO_MEMORY },
	{ "recreate", do_recreate, WR, 2 },
	{ "duplicate", do_duplicate, WR, 2, .stands = NO_MEMORY },
	{ "copy_file_range", do_copy_range, WR, 2, .stands = NO_MEMORY },
	{ "exchange range", do_exchange, WW, 3 },
};

static void lock(int i, bool exclusive)
{
	int ret;

	ret = exclusive ? pthread_rwlock_wrlock(&sh->exact[i].lock) :
			  pthread_rwlock_rdlock(&sh->exact[i].lock);
	if (ret) {
		pc_log("rwlock of e%d: %s", i, strerror(ret));
		_exit(1);
	}
}

static void unlock(int i)
{
	pthread_rwlock_unlock(&sh->exact[i].lock);
}

static int run_op(unsigned int op, int x, int y)
{
	return ops[op].fn ? ops[op].fn(x, y) : read_by(x, ops[op].via);
}

/*
 * After an operation that failed half way: each page of x is what it was or
 * what it is now.  old and half have the content before, and then.
 */
static int check_half(int x, const unsigned char *old,
		      const unsigned char *half, size_t size)
{
	struct pc_model *m = file(x)->m;
	char what[32];

	for (size_t off = 0; off < size; off += PC_PAGE) {
		size_t len = size - off < PC_PAGE ? size - off : PC_PAGE;

		if (!memcmp(old + off, half + off, len) ||
		    !memcmp(m->data + off, half + off, len))
			continue;
		snprintf(what, sizeof(what), "e%d half way", x);
		pc_compare(what, old + off, half + off, len, off);
		return pc_compare(what, m->data + off, half + off, len, off);
	}
	return 0;
}

/* An operation that may fail; if it did, it is done again and must not. */
static int failing_op(unsigned int op, int x, int y, bool changes)
{
	static unsigned char *old, *half;
	struct pc_model *m = file(x)->m;
	uint64_t then = rnd;
	struct stat st;
	size_t size;
	ssize_t n;
	int ret;

	/* What is written back meanwhile would be lost by a failure. */
	if ((changes || ops[op].mode == RR) &&
	    (fsync(file(x)->fd) || fsync(file(y)->fd)))
		return pc_err("fsync");
	may_fail(true);
	ret = run_op(op, x, y);
	may_fail(false);
	if (ret >= 0 || !is_injected(ret))
		return ret;
	add(&sh->injected);
	if (!changes)
		return NOTHING;

	if (!old)
		old = malloc(MAX_SIZE);
	if (!half)
		half = malloc(MAX_SIZE);
	if (!old || !half)
		return -ENOMEM;
	memcpy(old, m->data, MAX_SIZE);
	size = m->size;
	if (fstat(file(x)->fd, &st))
		return pc_err("stat");
	if (st.st_size > MAX_SIZE)
		return -EFBIG;
	n = pc_read_via(file(x)->fd, file(x)->path, PC_READ, half, 0,
			st.st_size);
	if (n != st.st_size)
		return n < 0 ? n : -EILSEQ;
	/* What it appended is in the way of another append. */
	if (st.st_size != m->size && ftruncate(file(x)->fd, m->size))
		return pc_err("truncate");
	/* With the same numbers the same is done. */
	rnd = then;
	ret = run_op(op, x, y);
	if (ret)
		return ret < 0 ? ret : -EINVAL;
	if (st.st_size > m->size && st.st_size > size) {
		pc_log("e%d half way: size is %zu", x, (size_t)st.st_size);
		return -EILSEQ;
	}
	return check_half(x, old, half, st.st_size);
}

static int exact_step(unsigned int op)
{
	int x = below(EXACT), y = below(EXACT);
	enum mode mode = ops[op].mode;
	bool xw = mode == W || mode == WR || mode == WW, yw = mode == WW;
	bool two = mode == RR || mode == WR || mode == WW;
	int ret;

	/*
	 * What it makes dirty while others may fail is written back by those;
	 * and x and y of one that may are to stay clean for the moment.
	 */
	if (inject && (ops[op].fn == do_unshare || ops[op].fn == do_dedupe)) {
		xw = true;
		yw = two;
	} else if (inject && mode == WR) {
		yw = true;
	}
	now.file = x;
	now.other = two ? y : -1;
	/* In the order of their numbers. */
	if (two && y < x)
		lock(y, yw);
	lock(x, xw);
	if (two && y > x)
		lock(y, yw);

	ret = get(&exact[x], sh->exact[x].gen);
	if (!ret && two)
		ret = get(&exact[y], sh->exact[y].gen);
	if (!ret && (ops[op].stands & inject))
		ret = failing_op(op, x, two ? y : x, xw);
	else if (!ret)
		ret = run_op(op, x, y);
	if (ret < 0)
		fail("e", x, ret);

	if (two && y != x)
		unlock(y);
	unlock(x);
	return ret;
}

/* Racing files */

/* n pages that were read into buf, entered with those numbers. */
/* Whose bytes are these: which value, of which page? */
static void say_whose(const char *when, const unsigned char *bytes, size_t page)
{
	uint64_t last = __atomic_load_n(&sh->value, __ATOMIC_RELAXED);
	uint64_t want;

	for (uint64_t value = 1; value <= last; value++) {
		for (size_t i = 0; i < CELLS; i++) {
			pc_fill(&want, sizeof(want), value, i * PC_PAGE);
			if (!memcmp(&want, bytes, sizeof(want)))
				pc_log("  %s: page %zu has value %#llx of page %zu",
				       when, page, (unsigned long long)value, i);
		}
	}
}

/*
 * A page was not what it may be.  Was the page cache wrong, or only what the
 * reader got of it, or is it so on disk?
 */
static void inquire(int r, size_t page, const unsigned char *found)
{
	unsigned char *again = aligned_alloc(PC_PAGE, PC_PAGE);
	struct pc_file *f = racing[r].f;
	int fd;

	may_fail(false);
	say_whose("found", found, page);
	if (!again)
		return;
	memset(again, 0xcc, PC_PAGE);
	if (pread(f->fd, again, PC_PAGE, page * PC_PAGE) > 0)
		say_whose("read again", again, page);
	memset(again, 0xcc, PC_PAGE);
	fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd >= 0 && pread(fd, again, PC_PAGE, page * PC_PAGE) > 0)
		say_whose("on disk", again, page);
	close(fd);
	free(again);
}

static int race_judge(int r, const char *how, size_t page, size_t n,
		      const uint32_t *entered, bool tear)
{
	struct racing *race = &sh->racing[r];
	char what[48];

	snprintf(what, sizeof(what), "r%d by %s", r, how);
	for (size_t i = 0; i < n; i++) {
		int ret = pc_cell_check(what, &race->cell[page + i],
					entered[i], buf + i * PC_PAGE,
					page + i, tear);

		if (ret < 0) {
			inquire(r, page + i, buf + i * PC_PAGE);
			return ret;
		}
		if (ret)
			add(&sh->unchecked);
	}
	return 0;
}

static void race_enter(int r, size_t page, size_t n, uint32_t *entered)
{
	for (size_t i = 0; i < n; i++)
		entered[i] = pc_cell_enter(&sh->racing[r].cell[page + i]);
}

static int race_read(int r)
{
	static const enum pc_via via[] = {
		PC_READ, PC_READ, PC_READ, PC_SPLICE, PC_DIRECT
	};
	/* Direct reads write back what is dirty: they are not to fail. */
	enum pc_via how = via[below(ARRAY_SIZE(via) - failing)];
	size_t n = 1 + below(4), page = below(CELLS - n + 1);
	struct pc_file *f = racing[r].f;
	uint32_t entered[4];
	ssize_t got;

	now.off = page * PC_PAGE;
	now.len = n * PC_PAGE;
	race_enter(r, page, n, entered);
	if (how == PC_READ) {
		/* One call: what writers under a lock write is seen whole. */
		got = pread(f->fd, buf, now.len, now.off);
		if (got < 0)
			got = -errno;
	} else {
		got = read_via(f, how, now.off, now.len);
	}
	/* The first pages, if then one failed. */
	if (failing && got >= 0 && got < (ssize_t)now.len)
		return -EIO;
	if (got != (ssize_t)now.len)
		return got < 0 ? got : -EILSEQ;
	return race_judge(r, pc_via_name(how), page, n, entered,
			  how != PC_READ);
}

/* Pages by a mapping. */
static int race_look(int r, enum mapping kind, size_t page, size_t n)
{
	unsigned char *map = get_map(&racing[r], kind);
	uint32_t entered[CELLS];
	int ret;

	if (!map)
		return -ENOMEM;
	race_enter(r, page, n, entered);
	ret = copy_mapped(buf, map + page * PC_PAGE, n * PC_PAGE);
	return ret ?: race_judge(r, mapping_name[kind], page, n, entered, true);
}

/* The same few pages again and again, to be there when they are taken away. */
static int race_watch(int r, int none)
{
	size_t n = 1 + below(3), page = below(CELLS - n + 1);
	enum mapping kind = below(MAPPINGS);
	int times = 1 + below(16), ret = 0;

	now.off = page * PC_PAGE;
	now.len = n * PC_PAGE;
	while (!ret && times--)
		ret = race_look(r, kind, page, n);
	return ret;
}

/* Pages are taken away, moved, locked, while others read and write them. */
static int race_treat(int r)
{
	size_t n = 1 + below(6), page = below(CELLS - n + 1);
	struct handle *h = &racing[r];

	now.off = page * PC_PAGE;
	now.len = n * PC_PAGE;
	switch (below(16)) {
	case 0:
		return in_child(race_watch, r);
	case 1:
		return soft_offline(h, now.off, now.len);
	case 2 ... 4:
		return lock_pages(h, now.off, now.len);
	case 5 ... 10:
		return move_pages(h, now.off, now.len);
	default:
		return advise(h, now.off, now.len);
	}
}

static void begin(struct racing *r, size_t page, size_t n, uint64_t value,
		  bool whole)
{
	for (size_t i = 0; i < n; i++)
		pc_cell_begin(&r->cell[page + i], value, whole);
}

static void end(struct racing *r, size_t page, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pc_cell_end(&r->cell[page + i]);
}

static int race_change(int r, int how, size_t off, size_t len, uint64_t value)
{
	unsigned char *map = racing[r].map[WRITABLE];
	struct pc_file *f = racing[r].f;

	switch (how) {
	case 0:
		return pc_fallocate(f, FALLOC_FL_PUNCH_HOLE |
				    FALLOC_FL_KEEP_SIZE, off, len);
	case 1 ... 3:
		/* It writes back what is dirty: that must not be lost. */
		may_fail(false);
		return write_direct(f, off, len, value);
	case 4:
		pc_model_write(f->m, off, len, value);
		memcpy(map + off, f->m->data + off, len);
		return 0;
	case 5:
		return pc_fallocate(f, FALLOC_FL_ZERO_RANGE, off, len);
	default:
		return pc_write(f, off, len, value);
	}
}

static int race_write(int r)
{
	size_t n = 1 + below(3), page = below(CELLS - n + 1);
	size_t off = page * PC_PAGE, len = n * PC_PAGE;
	struct racing *race = &sh->racing[r];
	unsigned char *map;
	uint64_t value;
	int how, ret;

	now.off = off;
	now.len = len;
	map = get_map(&racing[r], WRITABLE);
	if (!map)
		return -ENOMEM;
	if (!below(8))
		madvise(map + off, len, ADV_POPULATE_WRITE);
	value = __atomic_add_fetch(&sh->value, 1, __ATOMIC_RELAXED);
	remember(&race->hist);
	how = below(8);
	begin(race, page, n, how == 0 || how == 5 ? 0 : value,
	      how == 0 || how >= 5);
	ret = race_change(r, how, off, len, value);
	/* Begun is begun: readers may have seen some of it. */
	if (ret < 0 && failing && is_injected(ret)) {
		may_fail(false);
		add(&sh->injected);
		ret = race_change(r, how, off, len, value);
	}
	if (ret)
		return ret;
	end(race, page, n);
	/* Nobody else writes: no mapping may show anything else any more. */
	return below(2) ? race_look(r, below(MAPPINGS), page, n) : 0;
}

/* Pages of s at the same place of r, while both are read. */
static int race_clone(int r, int s)
{
	size_t unit = bsize > PC_PAGE ? bsize / PC_PAGE : 1;
	size_t blocks = CELLS / unit, n = 1 + below(blocks);
	size_t page = below(blocks - n + 1) * unit;
	struct racing *to = &sh->racing[r], *from = &sh->racing[s];
	int ret;

	n *= unit;
	now.off = page * PC_PAGE;
	now.len = n * PC_PAGE;
	now.other = s;
	now.other_off = now.off;
	remember(&to->hist);
	for (size_t i = page; i < page + n; i++)
		pc_cell_begin(&to->cell[i], pc_cell_value(&from->cell[i]),
			      true);
	ret = pc_clone_range(racing[r].f, now.off, racing[s].f, now.off,
			     now.len);
	if (ret < 0 && failing && is_injected(ret)) {
		may_fail(false);
		add(&sh->injected);
		ret = pc_clone_range(racing[r].f, now.off, racing[s].f,
				     now.off, now.len);
	}
	if (!ret)
		end(to, page, n);
	return ret;
}

enum trouble {
	DROP_PAGES,
	DROP_INODES,
	DROP_ALL,
	RECLAIM,
	COMPACT,
	MIGRATE,
	UNPLUG,
	SYNC,
	FLIP,
	TROUBLES
};

static const char * const trouble_name[TROUBLES] = {
	"drop pages", "drop inodes", "drop all", "reclaim", "compact",
	"migrate", "unplug memory", "sync", "remount",
};

#define RACE_READ	ARRAY_SIZE(ops)
#define RACE_WRITE	(RACE_READ + 1)
#define RACE_CLONE	(RACE_READ + 2)
#define RACE_WATCH	(RACE_READ + 3)
#define RACE_TREAT	(RACE_READ + 4)
#define OPS		(RACE_READ + 5)

static_assert(OPS + TROUBLES <= MAX_OPS, "sh->count is too short");

static const char *op_name(unsigned int op)
{
	switch (op) {
	case RACE_READ:
		return "racing read";
	case RACE_WRITE:
		return "racing write";
	case RACE_CLONE:
		return "racing clone";
	case RACE_WATCH:
		return "racing mapping";
	case RACE_TREAT:
		return "racing advice";
	default:
		return ops[op].name;
	}
}

static int race_step(unsigned int op)
{
	int r = below(RACING), s = below(RACING), ret;
	bool injected = false;

	now.file = r;
	now.other = -1;
	if (op == RACE_CLONE && r == s)
		s = (s + 1) % RACING;
	ret = get(&racing[r], 0);
	if (!ret && op == RACE_CLONE)
		ret = get(&racing[s], 0);
	if (ret) {
		fail("r", r, ret);
		return ret;
	}
	switch (op) {
	case RACE_READ:
		if (!below(40)) {
			if (below(2))
				unmap_all(&racing[r]);
			pc_shut(racing[r].f);
		}
		ret = get(&racing[r], 0);
		may_fail(inject);
		ret = ret ?: race_read(r);
		injected = failing && is_injected(ret);
		/* This starts to write back. */
		may_fail(false);
		if (!below(16))
			posix_fadvise(racing[r].f->fd, 0, 0,
				      POSIX_FADV_DONTNEED);
		break;
	case RACE_WATCH:
		may_fail(inject);
		ret = race_watch(r, 0);
		break;
	case RACE_TREAT:
		may_fail(inject == NO_MEMORY);
		ret = race_treat(r);
		break;
	case RACE_WRITE:
		pthread_mutex_lock(&sh->racing[r].lock);
		may_fail(inject == NO_MEMORY);
		ret = race_write(r);
		pthread_mutex_unlock(&sh->racing[r].lock);
		break;
	default:
		pthread_mutex_lock(&sh->racing[r < s ? r : s].lock);
		pthread_mutex_lock(&sh->racing[r < s ? s : r].lock);
		may_fail(inject == NO_MEMORY);
		ret = race_clone(r, s);
		pthread_mutex_unlock(&sh->racing[r < s ? r : s].lock);
		pthread_mutex_unlock(&sh->racing[r < s ? s : r].lock);
		break;
	}
	injected |= failing && is_injected(ret);
	may_fail(false);
	if (injected) {
		add(&sh->injected);
		return NOTHING;
	}
	if (ret < 0)
		fail("r", r, ret);
	return ret;
}

/* Processes */

static unsigned int choose(void)
{
	static const unsigned int race[] = {
		RACE_READ, RACE_READ, RACE_READ, RACE_READ, RACE_READ,
		RACE_READ, RACE_READ, RACE_WATCH, RACE_WATCH, RACE_WATCH,
		RACE_WATCH, RACE_WRITE, RACE_WRITE, RACE_WRITE, RACE_WRITE,
		RACE_CLONE, RACE_CLONE, RACE_TREAT, RACE_TREAT,
	};
	static unsigned int total;
	unsigned int n;

	if (!total)
		for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
			total += ops[i].weight;
	/* A third of everything races. */
	if (!below(3))
		return race[below(ARRAY_SIZE(race))];
	n = below(total);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (n < ops[i].weight)
			return i;
		n -= ops[i].weight;
	}
	return 0;
}

static int work(void)
{
	int ret;

	signal(SIGBUS, on_signal);
	signal(SIGSEGV, on_signal);
	if (posix_memalign((void **)&buf, PC_PAGE, MAX_SIZE))
		return 1;
	if (inject) {
		make_it_fail = open("/proc/self/make-it-fail",
				    O_RDWR | O_CLOEXEC);
		if (make_it_fail < 0) {
			pc_err("make-it-fail");
			return 1;
		}
	}
	while (!stopped()) {
		unsigned int op = choose();

		now = (struct event) {
			.seq = __atomic_add_fetch(&sh->seq, 1,
						  __ATOMIC_RELAXED),
			.op = op_name(op),
			.proc = me,
			.other = -1,
		};
		ret = op < RACE_READ ? exact_step(op) : race_step(op);
		if (ret < 0)
			return 1;
		if (!ret)
			add(&sh->count[op]);
	}
	return 0;
}

static void on_alarm(int sig)
{
}

/* Gives a block of memory back, whatever it was before. */
static void plug(const char *path)
{
	for (int tries = 0; tries < 50; tries++) {
		if (!pc_write_str(path, "online"))
			return;
		usleep(100000);
	}
	pc_log("%s does not come back", path);
}

/* Takes a block of memory away: what is in it has to move. */
static int unplug(void)
{
	static const struct itimerval limit = { .it_value.tv_sec = 5 };
	static const struct itimerval none;
	struct sigaction sa = { .sa_handler = on_alarm };
	char path[300], state[16], chosen[300] = "";
	struct dirent *d;
	int seen = 0, ret;
	DIR *dir;

	dir = opendir(MEMORY);
	if (!dir)
		return NOTHING;
	while ((d = readdir(dir))) {
		if (strncmp(d->d_name, "memory", 6))
			continue;
		snprintf(path, sizeof(path), MEMORY "/%.32s/removable",
			 d->d_name);
		if (pc_read_str(path, state, sizeof(state)) <= 0 ||
		    *state != '1')
			continue;
		snprintf(path, sizeof(path), MEMORY "/%.32s/state", d->d_name);
		if (pc_read_str(path, state, sizeof(state)) <= 0 ||
		    strncmp(state, "online", 6))
			continue;
		if (!below(++seen))
			snprintf(chosen, sizeof(chosen), "%s", path);
	}
	closedir(dir);
	if (!seen)
		return NOTHING;
	/* It would wait for a page in use for ever: a signal ends that. */
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &limit, NULL);
	ret = pc_write_str(chosen, "offline");
	setitimer(ITIMER_REAL, &none, NULL);
	/* Kernel memory is in most blocks, which stay then. */
	if (ret)
		return NOTHING;
	usleep(1000 * below(200));
	plug(chosen);
	return 0;
}

/* What a worker has mapped goes from one node to the other. */
static int migrate(int procs)
{
	unsigned long from = 1 + below(2), to = 3 - from;

	if (syscall(__NR_migrate_pages, sh->pid[1 + below(procs)],
		    8 * sizeof(from), &from, &to) < 0)
		return NOTHING;
	return 0;
}

/* Background: takes pages away from under the others. */
static int trouble(bool flips, int procs)
{
	bool on = true;
	char path[300];
	int fd;

	fd = open(fs.mnt, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		pc_err("%s", fs.mnt);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/memory.reclaim", cgroup);
	while (!stopped()) {
		unsigned int what = below(TROUBLES);
		int ret = 0;

		/* Mostly sharing, or there is little to be tested. */
		if (what == FLIP && (!flips || (on && below(3))))
			what = RECLAIM;
		/* It takes long, and not everybody's memory is ours to take. */
		if (what == UNPLUG && (!own_fs || below(4)))
			what = MIGRATE;
		if (what == RECLAIM && !cgroup[0])
			what = DROP_PAGES;
		switch (what) {
		case DROP_PAGES:
			ret = pc_write_str("/proc/sys/vm/drop_caches", "1");
			break;
		case DROP_INODES:
			ret = pc_write_str("/proc/sys/vm/drop_caches", "2");
			break;
		case DROP_ALL:
			ret = pc_write_str("/proc/sys/vm/drop_caches", "3");
			break;
		case RECLAIM:
			/* Less than asked for is -EAGAIN, and all right. */
			pc_write_str(path, "2M");
			break;
		case COMPACT:
			/* Page migration. */
			pc_write_str("/proc/sys/vm/compact_memory", "1");
			break;
		case MIGRATE:
			ret = migrate(procs);
			break;
		case UNPLUG:
			ret = unplug();
			break;
		case SYNC:
			if (syncfs(fd))
				ret = -errno;
			break;
		case FLIP:
			on = !on;
			ret = pc_fs_remount(&fs, on ? "share_cache" :
						      "noshare_cache");
			break;
		}
		if (ret < 0) {
			errno = -ret;
			pc_err("%s", trouble_name[what]);
			__atomic_store_n(&sh->failed, 1, __ATOMIC_SEQ_CST);
			__atomic_store_n(&sh->stop, 1, __ATOMIC_SEQ_CST);
			return 1;
		}
		if (!ret)
			add(&sh->count[OPS + what]);
		usleep(1000 * (5 + below(60)));
	}
	close(fd);
	return 0;
}

static pid_t start(int nr, bool flips, int procs)
{
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me = nr;
	rnd = seed * 1000003 + nr * 7919;
	sh->pid[nr] = getpid();
	_exit(nr ? work() : trouble(flips, procs));
}

static double seconds_since(const struct timespec *t)
{
	struct timespec n;

	clock_gettime(CLOCK_MONOTONIC, &n);
	return n.tv_sec - t->tv_sec + (n.tv_nsec - t->tv_nsec) / 1e9;
}

/* Waits until the time is over or a process has failed; 0 or -errno. */
static int watch(pid_t *pid, int procs, double seconds)
{
	struct timespec begun, told;
	int left = procs, status;
	double grace = 180;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	told = begun;
	while (left) {
		pid_t dead = waitpid(-1, &status, WNOHANG);

		if (dead > 0) {
			for (int i = 0; i < procs; i++)
				if (pid[i] == dead)
					pid[i] = 0;
			left--;
			if (status) {
				pc_log("a process ended with status %#x",
				       status);
				sh->failed = 1;
				sh->stop = 1;
			}
			continue;
		}
		if (seconds_since(&begun) > seconds)
			__atomic_store_n(&sh->stop, 1, __ATOMIC_SEQ_CST);
		/* Some may wait for the lock of one that died. */
		if (sh->failed)
			grace = 20;
		if (stopped() && seconds_since(&begun) > seconds + grace) {
			for (int i = 0; i < procs; i++)
				if (pid[i])
					kill(pid[i], SIGKILL);
			pc_log("%d processes did not come to an end", left);
			sh->failed = 1;
			/* Unless they cannot be killed at all. */
			usleep(500000);
			return -ETIMEDOUT;
		}
		if (sh->failed)
			seconds = seconds_since(&begun) < seconds ?
				  seconds_since(&begun) : seconds;
		if (seconds_since(&told) > 30) {
			clock_gettime(CLOCK_MONOTONIC, &told);
			pc_log("%.0f s, %llu operations",
			       seconds_since(&begun), sh->seq);
		}
		usleep(50000);
	}
	return sh->failed ? -EIO : 0;
}

/* Files */

static int make_file(struct handle *h, const char *kind, int nr, size_t cap)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%d", kind, nr);
	return pc_open(&h->f, &fs, name, O_RDWR | O_CREAT | O_TRUNC, cap);
}

static int make_files(void)
{
	pthread_rwlockattr_t ra;
	pthread_mutexattr_t ma;
	int ret;

	sh = pc_shared(sizeof(*sh));
	if (!sh)
		return -ENOMEM;
	pthread_rwlockattr_init(&ra);
	pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
	pthread_rwlockattr_setkind_np(&ra,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);

	for (int i = 0; i < EXACT; i++) {
		struct exact *e = &sh->exact[i];

		pthread_rwlock_init(&e->lock, &ra);
		ret = make_file(&exact[i], "e", i, MAX_SIZE);
		/* Half of them have content, the others are its clones. */
		if (!ret && i < EXACT / 2)
			ret = pc_write(file(i), 0, KIB(64 + 48 * i) + 77 * i,
				       1000 + i);
		else if (!ret)
			ret = pc_clone_range(file(i), 0, file(i - EXACT / 2),
					     0, 0);
		if (ret)
			return ret;
	}
	sh->value = 10;
	for (int i = 0; i < RACING; i++) {
		struct racing *r = &sh->racing[i];

		pthread_mutex_init(&r->lock, &ma);
		ret = make_file(&racing[i], "r", i, CELLS * PC_PAGE);
		if (!ret)
			ret = pc_write(racing[i].f, 0, CELLS * PC_PAGE, i + 1);
		if (ret)
			return ret;
		begin(r, 0, CELLS, i + 1, true);
		end(r, 0, CELLS);
	}
	/* The workers open their own. */
	for (int i = 0; i < EXACT; i++)
		pc_shut(file(i));
	for (int i = 0; i < RACING; i++)
		pc_shut(racing[i].f);
	return 0;
}

static int verify_files(enum pc_via via)
{
	int bad = 0;

	for (int i = 0; i < EXACT + RACING; i++) {
		struct pc_file *f = i < EXACT ? file(i) : racing[i - EXACT].f;
		int ret, tries = 0;

		/* See refused(); there is another chance after the mount. */
		if (via == PC_DIRECT && !fsync(f->fd) &&
		    pc_delalloc(f, 0, f->m->size))
			continue;
		do {
			ret = pc_verify(f, via);
		} while (via == PC_DIRECT && refused(f, ret, &tries));
		if (ret) {
			bad = -EILSEQ;
			tell_history(f->path, i < EXACT ?
				     &sh->exact[i].hist :
				     &sh->racing[i - EXACT].hist);
		}
	}
	return bad;
}

/* All files at rest: as they are, from the disk, and after a new mount. */
static int verify_end(void)
{
	int ret;

	ret = pc_fs_reopen(&fs, O_RDWR) ?: verify_files(PC_READ) ?:
	      verify_files(PC_DIRECT) ?: verify_files(PC_MMAP);
	if (ret || !own_fs)
		return ret;
	ret = pc_fs_cycle(&fs);
	if (ret)
		return ret;
	return verify_files(PC_SPLICE) ?: verify_files(PC_READ) ?:
	       verify_files(PC_DIRECT);
}

static void tell_counts(void)
{
	char line[400];
	int at = 0;

	for (unsigned int i = 0; i < OPS + TROUBLES; i++) {
		const char *name = i < OPS ? op_name(i) : trouble_name[i - OPS];

		if (at > 60) {
			pc_log("%s", line);
			at = 0;
		}
		at += snprintf(line + at, sizeof(line) - at, "%s %llu; ",
			       name, sh->count[i]);
	}
	pc_log("%s", line);
	at = 0;
	for (int i = 0; i < EXACT; i++)
		at += snprintf(line + at, sizeof(line) - at, " %zu",
			       size_of(i));
	pc_log("sizes at the end:%s", line);
	if (inject)
		pc_log("%llu operations were made to fail", sh->injected);
	pc_log("%llu times direct I/O was refused",
	       sh->refused);
	pc_log("%llu pages were on the node where they were to go, %llu taken out of use",
	       sh->moved, sh->offlined);
	pc_log("%llu racing reads could not be judged (too many writes)",
	       sh->unchecked);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "procs", required_argument, NULL, 'p' },
		{ "bsize", required_argument, NULL, 'b' },
		{ "dir", required_argument, NULL, 'd' },
		{ "inject", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	struct pc_fs_args args = { .mib = 160 };
	struct pc_stat before, d;
	pid_t pid[MAX_PROCS + 1];
	double seconds = 120;
	int procs = 4, c, ret;
	bool flips, sharing;
	const char *leak;

	seed = time(NULL) ^ (getpid() << 16);
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			seconds = atof(optarg);
			break;
		case 'r':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			procs = atoi(optarg);
			break;
		case 'b':
			bsize = atoi(optarg);
			break;
		case 'd':
			own_fs = false;
			snprintf(fs.mnt, sizeof(fs.mnt), "%s", optarg);
			break;
		case 'i':
			if (!strcmp(optarg, "memory")) {
				inject = NO_MEMORY;
				break;
			}
			if (!strcmp(optarg, "io")) {
				inject = NO_IO;
				break;
			}
			c = '?';
			/* fall through */
		default:
			fprintf(c == 'h' ? stdout : stderr,
				"usage: torture [--seconds N] [--seed N] [--procs N] [--bsize N] [--dir D] [--inject memory|io]\n");
			return c == 'h' ? 0 : 2;
		}
	}
	if (procs < 1 || procs > MAX_PROCS || bsize < 512 || bsize > 65536) {
		fprintf(stderr, "torture: 1 to %d processes, blocks of 512 to 65536\n",
			MAX_PROCS);
		return 2;
	}

	/* In one order with the comments, which go to stderr. */
	setlinebuf(stdout);
	ksft_print_header();
	ksft_set_plan(1);
	pc_log("seed %llu, %d processes, %.0f s, blocks of %zu", seed,
	       procs, seconds, bsize);
	args.bsize = bsize;
	if (own_fs) {
		ret = pc_fs_setup(&fs, &args);
	} else {
		ret = !!geteuid();
		snprintf(fs.why, sizeof(fs.why), "needs root");
	}
	if (ret > 0) {
		pc_fs_teardown(&fs);
		ksft_test_result_skip("torture: %s\n", fs.why);
		ksft_finished();
	}
	if (!ret)
		ret = make_files();
	if (!ret && inject) {
		ret = inject_on();
		if (ret)
			inject_off();
		if (ret > 0) {
			pc_fs_teardown(&fs);
			ksft_test_result_skip("torture: %s\n", fs.why);
			ksft_finished();
		}
	}
	if (ret) {
		pc_fs_teardown(&fs);
		ksft_test_result_fail("torture: set-up failed\n");
		ksft_finished();
	}

	sharing = pc_sharing();
	flips = sharing && own_fs;
	if (!own_fs || pc_memcg_enter("torture", 0, cgroup, sizeof(cgroup))) {
		pc_log("no memory cgroup: %s", own_fs ? cgroup : "--dir");
		cgroup[0] = '\0';
	}
	sync();
	pc_stat(&before);
	for (int i = 0; i <= procs; i++)
		pid[i] = start(i, flips, procs);
	ret = watch(pid, procs + 1, seconds);
	inject_off();
	d = pc_since(&before);
	tell_counts();
	if (sharing)
		pc_log("%s", pc_stat_str(&d));
	if (flips && pc_fs_remount(&fs, "share_cache")) {
		pc_log("cannot remount with share_cache");
		ret = -EIO;
	}
	if (!ret)
		ret = verify_end();
	/* Blocks larger than a page are not shared. */
	if (!ret && sharing && bsize <= PC_PAGE &&
	    (d.v[PC_ATTACH] <= 0 || d.v[PC_BREAK] <= 0)) {
		pc_log("nothing was attached or broken: this run tested nothing");
		ret = -ENODATA;
	}
	if (!ret && inject && !sh->injected) {
		pc_log("nothing failed: this run tested nothing");
		ret = -ENODATA;
	}
	if (cgroup[0])
		pc_memcg_remove("torture", getpid());
	pc_fs_teardown(&fs);
	if (own_fs) {
		leak = pc_fs_leak(&fs);
		if (!ret && fs.mounted)
			ret = -EBUSY;
		if (!ret && leak) {
			pc_log("%s", leak);
			ret = -EBUSY;
		}
	}
	/* Once more, for who only keeps the last lines. */
	if (ret && sh->why[0])
		pc_log("%s", sh->why);
	if (ret)
		pc_log("again: torture --seed %llu --procs %d --seconds %.0f --bsize %zu%s",
		       seed, procs, seconds, bsize,
		       inject == NO_MEMORY ? " --inject memory" :
		       inject == NO_IO ? " --inject io" : "");
	ksft_test_result(!ret, "torture seed %llu\n", seed);
	ksft_finished();
}
