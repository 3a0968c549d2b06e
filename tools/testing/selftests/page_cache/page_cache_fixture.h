/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the page_cache fixtures have in common.  Include it once, in the one C
 * file of a program that includes kselftest_harness.h.
 */
#ifndef _PAGE_CACHE_FIXTURE_H
#define _PAGE_CACHE_FIXTURE_H

#include "kselftest_harness.h"
#include "page_cache_common.h"

/* A fresh file system, or the reason why the test is skipped. */
static inline void pc_setup(struct __test_metadata *_metadata,
			    struct pc_fs *fs, const struct pc_fs_args *args)
{
	int ret = pc_fs_setup(fs, args);

	/* A set-up that failed gets no teardown from the harness. */
	if (ret)
		pc_fs_teardown(fs);
	if (ret > 0)
		SKIP(return, "%s", fs->why);
	ASSERT_EQ(0, ret);
}

/* As pc_setup(), for tests that say nothing on a kernel that does not share. */
static inline void pc_setup_sharing(struct __test_metadata *_metadata,
				    struct pc_fs *fs,
				    const struct pc_fs_args *args)
{
	if (!pc_sharing())
		SKIP(return, PC_NO_SHARING);
	pc_setup(_metadata, fs, args);
}

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

/* Pages and aliases that came since then; says nothing without the feature. */
static inline void pc_expect_pages(struct __test_metadata *_metadata,
				   const struct pc_stat *then, int64_t home,
				   int64_t alias)
{
	struct pc_stat d = pc_since(then);

	if (!pc_sharing())
		return;
	EXPECT_EQ(home, d.v[PC_HOME])
		TH_LOG("%s", pc_stat_str(&d));
	EXPECT_EQ(alias, d.v[PC_ALIAS])
		TH_LOG("%s", pc_stat_str(&d));
}

#endif /* _PAGE_CACHE_FIXTURE_H */
