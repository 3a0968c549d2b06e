// SPDX-License-Identifier: GPL-2.0
/*
 * Files whose page cache is read and written by Rust: those of the sample
 * samples/rust/rust_page_cache.rs, built in or as a module.  To load that, put
 * its path into $RUST_PAGE_CACHE_KO, or where modprobe finds it.
 */
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define DEV		"/dev/rust-page-cache"
#define MODULE		"rust_page_cache"
#define CREATE		_IOW('|', 0x90, uint64_t)
#define STATS		_IOR('|', 0x91, uint64_t[3])

/* What all files can have together. */
#define LIMIT		(16384 * PC_PAGE)

/* Numbers of the module, in pages. */
struct stats {
	uint64_t used, reads, writes;
};

FIXTURE(rust_ops)
{
	int dev, fd;
	struct stats before;
	/* What the file must contain, zeroes beyond its size. */
	unsigned char *want;
	size_t size, cap;
};

static int load(void)
{
	static const char *const modprobe[] = { "modprobe", MODULE, NULL };
	const char *path = getenv("RUST_PAGE_CACHE_KO");
	int fd, ret;

	if (!path)
		return pc_run(modprobe);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

static int unload(void)
{
	return syscall(SYS_delete_module, MODULE, O_NONBLOCK) ? -errno : 0;
}

static struct stats stats(int dev)
{
	struct stats s = {};

	if (ioctl(dev, STATS, &s))
		pc_err("statistics");
	return s;
}

static int create(int dev, uint64_t size)
{
	int fd = ioctl(dev, CREATE, &size);

	return fd < 0 ? -errno : fd;
}

/* What was closed is gone when the task that did it is out of close(). */
static int used(int dev)
{
	return stats(dev).used;
}

FIXTURE_SETUP(rust_ops)
{
	self->fd = -1;
	self->dev = open(DEV, O_RDWR | O_CLOEXEC);
	if (self->dev < 0 && errno == ENOENT && !load())
		self->dev = open(DEV, O_RDWR | O_CLOEXEC);
	if (self->dev < 0)
		SKIP(return, "no %s: CONFIG_SAMPLE_RUST_PAGE_CACHE", DEV);
	self->before = stats(self->dev);
	self->cap = MIB(8);
	self->want = calloc(1, self->cap);
	ASSERT_NE(NULL, self->want);
	self->fd = create(self->dev, 0);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(rust_ops)
{
	if (self->fd >= 0)
		close(self->fd);
	if (self->dev >= 0) {
		/* Nothing is left of the files. */
		EXPECT_EQ(self->before.used, used(self->dev));
		close(self->dev);
	}
	free(self->want);
}

static void put(struct __test_metadata *_metadata,
		struct _test_data_rust_ops *self, size_t off,
		size_t len, uint64_t seed)
{
	ASSERT_LE(off + len, self->cap);
	pc_fill(self->want + off, len, seed, off);
	if (off + len > self->size)
		self->size = off + len;
	ASSERT_EQ(len, pwrite(self->fd, self->want + off, len, off));
}

static void resize(struct __test_metadata *_metadata,
		   struct _test_data_rust_ops *self, size_t size)
{
	if (size < self->size)
		memset(self->want + size, 0, self->size - size);
	self->size = size;
	ASSERT_EQ(0, ftruncate(self->fd, size));
}

static void check_via(struct __test_metadata *_metadata,
		      struct _test_data_rust_ops *self, enum pc_via via)
{
	unsigned char *got = malloc(self->size + 1);
	struct stat st;

	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(self->size, st.st_size);
	EXPECT_EQ(self->size, pc_read_via(self->fd, NULL, via, got, 0,
					  self->size));
	EXPECT_EQ(0, pc_compare(pc_via_name(via), self->want, got, self->size,
				0));
	free(got);
}

static void check(struct __test_metadata *_metadata,
		  struct _test_data_rust_ops *self)
{
	check_via(_metadata, self, PC_READ);
	check_via(_metadata, self, PC_MMAP);
}

/* Nothing of the file is in the page cache. */
static void cool(struct __test_metadata *_metadata,
		 struct _test_data_rust_ops *self)
{
	unsigned char in[2048] = {};
	size_t pages = (self->size + PC_PAGE - 1) / PC_PAGE;
	void *map;

	ASSERT_EQ(0, pc_drop_caches("1"));
	if (!self->size)
		return;
	ASSERT_LE(pages, sizeof(in));
	map = mmap(NULL, self->size, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mincore(map, self->size, in));
	for (size_t i = 0; i < pages; i++) {
		ASSERT_EQ(0, in[i] & 1)
			TH_LOG("page %zu is still there", i);
	}
	munmap(map, self->size);
}

static unsigned char *map_file(struct __test_metadata *_metadata,
			       struct _test_data_rust_ops *self,
			       size_t len, int flags)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	return map;
}

TEST_F(rust_ops, a_new_file_is_as_large_as_asked_and_zero)
{
	close(self->fd);
	self->fd = create(self->dev, KIB(100) + 17);
	ASSERT_LE(0, self->fd);
	self->size = KIB(100) + 17;
	check(_metadata, self);
	EXPECT_EQ(self->before.used, used(self->dev));
}

TEST_F(rust_ops, data_comes_back_every_way)
{
	struct stats then;

	put(_metadata, self, 0, MIB(1) + 123, 1);
	for (int via = PC_READ; via < PC_DIRECT; via++)
		check_via(_metadata, self, via);
	for (int via = PC_READ; via < PC_DIRECT; via++) {
		cool(_metadata, self);
		then = stats(self->dev);
		check_via(_metadata, self, via);
		/* A folio for each page, none of them twice. */
		EXPECT_EQ(then.reads + MIB(1) / PC_PAGE + 1,
			  stats(self->dev).reads);
	}
}

TEST_F(rust_ops, partial_writes_into_cold_pages)
{
	put(_metadata, self, 0, KIB(256), 1);
	cool(_metadata, self);
	for (size_t i = 0; i < 16; i++)
		put(_metadata, self, i * KIB(16) + 13 * i, 100 + 500 * i,
		    i + 2);
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
	/* A page that is overwritten as a whole is not read. */
	cool(_metadata, self);
	self->before.reads = stats(self->dev).reads;
	put(_metadata, self, KIB(64), KIB(8), 99);
	EXPECT_EQ(self->before.reads, stats(self->dev).reads);
	check(_metadata, self);
}

TEST_F(rust_ops, what_cannot_be_read_is_not_written)
{
	unsigned char *src = mmap(NULL, 3 * PC_PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, src);
	put(_metadata, self, 0, KIB(64), 1);
	cool(_metadata, self);
	pc_fill(src, 3 * PC_PAGE, 2, KIB(8));
	ASSERT_EQ(0, munmap(src + PC_PAGE, PC_PAGE));
	/* To the end of a page, and nothing of the next one. */
	EXPECT_EQ(PC_PAGE - 100, pwrite(self->fd, src + 100, 2 * PC_PAGE,
					KIB(8) + 100));
	memcpy(self->want + KIB(8) + 100, src + 100, PC_PAGE - 100);
	/* All of a page was to be overwritten, and most of it is. */
	EXPECT_EQ(PC_PAGE - 100, pwrite(self->fd, src + 100, PC_PAGE,
					KIB(20)));
	memcpy(self->want + KIB(20), src + 100, PC_PAGE - 100);
	check(_metadata, self);
	EXPECT_EQ(-1, pwrite(self->fd, src + PC_PAGE, PC_PAGE, KIB(16)));
	EXPECT_EQ(EFAULT, errno);
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
}

TEST_F(rust_ops, append_and_holes)
{
	put(_metadata, self, 0, 1000, 1);
	put(_metadata, self, 1000, 5000, 2);
	put(_metadata, self, KIB(300) + 5, 10, 3);
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
	/* Holes take no memory: two pages, and one at the end. */
	EXPECT_EQ(self->before.used + 3, used(self->dev));
}

TEST_F(rust_ops, truncate_down_and_up)
{
	static const size_t sizes[] = { KIB(100), KIB(50) + 1, KIB(50), 4095,
					4096, 4097, 1, 0, KIB(9) };

	for (int cold = 0; cold < 4; cold++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			put(_metadata, self, 0, KIB(100), i + 1);
			if (cold & 1)
				cool(_metadata, self);
			resize(_metadata, self, sizes[i]);
			if (cold & 2)
				cool(_metadata, self);
			resize(_metadata, self, KIB(101) + 1);
			check(_metadata, self);
			cool(_metadata, self);
			check(_metadata, self);
		}
	}
	resize(_metadata, self, 0);
	EXPECT_EQ(self->before.used, used(self->dev));
}

