// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks that are not pages: file systems with blocks of 1, 2, 4 and 16 KiB.
 * Only a page that lies whole and aligned in one extent can be shared; all
 * others, and the tails of files, must come out right all the same.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define BLOCKS	96UL

FIXTURE(geometry)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	size_t bs;
};

FIXTURE_VARIANT(geometry)
{
	unsigned int bsize;
};

FIXTURE_VARIANT_ADD(geometry, 1k)
{
	.bsize = 1024,
};

FIXTURE_VARIANT_ADD(geometry, 2k)
{
	.bsize = 2048,
};

FIXTURE_VARIANT_ADD(geometry, 4k)
{
	.bsize = 4096,
};

FIXTURE_VARIANT_ADD(geometry, 16k)
{
	.bsize = 16384,
};

FIXTURE_SETUP(geometry)
{
	struct pc_fs_args args = { .bsize = variant->bsize };

	self->bs = variant->bsize;
	pc_setup(_metadata, &self->fs, &args);
}

FIXTURE_TEARDOWN(geometry)
{
	pc_teardown(_metadata, &self->fs);
}

/* a of size bytes, and b that is its clone, cold. */
static void two_files(struct __test_metadata *_metadata,
		      struct _test_data_geometry *self, size_t size)
{
	pc_setup_clones(_metadata, &self->fs, size, &self->a, &self->b);
}

/* Into the page cache, what of them can be shared is. */
static void warm(struct __test_metadata *_metadata,
		 struct _test_data_geometry *self)
{
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
}

/* The pages that can be shared are, and only those. */
TEST_F(geometry, shares_what_is_aligned)
{
	struct pc_stat start;
	int64_t pages;

	two_files(_metadata, self, BLOCKS * self->bs + 555);
	pages = self->bs > PC_PAGE ? 0 : pc_shareable(self->a, self->bs);
	/* Of smaller blocks there may be none that lies well. */
	if (self->bs == PC_PAGE)
		ASSERT_EQ(BLOCKS + 1, pages);
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&start);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_SPLICE));
	pc_expect_pages(_metadata, &start, pages, 2 * pages);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Extents that start in the middle of a page, in the file or on the device. */
