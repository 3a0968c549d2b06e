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
	struct pc_file a, b, c;
	struct pc_stat start;
};

/* Three cold files on the same blocks. */
FIXTURE_SETUP(lifetime)
{
	pc_setup(_metadata, &self->fs, NULL);
	if (_metadata->exit_code)
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
	ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(lifetime)
{
	pc_teardown(_metadata, &self->fs);
}

/* Reads all three files; they are shared then, or a test tests nothing. */
static void read_all(struct __test_metadata *_metadata,
		     struct _test_data_lifetime *self)
{
	ASSERT_EQ(0, pc_verify(&self->a, PC_READ));
	ASSERT_EQ(0, pc_verify(&self->b, PC_READ));
	ASSERT_EQ(0, pc_verify(&self->c, PC_READ));
	pc_expect_pages(_metadata, &self->start, PAGES, 3 * PAGES);
}

/* Unmount with aliases alive; the teardown looks for what is left. */
TEST_F(lifetime, unmount_with_aliases)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Unmount while pages are dirty whose neighbours are aliases. */
TEST_F(lifetime, unmount_with_aliases_and_dirty_pages)
{
	read_all(_metadata, self);
	for (size_t i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, pc_write(&self->a, i * PC_PAGE + 3, 77, i));
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* drop_caches takes the aliases and the pages behind them. */
TEST_F(lifetime, drop_caches)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, pc_drop_caches("1"));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	read_all(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Advice for one file takes its aliases, the others keep page and content. */
TEST_F(lifetime, fadvise_of_one_file)
{
	struct pc_stat d;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_evict(&self->a));
	pc_expect_pages(_metadata, &self->start, PAGES, 2 * PAGES);
	pc_stat(&d);
	read_all(_metadata, self);
	/* The page was there: nobody donated a new one. */
	d = pc_since(&d);
	if (pc_sharing())
		EXPECT_EQ(0, d.v[PC_DONATE]);
	/* A part of the file. */
	ASSERT_EQ(0, posix_fadvise(self->b.fd, 5 * PC_PAGE, 7 * PC_PAGE,
				   POSIX_FADV_DONTNEED));
	pc_expect_pages(_metadata, &self->start, PAGES, 3 * PAGES - 7);
	/* All: the last alias takes the page along. */
	ASSERT_EQ(0, pc_evict(&self->a));
	ASSERT_EQ(0, pc_evict(&self->b));
	ASSERT_EQ(0, pc_evict(&self->c));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The file whose read filled the home is unlinked, the others live on. */
TEST_F(lifetime, unlink_of_the_donor)
{
	struct pc_stat d;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_unlink(&self->a));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	pc_expect_pages(_metadata, &self->start, PAGES, 2 * PAGES);
	pc_stat(&d);
	EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->c, PC_SPLICE));
	d = pc_since(&d);
	if (pc_sharing()) {
		EXPECT_EQ(0, d.v[PC_DONATE]);
		EXPECT_EQ(0, d.v[PC_ATTACH]);
	}
	ASSERT_EQ(0, pc_unlink(&self->b));
	ASSERT_EQ(0, pc_unlink(&self->c));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	pc_expect_pages(_metadata, &self->start, 0, 0);
}