/* What was put behind the end of the file through a mapping. */
TEST_F(rust_ops, what_is_beyond_the_end_is_not_shown)
{
	unsigned char *map;

	for (int how = 0; how < 8; how++) {
		resize(_metadata, self, 0);
		put(_metadata, self, 0, 1000, how);
		map = map_file(_metadata, self, PC_PAGE, MAP_SHARED);
		memset(map + 1000, 0xee, PC_PAGE - 1000);
		if (how & 1)
			ASSERT_EQ(0, msync(map, PC_PAGE, MS_SYNC));
		munmap(map, PC_PAGE);
		if (how & 2)
			cool(_metadata, self);
		if (how & 4)
			resize(_metadata, self, KIB(8));
		else
			put(_metadata, self, 3000, 10000, how);
		check(_metadata, self);
		cool(_metadata, self);
		check(_metadata, self);
	}
}

TEST_F(rust_ops, shared_mapping_is_the_file)
{
	unsigned char *map;
	struct stats then;

	put(_metadata, self, 0, KIB(64), 1);
	cool(_metadata, self);
	map = map_file(_metadata, self, KIB(64), MAP_SHARED);
	pc_fill(self->want + 5000, 20000, 2, 5000);
	memcpy(map + 5000, self->want + 5000, 20000);
	check(_metadata, self);
	/* And the other way. */
	put(_metadata, self, 30000, 100, 3);
	EXPECT_EQ(0, pc_compare("mapping", self->want, map, KIB(64), 0));
	then = stats(self->dev);
	ASSERT_EQ(0, msync(map, KIB(64), MS_SYNC));
	EXPECT_LT(then.writes, stats(self->dev).writes);
	then = stats(self->dev);
	ASSERT_EQ(0, msync(map, KIB(64), MS_SYNC));
	EXPECT_EQ(then.writes, stats(self->dev).writes);
	munmap(map, KIB(64));
	cool(_metadata, self);
	check(_metadata, self);
}