TEST_F(geometry, unaligned_extents)
{
	size_t bs = self->bs;

	two_files(_metadata, self, BLOCKS * bs);
	ASSERT_EQ(0, pc_create(&self->c, &self->fs, "c", BLOCKS * bs, 3));
	for (size_t i = 1; i < 30; i += 5)
		ASSERT_EQ(0, pc_clone_range(self->c, (2 * i + 1) * bs,
					    self->a, i * bs,
					    (1 + i % 7) * bs));
	ASSERT_EQ(0, pc_drop_caches("3"));
	warm(_metadata, self);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	ASSERT_EQ(0, pc_write(self->c, 9 * bs + 7, 11 * bs, 4));
	ASSERT_EQ(0, pc_write(self->a, 20 * bs + 7, 11 * bs, 5));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Every other block is another file's: each page has blocks of both. */
TEST_F(geometry, alternating_blocks)
{
	size_t bs = self->bs;

	two_files(_metadata, self, BLOCKS * bs);
	ASSERT_EQ(0, pc_create(&self->c, &self->fs, "c", BLOCKS * bs, 3));
	for (size_t i = 0; i < BLOCKS / 2; i += 2)
		ASSERT_EQ(0, pc_clone_range(self->c, i * bs, self->a, i * bs,
					    bs));
	ASSERT_EQ(0, pc_drop_caches("3"));
	warm(_metadata, self);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	ASSERT_EQ(0, pc_write(self->c, 6 * bs, bs, 4));
	ASSERT_EQ(0, pc_write(self->a, 6 * bs, bs, 5));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* One block of a shared page is written, punched, zeroed, collapsed away. */
TEST_F(geometry, one_block_changes)
{
	size_t bs = self->bs;

	two_files(_metadata, self, BLOCKS * bs);
	warm(_metadata, self);
	ASSERT_EQ(0, pc_write(self->a, 5 * bs, bs, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fallocate(self->b,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  9 * bs, bs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_ZERO_RANGE, 14 * bs, bs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fallocate(self->b, FALLOC_FL_COLLAPSE_RANGE, 17 * bs,
				  bs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_INSERT_RANGE, 21 * bs,
				  bs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_UNSHARE_RANGE, 30 * bs,
				  5 * bs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Direct writes of one block, shared and then not. */
TEST_F(geometry, one_block_direct)
{
	size_t bs = self->bs;

	two_files(_metadata, self, BLOCKS * bs);
	warm(_metadata, self);
	ASSERT_EQ(0, pc_write_direct(self->a, 5 * bs, bs, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_write_direct(self->a, 5 * bs, bs, 3));
	ASSERT_EQ(0, pc_write_direct(self->b, 6 * bs + 512, 512, 4));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* What a mapping shows behind the end of the file, in its last page, is zero. */
static void tail_is_zero(struct __test_metadata *_metadata, struct pc_file *f)
{
	size_t start = f->m->size & ~(PC_PAGE - 1), in = f->m->size - start;
	unsigned char *map;

	if (!in)
		return;
	map = pc_map(f, start + PC_PAGE, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, map);
	map += start;
	EXPECT_EQ(0, pc_compare("last page", f->m->data + start, map, in,
				start));
	for (size_t i = in; i < PC_PAGE; i++) {
		ASSERT_EQ(0, map[i])
			TH_LOG("%s: byte %zu behind the end of %zu", f->path,
			       i - in, f->m->size);
	}
	pc_unmap(f);
}

/* a is finished: b is its clone, both are read, and end where they end. */
static void clone_and_check_tails(struct __test_metadata *_metadata,
				  struct _test_data_geometry *self)
{
	ASSERT_EQ(0, pc_clone(&self->b, self->a, "b"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	warm(_metadata, self);
	tail_is_zero(_metadata, self->a);
	tail_is_zero(_metadata, self->b);
}

/* The block that the file ends in was full of data once. */
TEST_F(geometry, tail_of_a_longer_file)
{
	size_t bs = self->bs;

	/* Cutting zeroes what is behind the new end, in the page at first. */
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", 20 * bs, 1));
	ASSERT_EQ(0, pc_truncate(self->a, 17 * bs + 700));
	ASSERT_EQ(0, pc_evict(self->a));
	clone_and_check_tails(_metadata, self);
	/* Growing shows zeros. */
	ASSERT_EQ(0, pc_truncate(self->b, 19 * bs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Bytes written behind the end through a mapping do not get into the clone. */
TEST_F(geometry, tail_written_by_mapping)
{
	size_t size = 17 * self->bs + 700, start = size & ~(PC_PAGE - 1);
	unsigned char *map;

	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", size, 1));
	map = pc_map(self->a, start + PC_PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED);
	ASSERT_NE(NULL, map);
	memset(map + size, 0x66, PC_PAGE - (size - start));
	ASSERT_EQ(0, msync(map, start + PC_PAGE, MS_SYNC));
	pc_unmap(self->a);
	clone_and_check_tails(_metadata, self);
	ASSERT_EQ(0, pc_truncate(self->a, size + 3000));
	ASSERT_EQ(0, pc_append(self->b, 100, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A partial last block is shared, then one file grows into the block. */
TEST_F(geometry, partial_last_block)
{
	two_files(_metadata, self, 3 * self->bs + 333);
	warm(_metadata, self);
	ASSERT_EQ(0, pc_append(self->a, 100, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	tail_is_zero(_metadata, self->a);
	tail_is_zero(_metadata, self->b);
	ASSERT_EQ(0, pc_write(self->b, 3 * self->bs + 600, 50, 3));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_truncate(self->a, 3 * self->bs + 400));
	ASSERT_EQ(0, pc_truncate(self->a, 5 * self->bs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* One file's last block is in the middle of a longer one. */
TEST_F(geometry, same_blocks_other_size)
{
	two_files(_metadata, self, 10 * self->bs);
	warm(_metadata, self);
	ASSERT_EQ(0, pc_truncate(self->b, 7 * self->bs));
	ASSERT_EQ(0, pc_evict(self->b));
	warm(_metadata, self);
	tail_is_zero(_metadata, self->b);
	/* Back to the full length: zeros, not a's blocks. */
	ASSERT_EQ(0, pc_truncate(self->b, 10 * self->bs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Very small files: less than a block, less than a page, one byte. */
TEST_F(geometry, tiny_files)
{
	static const size_t size[] = { 1, 511, 700, 1024, 1025, 3000, 4097 };
	struct pc_file *f[ARRAY_SIZE(size)], *g[ARRAY_SIZE(size)];
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		ASSERT_EQ(0, pc_create(&f[i], &self->fs, name, size[i], i));
		snprintf(name, sizeof(name), "g%zu", i);
		ASSERT_EQ(0, pc_clone(&g[i], f[i], name));
	}
	ASSERT_EQ(0, pc_drop_caches("3"));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
		tail_is_zero(_metadata, f[i]);
		tail_is_zero(_metadata, g[i]);
		ASSERT_EQ(0, pc_append(f[i], 17, 50 + i));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
