// SPDX-License-Identifier: GPL-2.0
/*
 * One allocation after the other fails: an operation is done with its first
 * allocation failing, then with its second, and so on until it has no more of
 * them.  It may fail then, and that is all that may happen: nobody sees wrong
 * data, a file is what it was or, page by page, what it was to become, the
 * operation works as soon as there is memory again, and nothing is left of what
 * was shared after unmount.
 *
 * With CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC only.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES		24UL
#define SIZE		(PAGES * PC_PAGE)
#define LAST		600	/* more failures than any of them has places */
#define DEBUG_FS	"/sys/kernel/debug/"

/* Sleeping allocations of a single page fail, too; for whom comes after. */
static const struct {
	const char *path, *here, *after;
} knobs[] = {
	{ DEBUG_FS "failslab/ignore-gfp-wait", "N", "Y" },
	{ DEBUG_FS "failslab/verbose", "0", "2" },
	{ DEBUG_FS "fail_page_alloc/ignore-gfp-wait", "N", "Y" },
	{ DEBUG_FS "fail_page_alloc/ignore-gfp-highmem", "N", "Y" },
	{ DEBUG_FS "fail_page_alloc/min-order", "0", "1" },
	{ DEBUG_FS "fail_page_alloc/verbose", "0", "2" },
};

FIXTURE(nth)
{
	struct pc_fs fs;
	/* Clones of each other; e has equal blocks of its own. */
	struct pc_file *a, *b, *c, *e;
	unsigned char *old, *half, *buf, *map;
	int fail_nth;
};

/* The operation, on b: 0 or -errno, or -EILSEQ if it saw what is wrong. */
FIXTURE_VARIANT(nth)
{
	int (*fn)(struct _test_data_nth *t);
	bool changes;
};

/* What is there before. */
enum before {
	COLD,		/* nothing is cached */
	WARM,		/* all files are, and share */
	OTHERS,		/* all but b */
};

static void turn(bool on)
{
	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++)
		pc_write_str(knobs[i].path,
			     on ? knobs[i].here : knobs[i].after);
}

FIXTURE_SETUP(nth)
{
	if (access("/proc/self/fail-nth", W_OK) ||
	    access(knobs[0].path, W_OK) || access(knobs[2].path, W_OK))
		SKIP(return, "no failslab and fail_page_alloc in debugfs");
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	ASSERT_EQ(0, pc_create(&self->e, &self->fs, "e", SIZE, 1));
	self->old = malloc(SIZE * 3);
	self->half = malloc(SIZE * 3);
	ASSERT_EQ(0, posix_memalign((void **)&self->buf, PC_PAGE, SIZE * 3));
	/* Faults on what belongs to the test are not to be made to fail. */
	memset(self->buf, 0, SIZE * 3);
	self->fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fail_nth);
	turn(true);
}

FIXTURE_TEARDOWN(nth)
{
	turn(false);
	close(self->fail_nth);
	pc_teardown(_metadata, &self->fs);
}

/* Operations */

static int check(struct _test_data_nth *t, ssize_t n)
{
	if (n < 0)
		return n;
	if (n != (ssize_t)SIZE)
		return -EILSEQ;
	return pc_compare("b", t->b->m->data, t->buf, SIZE, 0);
}

static int by_read(struct _test_data_nth *t)
{
	return check(t, pc_read_via(t->b->fd, t->b->path, PC_PREAD, t->buf, 0,
				    SIZE));
}

static int by_splice(struct _test_data_nth *t)
{
	return check(t, pc_read_via(t->b->fd, t->b->path, PC_SPLICE, t->buf, 0,
				    SIZE));
}

static int by_direct(struct _test_data_nth *t)
{
	return check(t, pc_read_via(t->b->fd, t->b->path, PC_DIRECT, t->buf, 0,
				    SIZE));
}

/* A fault without memory is tried again, unless it is the kernel's. */
static int by_mapping(struct _test_data_nth *t)
{
	int ret;
	unsigned char *map;

	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, t->b->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (pc_copy_raises_bus(t->buf, map, SIZE))
		ret = -EIO;
	else
		ret = check(t, SIZE);
	munmap(map, SIZE);
	return ret;
}

static int by_populating(struct _test_data_nth *t)
{
	unsigned char *map;
	int ret = 0;

	map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, t->b->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (madvise(map, SIZE, 22 /* MADV_POPULATE_READ */))
		ret = -errno;
	memcpy(t->buf, map, SIZE);
	munmap(map, SIZE);
	return ret ?: check(t, SIZE);
}

static int by_readahead(struct _test_data_nth *t)
{
	return readahead(t->b->fd, 0, SIZE) ? -errno : 0;
}

static int by_forgetting(struct _test_data_nth *t)
{
	return -posix_fadvise(t->b->fd, 0, SIZE, POSIX_FADV_DONTNEED);
}