TEST_F(rust_ops, private_mapping_is_not)
{
	unsigned char *map;

	put(_metadata, self, 0, KIB(64), 1);
	map = map_file(_metadata, self, KIB(64), MAP_PRIVATE);
	memset(map + 5000, 0xee, 20000);
	check(_metadata, self);
	EXPECT_EQ(0xee, map[5000]);
	EXPECT_EQ(0, pc_compare("mapping", self->want + 30000, map + 30000,
				10000, 30000));
	munmap(map, KIB(64));
}

TEST_F(rust_ops, no_page_beyond_the_end)
{
	unsigned char *map;

	put(_metadata, self, 0, KIB(16), 1);
	map = map_file(_metadata, self, KIB(16), MAP_SHARED);
	pc_touch(map + KIB(12));
	resize(_metadata, self, KIB(8) + 1);
	EXPECT_FALSE(pc_touch_raises_bus(map + KIB(8)));
	EXPECT_TRUE(pc_touch_raises_bus(map + KIB(12)));
	resize(_metadata, self, KIB(16));
	EXPECT_FALSE(pc_touch_raises_bus(map + KIB(12)));
	EXPECT_EQ(0, pc_compare("mapping", self->want, map, KIB(16), 0));
	munmap(map, KIB(16));
}

TEST_F(rust_ops, fsync_writes_what_is_dirty)
{
	struct stats then;

	put(_metadata, self, 0, KIB(400), 1);
	ASSERT_EQ(0, fsync(self->fd));
	then = stats(self->dev);
	put(_metadata, self, 10, 20, 2);
	put(_metadata, self, KIB(100), KIB(8), 3);
	ASSERT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(then.writes + 3, stats(self->dev).writes);
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_EQ(then.writes + 3, stats(self->dev).writes);
	/* A part of it. */
	put(_metadata, self, 0, KIB(64), 4);
	ASSERT_EQ(0, sync_file_range(self->fd, KIB(8), KIB(16),
				     SYNC_FILE_RANGE_WRITE |
				     SYNC_FILE_RANGE_WAIT_AFTER));
	EXPECT_EQ(then.writes + 7, stats(self->dev).writes);
	cool(_metadata, self);
	check(_metadata, self);
}

