// SPDX-License-Identifier: GPL-2.0
/*
 * Reading: files that share blocks share pages, whatever way they are read,
 * and what has no business being shared is not.  Content is checked on every
 * kernel, numbers of pages only on one that shares.
 */
#include <stdlib.h>

#include "page_cache_fixture.h"

#define PAGES	64UL
#define SIZE	(PAGES * PC_PAGE)

/* Two cold files with the same blocks, read in one way. */
FIXTURE(via)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
};

FIXTURE_VARIANT(via)
{
	enum pc_via via;
};

FIXTURE_VARIANT_ADD(via, read)
{
	.via = PC_READ,
};

FIXTURE_VARIANT_ADD(via, pread)
{
	.via = PC_PREAD,
};

FIXTURE_VARIANT_ADD(via, readv)
{
	.via = PC_READV,
};

FIXTURE_VARIANT_ADD(via, splice)
{
	.via = PC_SPLICE,
};

FIXTURE_VARIANT_ADD(via, sendfile)
{
	.via = PC_SENDFILE,
};

FIXTURE_VARIANT_ADD(via, mmap)
{
	.via = PC_MMAP,
};

FIXTURE_SETUP(via)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
}

FIXTURE_TEARDOWN(via)
{
	pc_teardown(_metadata, &self->fs);
}

/* The first reader donates its pages, the second one takes no page more. */
TEST_F(via, second_file_takes_no_page)
{
	struct pc_stat start, first;

	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, variant->via));
	pc_expect_pages(_metadata, &start, PAGES, PAGES);
	pc_expect_count(_metadata, &start, PC_DONATE, PAGES);
	pc_stat(&first);
	EXPECT_EQ(0, pc_verify(self->b, variant->via));
	pc_expect_pages(_metadata, &first, 0, PAGES);
	pc_expect_count(_metadata, &first, PC_DONATE, 0);
	pc_expect_count(_metadata, &first, PC_ATTACH, PAGES);
	/* Warm: the same bytes again, and nothing moves. */
	pc_stat(&first);
	EXPECT_EQ(0, pc_verify(self->a, variant->via));
	EXPECT_EQ(0, pc_verify(self->b, variant->via));
	pc_expect_pages(_metadata, &first, 0, 0);
}

/* A size that is no multiple of anything ends where it ends, for both. */
TEST_F(via, odd_size)
{
	struct pc_file *c, *d;
	struct pc_stat start;

	ASSERT_EQ(0, pc_create(&c, &self->fs, "c", 5 * PC_PAGE + 1234, 2));
	ASSERT_EQ(0, pc_clone(&d, c, "d"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, pc_verify(c, variant->via));
		EXPECT_EQ(0, pc_verify(d, variant->via));
	}
	/* The last page is one of those that are shared. */
	pc_expect_pages(_metadata, &start, 6, 12);
}

/* A hole between two shared extents is zero, and is not shared. */
TEST_F(via, hole_between)
{
	struct pc_stat start;
	struct pc_file *d;

	ASSERT_EQ(0, pc_fallocate(self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  8 * PC_PAGE, 16 * PC_PAGE));
	ASSERT_EQ(0, pc_clone(&d, self->a, "d"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, variant->via));
	EXPECT_EQ(0, pc_verify(d, variant->via));
	pc_expect_pages(_metadata, &start, PAGES - 16, 2 * (PAGES - 16));
}

/* A file of many extents from two files, forwards and backwards. */
TEST_F(via, patchwork)
{
	struct pc_stat start;
	struct pc_file *c, *d;

	ASSERT_EQ(0, pc_create(&c, &self->fs, "c", SIZE, 3));
	ASSERT_EQ(0, pc_clone(&d, self->a, "d"));
	for (size_t i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, pc_clone_range(d, i * PC_PAGE, c,
					    (PAGES - 1 - i) * PC_PAGE,
					    PC_PAGE));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(d, variant->via));
	EXPECT_EQ(0, pc_verify(c, variant->via));
	EXPECT_EQ(0, pc_verify(self->a, variant->via));
	EXPECT_EQ(0, pc_verify(d, variant->via));
	pc_expect_pages(_metadata, &start, 2 * PAGES, 3 * PAGES);
}

