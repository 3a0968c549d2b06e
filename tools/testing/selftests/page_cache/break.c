// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever changes one of several files that share blocks changes that file
 * only, at once and for good: the changed file has its new content, the others
 * have the old one, by read(2), by O_DIRECT, through mappings that were there
 * before, and after unmount and mount.
 *
 * Every test runs on files in three states: not in the page cache, in the
 * page cache (shared, where the kernel shares), and mapped with their pages
 * present in page tables.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES	24UL
/* The last page is not full. */
#define SIZE	((PAGES - 1) * PC_PAGE + 1500)
#define MAP	(4 * PAGES * PC_PAGE)

enum state {
	COLD,
	CACHED,
	MAPPED,
};

FIXTURE(changed)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	struct pc_stat start;
};

FIXTURE_VARIANT(changed)
{
	enum state state;
};

FIXTURE_VARIANT_ADD(changed, cold)
{
	.state = COLD,
};

FIXTURE_VARIANT_ADD(changed, cached)
{
	.state = CACHED,
};

FIXTURE_VARIANT_ADD(changed, mapped)
{
	.state = MAPPED,
};

/* Reads one byte of each page: they are in the page table afterwards. */
static void touch(const struct pc_file *f)
{
	for (size_t i = 0; i < SIZE; i += PC_PAGE)
		pc_touch(f->map + i);
}

/* a, and two clones of it; c is the witness that no test touches. */
FIXTURE_SETUP(changed)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	ASSERT_NE(NULL, pc_map(self->a, MAP, PROT_READ, MAP_SHARED));
	ASSERT_NE(NULL, pc_map(self->b, MAP, PROT_READ, MAP_SHARED));
	/* Without aliases there is nothing to break. */
	if (variant->state != COLD)
		pc_warm(_metadata, PAGES, self->a, self->b, self->c);
	if (variant->state == MAPPED) {
		touch(self->a);
		touch(self->b);
	}
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(changed)
{
	pc_teardown(_metadata, &self->fs);
}

/* The content of all files, in every way; ends with an unmount and mount. */
static void check(struct __test_metadata *_metadata,
		  struct _test_data_changed *self, enum state state)
{
	if (state == MAPPED) {
		pc_expect_map(_metadata, self->a);
		pc_expect_map(_metadata, self->b);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify(self->a, PC_MMAP));
	EXPECT_EQ(0, pc_verify(self->b, PC_MMAP));
}

/* A whole page is overwritten. */
TEST_F(changed, write_page)
{
	ASSERT_EQ(0, pc_write(self->a, 5 * PC_PAGE, PC_PAGE, 2));
	if (variant->state != COLD) {
		/* One alias goes, the home page stays for the other two. */
		pc_expect_pages(_metadata, &self->start, 0, -1);
		pc_expect_count(_metadata, &self->start, PC_BREAK, 1);
	}
	check(_metadata, self, variant->state);
}

/* A part of a page is overwritten: the rest comes from the shared page. */
TEST_F(changed, write_part_of_page)
{
	ASSERT_EQ(0, pc_write(self->a, 5 * PC_PAGE + 1000, 100, 2));
	check(_metadata, self, variant->state);
}

/* A write that starts and ends inside of pages. */
TEST_F(changed, write_across_pages)
{
	ASSERT_EQ(0, pc_write(self->a, 4 * PC_PAGE + 4000, 3 * PC_PAGE, 2));
	check(_metadata, self, variant->state);
}

/* All of the file is overwritten, then all of another one. */
TEST_F(changed, write_everything)
{
	ASSERT_EQ(0, pc_write(self->a, 0, SIZE, 2));
	ASSERT_EQ(0, pc_write(self->b, 0, SIZE, 3));
	check(_metadata, self, variant->state);
}

/* The same page, several times, with writeback in between. */
TEST_F(changed, write_again_after_writeback)
{
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, pc_write(self->a, 7 * PC_PAGE + 500 * i, 777,
				      2 + i));
		ASSERT_EQ(0, fsync(self->a->fd));
		ASSERT_EQ(0, pc_verify(self->a, PC_READ));
		ASSERT_EQ(0, pc_write(self->b, 7 * PC_PAGE + 500 * i, 777,
				      20 + i));
		ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	}
	check(_metadata, self, variant->state);
}