TEST_F(rust_ops, readahead_reads_many)
{
	struct stats then;
	char byte;

	put(_metadata, self, 0, MIB(4), 1);
	cool(_metadata, self);
	then = stats(self->dev);
	ASSERT_EQ(1, pread(self->fd, &byte, 1, 0));
	EXPECT_LT(then.reads + 1, stats(self->dev).reads);
	ASSERT_EQ(0, readahead(self->fd, MIB(2), KIB(64)));
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
}

/* One file writes to another, without a copy in user space. */
TEST_F(rust_ops, copies)
{
	int fd = self->fd;
	loff_t from = 0, to = 0;
	ssize_t n;

	put(_metadata, self, 0, KIB(200) + 9, 1);
	cool(_metadata, self);
	self->fd = create(self->dev, 0);
	ASSERT_LE(0, self->fd);
	while ((size_t)from < self->size) {
		n = copy_file_range(fd, &from, self->fd, &to,
				    self->size - from, 0);
		ASSERT_LT(0, n);
	}
	close(fd);
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
}

TEST_F(rust_ops, files_are_their_own)
{
	int fd = create(self->dev, 0);
	char buf[5] = {};

	ASSERT_LE(0, fd);
	put(_metadata, self, 0, KIB(64), 1);
	ASSERT_EQ(5, pwrite(fd, "other", 5, 0));
	check(_metadata, self);
	ASSERT_EQ(0, pc_drop_caches("3"));
	check(_metadata, self);
	ASSERT_EQ(5, pread(fd, buf, 5, 0));
	EXPECT_EQ(0, memcmp(buf, "other", 5));
	close(fd);
	EXPECT_EQ(self->before.used + 16, used(self->dev));
}

TEST_F(rust_ops, a_mapping_is_enough)
{
	unsigned char *map;

	put(_metadata, self, 0, KIB(64), 1);
	map = map_file(_metadata, self, KIB(64), MAP_SHARED);
	close(self->fd);
	close(self->dev);
	self->fd = -1;
	/* As a module, it is still there. */
	if (!access("/sys/module/" MODULE "/initstate", F_OK))
		EXPECT_EQ(-EAGAIN, unload());
	self->dev = open(DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, pc_drop_caches("3"));
	EXPECT_EQ(0, pc_compare("mapping", self->want, map, KIB(64), 0));
	map[0]++;
	ASSERT_EQ(0, msync(map, KIB(64), MS_SYNC));
	EXPECT_EQ(self->before.used + 16, used(self->dev));
	munmap(map, KIB(64));
}