/* One fresh file system, files made by the tests. */
FIXTURE(share)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
};

FIXTURE_SETUP(share)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
}

/* b becomes a clone of a; both are cold. */
static void clone_cold(struct __test_metadata *_metadata,
		       struct _test_data_share *self, struct pc_stat *start)
{
	ASSERT_EQ(0, pc_clone(&self->b, self->a, "b"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(start);
}

FIXTURE_TEARDOWN(share)
{
	pc_teardown(_metadata, &self->fs);
}

/*
 * What is read by its descriptor now is in folios of one page, which are shared
 * wherever a file has the block.
 */
static void one_by_one(struct __test_metadata *_metadata, struct pc_file *f)
{
	ASSERT_EQ(0, posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM));
}

/* The same blocks at another offset are the same pages, with the same bytes. */
TEST_F(share, different_offsets)
{
	struct pc_stat start;

	ASSERT_EQ(0, pc_create(&self->b, &self->fs, "b", SIZE, 2));
	ASSERT_EQ(0, pc_clone_range(self->b, 3 * PC_PAGE, self->a,
				    16 * PC_PAGE, 32 * PC_PAGE));
	ASSERT_EQ(0, pc_drop_caches("3"));
	one_by_one(_metadata, self->a);
	one_by_one(_metadata, self->b);
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_SPLICE));
	pc_expect_pages(_metadata, &start, 2 * PAGES - 32, 2 * PAGES);
}

/* One file that maps a block twice has it once in memory. */
TEST_F(share, file_with_itself)
{
	struct pc_stat start;

	ASSERT_EQ(0, pc_clone_range(self->a, 40 * PC_PAGE, self->a, 0,
				    20 * PC_PAGE));
	ASSERT_EQ(0, pc_clone_range(self->a, 21 * PC_PAGE, self->a, 0,
				    10 * PC_PAGE));
	ASSERT_EQ(0, pc_drop_caches("3"));
	one_by_one(_metadata, self->a);
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_PREAD));
	pc_expect_pages(_metadata, &start, PAGES - 30, PAGES);
}

/* A file whose every page is the same block: one page of memory. */
TEST_F(share, file_of_one_block)
{
	struct pc_stat start;

	for (size_t i = 1; i < PAGES; i++)
		ASSERT_EQ(0, pc_clone_range(self->a, i * PC_PAGE, self->a, 0,
					    PC_PAGE));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_SENDFILE));
	pc_expect_pages(_metadata, &start, 1, PAGES);
}

/* A single page read in the middle attaches that page and no other. */
TEST_F(share, one_page_in_the_middle)
{
	unsigned char buf[PC_PAGE];
	struct pc_stat start;
	struct pc_file *f[2];

	clone_cold(_metadata, self, &start);
	f[0] = self->a;
	f[1] = self->b;
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		ASSERT_EQ(0, posix_fadvise(f[i]->fd, 0, 0, POSIX_FADV_RANDOM));
		ASSERT_EQ(100, pread(f[i]->fd, buf, 100, 33 * PC_PAGE + 50));
		EXPECT_EQ(0, pc_compare("page 33",
					f[i]->m->data + 33 * PC_PAGE + 50, buf,
					100, 33 * PC_PAGE + 50));
	}
	pc_expect_pages(_metadata, &start, 1, 2);
}

/* A file that was never cloned keeps its pages to itself. */
TEST_F(share, unflagged_file_stays_private)
{
	struct pc_stat start;

	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_SPLICE));
	pc_expect_pages(_metadata, &start, 0, 0);
}

