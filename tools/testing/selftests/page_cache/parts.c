// SPDX-License-Identifier: GPL-2.0
/*
 * Folios of several pages: files share them whole, and where one of them has
 * changed, the parts that are left; a part that nobody has any more may be
 * something else on the device by now, and must not be found again.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define HUGE	512UL			/* pages of the largest folio */
#define PAGES	(3 * HUGE)
#define SIZE	(PAGES * PC_PAGE)

/* Where the tests work: in the midst of the second large folio. */
#define HERE	(HUGE + 200)

FIXTURE(parts)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
};

/*
 * A file that was read by a mapping that wants huge pages, and clones of it.
 * What there is then are folios as large as they can be.
 */
FIXTURE_SETUP(parts)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	ASSERT_NE(NULL, pc_map(self->a, SIZE, PROT_READ, MAP_SHARED));
	if (madvise(self->a->map, SIZE, MADV_HUGEPAGE))
		SKIP(return, "no huge pages in this kernel");
	pc_touch_pages(self->a, 0, PAGES);
}

FIXTURE_TEARDOWN(parts)
{
	pc_teardown(_metadata, &self->fs);
}

/* Maps all of a file, and wants huge pages for that. */
static void map_huge(struct __test_metadata *_metadata, struct pc_file *f)
{
	ASSERT_NE(NULL, pc_map(f, SIZE, PROT_READ, MAP_SHARED));
	ASSERT_EQ(0, madvise(f->map, SIZE, MADV_HUGEPAGE));
	pc_touch_pages(f, 0, PAGES);
}

/* Is the page that a mapping shows there one of several? */
static bool is_large(const unsigned char *p)
{
	uint64_t flags;

	pc_touch(p);
	flags = pc_page_flags(pc_pfn(p));
	return flags & (1ULL << KPF_COMPOUND_HEAD | 1ULL << KPF_COMPOUND_TAIL);
}

/* The clone has the same large folios, and maps them as the file could. */
TEST_F(parts, shared_whole)
{
	struct pc_stat then;
	long long pmd;

	pc_stat(&then);
	EXPECT_TRUE(is_large(self->a->map + HERE * PC_PAGE));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	pc_expect_pages(_metadata, &then, 0, PAGES);
	pc_expect_count(_metadata, &then, PC_FRAGMENT, 1);

	map_huge(_metadata, self->b);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	/* The last is not mapped as one where it is found in the page cache. */
	pmd = pc_smaps(self->b->map, "FilePmdMapped");
	EXPECT_LE((long long)(SIZE - HUGE * PC_PAGE) >> 10, pmd);
	map_huge(_metadata, self->a);
	EXPECT_EQ(pmd, pc_smaps(self->a->map, "FilePmdMapped"));
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A write to one page takes that page, and leaves the others shared. */
TEST_F(parts, one_page_is_written)
{
	struct pc_stat then;

	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	pc_stat(&then);
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE + 10, 100, 2));
	pc_expect_pages(_metadata, &then, 0, -1);
	pc_expect_count(_metadata, &then, PC_BREAK, 1);
	for (int via = 0; via < PC_VIA_MAX; via++) {
		EXPECT_EQ(0, pc_verify(self->b, via));
		EXPECT_EQ(0, pc_verify(self->a, via));
	}
	pc_expect_pages(_metadata, &then, 0, -1);
	ASSERT_EQ(0, pc_write_mmap(self->b, (HERE + 1) * PC_PAGE, 3 * PC_PAGE,
				   3));
	pc_expect_pages(_metadata, &then, 0, -4);
	EXPECT_EQ(0, pc_verify(self->b, PC_MMAP));
	EXPECT_EQ(0, pc_verify(self->a, PC_MMAP));
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A write of many pages takes them all, mapped or not, and gets a folio as large as
 * any other write does.  What of a page is not written comes from the shared one.
 */