TEST_F(rust_ops, the_limit_is_told_to_who_writes)
{
	size_t len = MIB(1), off = 0;
	unsigned char *buf = malloc(len), *map;
	ssize_t n;

	ASSERT_NE(NULL, buf);
	pc_fill(buf, len, 1, 0);
	while ((n = pwrite(self->fd, buf, len, off)) > 0)
		off += n;
	EXPECT_EQ(-1, n);
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(LIMIT - self->before.used * PC_PAGE, off);
	/* What is there can be written to. */
	EXPECT_EQ(len, pwrite(self->fd, buf, len, 0));
	EXPECT_EQ(0, fsync(self->fd));

	/* Through a mapping, it is fsync() that tells, once. */
	ASSERT_EQ(0, ftruncate(self->fd, off + PC_PAGE));
	map = mmap(NULL, PC_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		   off);
	ASSERT_NE(MAP_FAILED, map);
	map[0] = 1;
	EXPECT_EQ(-1, fsync(self->fd));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, fsync(self->fd));
	munmap(map, PC_PAGE);

	/* Room is made by who truncates. */
	ASSERT_EQ(0, ftruncate(self->fd, off / 2));
	EXPECT_EQ(len, pwrite(self->fd, buf, len, off));
	free(buf);
}

TEST_F(rust_ops, arguments_are_checked)
{
	uint64_t far = INT64_MAX - PC_PAGE;
	char buf[PC_PAGE];
	int fd;

	EXPECT_EQ(-1, ioctl(self->dev, CREATE, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->dev, STATS, 8));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->dev, _IO('|', 0x92), 0));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-EFBIG, create(self->dev, 1ULL << 63));
	EXPECT_EQ(-EFBIG, create(self->dev, UINT64_MAX));
	EXPECT_EQ(-1, ftruncate(self->fd, -1));
	EXPECT_EQ(EINVAL, errno);
	/* Far out there is as good as here. */
	fd = create(self->dev, INT64_MAX);
	ASSERT_LE(0, fd);
	EXPECT_EQ(PC_PAGE, pread(fd, buf, sizeof(buf), far));
	EXPECT_EQ(0, buf[0]);
	memset(buf, 7, sizeof(buf));
	EXPECT_EQ(PC_PAGE, pwrite(fd, buf, sizeof(buf), far));
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(-1, pwrite(fd, buf, sizeof(buf), INT64_MAX));
	EXPECT_EQ(0, ftruncate(fd, far + 1));
	EXPECT_EQ(0, ftruncate(fd, INT64_MAX));
	EXPECT_EQ(PC_PAGE, pread(fd, buf, sizeof(buf), far));
	EXPECT_EQ(7, buf[0]);
	EXPECT_EQ(0, buf[1]);
	close(fd);
	/* Direct I/O is not there, nor are programs. */
	EXPECT_EQ(-1, fcntl(self->fd, F_SETFL, O_DIRECT));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PC_PAGE, PROT_READ | PROT_EXEC,
				   MAP_PRIVATE, self->fd, 0));
}