/* Preallocated blocks read as zeros and never get into the home. */
TEST_F(share, unwritten_extent)
{
	struct pc_stat start;

	ASSERT_EQ(0, pc_fallocate(self->a, 0, SIZE, 16 * PC_PAGE));
	clone_cold(_metadata, self, &start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	pc_expect_pages(_metadata, &start, PAGES, 2 * PAGES);
	/* Written now: a's data is new, b's still zeros. */
	EXPECT_EQ(0, pc_write(self->a, SIZE, 8 * PC_PAGE, 7));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A direct read takes nothing into the page cache, shared or not. */
TEST_F(share, direct_read_attaches_nothing)
{
	struct pc_stat start;

	clone_cold(_metadata, self, &start);
	EXPECT_EQ(0, pc_verify(self->a, PC_DIRECT));
	EXPECT_EQ(0, pc_verify(self->b, PC_DIRECT));
	pc_expect_pages(_metadata, &start, 0, 0);
}

/* Pages dirty and cached before the clone do not leak into it later. */
TEST_F(share, cached_before_the_clone)
{
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 7, 5 * PC_PAGE, 8));
	ASSERT_EQ(0, pc_clone(&self->b, self->a, "b"));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_write(self->a, 4 * PC_PAGE, PC_PAGE, 9));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

static void meet_in_the_cold(struct __test_metadata *_metadata,
			     struct _test_data_share *self, int advice)
{
	struct pc_file *f[4] = { self->a };
	struct pc_stat start, d;
	pid_t pid[4];

	ASSERT_EQ(0, pc_clone(&f[1], f[0], "b"));
	ASSERT_EQ(0, pc_clone(&f[2], f[1], "c"));
	ASSERT_EQ(0, pc_clone(&f[3], f[2], "d"));
	for (int round = 0; round < 10; round++) {
		ASSERT_EQ(0, pc_drop_caches("3"));
		pc_stat(&start);
		for (int i = 0; i < 4; i++) {
			pid[i] = pc_fork(&self->fs);
			ASSERT_LE(0, pid[i]);
			if (!pid[i]) {
				/* An open file of our own: the offset. */
				_exit(pc_reopen(f[i], O_RDONLY) ||
				      posix_fadvise(f[i]->fd, 0, 0, advice) ||
				      pc_verify(f[i], i & 1 ? PC_PREAD :
							      PC_READ));
			}
		}
		for (int i = 0; i < 4; i++)
			EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
		d = pc_since(&start);
		if (!pc_sharing())
			continue;
		if (advice == POSIX_FADV_RANDOM) {
			EXPECT_EQ(PAGES, d.v[PC_HOME]);
			/*
			 * Who finds a page that nobody names any more, and that
			 * somebody else is removing, goes without.
			 */
			EXPECT_GE(4 * PAGES, d.v[PC_ALIAS]);
			EXPECT_LT(4 * PAGES - PAGES / 8, d.v[PC_ALIAS]);
			continue;
		}
		/* Folios of other sizes that come at the same time stay. */
		EXPECT_LE(PAGES, d.v[PC_HOME]);
		EXPECT_GT(2 * PAGES, d.v[PC_HOME]);
		EXPECT_LT(2 * PAGES, d.v[PC_ALIAS]);
	}
}

/* Readers that meet in the cold home each see the right bytes. */
TEST_F(share, concurrent_cold_readers)
{
	meet_in_the_cold(_metadata, self, POSIX_FADV_NORMAL);
}

/* If they read single pages, these are held once. */
TEST_F(share, concurrent_cold_readers_of_single_pages)
{
	meet_in_the_cold(_metadata, self, POSIX_FADV_RANDOM);
}

