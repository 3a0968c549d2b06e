// SPDX-License-Identifier: GPL-2.0
/*
 * How long sharing lasts: mount options, unmount, drop_caches, fadvise, memory
 * pressure, inodes that go while others stay.  Whatever takes pages or aliases
 * away, the files stay what they are, and what was counted is given back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES	64UL
#define SIZE	(PAGES * PC_PAGE)

/* <linux/mman.h> has them since 6.5, libc does not. */
struct pc_cachestat_range {
	uint64_t off;
	uint64_t len;
};

struct pc_cachestat {
	uint64_t cache;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

#ifndef __NR_cachestat
#define __NR_cachestat	451
#endif

#define PC_FIFREEZE	_IOWR('X', 119, int)
#define PC_FITHAW	_IOWR('X', 120, int)
#define PC_XFS_GOINGDOWN _IOR('X', 125, uint32_t)
#define PC_GOING_LOGFLUSH 1

FIXTURE(lifetime)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
};

/* Three cold files on the same blocks. */
FIXTURE_SETUP(lifetime)
{
	if (pc_setup(_metadata, &self->fs, NULL))
		pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
				&self->c);
}

FIXTURE_TEARDOWN(lifetime)
{
	pc_teardown(_metadata, &self->fs);
}

/* Reads all three files, whatever is in the page cache before. */
static void read_all(struct __test_metadata *_metadata,
		     struct _test_data_lifetime *self)
{
	pc_warm(_metadata, PAGES, self->a, self->b, self->c);
}

/* Unmount with aliases alive; the teardown looks for what is left. */
TEST_F(lifetime, unmount_with_aliases)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Unmount while pages are dirty whose neighbours are aliases. */
TEST_F(lifetime, unmount_with_aliases_and_dirty_pages)
{
	read_all(_metadata, self);
	for (size_t i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, pc_write(self->a, i * PC_PAGE + 3, 77, i));
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* drop_caches takes the aliases and the pages behind them. */
TEST_F(lifetime, drop_caches)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, pc_drop_caches("1"));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	read_all(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Advice for one file takes its aliases, the others keep page and content. */
TEST_F(lifetime, fadvise_of_one_file)
{
	struct pc_stat d;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_evict(self->a));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	pc_stat(&d);
	read_all(_metadata, self);
	/* The page was there: nobody donated a new one. */
	pc_expect_count(_metadata, &d, PC_DONATE, 0);
	/* A part of the file. */
	ASSERT_EQ(0, posix_fadvise(self->b->fd, 5 * PC_PAGE, 7 * PC_PAGE,
				   POSIX_FADV_DONTNEED));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 3 * PAGES - 7);
	/* All: the last alias takes the page along. */
	ASSERT_EQ(0, pc_evict(self->a));
	ASSERT_EQ(0, pc_evict(self->b));
	ASSERT_EQ(0, pc_evict(self->c));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The file whose read filled the home is unlinked, the others live on. */
TEST_F(lifetime, unlink_of_the_donor)
{
	struct pc_stat d;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_unlink(self->a));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	pc_stat(&d);
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->c, PC_SPLICE));
	pc_expect_count(_metadata, &d, PC_DONATE, 0);
	pc_expect_count(_metadata, &d, PC_ATTACH, 0);
	ASSERT_EQ(0, pc_unlink(self->b));
	ASSERT_EQ(0, pc_unlink(self->c));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
}

