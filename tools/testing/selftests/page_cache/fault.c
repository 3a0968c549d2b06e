// SPDX-License-Identifier: GPL-2.0
/*
 * Things that go wrong below shared pages: reads that fail, file systems that
 * are full.  The error reaches the one who asked, nobody ever gets zeros or
 * the bytes of another block for it, and when the device is well again the
 * data is there.
 *
 * Read errors are made with a device mapper table that fails the blocks of
 * the file and no others, so that the file system's own blocks stay readable.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>

#include "page_cache_fixture.h"

#define PAGES	32UL
#define SIZE	(PAGES * PC_PAGE)

/* The pages that fail. */
#define BAD	8UL
#define BAD_END	16UL

/* A device mapper device over fs->dev. */
struct dm {
	int control;
	int hold;		/* the device */
	char name[64];
	char path[64];
	char below[32];		/* major:minor */
	uint64_t sectors;
};

struct dm_arg {
	struct dm_ioctl io;
	char room[2048];
};

static void dm_init(struct dm *dm, struct dm_arg *arg, uint32_t flags)
{
	memset(arg, 0, sizeof(*arg));
	arg->io.version[0] = DM_VERSION_MAJOR;
	arg->io.data_size = sizeof(*arg);
	arg->io.data_start = sizeof(arg->io);
	arg->io.flags = flags;
	snprintf(arg->io.name, sizeof(arg->io.name), "%s", dm->name);
}

static void dm_target(struct dm_arg *arg, uint64_t start, uint64_t end,
		      const char *type, const char *params)
{
	struct dm_target_spec *t;
	size_t at = sizeof(arg->io), len;

	if (start == end)
		return;
	for (uint32_t i = 0; i < arg->io.target_count; i++) {
		t = (void *)((char *)arg + at);
		at += t->next;
	}
	t = (void *)((char *)arg + at);
	t->sector_start = start;
	t->length = end - start;
	snprintf(t->target_type, sizeof(t->target_type), "%s", type);
	len = sizeof(*t) + strlen(params) + 1;
	memcpy(t + 1, params, strlen(params) + 1);
	t->next = (len + 7) & ~7UL;
	arg->io.target_count++;
}

