// SPDX-License-Identifier: GPL-2.0
/*
 * Warm at birth: what a file has cached when it is cloned is there for the
 * clone as well, without a page or a read more, however it came to be cached;
 * and what is in use stays with the file that uses it.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fs.h>

#include "page_cache_fixture.h"

/* MADV_GUARD_INSTALL, which libc's headers may not know yet. */
#define PC_GUARD_INSTALL	102

#define PAGES	200UL
/* The last page is not full. */
#define SIZE	((PAGES - 1) * PC_PAGE + 1500)

enum how {
	READ,		/* in large folios, where readahead makes them */
	MAPPED,		/* and still in the page table */
	WRITTEN,	/* and on disk */
	DIRTY,
};

/* A file that has never shared anything, and is cached. */
FIXTURE(warm)
{
	struct pc_fs fs;
	struct pc_file *a;
	struct pc_stat start;
};

FIXTURE_VARIANT(warm)
{
	enum how how;
};

FIXTURE_VARIANT_ADD(warm, read)
{
	.how = READ,
};

FIXTURE_VARIANT_ADD(warm, mapped)
{
	.how = MAPPED,
};

FIXTURE_VARIANT_ADD(warm, written)
{
	.how = WRITTEN,
};

FIXTURE_VARIANT_ADD(warm, dirty)
{
	.how = DIRTY,
};

FIXTURE_SETUP(warm)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	switch (variant->how) {
	case WRITTEN:
	case DIRTY:
		ASSERT_EQ(0, pc_write(self->a, 0, SIZE, 2));
		if (variant->how == WRITTEN)
			ASSERT_EQ(0, fsync(self->a->fd));
		break;
	case MAPPED:
	case READ:
		ASSERT_EQ(0, pc_verify(self->a, PC_READ));
		break;
	}
	if (variant->how == MAPPED) {
		ASSERT_NE(NULL, pc_map(self->a, PAGES * PC_PAGE,
				       PROT_READ | PROT_WRITE, MAP_SHARED));
		pc_touch_pages(self->a, 0, PAGES);
	}
	pc_drain();
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(warm)
{
	pc_teardown(_metadata, &self->fs);
}