TEST_F(parts, many_pages_are_written)
{
	const size_t some = 2 * HUGE + 3;
	struct pc_stat then;
	int64_t before;

	map_huge(_metadata, self->b);
	pc_stat(&then);
	before = pc_sectors_read(&self->fs);
	ASSERT_EQ(0, pc_write(self->b, HUGE * PC_PAGE, HUGE * PC_PAGE, 2));
	pc_expect_pages(_metadata, &then, 0, -HUGE);
	pc_expect_count(_metadata, &then, PC_BREAK, HUGE);
	pc_expect_map(_metadata, self->b);
	EXPECT_TRUE(is_large(self->b->map + HERE * PC_PAGE));

	ASSERT_EQ(0, pc_write(self->b, some * PC_PAGE + 100, 20 * PC_PAGE, 3));
	pc_expect_pages(_metadata, &then, 0, -(HUGE + 21));
	pc_expect_count(_metadata, &then, PC_BREAK, HUGE + 21);
	EXPECT_TRUE(is_large(self->b->map + (some + 9) * PC_PAGE));
	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	if (pc_counts_reads(&self->fs))
		EXPECT_EQ(before, pc_sectors_read(&self->fs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Mappings lose the page that is written to, and no other. */
TEST_F(parts, mappings_see_the_write)
{
	map_huge(_metadata, self->b);
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, 5000, 2));
	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	ASSERT_EQ(0, pc_write(self->a, (HERE + 7) * PC_PAGE, 5000, 3));
	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * When all that have a folio have written to it, who comes then shares what
 * somebody still has, and reads the rest.
 */
TEST_F(parts, rest_is_shared_on)
{
	struct pc_stat then;

	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	for (size_t i = 0; i < PAGES; i += HUGE) {
		ASSERT_EQ(0, pc_write(self->a, (i + 3) * PC_PAGE, PC_PAGE, 2));
		ASSERT_EQ(0, pc_write(self->b, (i + 3) * PC_PAGE, PC_PAGE, 3));
		ASSERT_EQ(0, pc_write(self->b, (i + 300) * PC_PAGE, PC_PAGE, 4));
	}
	pc_stat(&then);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	/* One page of each has nobody, and its place is taken. */
	pc_expect_count(_metadata, &then, PC_ATTACH, PAGES - 3);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A page that nobody has an alias to is written to in place: it is in the folio
 * still as it was, others of which are shared.
 */
TEST_F(parts, page_that_nobody_has_goes_stale)
{
	struct pc_file *d;
	uint64_t at;

	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	at = pc_block(_metadata, self->c, HERE * PC_PAGE);
	/* Both get another block for it, so the third has the old one alone. */
	ASSERT_EQ(0, pc_write(self->a, HERE * PC_PAGE, PC_PAGE, 2));
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, PC_PAGE, 3));
	ASSERT_EQ(0, fsync(self->a->fd));
	ASSERT_EQ(0, fsync(self->b->fd));
	ASSERT_EQ(0, pc_write_direct(self->c, HERE * PC_PAGE, PC_PAGE, 4));
	EXPECT_EQ(at, pc_block(_metadata, self->c, HERE * PC_PAGE));
	ASSERT_EQ(0, pc_clone(&d, self->c, "d"));
	EXPECT_EQ(0, pc_verify(d, PC_READ));
	EXPECT_EQ(0, pc_verify(self->c, PC_MMAP));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The same page is written by a page that reads it for that: no old bytes. */
TEST_F(parts, page_that_nobody_has_is_written_in_part)
{
	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_write(self->a, HERE * PC_PAGE, PC_PAGE, 2));
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, PC_PAGE, 3));
	ASSERT_EQ(0, fsync(self->a->fd));
	ASSERT_EQ(0, fsync(self->b->fd));
	ASSERT_EQ(0, pc_write_direct(self->c, HERE * PC_PAGE, PC_PAGE, 4));
	ASSERT_EQ(0, pc_write(self->c, HERE * PC_PAGE + 77, 11, 5));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Parts of the file go: by a hole, by its end, by another file's blocks. */