/* Each writes and reads its own pages, while they are dropped and synced. */
TEST_F(rust_ops, many_at_once)
{
	enum { TASKS = 3, PAGES = 64, ROUNDS = 60 };
	pid_t pid[TASKS];
	int status;

	resize(_metadata, self, TASKS * PAGES * PC_PAGE);
	for (int t = 0; t < TASKS; t++) {
		pid[t] = fork();
		ASSERT_LE(0, pid[t]);
		if (pid[t])
			continue;
		for (int r = 0; r < ROUNDS; r++) {
			unsigned char want[PC_PAGE], got[PC_PAGE];
			uint64_t state = t * 1000 + r;
			size_t at;

			at = (pc_rand(&state) % PAGES * TASKS + t) * PC_PAGE;
			pc_fill(want, PC_PAGE, state, at);
			if (pwrite(self->fd, want, 1000, at) != 1000 ||
			    pwrite(self->fd, want + 1000, PC_PAGE - 1000,
				   at + 1000) != PC_PAGE - 1000)
				_exit(1);
			if (r % 4 == t)
				posix_fadvise(self->fd, 0, 0,
					      POSIX_FADV_DONTNEED);
			if (r % 8 == t && fsync(self->fd))
				_exit(2);
			if (r % 16 == t && pc_drop_caches("1"))
				_exit(3);
			if (pread(self->fd, got, PC_PAGE, at) != PC_PAGE ||
			    pc_compare("page", want, got, PC_PAGE, at))
				_exit(4);
		}
		_exit(0);
	}
	for (int t = 0; t < TASKS; t++) {
		ASSERT_EQ(pid[t], waitpid(pid[t], &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* A pattern of len bytes, written or read again in pieces; 0 if it is right. */
static int pieces(int fd, size_t len, bool again)
{
	unsigned char want[KIB(64)], got[KIB(64)];

	for (size_t at = 0; at < len; at += sizeof(want)) {
		pc_fill(want, sizeof(want), 1, at);
		if (again) {
			if (pread(fd, got, sizeof(got), at) != sizeof(got))
				return pc_err("read at %zu", at);
			if (pc_compare("piece", want, got, sizeof(want), at))
				return -EILSEQ;
		} else if (pwrite(fd, want, sizeof(want), at) != sizeof(want)) {
			return pc_err("write at %zu", at);
		}
	}
	return 0;
}

/* There is less memory than the file has. */
TEST_F(rust_ops, reclaim)
{
	char path[128];
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		if (pc_memcg_enter("rust_ops", MIB(8), path, sizeof(path)))
			_exit(KSFT_SKIP);
		_exit(pieces(self->fd, MIB(32), false) ||
		      pieces(self->fd, MIB(32), true));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	pc_memcg_remove("rust_ops", pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no memory cgroup");
	EXPECT_EQ(0, status);
	/* Some of it was read from where it had been written to. */
	EXPECT_LT(self->before.reads + MIB(16) / PC_PAGE,
		  stats(self->dev).reads);
}

/* Pages move to the other node, dirty and clean ones. */
TEST_F(rust_ops, migration)
{
	enum { PAGES = 16 };
	int status[PAGES], nodes[PAGES], moved = 0;
	void *pages[PAGES];
	unsigned char *map;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "one memory node");
	put(_metadata, self, 0, PAGES * PC_PAGE, 1);
	ASSERT_EQ(0, fsync(self->fd));
	put(_metadata, self, 0, PAGES * PC_PAGE / 2, 2);
	map = map_file(_metadata, self, PAGES * PC_PAGE, MAP_SHARED);
	for (int node = 0; node < 2; node++) {
		for (int i = 0; i < PAGES; i++) {
			pages[i] = map + i * PC_PAGE;
			pc_touch(pages[i]);
			nodes[i] = node;
		}
		if (syscall(SYS_move_pages, 0, PAGES, pages, nodes, status,
			    MPOL_MF_MOVE) < 0)
			SKIP(break, "move_pages: %s", strerror(errno));
		for (int i = 0; i < PAGES; i++)
			moved += status[i] == node;
		check(_metadata, self);
	}
	EXPECT_LT(PAGES, moved);
	munmap(map, PAGES * PC_PAGE);
	cool(_metadata, self);
	check(_metadata, self);
}

TEST_F(rust_ops, the_module_stays_while_it_is_needed)
{
	if (access("/sys/module/" MODULE "/initstate", F_OK))
		SKIP(return, "the sample is built in");
	put(_metadata, self, 0, KIB(64), 1);
	EXPECT_EQ(-EAGAIN, unload());
	close(self->dev);
	EXPECT_EQ(-EAGAIN, unload());
	check(_metadata, self);
	cool(_metadata, self);
	check(_metadata, self);
	/* Dirty, and nobody wants it. */
	put(_metadata, self, 0, KIB(64), 2);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, unload());
	EXPECT_EQ(-1, access(DEV, F_OK));
	ASSERT_EQ(0, pc_drop_caches("3"));
	EXPECT_EQ(0, load());
	self->dev = open(DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->dev);
	self->before = stats(self->dev);
	EXPECT_EQ(0, self->before.used);
}

TEST_HARNESS_MAIN