/* All of the device below, but reads and writes of [bad, end) sectors fail. */
static int dm_table(struct dm *dm, uint64_t bad, uint64_t end)
{
	struct dm_arg arg;
	char params[64];

	dm_init(dm, &arg, 0);
	snprintf(params, sizeof(params), "%s 0", dm->below);
	dm_target(&arg, 0, bad, "linear", params);
	dm_target(&arg, bad, end, "error", "");
	snprintf(params, sizeof(params), "%s %llu", dm->below,
		 (unsigned long long)end);
	dm_target(&arg, end, dm->sectors, "linear", params);
	if (ioctl(dm->control, DM_TABLE_LOAD, &arg))
		return pc_err("DM_TABLE_LOAD");
	/* Without freezing the file system on it. */
	dm_init(dm, &arg, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
	if (ioctl(dm->control, DM_DEV_SUSPEND, &arg))
		return pc_err("DM_DEV_SUSPEND");
	dm_init(dm, &arg, 0);
	if (ioctl(dm->control, DM_DEV_SUSPEND, &arg))
		return pc_err("DM_DEV_SUSPEND (resume)");
	return 0;
}

static int dm_heal(struct dm *dm)
{
	return dm_table(dm, dm->sectors, dm->sectors);
}

/*
 * 0, 1 for no device mapper, or an error.  A process that dies leaves nothing:
 * the device is removed with its last close.
 */
static int dm_create(struct dm *dm, const char *dev)
{
	struct dm_arg arg;
	struct stat st;
	int fd, ret;

	dm->control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (dm->control < 0)
		return 1;
	fd = open(dev, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return pc_err("%s", dev);
	dm->sectors = lseek(fd, 0, SEEK_END) / 512;
	close(fd);
	snprintf(dm->below, sizeof(dm->below), "%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	snprintf(dm->name, sizeof(dm->name), "page_cache.%d", getpid());
	dm_init(dm, &arg, 0);
	if (ioctl(dm->control, DM_DEV_CREATE, &arg))
		return pc_err("DM_DEV_CREATE");
	snprintf(dm->path, sizeof(dm->path), "/dev/dm-%u", minor(arg.io.dev));
	ret = dm_heal(dm);
	if (!ret) {
		dm->hold = open(dm->path, O_RDONLY | O_CLOEXEC);
		if (dm->hold < 0)
			ret = pc_err("%s", dm->path);
	}
	dm_init(dm, &arg, DM_DEFERRED_REMOVE);
	if (ioctl(dm->control, DM_DEV_REMOVE, &arg))
		ret = pc_err("DM_DEV_REMOVE");
	return ret;
}

/* Here and now, or the next test finds that the device below is in use. */
static int dm_remove(struct dm *dm)
{
	static const char cancel[] = "@cancel_deferred_remove";
	struct dm_arg arg;

	dm_init(dm, &arg, 0);
	memcpy(arg.room + sizeof(struct dm_target_msg), cancel, sizeof(cancel));
	if (ioctl(dm->control, DM_TARGET_MSG, &arg))
		pc_err("DM_TARGET_MSG %s", cancel);
	close(dm->hold);
	/* If something has it open still, then it is for later after all. */
	dm_init(dm, &arg, DM_DEFERRED_REMOVE);
	if (ioctl(dm->control, DM_DEV_REMOVE, &arg))
		return pc_err("DM_DEV_REMOVE");
	close(dm->control);
	return 0;
}

FIXTURE(read_error)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	struct dm dm;
	uint64_t sector;
};

FIXTURE_SETUP(read_error)
{
	struct pc_fs_args args = {};
	int ret;

	ret = pc_fs_device(&self->fs, &args);
	if (!ret)
		ret = dm_create(&self->dm, self->fs.dev);
	if (ret > 0 && !self->fs.why[0])
		snprintf(self->fs.why, sizeof(self->fs.why),
			 "no device mapper");
	if (!ret) {
		snprintf(self->fs.dev, sizeof(self->fs.dev), "%s",
			 self->dm.path);
		ret = pc_fs_start(&self->fs, &args);
	}
	if (!pc_ready(_metadata, &self->fs, ret))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	/* Extent lists are read before anything fails. */
	ASSERT_NE(0, pc_block(_metadata, self->b, 0));
	ASSERT_NE(0, pc_block(_metadata, self->c, 0));
	/* One extent, or the wrong sectors would fail. */
	self->sector = pc_block(_metadata, self->a, 0) / 512;
	ASSERT_EQ(self->sector * 512 + SIZE - PC_PAGE,
		  pc_block(_metadata, self->a, SIZE - PC_PAGE));
}

FIXTURE_TEARDOWN(read_error)
{
	EXPECT_EQ(0, dm_heal(&self->dm));
	pc_teardown(_metadata, &self->fs);
	EXPECT_EQ(0, dm_remove(&self->dm));
}

static int fail(struct _test_data_read_error *self)
{
	return dm_table(&self->dm, self->sector + BAD * PC_PAGE / 512,
			self->sector + BAD_END * PC_PAGE / 512);
}

/* Every page by itself: the bad ones give EIO, the others what they hold. */
static void check_pages(struct __test_metadata *_metadata, struct pc_file *f,
			enum pc_via via)
{
	unsigned char buf[PC_PAGE];

	for (size_t i = 0; i < PAGES; i++) {
		ssize_t n = pc_read_via(f->fd, f->path, via, buf, i * PC_PAGE,
					PC_PAGE);

		if (i >= BAD && i < BAD_END) {
			EXPECT_EQ(-EIO, n)
				TH_LOG("%s: page %zu by %s", f->path, i,
				       pc_via_name(via));
		} else {
			EXPECT_EQ(PC_PAGE, n)
				TH_LOG("%s: page %zu by %s", f->path, i,
				       pc_via_name(via));
			EXPECT_EQ(0, pc_compare(f->path,
						f->m->data + i * PC_PAGE, buf,
						PC_PAGE, i * PC_PAGE));
		}
	}
}

/* All readers of the block get the error, and the data when it is healed. */
TEST_F(read_error, reported_and_retried)
{
	static const enum pc_via via[] = {
		PC_READ, PC_SPLICE, PC_SENDFILE, PC_DIRECT
	};

	ASSERT_EQ(0, fail(self));
	for (size_t i = 0; i < ARRAY_SIZE(via); i++) {
		check_pages(_metadata, self->a, via[i]);
		check_pages(_metadata, self->b, via[i]);
	}
	/* Twice: a failed page is not kept as a good one. */
	check_pages(_metadata, self->a, PC_READ);
	ASSERT_EQ(0, dm_heal(&self->dm));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Healed after one file failed: the other one never saw the error. */
TEST_F(read_error, second_file_after_healing)
{
	ASSERT_EQ(0, fail(self));
	check_pages(_metadata, self->a, PC_READ);
	ASSERT_EQ(0, dm_heal(&self->dm));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	/* Good for sharing as if nothing had been. */
	ASSERT_EQ(0, pc_evict(self->a));
	ASSERT_EQ(0, pc_evict(self->b));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* What is in memory is there, whatever becomes of the device. */
TEST_F(read_error, cached_pages_survive)
{
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, fail(self));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_SPLICE));
	EXPECT_EQ(0, pc_verify(self->b, PC_MMAP));
	/* c has not been read; where the kernel shares it need not be. */
	if (pc_sharing()) {
		EXPECT_EQ(0, pc_verify(self->c, PC_MMAP));
		EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	}
	/* Part of a page: the rest is taken from memory, not from the disk. */
	EXPECT_EQ(0, pc_write(self->a, (BAD + 2) * PC_PAGE + 100, 200, 2));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	ASSERT_EQ(0, dm_heal(&self->dm));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A fault on a page that cannot be read is SIGBUS; healed, it is the data. */
TEST_F(read_error, page_fault)
{
	unsigned int faults = 0;
	unsigned char *map;

	map = pc_map(self->b, SIZE, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, fail(self));
	/* a has failed before, or else the fault is the first to fail. */
	check_pages(_metadata, self->a, PC_READ);
	for (size_t i = BAD; i < BAD_END; i++)
		faults += pc_touch_raises_bus(map + i * PC_PAGE);
	EXPECT_EQ(BAD_END - BAD, faults);
	ASSERT_EQ(0, dm_heal(&self->dm));
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Changes that need the old data fail and change nothing, others succeed. */
TEST_F(read_error, changes)
{
	unsigned char page[PC_PAGE] = {};

	ASSERT_EQ(0, fail(self));
	EXPECT_EQ(-1, pwrite(self->a->fd, page, 100, BAD * PC_PAGE + 50));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, ftruncate(self->a->fd, (BAD + 1) * PC_PAGE + 50));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, fallocate(self->a->fd, FALLOC_FL_UNSHARE_RANGE,
				BAD * PC_PAGE, 2 * PC_PAGE));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, fallocate(self->a->fd, FALLOC_FL_PUNCH_HOLE |
				FALLOC_FL_KEEP_SIZE, BAD * PC_PAGE + 5, 50));
	EXPECT_EQ(EIO, errno);
	/* A whole page is written to a block of its own. */
	EXPECT_EQ(0, pc_write(self->b, (BAD + 2) * PC_PAGE, PC_PAGE, 2));
	EXPECT_EQ(0, pc_fallocate(self->b,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (BAD + 4) * PC_PAGE, PC_PAGE));
	EXPECT_EQ(0, fsync(self->b->fd));
	ASSERT_EQ(0, dm_heal(&self->dm));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

struct seen {
	uint64_t good, bad;
	int stop;
};

/* Until it is told to stop: what is wrong with what it read, or 0. */
static int read_in_trouble(struct seen *seen, struct pc_file *f, uint64_t rnd)
{
	unsigned char buf[2 * PC_PAGE];

	if (pc_reopen(f, O_RDONLY))
		return 1;
	while (!__atomic_load_n(&seen->stop, __ATOMIC_SEQ_CST)) {
		size_t off = pc_rand(&rnd) % (SIZE - sizeof(buf));
		ssize_t n = pread(f->fd, buf, sizeof(buf), off);

		/* What could be read before the bad page comes short. */
		if (!n || (n < 0 && errno != EIO)) {
			pc_log("%s: %zd bytes at %zu, errno %d", f->path, n,
			       off, errno);
			return 1;
		}
		if (n > 0 && pc_compare(f->path, f->m->data + off, buf, n, off))
			return 1;
		__atomic_add_fetch(n < 0 ? &seen->bad : &seen->good, 1,
				   __ATOMIC_RELAXED);
		if (pc_rand(&rnd) % 8 == 0)
			posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	return 0;
}

/* Readers and errors that come and go: the data or EIO, nothing else. */
TEST_F_TIMEOUT(read_error, comes_and_goes_under_readers, 300)
{
	struct pc_file *f[4] = { self->a, self->b, self->c, self->a };
	struct seen *seen = pc_shared(sizeof(*seen));
	pid_t pid[4];

	ASSERT_NE(NULL, seen);
	for (int i = 0; i < 4; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(read_in_trouble(seen, f[i], i * 1000));
	}
	for (int round = 0; round < 500; round++) {
		uint64_t good = __atomic_load_n(&seen->good, __ATOMIC_RELAXED);
		uint64_t bad = __atomic_load_n(&seen->bad, __ATOMIC_RELAXED);

		if (round >= 20 && good > 100 && bad > 20)
			break;
		ASSERT_EQ(0, fail(self));
		usleep(20000);
		ASSERT_EQ(0, dm_heal(&self->dm));
		usleep(5000);
	}
	__atomic_store_n(&seen->stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	TH_LOG("%llu good reads, %llu errors", (unsigned long long)seen->good,
	       (unsigned long long)seen->bad);
	EXPECT_GT(seen->good, 0);
	EXPECT_GT(seen->bad, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 3 * PAGES);
}

/* Random errors of the block layer's own fault injection. */
FIXTURE(injected)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
	char make_it_fail[96];
};

#define FAIL_DIR	"/sys/kernel/debug/fail_make_request/"

FIXTURE_SETUP(injected)
{
	struct stat st;

	if (access(FAIL_DIR "probability", W_OK) ||
	    access("/proc/self/make-it-fail", W_OK))
		SKIP(return, "no fail_make_request in debugfs");
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, stat(self->fs.dev, &st));
	snprintf(self->make_it_fail, sizeof(self->make_it_fail),
		 "/sys/dev/block/%u:%u/make-it-fail", major(st.st_rdev),
		 minor(st.st_rdev));
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
}

FIXTURE_TEARDOWN(injected)
{
	pc_write_str("/proc/self/make-it-fail", "0");
	pc_write_str(self->make_it_fail, "0");
	pc_write_str(FAIL_DIR "probability", "0");
	pc_write_str(FAIL_DIR "times", "1");
	pc_write_str(FAIL_DIR "verbose", "2");
	pc_write_str(FAIL_DIR "task-filter", "N");
	pc_teardown(_metadata, &self->fs);
}

/* Half of the reads fail: EIO or the data, and all of it at the end. */
TEST_F(injected, half_of_the_reads_fail)
{
	struct pc_file *f[2] = { self->a, self->b };
	unsigned char buf[PC_PAGE];
	int good = 0, bad = 0;

	ASSERT_EQ(0, pc_write_str(FAIL_DIR "probability", "50"));
	ASSERT_EQ(0, pc_write_str(FAIL_DIR "interval", "1"));
	ASSERT_EQ(0, pc_write_str(FAIL_DIR "times", "-1"));
	ASSERT_EQ(0, pc_write_str(FAIL_DIR "verbose", "0"));
	ASSERT_EQ(0, pc_write_str(FAIL_DIR "task-filter", "Y"));
	ASSERT_EQ(0, pc_write_str(self->make_it_fail, "1"));
	for (int round = 0; round < 20; round++) {
		/* Both, b alone, a alone: with a page of the other or not. */
		if (round % 3 != 1)
			ASSERT_EQ(0, pc_evict(self->a));
		if (round % 3 != 2)
			ASSERT_EQ(0, pc_evict(self->b));
		ASSERT_EQ(0, pc_write_str("/proc/self/make-it-fail", "1"));
		for (size_t i = 0; i < 2 * PAGES; i++) {
			size_t off = i / 2 * PC_PAGE;
			ssize_t n = pread(f[i & 1]->fd, buf, PC_PAGE, off);

			if (n == PC_PAGE) {
				good++;
				EXPECT_EQ(0, pc_compare("page",
							self->a->m->data + off,
							buf, PC_PAGE, off));
			} else {
				bad++;
				EXPECT_EQ(-1, n);
				EXPECT_EQ(EIO, errno);
			}
		}
		ASSERT_EQ(0, pc_write_str("/proc/self/make-it-fail", "0"));
	}
	EXPECT_GT(good, 0);
	EXPECT_GT(bad, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* No room for the copy that a write to a shared block needs. */
FIXTURE(full)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *filler;
};

FIXTURE_VARIANT(full)
{
	bool warm;
};

FIXTURE_VARIANT_ADD(full, cold)
{
	.warm = false,
};

FIXTURE_VARIANT_ADD(full, warm)
{
	.warm = true,
};

#define FULL_PAGES	512UL

FIXTURE_SETUP(full)
{
	struct pc_fs_args args = { .mib = 64 };

	if (!pc_setup(_metadata, &self->fs, &args))
		return;
	pc_setup_clones(_metadata, &self->fs, FULL_PAGES * PC_PAGE, &self->a,
			&self->b);
	ASSERT_EQ(0, pc_fill_up(&self->filler, &self->fs, "filler"));
	if (variant->warm)
		pc_warm(_metadata, FULL_PAGES, self->a, self->b);
}

FIXTURE_TEARDOWN(full)
{
	pc_teardown(_metadata, &self->fs);
}

/* Each page of b by itself; how many did not fit. */
static int write_pages(struct __test_metadata *_metadata, struct pc_file *f,
		       int flags, size_t in, size_t len, uint64_t seed)
{
	unsigned char *buf;
	int failed = 0;

	ASSERT_EQ(0, pc_reopen(f, O_RDWR | flags));
	ASSERT_EQ(0, posix_memalign((void **)&buf, PC_PAGE, PC_PAGE));
	for (size_t i = 0; i < FULL_PAGES; i++) {
		size_t off = i * PC_PAGE + in;
		ssize_t n;

		pc_fill(buf, len, seed, off);
		n = pwrite(f->fd, buf, len, off);
		if (n == (ssize_t)len) {
			pc_model_write(f->m, off, len, seed);
		} else {
			ASSERT_EQ(-1, n);
			ASSERT_EQ(ENOSPC, errno);
			failed++;
		}
	}
	free(buf);
	ASSERT_EQ(0, pc_reopen(f, O_RDWR));
	return failed;
}

/* What a and b hold, before and after what is dirty has to be written. */
static void check_full(struct __test_metadata *_metadata,
		       struct _test_data_full *self)
{
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, fsync(self->b->fd));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A write that found no room changed nothing; one that did is there. */
TEST_F(full, buffered_write)
{
	EXPECT_GT(write_pages(_metadata, self->b, 0, 0, PC_PAGE, 2), 0);
	check_full(_metadata, self);
}

/* The same for a part of each page. */
TEST_F(full, buffered_write_of_parts)
{
	EXPECT_GT(write_pages(_metadata, self->b, 0, 500, 1000, 2), 0);
	check_full(_metadata, self);
}

/* The same past the page cache. */
TEST_F(full, direct_write)
{
	EXPECT_GT(write_pages(_metadata, self->b, O_DIRECT, 0, PC_PAGE, 2), 0);
	check_full(_metadata, self);
}

/* Through a mapping it is SIGBUS, and the page shows the old data. */
TEST_F(full, write_by_mapping)
{
	unsigned int faults = 0;
	unsigned char *map;

	map = pc_map(self->b, FULL_PAGES * PC_PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED);
	ASSERT_NE(NULL, map);
	for (size_t i = 0; i < FULL_PAGES; i++) {
		if (pc_fill_raises_bus(map + i * PC_PAGE, 100, 2, i * PC_PAGE))
			faults++;
		else
			pc_model_write(self->b->m, i * PC_PAGE, 100, 2);
	}
	EXPECT_GT(faults, 0);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* With room again, the same writes succeed. */
TEST_F(full, room_again)
{
	EXPECT_GT(write_pages(_metadata, self->b, 0, 0, PC_PAGE, 2), 0);
	ASSERT_EQ(0, pc_unlink(self->filler));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	EXPECT_EQ(0, write_pages(_metadata, self->b, 0, 0, PC_PAGE, 3));
	EXPECT_EQ(0, write_pages(_metadata, self->a, O_DIRECT, 0, PC_PAGE, 4));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