static int by_moving(struct _test_data_nth *t)
{
	int node[PAGES], status[PAGES];
	void *page[PAGES];

	for (size_t i = 0; i < PAGES; i++) {
		page[i] = t->map + i * PC_PAGE;
		pc_touch(page[i]);
		node[i] = i & 1;
	}
	/* What has not moved is where it was. */
	syscall(__NR_move_pages, 0, PAGES, page, node, status, 4 /* ALL */);
	memcpy(t->buf, t->map, SIZE);
	return check(t, SIZE);
}

static int by_pageout(struct _test_data_nth *t)
{
	madvise(t->map, SIZE, 21 /* MADV_PAGEOUT */);
	memcpy(t->buf, t->map, SIZE);
	return check(t, SIZE);
}

static int by_fork(struct _test_data_nth *t)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		memcpy(t->buf, t->map, SIZE);
		_exit(!!check(t, SIZE));
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -EILSEQ : 0;
}

static int by_write(struct _test_data_nth *t)
{
	return pc_write(t->b, 0, 4 * PC_PAGE, 2);
}

static int by_write_of_parts(struct _test_data_nth *t)
{
	return pc_write(t->b, 5 * PC_PAGE + 100, 2 * PC_PAGE, 3);
}

static int by_append(struct _test_data_nth *t)
{
	return pc_write(t->b, t->b->m->size, PC_PAGE + 10, 4);
}

static int by_store(struct _test_data_nth *t)
{
	for (size_t i = 0; i < 4; i++)
		pc_fill(t->map + (8 + i) * PC_PAGE, 100, 5,
			(8 + i) * PC_PAGE);
	for (size_t i = 0; i < 4; i++)
		pc_model_write(t->b->m, (8 + i) * PC_PAGE, 100, 5);
	return 0;
}

static int by_truncate(struct _test_data_nth *t)
{
	return pc_truncate(t->b, SIZE - 3 * PC_PAGE - 50);
}

static int by_punch(struct _test_data_nth *t)
{
	return pc_fallocate(t->b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    3 * PC_PAGE + 7, 3 * PC_PAGE);
}

static int by_zero(struct _test_data_nth *t)
{
	return pc_fallocate(t->b, FALLOC_FL_ZERO_RANGE, 2 * PC_PAGE + 9,
			    4 * PC_PAGE);
}

static int by_unshare(struct _test_data_nth *t)
{
	return pc_fallocate(t->b, FALLOC_FL_UNSHARE_RANGE, 0, 6 * PC_PAGE);
}

/* Other blocks under what is cached and mapped. */
static int by_clone(struct _test_data_nth *t)
{
	return pc_clone_range(t->b, 0, t->a, 4 * PC_PAGE, 8 * PC_PAGE);
}

static int by_dedupe(struct _test_data_nth *t)
{
	int ret = pc_dedupe(t->b, 0, t->e, 0, 8 * PC_PAGE);

	return ret > 0 ? -EILSEQ : ret;
}