/* A page in a pipe stays what it was when its file gives it up. */
TEST_F(share, pipe_holds_a_page)
{
	unsigned char buf[4 * PC_PAGE], old[4 * PC_PAGE];
	struct pc_stat start;
	loff_t pos = 0;
	int p[2];

	clone_cold(_metadata, self, &start);
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	pc_expect_pages(_metadata, &start, PAGES, 2 * PAGES);
	ASSERT_EQ(0, pipe(p));
	memcpy(old, self->b->m->data, sizeof(old));
	ASSERT_EQ(sizeof(buf), splice(self->b->fd, &pos, p[1], NULL,
				      sizeof(buf), 0));
	/* All users of the pages but the pipe go away, memory is reused. */
	ASSERT_EQ(0, pc_truncate(self->b, 0));
	ASSERT_EQ(0, pc_truncate(self->a, 0));
	ASSERT_EQ(0, pc_drop_caches("3"));
	ASSERT_EQ(0, pc_create(&self->c, &self->fs, "c", MIB(4), 5));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	ASSERT_EQ(sizeof(buf), read(p[0], buf, sizeof(buf)));
	EXPECT_EQ(0, pc_compare("pipe", old, buf, sizeof(buf), 0));
	close(p[0]);
	close(p[1]);
}

/* Only where there is something to count. */
FIXTURE(cost)
{
	struct pc_fs fs;
	struct pc_file *a, *clone[6];
};

FIXTURE_SETUP(cost)
{
	char name[16];

	if (!pc_setup_sharing(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", MIB(4), 1));
	for (size_t i = 0; i < ARRAY_SIZE(self->clone); i++) {
		snprintf(name, sizeof(name), "clone%zu", i);
		ASSERT_EQ(0, pc_clone(&self->clone[i], self->a, name));
	}
	ASSERT_EQ(0, pc_drop_caches("3"));
}

FIXTURE_TEARDOWN(cost)
{
	pc_teardown(_metadata, &self->fs);
}

static int64_t file_pages(void)
{
	char buf[64];

	/* Folds the per-CPU differences. */
	pc_read_str("/proc/sys/vm/stat_refresh", buf, sizeof(buf));
	return pc_vmstat("nr_file_pages");
}

/* K clones fill the page cache with one copy, and the kernel counts it once. */
TEST_F(cost, clones_fill_one_copy)
{
	int64_t start = file_pages(), one, all;
	int64_t pages = MIB(4) / PC_PAGE;

	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	one = file_pages() - start;
	for (size_t i = 0; i < ARRAY_SIZE(self->clone); i++)
		ASSERT_EQ(0, pc_verify(self->clone[i], PC_READ));
	all = file_pages() - start;
	TH_LOG("pages: %ld in the file, one copy %ld, %zu clones more %ld",
	       (long)pages, (long)one, ARRAY_SIZE(self->clone), (long)all);
	EXPECT_GE(one, pages * 9 / 10);
	EXPECT_LE(all, pages * 3 / 2);
}

/* The device is read once. */
TEST_F(cost, clones_read_the_device_once)
{
	int64_t start, one, all;

	if (!pc_counts_reads(&self->fs))
		SKIP(return, "the device does not count its reads");
	start = pc_sectors_read(&self->fs);
	ASSERT_LE(0, start);
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	one = pc_sectors_read(&self->fs) - start;
	ASSERT_GE(one, (int64_t)MIB(4) / 512);
	for (size_t i = 0; i < ARRAY_SIZE(self->clone); i++)
		ASSERT_EQ(0, pc_verify(self->clone[i], PC_READ));
	all = pc_sectors_read(&self->fs) - start;
	/* Inodes and extent lists may have to be read. */
	EXPECT_LE(all, one + one / 4);
}

/* What the fragments take goes with the extents, not with the pages. */
TEST_F(cost, fragments_count_extents)
{
	struct pc_stat start, d;

	pc_stat(&start);
	for (size_t i = 0; i < ARRAY_SIZE(self->clone); i++)
		ASSERT_EQ(0, pc_verify(self->clone[i], PC_READ));
	d = pc_since(&start);
	EXPECT_EQ((int64_t)(ARRAY_SIZE(self->clone) * MIB(4) / PC_PAGE),
		  d.v[PC_ALIAS]);
	EXPECT_GE(d.v[PC_FRAGMENT], 1);
	EXPECT_LE(d.v[PC_FRAGMENT], d.v[PC_ALIAS] / 8)
		TH_LOG("%s", pc_stat_str(&d));
}

TEST_HARNESS_MAIN