TEST_F(parts, ranges_go)
{
	struct pc_stat then;

	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_verify(self->c, PC_READ));
	pc_stat(&then);
	ASSERT_EQ(0, pc_fallocate(self->b,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  HERE * PC_PAGE, 10 * PC_PAGE));
	pc_expect_pages(_metadata, &then, 0, -10);
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	/* From within one folio to within the next. */
	ASSERT_EQ(0, pc_fallocate(self->b,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  100 * PC_PAGE + 1000, 500 * PC_PAGE));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_truncate(self->c, HERE * PC_PAGE + 17));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	ASSERT_EQ(0, pc_truncate(self->c, SIZE));
	EXPECT_EQ(0, pc_verify(self->c, PC_MMAP));
	ASSERT_EQ(0, pc_clone_range(self->c, 7 * PC_PAGE, self->a,
				    HERE * PC_PAGE, 600 * PC_PAGE));
	for (int via = 0; via < PC_VIA_MAX; via++)
		EXPECT_EQ(0, pc_verify(self->c, via));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A hole, then a store to what is left beside it, seen by a mapping that had all
 * of it before: of sizes that cut a large entry in different ways.
 */
TEST_F_TIMEOUT(parts, holes_of_many_sizes, 300)
{
	static const struct {
		size_t first, last;
	} holes[] = {
		{ 0, 0 }, { 1, 1 }, { 511, 511 }, { 1, 510 }, { 1, 319 },
		{ 1, 191 }, { 65, 383 }, { 63, 64 }, { 64, 127 }, { 0, 64 },
		{ 100, 511 }, { 200, 700 }, { 5, 1300 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
		size_t first = holes[i].first, last = holes[i].last;
		struct pc_stat then;
		struct pc_file *d;

		ASSERT_EQ(0, pc_clone(&d, self->a, "d"));
		map_huge(_metadata, d);
		pc_stat(&then);
		ASSERT_EQ(0, pc_fallocate(d, FALLOC_FL_PUNCH_HOLE |
					  FALLOC_FL_KEEP_SIZE, first * PC_PAGE,
					  (last - first + 1) * PC_PAGE));
		pc_expect_pages(_metadata, &then, 0,
				-(int64_t)(last - first + 1));
		pc_expect_map(_metadata, d);
		ASSERT_EQ(0, pc_write(d, 0, 100, 3));
		if (first)
			ASSERT_EQ(0, pc_write(d, (first - 1) * PC_PAGE, 100, 4));
		ASSERT_EQ(0, pc_write(d, (last + 1) * PC_PAGE, 100, 5));
		pc_expect_map(_metadata, d);
		EXPECT_EQ(0, pc_verify(d, PC_READ));
		ASSERT_EQ(0, pc_unlink(d));
	}
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Files whose cached data is in folios of different sizes, down to one page at
 * their end, behind which then something is written.
 */
TEST_F(parts, small_ones_at_the_end)
{
	static const size_t sizes[] = {
		1, 3, 5, 7, 9, 13, 17, 25, 33, 49, 57, 65, 97, 131,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i] * PC_PAGE;
		struct pc_file *d, *e;

		ASSERT_EQ(0, pc_create(&d, &self->fs, "d", size, 10 + i));
		ASSERT_EQ(0, pc_verify(d, PC_READ));
		ASSERT_EQ(0, pc_clone(&e, d, "e"));
		EXPECT_EQ(0, pc_verify(e, i & 1 ? PC_READ : PC_MMAP));
		ASSERT_EQ(0, pc_append(e, 2 * PC_PAGE + 100, 30 + i));
		EXPECT_EQ(0, pc_verify(e, PC_READ));
		ASSERT_EQ(0, pc_append(d, 100, 50 + i));
		EXPECT_EQ(0, pc_verify(d, PC_PREAD));
		EXPECT_EQ(0, pc_verify(e, PC_MMAP));
		ASSERT_EQ(0, fsync(d->fd));
		ASSERT_EQ(0, fsync(e->fd));
		EXPECT_EQ(0, pc_verify(d, PC_DIRECT));
		EXPECT_EQ(0, pc_verify(e, PC_DIRECT));
		ASSERT_EQ(0, pc_unlink(d));
		ASSERT_EQ(0, pc_unlink(e));
	}
}

/* Direct writes to a part, with the rest shared and mapped. */
TEST_F(parts, written_behind_the_cache)
{
	map_huge(_metadata, self->b);
	ASSERT_EQ(0, pc_write_direct(self->b, HERE * PC_PAGE, 3 * PC_PAGE, 2));
	pc_expect_map(_metadata, self->b);
	ASSERT_EQ(0, pc_write_direct(self->b, (2 * HUGE - 1) * PC_PAGE,
				     2 * PC_PAGE, 3));
	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The same blocks at another place in a file: not in the same large folios. */
TEST_F_TIMEOUT(parts, elsewhere_in_the_file, 300)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_open(&d, &self->fs, "d", O_RDWR | O_CREAT, 2 * SIZE));
	ASSERT_EQ(0, pc_clone_range(d, 11 * PC_PAGE, self->a, 0, SIZE));
	for (int via = 0; via < PC_VIA_MAX; via++)
		EXPECT_EQ(0, pc_verify(d, via));
	/* A single page may be part of what the first has. */
	ASSERT_EQ(0, pc_write(d, HERE * PC_PAGE, 10, 2));
	ASSERT_EQ(0, pc_write(self->a, HERE * PC_PAGE, 10, 3));
	EXPECT_EQ(0, pc_verify(d, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A file that has the blocks where they are on the device, as far as alignment
 * goes, and others that have them a little beside that, page by page: a large
 * folio of the one is where the others look for single pages.
 */
TEST_F_TIMEOUT(parts, single_pages_beside_large_ones, 300)
{
	size_t at = pc_block(_metadata, self->a, 0) % (HUGE * PC_PAGE);
	struct pc_file *d, *e;

	ASSERT_EQ(0, pc_open(&d, &self->fs, "d", O_RDWR | O_CREAT, 2 * SIZE));
	ASSERT_EQ(0, pc_clone_range(d, at, self->a, 0, SIZE));
	EXPECT_EQ(0, pc_verify(d, PC_READ));
	for (size_t shift = 1; shift < 4; shift++) {
		ASSERT_EQ(0, pc_open(&e, &self->fs, "e", O_RDWR | O_CREAT,
				     2 * SIZE));
		ASSERT_EQ(0, pc_clone_range(e, at + shift * PC_PAGE, self->a, 0,
					    SIZE));
		ASSERT_EQ(0, posix_fadvise(e->fd, 0, 0, POSIX_FADV_RANDOM));
		EXPECT_EQ(0, pc_verify(e, PC_READ));
		EXPECT_EQ(0, pc_verify(d, PC_READ));
		ASSERT_EQ(0, pc_write(e, at + 9 * PC_PAGE, 10, 2));
		EXPECT_EQ(0, pc_verify(e, PC_READ));
		ASSERT_EQ(0, pc_unlink(e));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Who is the last to have a folio gets all of it when he writes. */
TEST_F(parts, taken_back_whole)
{
	struct pc_stat then;

	ASSERT_EQ(0, pc_unlink(self->b));
	ASSERT_EQ(0, pc_unlink(self->c));
	pc_unmap(self->a);
	pc_drain();
	pc_stat(&then);
	ASSERT_EQ(0, pc_write(self->a, HERE * PC_PAGE + 5, 100, 2));
	pc_expect_pages(_metadata, &then, -(int64_t)HUGE, -(int64_t)HUGE);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Under pressure all of it goes, from whoever has which part. */
TEST_F(parts, reclaimed)
{
	struct pc_stat then;

	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, PC_PAGE, 2));
	ASSERT_EQ(0, pc_verify(self->c, PC_READ));
	pc_unmap(self->a);
	ASSERT_EQ(0, fsync(self->b->fd));
	pc_drain();
	ASSERT_EQ(0, pc_drop_caches("3"));
	then = self->fs.cold;
	pc_expect_pages(_metadata, &then, 0, 0);
	EXPECT_EQ(0, pc_verify(self->b, PC_MMAP));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* madvise() of a part is not for splitting what others have. */
TEST_F(parts, part_is_paged_out)
{
	struct pc_stat then;

	ASSERT_NE(NULL, pc_map(self->b, SIZE, PROT_READ, MAP_SHARED));
	pc_touch_pages(self->b, 0, PAGES);
	pc_unmap(self->a);
	pc_stat(&then);
	ASSERT_EQ(0, madvise(self->b->map + HERE * PC_PAGE, 10 * PC_PAGE,
			     MADV_PAGEOUT));
	pc_expect_pages(_metadata, &then, 0, 0);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Memory that fails takes the folio from everybody; nobody is killed, and all
 * read good data again.
 */
TEST_F(parts, memory_fails)
{
	char pfn[32];

	map_huge(_metadata, self->b);
	snprintf(pfn, sizeof(pfn), "%#llx", (unsigned long long)
		 pc_pfn(self->b->map + HERE * PC_PAGE));
	if (madvise(self->b->map + HERE * PC_PAGE, PC_PAGE, MADV_HWPOISON))
		SKIP(return, "memory cannot be made to fail here");
	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	/* Others want to use the memory. */
	pc_hush(true);
	pc_write_str("/sys/kernel/debug/hwpoison/unpoison-pfn", pfn);
	pc_hush(false);
}

/*
 * To another node, with a file that has the pages far behind where they are on
 * the device: what moves, and with it every page table entry, stays in one piece.
 */
TEST_F_TIMEOUT(parts, moved, 300)
{
	const size_t off = MIB(64);
	unsigned char *at;
	struct pc_file *d;
	struct pc_stat then;
	void *page[3];
	int node[3], status[3];

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	if (pc_block(_metadata, self->a, 0) >= off)
		SKIP(return, "the blocks are too far behind");
	ASSERT_EQ(0, pc_open(&d, &self->fs, "d", O_RDWR | O_CREAT, off + SIZE));
	ASSERT_EQ(0, pc_clone_range(d, off, self->a, 0, SIZE));
	ASSERT_NE(NULL, pc_map(d, off + SIZE, PROT_READ, MAP_SHARED));
	at = d->map + off;
	ASSERT_EQ(0, madvise(at, SIZE, MADV_HUGEPAGE));
	for (size_t i = 0; i < PAGES; i++)
		pc_touch(at + i * PC_PAGE);
	/* By page table entries, too. */
	ASSERT_NE(NULL, pc_map(self->b, SIZE, PROT_READ, MAP_SHARED));
	ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, PC_PAGE, 2));
	pc_touch_pages(self->b, 0, PAGES);
	pc_drain();
	pc_stat(&then);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 3; i++)
			page[i] = at + i * HUGE * PC_PAGE;
		ASSERT_EQ(0, syscall(__NR_move_pages, 0, 3, page, NULL, node, 0));
		for (size_t i = 0; i < 3; i++)
			node[i] = !node[i];
		ASSERT_LE(0, syscall(__NR_move_pages, 0, 3, page, node, status,
				     1 << 2 /* MPOL_MF_MOVE_ALL */));
		ASSERT_EQ(0, syscall(__NR_move_pages, 0, 3, page, NULL, status,
				     0));
		for (size_t i = 0; i < 3; i++)
			EXPECT_EQ(node[i], status[i]);
		EXPECT_EQ(0, pc_compare("moved", self->a->m->data, at, SIZE, 0));
		pc_expect_map(_metadata, self->a);
		pc_expect_map(_metadata, self->b);
		pc_expect_pages(_metadata, &then, 0, 0);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A pin that is to stay, of a page in a huge mapping that is only read. */
TEST_F(parts, pinned_for_long)
{
	struct pc_pin_longterm pin = { .size = 4 * PC_PAGE };
	unsigned char buf[4 * PC_PAGE];
	uint64_t to = (uintptr_t)buf;
	int fd;

	fd = open(PC_GUP_TEST, O_RDWR);
	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	map_huge(_metadata, self->b);
	pin.addr = (uintptr_t)self->b->map + HERE * PC_PAGE;
	for (int fast = 0; fast < 2; fast++) {
		pin.flags = fast * PC_PIN_FAST;
		ASSERT_EQ(0, ioctl(fd, PC_PIN_START, &pin));
		ASSERT_EQ(0, pc_write(self->b, HERE * PC_PAGE, 4 * PC_PAGE,
				      2 + fast));
		ASSERT_EQ(0, ioctl(fd, PC_PIN_READ, &to));
		EXPECT_EQ(0, pc_compare("pinned", self->b->m->data +
					HERE * PC_PAGE, buf, 4 * PC_PAGE, 0));
		ASSERT_EQ(0, ioctl(fd, PC_PIN_STOP));
	}
	close(fd);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