static int by_copy(struct _test_data_nth *t)
{
	return pc_copy_range(t->b, 3 * PC_PAGE, t->a, 0, 4 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(nth, read)
{
	.fn = by_read,
};

FIXTURE_VARIANT_ADD(nth, splice)
{
	.fn = by_splice,
};

FIXTURE_VARIANT_ADD(nth, direct)
{
	.fn = by_direct,
};

FIXTURE_VARIANT_ADD(nth, mapping)
{
	.fn = by_mapping,
};

FIXTURE_VARIANT_ADD(nth, populating)
{
	.fn = by_populating,
};

FIXTURE_VARIANT_ADD(nth, readahead)
{
	.fn = by_readahead,
};

FIXTURE_VARIANT_ADD(nth, forgetting)
{
	.fn = by_forgetting,
};

FIXTURE_VARIANT_ADD(nth, moving)
{
	.fn = by_moving,
};

FIXTURE_VARIANT_ADD(nth, pageout)
{
	.fn = by_pageout,
};

FIXTURE_VARIANT_ADD(nth, fork)
{
	.fn = by_fork,
};

FIXTURE_VARIANT_ADD(nth, write)
{
	.fn = by_write,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, write_of_parts)
{
	.fn = by_write_of_parts,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, append)
{
	.fn = by_append,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, store)
{
	.fn = by_store,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, truncate)
{
	.fn = by_truncate,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, punch)
{
	.fn = by_punch,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, zero)
{
	.fn = by_zero,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, unshare)
{
	.fn = by_unshare,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, clone)
{
	.fn = by_clone,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, dedupe)
{
	.fn = by_dedupe,
	.changes = true,
};

FIXTURE_VARIANT_ADD(nth, copy)
{
	.fn = by_copy,
	.changes = true,
};

/* What is in the page cache, the block map and the mapping before. */
static int prepare(struct _test_data_nth *t, bool changes, enum before before)
{
	struct pc_file *all[] = { t->a, t->b, t->c, t->e };
	int ret = 0;

	pc_unmap(t->b);
	/* If writeback failed, it was told, but not yet to fsync(). */
	fsync(t->b->fd);
	/* After a change: a clone again. */
	if (changes)
		ret = pc_truncate(t->b, 0) ?:
		      pc_clone_range(t->b, 0, t->a, 0, 0);
	for (size_t i = 0; !ret && i < ARRAY_SIZE(all); i++)
		ret = pc_evict(all[i]);
	for (size_t i = 0; !ret && i < ARRAY_SIZE(all); i++)
		if (before == WARM || (before == OTHERS && all[i] != t->b))
			ret = pc_verify(all[i], PC_READ);
	t->map = pc_map(t->b, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	return t->map ? ret : -ENOMEM;
}

/* Whether the n-th allocation of it was made to fail; its result is in err. */
static bool fails(struct _test_data_nth *t, int n,
		  int (*fn)(struct _test_data_nth *t), int *err)
{
	char text[16] = "";
	int len;

	len = snprintf(text, sizeof(text), "%d", n);
	pc_hush(true);
	if (pwrite(t->fail_nth, text, len, 0) != len)
		*err = -errno;
	else
		*err = fn(t);
	memset(text, 0, sizeof(text));
	/* Reading it needs no memory; what is left says how far it came. */
	if (pread(t->fail_nth, text, sizeof(text) - 1, 0) < 0)
		*err = -errno;
	len = pwrite(t->fail_nth, "0", 1, 0);
	pc_hush(false);
	return len == 1 && atoi(text) == 0;
}

/* b is, page by page, what it was or what it is now. */
static int check_half(struct _test_data_nth *t, size_t size)
{
	for (size_t off = 0; off < size; off += PC_PAGE) {
		size_t len = size - off < PC_PAGE ? size - off : PC_PAGE;

		if (memcmp(t->old + off, t->half + off, len) &&
		    pc_compare("b half way", t->b->m->data + off,
			       t->half + off, len, off))
			return -EILSEQ;
	}
	return 0;
}

/* After a failure: it must not be half wrong, and must work now. */
static int again(struct _test_data_nth *t, int (*fn)(struct _test_data_nth *t))
{
	struct pc_model *m = t->b->m;
	struct stat st;
	ssize_t n;
	int ret;

	memcpy(t->old, m->data, 3 * SIZE);
	if (fstat(t->b->fd, &st))
		return pc_err("stat");
	if (st.st_size > (off_t)(3 * SIZE))
		return -EFBIG;
	n = pc_read_via(t->b->fd, t->b->path, PC_READ, t->half, 0, st.st_size);
	if (n != st.st_size)
		return n < 0 ? n : -EILSEQ;
	ret = fn(t);
	if (ret)
		return ret;
	return check_half(t, st.st_size);
}

static void each_fails(struct __test_metadata *_metadata,
		       struct _test_data_nth *t,
		       const struct _fixture_variant_nth *v,
		       enum before before)
{
	int n, err, failed = 0;

	for (n = 1; n < LAST; n++) {
		bool injected;

		ASSERT_EQ(0, prepare(t, v->changes, before));
		injected = fails(t, n, v->fn, &err);
		ASSERT_NE(-EILSEQ, err)
			TH_LOG("allocation %d", n);
		if (err) {
			failed++;
			ASSERT_EQ(true, injected)
				TH_LOG("allocation %d, nothing was made to fail, but: %s",
				       n, strerror(-err));
			ASSERT_EQ(0, again(t, v->fn))
				TH_LOG("allocation %d, after: %s", n,
				       strerror(-err));
		}
		ASSERT_EQ(0, pc_verify(t->b, PC_READ))
			TH_LOG("allocation %d", n);
		ASSERT_EQ(0, pc_verify(t->a, PC_READ))
			TH_LOG("allocation %d", n);
		if (!injected)
			break;
	}
	TH_LOG("%d allocations were made to fail, %d times it failed", n - 1,
	       failed);
	EXPECT_LT(n, LAST);
	EXPECT_EQ(0, pc_verify_cycle(&t->fs));
}

TEST_F_TIMEOUT(nth, cold, 1800)
{
	each_fails(_metadata, self, variant, COLD);
}

TEST_F_TIMEOUT(nth, warm, 1800)
{
	each_fails(_metadata, self, variant, WARM);
}

TEST_F_TIMEOUT(nth, others_are_warm, 1800)
{
	each_fails(_metadata, self, variant, OTHERS);
}

TEST_HARNESS_MAIN