/* An unlinked file that is still open reads what it always did. */
TEST_F(lifetime, unlinked_but_open)
{
	read_all(_metadata, self);
	ASSERT_EQ(0, unlink(self->a.path));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_write(&self->a, 3 * PC_PAGE + 5, 5000, 2));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
	ASSERT_EQ(0, pc_drop_caches("3"));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	pc_close(&self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Inodes are evicted with their aliases; the file is the same afterwards. */
TEST_F(lifetime, inode_eviction)
{
	read_all(_metadata, self);
	close(self->b.fd);
	close(self->c.fd);
	/* Inodes with pages stay, those without go; twice, for the dentries. */
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	ASSERT_EQ(0, pc_drop_caches("2"));
	self->b.fd = open(self->b.path, O_RDWR);
	self->c.fd = open(self->c.path, O_RDWR);
	read_all(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* One file is evicted whole while an alias of it is in another one's hands. */
TEST_F(lifetime, eviction_of_one_of_two)
{
	for (int i = 0; i < 5; i++) {
		read_all(_metadata, self);
		/* Truncated and gone, in the order that eviction uses too. */
		ASSERT_EQ(0, pc_unlink(&self->c));
		ASSERT_EQ(0, pc_drop_caches("2"));
		ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
		ASSERT_EQ(0, pc_verify(&self->b, PC_READ));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* mincore() says that pages are there which an alias stands for. */
TEST_F(lifetime, mincore)
{
	unsigned char vec[PAGES];
	unsigned char *map;

	read_all(_metadata, self);
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->b.fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mincore(map, SIZE, vec));
	for (size_t i = 0; i < PAGES; i++) {
		ASSERT_EQ(1, vec[i] & 1)
			TH_LOG("page %zu", i);
	}
	ASSERT_EQ(0, posix_fadvise(self->b.fd, 8 * PC_PAGE, 4 * PC_PAGE,
				   POSIX_FADV_DONTNEED));
	ASSERT_EQ(0, mincore(map, SIZE, vec));
	for (size_t i = 0; i < PAGES; i++) {
		ASSERT_EQ(i < 8 || i >= 12, vec[i] & 1)
			TH_LOG("page %zu", i);
	}
	munmap(map, SIZE);
}

/* cachestat() counts them, and takes none for an evicted page. */
TEST_F(lifetime, cachestat)
{
	struct pc_cachestat_range all = { .len = SIZE };
	struct pc_cachestat cs = {};

	if (syscall(__NR_cachestat, self->b.fd, &all, &cs, 0))
		SKIP(return, "cachestat: %s", strerror(errno));
	EXPECT_EQ(0, cs.cache);
	read_all(_metadata, self);
	ASSERT_EQ(0, syscall(__NR_cachestat, self->b.fd, &all, &cs, 0));
	EXPECT_EQ(PAGES, cs.cache);
	EXPECT_EQ(0, cs.dirty);
	EXPECT_EQ(0, cs.writeback);
	EXPECT_EQ(0, cs.evicted);
	EXPECT_EQ(0, cs.recently_evicted);
	ASSERT_EQ(0, pc_write(&self->b, 0, 3 * PC_PAGE, 2));
	ASSERT_EQ(0, syscall(__NR_cachestat, self->b.fd, &all, &cs, 0));
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
	n = preadv2(self->b.fd, &v, 1, 8 * PC_PAGE, RWF_NOWAIT);
	ASSERT_EQ(sizeof(buf), n)
		TH_LOG("%s", strerror(errno));
	EXPECT_EQ(0, pc_compare("nowait", self->b.m->data + 8 * PC_PAGE, buf,
				sizeof(buf), 8 * PC_PAGE));
}

/* The file system is frozen with aliases alive, read, and thawed. */
TEST_F(lifetime, freeze)
{
	int fd, ret;

	read_all(_metadata, self);
	fd = open(self->fs.mnt, O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, fd);
	ret = ioctl(fd, PC_FIFREEZE, 0);
	if (ret) {
		close(fd);
		SKIP(return, "FIFREEZE: %s", strerror(errno));
	}
	posix_fadvise(self->b.fd, 0, 0, POSIX_FADV_DONTNEED);
	EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	ASSERT_EQ(0, ioctl(fd, PC_FITHAW, 0));
	close(fd);
	ASSERT_EQ(0, pc_write(&self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The file system is shut down with aliases alive; recovery finds all data. */
TEST_F(lifetime, shutdown)
{
	uint32_t how = PC_GOING_LOGFLUSH;
	int fd;

	read_all(_metadata, self);
	ASSERT_EQ(0, pc_write(&self->a, 5, 5000, 2));
	ASSERT_EQ(0, fsync(self->a.fd));
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
	for (int i = 0; i < PC_MAX_FILES; i++) {
		/* No file may be open for writing. */
		if (self->fs.files[i]) {
			close(self->fs.files[i]->fd);
			self->fs.files[i]->fd = open(self->fs.files[i]->path,
						     O_RDONLY);
		}
	}
	ASSERT_EQ(0, mount(NULL, self->fs.mnt, NULL, MS_REMOUNT | MS_RDONLY,
			   NULL));
	ASSERT_EQ(0, pc_evict(&self->b));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, mount(NULL, self->fs.mnt, NULL, MS_REMOUNT, NULL));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Memory pressure: more than fits is read through clones, in a memory cgroup
 * that holds a fraction of it.
 */
#define BIG_FILES	4
#define BIG		MIB(4)

TEST_F_TIMEOUT(lifetime, small_memcg, 300)
{
	static struct pc_file big[BIG_FILES], clone[BIG_FILES];
	struct pc_stat before;
	char where[256];
	int status;
	pid_t pid;

	for (int i = 0; i < BIG_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "big%d", i);
		ASSERT_EQ(0, pc_create(&big[i], &self->fs, name, BIG, 10 + i));
		snprintf(name, sizeof(name), "clone%d", i);
		ASSERT_EQ(0, pc_clone(&clone[i], &big[i], name));
	}
	ASSERT_EQ(0, pc_drop_caches("3"));
	/* One page in four of the clones is their own, and dirty. */
	for (int i = 0; i < BIG_FILES; i++)
		for (size_t off = 0; off < BIG; off += 64 * PC_PAGE)
			ASSERT_EQ(0, pc_write(&clone[i], off, 999, off));
	pc_stat(&before);
	pid = pc_fork(&self->fs);
	ASSERT_LE(0, pid);
	if (!pid) {
		int ret = pc_memcg_enter("small", MIB(10), where,
					 sizeof(where));

		if (ret) {
			pc_log("%s", where);
			_exit(ret > 0 ? KSFT_SKIP : 1);
		}
		for (int round = 0; round < 3; round++) {
			for (int i = 0; i < BIG_FILES; i++) {
				if (pc_verify(&big[i], PC_READ) ||
				    pc_verify(&clone[i], PC_READ) ||
				    pc_verify(&big[i], PC_SPLICE))
					_exit(1);
			}
		}
		_exit(0);
	}
	status = pc_wait(&self->fs, pid);
	pc_memcg_remove("small", pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no memory cgroup to be had");
	ASSERT_EQ(0, status);
	if (pc_sharing()) {
		struct pc_stat d = pc_since(&before);

		/* 16 MiB of file went through 10 MiB of cgroup. */
		EXPECT_GT(d.v[PC_RECLAIM], 0)
			TH_LOG("%s", pc_stat_str(&d));
		EXPECT_LT(d.v[PC_HOME], BIG_FILES * BIG / PC_PAGE);
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
	for (int i = 0; i < PC_MAX_FILES; i++)
		if (self->fs.files[i])
			pc_close(self->fs.files[i]);
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
	struct pc_file a, b, c;
	struct pc_stat start;
};

FIXTURE_SETUP(options)
{
	pc_setup_sharing(_metadata, &self->fs, NULL);
	if (_metadata->exit_code)
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
	ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&self->start);
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
	struct pc_stat d;

	self->fs.opts = "noshare_cache";
	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	d = pc_since(&self->start);
	EXPECT_EQ(0, d.v[PC_ATTACH]);
	EXPECT_EQ(0, d.v[PC_DONATE]);
	ASSERT_EQ(0, pc_write(&self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A remount switches it off and on, whatever is cached at that time. */
TEST_F(options, remount_switches)
{
	struct pc_stat d;

	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "noshare_cache"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
	/* What is shared may stay, nothing may be added. */
	pc_stat(&d);
	EXPECT_EQ(0, pc_verify(&self->c, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	d = pc_since(&d);
	EXPECT_EQ(0, d.v[PC_ATTACH]);
	EXPECT_EQ(0, d.v[PC_DONATE]);
	ASSERT_EQ(0, pc_write(&self->a, 5, 5000, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));

	ASSERT_EQ(0, pc_drop_caches("1"));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "share_cache"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "share_cache"));
	EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->c, PC_READ));
	pc_expect_pages(_metadata, &self->start, PAGES, 2 * PAGES);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A remount for another reason leaves it as it is. */
TEST_F(options, remount_keeps)
{
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "noshare_cache"));
	ASSERT_EQ(0, pc_fs_remount(&self->fs, "inode64"));
	EXPECT_TRUE(pc_fs_has_option(&self->fs, "noshare_cache"));
}

/* Switched all the time while others read and write. */
TEST_F_TIMEOUT(options, remount_under_load, 120)
{
	struct pc_file *f[3] = { &self->a, &self->b, &self->c };
	int rounds = 40;
	pid_t pid[3];

	for (int i = 0; i < 3; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		f[i]->fd = open(f[i]->path, O_RDWR);
		for (int n = 0; n < rounds; n++) {
			if (pc_verify(f[i], PC_READ) ||
			    pc_write(f[i], (n % PAGES) * PC_PAGE + 9, 99,
				     n * 3 + i) ||
			    pc_verify(f[i], n & 1 ? PC_READ : PC_SPLICE) ||
			    pc_evict(f[i]))
				_exit(1);
		}
		_exit(0);
	}
	for (int n = 0; n < rounds; n++)
		ASSERT_EQ(0, pc_fs_remount(&self->fs, n & 1 ? "share_cache" :
							      "noshare_cache"));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