/* The last page is shared and not full: an append goes into it. */
TEST_F(changed, append)
{
	ASSERT_EQ(0, pc_append(self->a, 300, 2));
	ASSERT_EQ(0, pc_append(self->b, 3 * PC_PAGE, 3));
	ASSERT_EQ(0, pc_append(self->a, 2 * PC_PAGE, 4));
	check(_metadata, self, variant->state);
}

/* A write beyond the end leaves zeros between the old end and itself. */
TEST_F(changed, write_beyond_end)
{
	ASSERT_EQ(0, pc_write(self->a, SIZE + 2 * PC_PAGE + 99, 500, 2));
	check(_metadata, self, variant->state);
}

/* Cut at a page boundary. */
TEST_F(changed, truncate_at_page)
{
	ASSERT_EQ(0, pc_truncate(self->a, 9 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Cut inside of a shared page, then grow: zeros, not the other file's data. */
TEST_F(changed, truncate_inside_page_and_grow)
{
	ASSERT_EQ(0, pc_truncate(self->a, 9 * PC_PAGE + 1111));
	ASSERT_EQ(0, pc_truncate(self->a, SIZE));
	check(_metadata, self, variant->state);
}

/* Cut inside of the last page and grow inside of it. */
TEST_F(changed, truncate_last_page)
{
	ASSERT_EQ(0, pc_truncate(self->a, SIZE - 700));
	ASSERT_EQ(0, pc_truncate(self->a, SIZE - 100));
	ASSERT_EQ(0, pc_truncate(self->b, SIZE + 100));
	check(_metadata, self, variant->state);
}

/* Grown only: what was behind the end of the file shows as zeros. */
TEST_F(changed, truncate_up)
{
	ASSERT_EQ(0, pc_truncate(self->a, SIZE + 3 * PC_PAGE + 5));
	check(_metadata, self, variant->state);
}

/* Emptied and filled again. */
TEST_F(changed, truncate_to_nothing)
{
	ASSERT_EQ(0, pc_truncate(self->a, 0));
	ASSERT_EQ(0, pc_write(self->a, 100, 2 * PC_PAGE, 2));
	check(_metadata, self, variant->state);
}

/* A hole of whole pages. */
TEST_F(changed, punch_pages)
{
	ASSERT_EQ(0, pc_fallocate(self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  3 * PC_PAGE, 4 * PC_PAGE));
	if (variant->state != COLD)
		pc_expect_pages(_metadata, &self->start, 0, -4);
	check(_metadata, self, variant->state);
}

/* A hole inside of one page: zeros in a's page, not in the shared one. */
TEST_F(changed, punch_inside_page)
{
	ASSERT_EQ(0, pc_fallocate(self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  3 * PC_PAGE + 100, 1000));
	check(_metadata, self, variant->state);
}

/* A hole that begins and ends inside of pages. */
TEST_F(changed, punch_across_pages)
{
	ASSERT_EQ(0, pc_fallocate(self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  3 * PC_PAGE + 3000, 3 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* All behind the hole moves down: aliases at the old places are wrong. */
TEST_F(changed, collapse)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_COLLAPSE_RANGE,
				  4 * PC_PAGE, 3 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* All behind the gap moves up. */
TEST_F(changed, insert)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_INSERT_RANGE,
				  4 * PC_PAGE, 3 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Whole pages become zeros. */
TEST_F(changed, zero_range)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_ZERO_RANGE, 6 * PC_PAGE,
				  5 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Zeros that begin and end inside of shared pages. */
TEST_F(changed, zero_range_partial)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_ZERO_RANGE,
				  6 * PC_PAGE + 77, 2 * PC_PAGE + 11));
	ASSERT_EQ(0, pc_fallocate(self->b, FALLOC_FL_ZERO_RANGE,
				  6 * PC_PAGE + 77, 500));
	check(_metadata, self, variant->state);
}

/* Zeros from inside of the last page to beyond the end. */
TEST_F(changed, zero_range_over_end)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_ZERO_RANGE, SIZE - 50,
				  2 * PC_PAGE));
	ASSERT_EQ(0, pc_fallocate(self->b,
				  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				  SIZE - 50, 2 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Room beyond the end that does not show, until the file grows into it. */
TEST_F(changed, keep_size)
{
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_KEEP_SIZE, SIZE,
				  4 * PC_PAGE));
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_truncate(self->a, SIZE + 2 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Unsharing copies blocks and changes no byte; then the copies are written. */
TEST_F(changed, unshare)
{
	uint64_t dev;

	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_UNSHARE_RANGE,
				  2 * PC_PAGE, 8 * PC_PAGE));
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, fsync(self->a->fd));
	dev = pc_block(_metadata, self->a, 2 * PC_PAGE);
	EXPECT_NE(pc_block(_metadata, self->b, 2 * PC_PAGE), dev);
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 5, 2000, 2));
	ASSERT_EQ(0, fsync(self->a->fd));
	/* In place: the block is a's own now. */
	EXPECT_EQ(dev, pc_block(_metadata, self->a, 2 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Blocks of equal content become one; a later write parts them again. */
TEST_F(changed, dedupe)
{
	struct pc_file *d;

	/* d has a's content in blocks of its own, and is in the page cache. */
	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 1));
	ASSERT_EQ(0, pc_verify(d, PC_READ));
	ASSERT_NE(pc_block(_metadata, self->a, 0), pc_block(_metadata, d, 0));
	ASSERT_EQ(0, pc_dedupe(d, 0, self->a, 0, 16 * PC_PAGE));
	EXPECT_EQ(pc_block(_metadata, self->a, 0), pc_block(_metadata, d, 0));
	ASSERT_EQ(0, pc_verify(d, PC_READ));
	ASSERT_EQ(0, pc_write(d, 2 * PC_PAGE + 10, 3000, 5));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 10, 3000, 6));
	check(_metadata, self, variant->state);
}