/* An unlinked file that is still open reads what it always did. */
TEST_F(lifetime, unlinked_but_open)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, unlink(self->a->path));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 5, 5000, 2));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_drop_caches("3"));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	pc_close(self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * The inode shrinker takes an inode whose pages other files share as well, and
 * nothing is lost from the page cache.  The last one that has a page stays, as
 * an inode with pages of its own does.
 */
TEST_F(lifetime, inode_shrinker_takes_what_others_have)
{
	struct pc_file *one, *two;
	struct pc_stat d;

	ASSERT_EQ(0, pc_create(&one, &self->fs, "one", PC_PAGE, 7));
	ASSERT_EQ(0, pc_clone(&two, one, "two"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	read_all(_metadata, self);
	ASSERT_EQ(0, pc_verify(one, PC_READ));
	pc_shut(one);
	pc_shut(self->b);
	pc_shut(self->c);
	/* What was used of late is passed over once. */
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES + 1, PAGES + 1);

	pc_stat(&d);
	ASSERT_EQ(0, pc_reopen(self->b, O_RDWR));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_reopen(one, O_RDWR));
	EXPECT_EQ(0, pc_verify(one, PC_READ));
	pc_expect_count(_metadata, &d, PC_DONATE, 0);
	pc_expect_count(_metadata, &d, PC_ATTACH, PAGES);
}

/*
 * Of closed files that have the same pages, one stays when the inode shrinker
 * is through: for the sake of the pages.
 */
TEST_F(lifetime, inode_shrinker_leaves_the_last)
{
	read_all(_metadata, self);
	pc_shut(self->a);
	pc_shut(self->b);
	pc_shut(self->c);
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, PAGES);
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR));
	ASSERT_EQ(0, pc_reopen(self->b, O_RDWR));
	ASSERT_EQ(0, pc_reopen(self->c, O_RDWR));
	read_all(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Inodes that nobody has open are evicted once their aliases are gone, and
 * their fragments with them; the files are the same afterwards.
 */
TEST_F(lifetime, inode_eviction)
{
	struct pc_stat d;

	read_all(_metadata, self);
	pc_stat(&d);
	pc_shut(self->b);
	pc_shut(self->c);
	/* Inodes with pages may stay. */
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	/* Without pages they go; what was used of late is passed over once. */
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	if (pc_sharing()) {
		d = pc_since(&d);
		EXPECT_LE(d.v[PC_FRAGMENT], -2)
			TH_LOG("%s", pc_stat_str(&d));
	}
	ASSERT_EQ(0, pc_reopen(self->b, O_RDWR));
	ASSERT_EQ(0, pc_reopen(self->c, O_RDWR));
	read_all(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* One file goes whole, its aliases with it, those of the others stay. */
TEST_F(lifetime, eviction_of_one_of_two)
{
	for (int i = 0; i < 5; i++) {
		read_all(_metadata, self);
		/* Truncated and gone, in the order that eviction uses too. */
		ASSERT_EQ(0, pc_unlink(self->c));
		ASSERT_EQ(0, pc_drop_caches("2"));
		ASSERT_EQ(0, pc_fs_settle(&self->fs));
		pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
		ASSERT_EQ(0, pc_clone(&self->c, self->a, "c"));
		ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* mincore() says that pages are there which an alias stands for. */
TEST_F(lifetime, mincore)
{
	unsigned char vec[PAGES];
	unsigned char *map;

	read_all(_metadata, self);
	map = pc_map(self->b, SIZE, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, mincore(map, SIZE, vec));
	for (size_t i = 0; i < PAGES; i++) {
		ASSERT_EQ(1, vec[i] & 1)
			TH_LOG("page %zu", i);
	}
	ASSERT_EQ(0, posix_fadvise(self->b->fd, 8 * PC_PAGE, 4 * PC_PAGE,
				   POSIX_FADV_DONTNEED));
	ASSERT_EQ(0, mincore(map, SIZE, vec));
	for (size_t i = 0; i < PAGES; i++) {
		ASSERT_EQ(i < 8 || i >= 12, vec[i] & 1)
			TH_LOG("page %zu", i);
	}
}

/* cachestat() counts them, and takes none for an evicted page. */
TEST_F(lifetime, cachestat)
{
	struct pc_cachestat_range all = { .len = SIZE };
	struct pc_cachestat cs = {};

	if (syscall(__NR_cachestat, -1, &all, &cs, 0) && errno != EBADF)
		SKIP(return, "cachestat: %s", strerror(errno));
	ASSERT_EQ(0, syscall(__NR_cachestat, self->b->fd, &all, &cs, 0));
	EXPECT_EQ(0, cs.cache);
	read_all(_metadata, self);
	ASSERT_EQ(0, syscall(__NR_cachestat, self->b->fd, &all, &cs, 0));
	EXPECT_EQ(PAGES, cs.cache);
	EXPECT_EQ(0, cs.dirty);
	EXPECT_EQ(0, cs.writeback);
	EXPECT_EQ(0, cs.evicted);
	EXPECT_EQ(0, cs.recently_evicted);
	ASSERT_EQ(0, pc_write(self->b, 0, 3 * PC_PAGE, 2));
	ASSERT_EQ(0, syscall(__NR_cachestat, self->b->fd, &all, &cs, 0));
	EXPECT_EQ(PAGES, cs.cache);
	EXPECT_EQ(3, cs.dirty);
}

/* A read that must not wait finds what is there, by an alias as well. */
TEST_F(lifetime, read_nowait)
{
	unsigned char buf[4 * PC_PAGE];
	struct iovec v = { .iov_base = buf, .iov_len = sizeof(buf) };
	ssize_t n;

	read_all(_metadata, self);
	n = preadv2(self->b->fd, &v, 1, 8 * PC_PAGE, RWF_NOWAIT);
	ASSERT_EQ(sizeof(buf), n)
		TH_LOG("%s", strerror(errno));
	EXPECT_EQ(0, pc_compare("nowait", self->b->m->data + 8 * PC_PAGE, buf,
				sizeof(buf), 8 * PC_PAGE));
}

/* The file system is frozen with aliases alive, read, and thawed. */
TEST_F(lifetime, freeze)
{
	int fd;

	read_all(_metadata, self);
	fd = open(self->fs.mnt, O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, PC_FIFREEZE, 0));
	EXPECT_EQ(0, posix_fadvise(self->b->fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, ioctl(fd, PC_FITHAW, 0));
	close(fd);
	ASSERT_EQ(0, pc_write(self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The file system is shut down with aliases alive; recovery finds all data. */
TEST_F(lifetime, shutdown)
{
	uint32_t how = PC_GOING_LOGFLUSH;
	int fd;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_write(self->a, 5, 5000, 2));
	ASSERT_EQ(0, fsync(self->a->fd));
	fd = open(self->fs.mnt, O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, PC_XFS_GOINGDOWN, &how));
	close(fd);
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Read-only and back. */
TEST_F(lifetime, remount_read_only)
{
	read_all(_metadata, self);
	/* No file may be open for writing. */
	ASSERT_EQ(0, pc_fs_reopen(&self->fs, O_RDONLY));
	ASSERT_EQ(0, mount(NULL, self->fs.mnt, NULL, MS_REMOUNT | MS_RDONLY,
			   NULL));
	ASSERT_EQ(0, pc_evict(self->b));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_fs_remount(&self->fs, NULL));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Memory pressure: more than fits is read through clones, in a memory cgroup
 * that holds a fraction of it.
 */
#define BIG_FILES	4
#define BIG		MIB(4)
#define ROOM		MIB(10)

/* In the cgroup: the exit status. */
static int read_in_memcg(struct pc_file **big, struct pc_file **clone)
{
	char where[256];
	int ret;

	ret = pc_memcg_enter("small", ROOM, where, sizeof(where));
	if (ret) {
		pc_log("%s", where);
		return KSFT_SKIP;
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < BIG_FILES; i++) {
			if (pc_verify(big[i], PC_READ) ||
			    pc_verify(clone[i], PC_READ) ||
			    pc_verify(big[i], PC_SPLICE))
				return 1;
		}
	}
	return 0;
}

TEST_F_TIMEOUT(lifetime, small_memcg, 300)
{
	struct pc_file *big[BIG_FILES], *clone[BIG_FILES];
	struct pc_stat before;
	int status;
	pid_t pid;

	for (int i = 0; i < BIG_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "big%d", i);
		ASSERT_EQ(0, pc_create(&big[i], &self->fs, name, BIG, 10 + i));
		snprintf(name, sizeof(name), "clone%d", i);
		ASSERT_EQ(0, pc_clone(&clone[i], big[i], name));
	}
	ASSERT_EQ(0, pc_drop_caches("3"));
	/* One page in 64 of the clones is their own, and dirty. */
	for (int i = 0; i < BIG_FILES; i++)
		for (size_t off = 0; off < BIG; off += 64 * PC_PAGE)
			ASSERT_EQ(0, pc_write(clone[i], off, 999, off));
	pc_stat(&before);
	pid = pc_fork(&self->fs);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(read_in_memcg(big, clone));
	status = pc_wait(&self->fs, pid);
	pc_memcg_remove("small", pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no memory cgroup to be had");
	ASSERT_EQ(0, status);
	if (pc_sharing()) {
		struct pc_stat d = pc_since(&before);

		/* More of a file than fits went through the cgroup. */
		EXPECT_GT(d.v[PC_RECLAIM], 0)
			TH_LOG("%s", pc_stat_str(&d));
		EXPECT_LE(d.v[PC_HOME], (long long)(ROOM / PC_PAGE))
			TH_LOG("%s", pc_stat_str(&d));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Mount options. */

/* An option that nobody knows, and values for options that take none. */
TEST_F(lifetime, unknown_values_are_refused)
{
	static const char * const bad[] = {
		"share_cache=maybe", "noshare_cache=1", "share_cached",
		"share_cache=", "nosharecache"
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, pc_fs_remount(&self->fs, bad[i]))
			TH_LOG("remount with %s", bad[i]);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	ASSERT_EQ(0, pc_fs_umount(&self->fs));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, pc_fs_mount(&self->fs, bad[i]))
			TH_LOG("mount with %s", bad[i]);
	}
	EXPECT_FALSE(self->fs.mounted);
}

FIXTURE(options)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
};

FIXTURE_SETUP(options)
{
	if (pc_setup_sharing(_metadata, &self->fs, NULL))
		pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
				&self->c);
}

FIXTURE_TEARDOWN(options)
{
	pc_teardown(_metadata, &self->fs);
}

/* /proc/mounts says which of the two it is, always. */
TEST_F(options, shown)
{
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "share_cache"));
	EXPECT_FALSE(pc_fs_has_option(&self->fs, "noshare_cache"));
	self->fs.opts = "noshare_cache";
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
	EXPECT_FALSE(pc_fs_has_option(&self->fs, "share_cache"));
	self->fs.opts = "share_cache";
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "share_cache"));
	/* The last word counts. */
	self->fs.opts = "share_cache,noshare_cache";
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
}

