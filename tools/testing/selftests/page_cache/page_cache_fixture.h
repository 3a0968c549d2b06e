/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the page_cache fixtures have in common.  Include it once, in the one C
 * file of a program that includes kselftest_harness.h.
 */
#ifndef _PAGE_CACHE_FIXTURE_H
#define _PAGE_CACHE_FIXTURE_H

#include "kselftest_harness.h"
#include "page_cache_common.h"

/* It is to find what hangs; an emulated machine may be slow for long. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	120

/* Good, or else the reason why the test is skipped, or a failure. */
static inline bool pc_ready(struct __test_metadata *_metadata,
			    struct pc_fs *fs, int ret)
{
	if (ret > 0)
		SKIP(return false, "%s", fs->why);
	ASSERT_EQ(0, ret);
	return true;
}

/* A fresh file system; if not true, the fixture has nothing more to do. */
static inline bool pc_setup(struct __test_metadata *_metadata,
			    struct pc_fs *fs, const struct pc_fs_args *args)
{
	return pc_ready(_metadata, fs, pc_fs_setup(fs, args));
}

/* As pc_setup(), for tests that say nothing on a kernel that does not share. */
static inline bool pc_setup_sharing(struct __test_metadata *_metadata,
				    struct pc_fs *fs,
				    const struct pc_fs_args *args)
{
	if (!pc_sharing())
		SKIP(return false, PC_NO_SHARING);
	return pc_setup(_metadata, fs, args);
}

static inline void __pc_setup_clones(struct __test_metadata *_metadata,
				     struct pc_fs *fs, size_t size,
				     struct pc_file **const *files)
{
	ASSERT_EQ(0, pc_clones(fs, size, files));
}

/* A cold file of that size and clones of it: where to put each of them. */
#define pc_setup_clones(_metadata, fs, size, ...)			\
	__pc_setup_clones(_metadata, fs, size,				\
			  (struct pc_file **[]){ __VA_ARGS__, NULL })

/* Everything that was shared must be gone when the file system is. */
static inline void pc_teardown(struct __test_metadata *_metadata,
			       struct pc_fs *fs)
{
	const char *leak;

	pc_fs_teardown(fs);
	EXPECT_FALSE(fs->mounted);
	leak = pc_fs_leak(fs);
	EXPECT_EQ(NULL, leak)
		TH_LOG("%s", leak);
}

/* A counter has moved by that much; says nothing without the feature. */
static inline void pc_expect_count(struct __test_metadata *_metadata,
				   const struct pc_stat *then,
				   enum pc_counter counter, int64_t change)
{
	struct pc_stat d = pc_since(then);

	if (!pc_sharing())
		return;
	EXPECT_EQ(change, d.v[counter])
		TH_LOG("%s", pc_stat_str(&d));
}

/* Pages and aliases that came since then. */
static inline void pc_expect_pages(struct __test_metadata *_metadata,
				   const struct pc_stat *then, int64_t home,
				   int64_t alias)
{
	pc_expect_count(_metadata, then, PC_HOME, home);
	pc_expect_count(_metadata, then, PC_ALIAS, alias);
}

static inline void __pc_warm(struct __test_metadata *_metadata, int64_t pages,
			     struct pc_file *const *files)
{
	int n;

	for (n = 0; files[n]; n++)
		ASSERT_EQ(0, pc_verify(files[n], PC_READ));
	pc_expect_pages(_metadata, &files[0]->fs->cold, pages, n * pages);
}

/*
 * Reads files of so many pages that pc_setup_clones() made: all that are to be
 * in the page cache.  They share then, or the test would test nothing.
 */
#define pc_warm(_metadata, pages, ...)					\
	__pc_warm(_metadata, pages, (struct pc_file *[]){ __VA_ARGS__, NULL })

/* Where the block at off lies on the device; there must be one. */
static inline uint64_t pc_block(struct __test_metadata *_metadata,
				struct pc_file *f, size_t off)
{
	uint64_t at = pc_physical(f, off);

	EXPECT_NE(0, at)
		TH_LOG("%s has no block at %zu", f->path, off);
	return at;
}

/* What a mapping shows from its beginning is what the model says. */
static inline void pc_expect_map(struct __test_metadata *_metadata,
				 struct pc_file *f)
{
	char what[160];

	ASSERT_NE(NULL, f->map);
	ASSERT_LE(f->m->size, f->map_len);
	snprintf(what, sizeof(what), "%s by its mapping", f->path);
	EXPECT_EQ(0, pc_compare(what, f->m->data, f->map, f->m->size, 0));
}

/* Reads a byte of each page: they are in the page table then. */
static inline void pc_touch_pages(const struct pc_file *f, size_t first,
				  size_t end)
{
	for (size_t i = first; i < end; i++)
		pc_touch(f->map + i * PC_PAGE);
}

/*
 * Are the pages of two mappings, which have to be in the page table, one and
 * the same?  Says nothing without the feature.
 */
static inline void pc_expect_same(struct __test_metadata *_metadata,
				  const struct pc_file *f,
				  const struct pc_file *g, size_t first,
				  size_t end, bool same)
{
	size_t there = 0, as_told = 0;

	for (size_t i = first; i < end; i++) {
		uint64_t pfn = pc_pfn(f->map + i * PC_PAGE);

		there += !!pfn;
		as_told += same == (pfn == pc_pfn(g->map + i * PC_PAGE));
	}
	EXPECT_EQ(end - first, there)
		TH_LOG("%s: mapped pages from %zu", f->path, first);
	if (!pc_sharing())
		return;
	EXPECT_EQ(end - first, as_told)
		TH_LOG("%s and %s: %s pages from %zu", f->path, g->path,
		       same ? "common" : "different", first);
}

#endif /* _PAGE_CACHE_FIXTURE_H */