/* The clone finds all pages, and nothing is read or allocated for it. */
TEST_F(warm, clone_finds_all_pages)
{
	struct pc_file *b, *c;
	struct pc_stat then;

	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	pc_expect_pages(_metadata, &self->start, PAGES, PAGES);
	pc_stat(&then);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	pc_expect_pages(_metadata, &then, 0, PAGES);
	pc_expect_count(_metadata, &then, PC_DONATE, 0);
	pc_expect_count(_metadata, &then, PC_ATTACH, PAGES);
	/* So does the clone of that, by another way. */
	ASSERT_EQ(0, pc_clone(&c, b, "c"));
	EXPECT_EQ(0, pc_verify(c, PC_MMAP));
	pc_expect_pages(_metadata, &then, 0, 2 * PAGES);
	EXPECT_EQ(0, pc_verify(self->a, PC_MMAP));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Nothing is read from the device for it. */
TEST_F(warm, clone_reads_nothing)
{
	struct pc_file *b;
	int64_t start;

	if (!pc_counts_reads(&self->fs))
		SKIP(return, "the device does not count its reads");
	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	start = pc_sectors_read(&self->fs);
	ASSERT_LE(0, start);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	if (pc_sharing())
		EXPECT_EQ(0, pc_sectors_read(&self->fs) - start);
}

/*
 * Parts of pages of the clone are written that it has not read: what is around
 * them need not be read, and is right.
 */
TEST_F(warm, parts_of_pages_are_written)
{
	struct pc_file *b;
	int64_t start;

	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	start = pc_sectors_read(&self->fs);
	ASSERT_EQ(0, pc_write(b, 5 * PC_PAGE + 1000, 100, 3));
	ASSERT_EQ(0, pc_write(b, 7 * PC_PAGE + 9, 3 * PC_PAGE, 4));
	ASSERT_EQ(0, pc_write(b, 20 * PC_PAGE, 17, 5));
	ASSERT_EQ(0, pc_write(b, 30 * PC_PAGE + 4000, 96, 6));
	if (pc_sharing() && pc_counts_reads(&self->fs))
		EXPECT_EQ(0, pc_sectors_read(&self->fs) - start);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Each of the two is written to, and the other does not see it. */
TEST_F(warm, either_is_written)
{
	struct pc_file *b;

	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 100, 5 * PC_PAGE, 3));
	ASSERT_EQ(0, pc_write(b, 6 * PC_PAGE, 4 * PC_PAGE, 4));
	ASSERT_EQ(0, pc_write_mmap(self->a, 20 * PC_PAGE + 7, 2 * PC_PAGE, 5));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A store by a mapping that was there before the file was cloned. */
TEST_F(warm, store_by_old_mapping)
{
	struct pc_file *b;

	ASSERT_NE(NULL, pc_map(self->a, PAGES * PC_PAGE,
			       PROT_READ | PROT_WRITE, MAP_SHARED));
	pc_touch_pages(self->a, 0, PAGES);
	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	for (int i = 0; i < 10; i++) {
		pc_fill(self->a->map + i * PC_PAGE, 64, 6, i * PC_PAGE);
		pc_model_write(self->a->m, i * PC_PAGE, 64, 6);
	}
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* What a process has put into its page tables is not for others to remove. */
TEST_F(warm, guard_pages_stay)
{
	struct pc_file *b;
	int status;
	pid_t pid;

	ASSERT_NE(NULL, pc_map(self->a, PAGES * PC_PAGE, PROT_READ,
			       MAP_SHARED));
	pc_touch_pages(self->a, 0, PAGES);
	if (madvise(self->a->map + 3 * PC_PAGE, PC_PAGE, PC_GUARD_INSTALL))
		SKIP(return, "no guard pages in this kernel");
	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		pc_touch(self->a->map + 3 * PC_PAGE);
		_exit(0);
	}
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* Pages of which the clone has no blocks stay with the file. */
TEST_F(warm, part_of_the_file)
{
	struct pc_file *b;
	struct pc_stat then;

	ASSERT_EQ(0, pc_open(&b, &self->fs, "b", O_RDWR | O_CREAT,
			     PAGES * PC_PAGE));
	ASSERT_EQ(0, pc_clone_range(b, 8 * PC_PAGE, self->a, 8 * PC_PAGE,
				    16 * PC_PAGE));
	pc_expect_pages(_metadata, &self->start, 16, 16);
	pc_stat(&then);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	pc_expect_pages(_metadata, &then, 0, 16);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A page that somebody is using cannot be given away. */
TEST_F(warm, page_in_use_stays)
{
	unsigned char got[PC_PAGE];
	loff_t pos = 40 * PC_PAGE;
	struct pc_file *b;
	struct pc_stat d;
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PC_PAGE, splice(self->a->fd, &pos, p[1], NULL, PC_PAGE, 0));
	pc_stat(&self->start);
	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	d = pc_since(&self->start);
	if (pc_sharing()) {
		/* It may be one of a large folio, which then stays whole. */
		EXPECT_GT(PAGES, d.v[PC_HOME]);
		EXPECT_LT(0, d.v[PC_HOME]);
	}
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	ASSERT_EQ(0, pc_write(self->a, 40 * PC_PAGE, PC_PAGE, 7));
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	ASSERT_EQ(PC_PAGE, read(p[0], got, PC_PAGE));
	close(p[0]);
	close(p[1]);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Equal files are deduplicated: one of two cached copies is enough. */
TEST_F(warm, deduplicated)
{
	struct pc_file *b;

	ASSERT_EQ(0, pc_create(&b, &self->fs, "b", SIZE,
			       variant->how == WRITTEN ||
			       variant->how == DIRTY ? 2 : 1));
	ASSERT_EQ(0, pc_verify(b, PC_READ));
	ASSERT_EQ(0, pc_dedupe(b, 0, self->a, 0, (PAGES - 1) * PC_PAGE));
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	pc_drain();
	ASSERT_EQ(0, pc_write(b, 2 * PC_PAGE, PC_PAGE, 8));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A hole is one extent, however large: a clone does not go through it piece by piece,
 * with both files locked, for hours.
 */
TEST_F(warm, much_is_a_hole)
{
	const off_t size = 1L << 50;
	char name[PATH_MAX];
	struct stat st;
	int fd;

	ASSERT_EQ(0, ftruncate(self->a->fd, size));
	snprintf(name, sizeof(name), "%s.sparse", self->a->path);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, FICLONE, self->a->fd))
		TH_LOG("FICLONE: %s", strerror(errno));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(size, st.st_size);
	close(fd);
	ASSERT_EQ(0, unlink(name));
	ASSERT_EQ(0, ftruncate(self->a->fd, SIZE));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A file system that does not share leaves them where they are. */
TEST_F(warm, not_with_noshare_cache)
{
	struct pc_file *b;

	if (!pc_sharing())
		SKIP(return, PC_NO_SHARING);
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "noshare_cache"));
	ASSERT_EQ(0, pc_clone(&b, self->a, "b"));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