/* Without it nothing is shared. */
TEST_F(options, noshare_shares_nothing)
{
	self->fs.opts = "noshare_cache";
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	pc_expect_count(_metadata, &self->fs.cold, PC_ATTACH, 0);
	pc_expect_count(_metadata, &self->fs.cold, PC_DONATE, 0);
	ASSERT_EQ(0, pc_write(self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A remount switches it off and on, whatever is cached at that time. */
TEST_F(options, remount_switches)
{
	struct pc_stat d;

	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "noshare_cache"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
	/* What is shared may stay, nothing may be added. */
	pc_stat(&d);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	pc_expect_count(_metadata, &d, PC_ATTACH, 0);
	pc_expect_count(_metadata, &d, PC_DONATE, 0);
	ASSERT_EQ(0, pc_write(self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));

	ASSERT_EQ(0, pc_drop_caches("1"));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "share_cache"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "share_cache"));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A remount for another reason leaves it as it is. */
TEST_F(options, remount_keeps)
{
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "noshare_cache"));
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "inode64"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
}

#define ROUNDS	40

static int load(struct pc_file *f, int nr)
{
	if (pc_reopen(f, O_RDWR))
		return 1;
	for (int n = 0; n < ROUNDS; n++) {
		if (pc_verify(f, PC_READ) ||
		    pc_write(f, (n % PAGES) * PC_PAGE + 9, 99, n * 3 + nr) ||
		    pc_verify(f, n & 1 ? PC_READ : PC_SPLICE) ||
		    pc_evict(f))
			return 1;
	}
	return 0;
}

/* Switched all the time while others read and write. */
TEST_F_TIMEOUT(options, remount_under_load, 300)
{
	struct pc_file *f[3] = { self->a, self->b, self->c };
	bool busy = true;
	pid_t pid[3];

	for (int i = 0; i < 3; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(load(f[i], i));
	}
	/* As long as one of them is at it. */
	for (int n = 0; busy; n++) {
		ASSERT_EQ(0, pc_fs_remount(&self->fs, n & 1 ? "share_cache" :
							      "noshare_cache"));
		/* A remount writes all back: let them have their turn. */
		usleep(2000);
		busy = pc_runs(pid[0]) || pc_runs(pid[1]) || pc_runs(pid[2]);
	}
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