/* Dirty pages count for what is equal: not the shared page, not the disk. */
TEST_F(changed, dedupe_sees_dirty_pages)
{
	ASSERT_EQ(0, pc_write(self->a, 2 * PC_PAGE, 100, 5));
	EXPECT_EQ(1, pc_dedupe(self->b, 0, self->a, 0, 4 * PC_PAGE));
	ASSERT_EQ(0, pc_write(self->b, 2 * PC_PAGE, 100, 5));
	EXPECT_EQ(0, pc_dedupe(self->b, 0, self->a, 0, 4 * PC_PAGE));
	EXPECT_EQ(pc_block(_metadata, self->a, 2 * PC_PAGE),
		  pc_block(_metadata, self->b, 2 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Other blocks are put under a shared range. */
TEST_F(changed, clone_range_over_shared)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 9));
	ASSERT_EQ(0, pc_verify(d, PC_READ));
	ASSERT_EQ(0, pc_clone_range(self->a, 4 * PC_PAGE, d, 2 * PC_PAGE,
				    6 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Dirty pages of the source come along, dirty pages of the target go. */
TEST_F(changed, clone_range_dirty)
{
	ASSERT_EQ(0, pc_write(self->a, 4 * PC_PAGE + 5, 5000, 2));
	ASSERT_EQ(0, pc_write(self->b, 7 * PC_PAGE + 5, 5000, 3));
	ASSERT_EQ(0, pc_clone_range(self->b, 6 * PC_PAGE, self->a,
				    3 * PC_PAGE, 5 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* A file's own blocks at another place of the file. */
TEST_F(changed, clone_range_within_file)
{
	ASSERT_EQ(0, pc_clone_range(self->a, 12 * PC_PAGE, self->a,
				    2 * PC_PAGE, 6 * PC_PAGE));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE, 3000, 4));
	check(_metadata, self, variant->state);
}

/* To the end of the source with its partial block, making the target longer. */
TEST_F(changed, clone_range_extends)
{
	ASSERT_EQ(0, pc_clone_range(self->a, PAGES * PC_PAGE, self->c,
				    20 * PC_PAGE, 0));
	check(_metadata, self, variant->state);
}

/* copy_file_range() may clone or copy; both leave the same bytes. */
TEST_F(changed, copy_file_range)
{
	ASSERT_EQ(0, pc_copy_range(self->a, 8 * PC_PAGE, self->c,
				   2 * PC_PAGE, 4 * PC_PAGE));
	ASSERT_EQ(0, pc_copy_range(self->b, 8 * PC_PAGE + 10, self->c,
				   2 * PC_PAGE + 300, 5000));
	check(_metadata, self, variant->state);
}

/* Two ranges of two files change places. */
TEST_F(changed, exchange_range)
{
	ASSERT_EQ(0, pc_write(self->b, 3 * PC_PAGE, 7 * PC_PAGE, 3));
	ASSERT_EQ(0, pc_exchange(self->a, 2 * PC_PAGE, self->b, 4 * PC_PAGE,
				 5 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* Two ranges of one file change places. */
TEST_F(changed, exchange_range_within_file)
{
	ASSERT_EQ(0, pc_exchange(self->a, 2 * PC_PAGE, self->a, 12 * PC_PAGE,
				 5 * PC_PAGE));
	check(_metadata, self, variant->state);
}

/* A clone of a changed clone has the change, its origin keeps its own. */
TEST_F(changed, clone_of_changed)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_write(self->a, 2 * PC_PAGE + 9, 2 * PC_PAGE, 2));
	ASSERT_EQ(0, pc_clone(&d, self->a, "d"));
	ASSERT_EQ(0, pc_verify(d, PC_READ));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE, 200, 3));
	ASSERT_EQ(0, pc_write(d, 0, 200, 4));
	check(_metadata, self, variant->state);
}

/* A write through a mapping of one file. */
TEST_F(changed, write_by_mapping)
{
	ASSERT_EQ(0, pc_write_mmap(self->a, 4 * PC_PAGE + 123, 3 * PC_PAGE,
				   2));
	if (variant->state != COLD) {
		pc_expect_pages(_metadata, &self->start, 0, -4);
		pc_expect_count(_metadata, &self->start, PC_BREAK, 4);
	}
	check(_metadata, self, variant->state);
}

/* A direct write to one file. */
TEST_F(changed, write_direct)
{
	ASSERT_EQ(0, pc_write_direct(self->a, 4 * PC_PAGE, 3 * PC_PAGE, 2));
	if (variant->state != COLD)
		pc_expect_pages(_metadata, &self->start, 0, -3);
	check(_metadata, self, variant->state);
}

/* Leaves file a alone with the data of its pages 5 to 8. */
static int leave_alone(struct _test_data_changed *self)
{
	struct pc_file *files[] = { self->b, self->c };

	for (int i = 0; i < 2; i++) {
		int ret = pc_fallocate(files[i], FALLOC_FL_PUNCH_HOLE |
						 FALLOC_FL_KEEP_SIZE,
				       5 * PC_PAGE, 4 * PC_PAGE);

		if (ret)
			return ret;
	}
	return 0;
}

/* The page frame of a page of file a. */
static uint64_t frame(struct _test_data_changed *self, size_t page)
{
	pc_touch(self->a->map + page * PC_PAGE);
	return pc_pfn(self->a->map + page * PC_PAGE);
}

/* The last file that has a shared page gets it back: it is not copied. */
TEST_F(changed, last_sharer_takes_page_back)
{
	uint64_t before[3];
	struct pc_stat then;

	ASSERT_EQ(0, leave_alone(self));
	for (int i = 0; i < 3; i++)
		before[i] = frame(self, 5 + i);
	if (variant->state != MAPPED)
		ASSERT_NE(NULL, pc_map(self->a, MAP, PROT_READ, MAP_SHARED));
	pc_drain();
	pc_stat(&then);
	ASSERT_EQ(0, pc_write(self->a, 5 * PC_PAGE + 1000, 100, 2));
	ASSERT_EQ(0, pc_write(self->a, 6 * PC_PAGE, PC_PAGE, 3));
	ASSERT_EQ(0, pc_write_mmap(self->a, 7 * PC_PAGE + 123, 200, 4));
	pc_expect_pages(_metadata, &then, -3, -3);
	pc_expect_count(_metadata, &then, PC_BREAK, 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(before[i], frame(self, 5 + i));
	check(_metadata, self, variant->state);
}

/*
 * Who is still reading a page for a file that has it no more does not see what
 * the last one writes to it.
 */
TEST_F(changed, page_that_another_file_reads_is_copied)
{
	unsigned char want[PC_PAGE], got[PC_PAGE];
	loff_t pos = 5 * PC_PAGE;
	uint64_t before;
	int p[2];

	memcpy(want, self->b->m->data + pos, PC_PAGE);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PC_PAGE, splice(self->b->fd, &pos, p[1], NULL, PC_PAGE, 0));
	/* File a has it as well then. */
	before = frame(self, 5);
	ASSERT_EQ(0, leave_alone(self));
	pc_drain();
	ASSERT_EQ(0, pc_write(self->a, 5 * PC_PAGE, PC_PAGE, 2));
	if (pc_sharing())
		EXPECT_NE(before, frame(self, 5));
	ASSERT_EQ(PC_PAGE, read(p[0], got, PC_PAGE));
	EXPECT_EQ(0, pc_compare("the page in the pipe", want, got, PC_PAGE,
				5 * PC_PAGE));
	close(p[0]);
	close(p[1]);
	check(_metadata, self, variant->state);
}

TEST_HARNESS_MAIN
