// SPDX-License-Identifier: GPL-2.0
/*
 * Whoever else reads files, or looks at their page cache, than read(2) and
 * mmap(2): loop devices, overlayfs, file handles as NFS servers use them, swap,
 * kernel modules, build IDs, userfaultfd, sync, online scrub and repair.  All of
 * them find the file as it is, and files that share pages stay apart.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/userfaultfd.h>

#include "page_cache_fixture.h"

#define PAGES	64UL
#define SIZE	(PAGES * PC_PAGE)

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS	0x00100000
#endif

/* <xfs/xfs_fs.h> is not everywhere. */
struct pc_xfs_scrub {
	uint32_t type;
	uint32_t flags;
	uint64_t ino;
	uint32_t gen;
	uint32_t agno;
	uint64_t reserved[5];
};

#define PC_XFS_SCRUB		_IOWR('X', 60, struct pc_xfs_scrub)
#define PC_SCRUB_INODE		11
#define PC_SCRUB_DATA_FORK	12
#define PC_SCRUB_REPAIR		(1u << 0)
#define PC_SCRUB_CORRUPT	(1u << 1)
#define PC_SCRUB_FORCE_REBUILD	(1u << 8)

/* <linux/fs.h> has it since 6.11. */
struct pc_procmap_query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

#define PC_PROCMAP_QUERY	_IOWR('f', 17, struct pc_procmap_query)

FIXTURE(others)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
	char loop[32];
	char swap[160];
	char overlay[160];
};

/* Two cold files on the same blocks. */
FIXTURE_SETUP(others)
{
	const struct pc_fs_args args = { .rmap = true };

	if (pc_setup(_metadata, &self->fs, &args))
		pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
}

FIXTURE_TEARDOWN(others)
{
	if (self->swap[0])
		swapoff(self->swap);
	if (self->overlay[0])
		umount2(self->overlay, MNT_DETACH);
	if (self->loop[0]) {
		int fd = open(self->loop, O_RDONLY | O_CLOEXEC);

		ioctl(fd, LOOP_CLR_FD, 0);
		close(fd);
	}
	pc_teardown(_metadata, &self->fs);
}

/* Both have their pages in common, and nothing of their own. */
static void warm(struct __test_metadata *_metadata, FIXTURE_DATA(others) *self)
{
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_verify(self->b, PC_READ));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
}

/* A loop device over a file; its name is in self->loop. */
static int attach_loop(FIXTURE_DATA(others) *self, struct pc_file *f)
{
	struct loop_config config = { .fd = f->fd };
	int control, nr, fd;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return pc_err("/dev/loop-control");
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	if (nr < 0)
		return pc_err("LOOP_CTL_GET_FREE");
	snprintf(self->loop, sizeof(self->loop), "/dev/loop%d", nr);
	fd = open(self->loop, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return pc_err("%s", self->loop);
	if (ioctl(fd, LOOP_CONFIGURE, &config))
		return pc_err("LOOP_CONFIGURE");
	return fd;
}

/* Disk images that are clones: the backing files share, the disks do not. */
TEST_F(others, loop_device)
{
	unsigned char *got = malloc(SIZE);
	struct pc_stat then;
	int fd;

	ASSERT_NE(NULL, got);
	warm(_metadata, self);
	pc_stat(&then);
	fd = attach_loop(self, self->b);
	ASSERT_LE(0, fd);
	ASSERT_EQ(SIZE, pread(fd, got, SIZE, 0));
	EXPECT_EQ(0, pc_compare("loop", self->b->m->data, got, SIZE, 0));
	pc_expect_count(_metadata, &then, PC_BREAK, 0);

	/* A write to the disk is one to this file only. */
	pc_fill(got, PC_PAGE, 77, 3 * PC_PAGE);
	ASSERT_EQ(PC_PAGE, pwrite(fd, got, PC_PAGE, 3 * PC_PAGE));
	ASSERT_EQ(0, fsync(fd));
	pc_model_write(self->b->m, 3 * PC_PAGE, PC_PAGE, 77);
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, ioctl(fd, LOOP_CLR_FD, 0));
	close(fd);
	self->loop[0] = 0;
	free(got);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

static int pc_subdir(struct pc_fs *fs, const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s/%s", fs->mnt, name);
	return mkdir(path, 0700) ? pc_err("%s", path) : 0;
}

/* Reads len bytes of a file that is not one of the fixture's. */
static int read_path(const char *path, void *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return pc_err("%s", path);
	n = pread(fd, buf, len, 0);
	close(fd);
	return n == (ssize_t)len ? 0 : pc_err("read of %s: %zd", path, n);
}

/* Reads go to the file below; the copy above is a clone of it, and shares. */
TEST_F(others, overlayfs)
{
	char lower[128], upper[128], work[128], options[512], file[256];
	unsigned char *got = malloc(SIZE);
	struct pc_file *f;
	int fd;

	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, pc_subdir(&self->fs, "lower", lower, sizeof(lower)));
	ASSERT_EQ(0, pc_subdir(&self->fs, "upper", upper, sizeof(upper)));
	ASSERT_EQ(0, pc_subdir(&self->fs, "work", work, sizeof(work)));
	ASSERT_EQ(0, pc_subdir(&self->fs, "merged", self->overlay,
			       sizeof(self->overlay)));
	ASSERT_EQ(0, pc_clone(&f, self->a, "lower/f"));
	warm(_metadata, self);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s",
		 lower, upper, work);
	if (mount("overlay", self->overlay, "overlay", 0, options)) {
		self->overlay[0] = 0;
		SKIP(return, "no overlayfs");
	}
	snprintf(file, sizeof(file), "%s/f", self->overlay);
	ASSERT_EQ(0, read_path(file, got, SIZE));
	EXPECT_EQ(0, pc_compare("lower", self->a->m->data, got, SIZE, 0));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 3 * PAGES);

	fd = open(file, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	pc_fill(got, PC_PAGE, 9, 0);
	ASSERT_EQ(PC_PAGE, pwrite(fd, got, PC_PAGE, 0));
	ASSERT_EQ(SIZE, pread(fd, got, SIZE, 0));
	pc_model_write(self->b->m, 0, PC_PAGE, 9);
	EXPECT_EQ(0, pc_compare("upper", self->b->m->data, got, SIZE, 0));
	close(fd);
	EXPECT_EQ(0, pc_verify(f, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, umount(self->overlay));
	self->overlay[0] = 0;
	/* It was another file that was written to. */
	ASSERT_EQ(0, pc_write(self->b, 0, PC_PAGE, 9));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	free(got);
}

/* As an NFS server finds a file that nobody has open. */
TEST_F(others, file_handle)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} handle = { .h.handle_bytes = MAX_HANDLE_SZ };
	unsigned char *got = malloc(SIZE);
	int id, dir, fd;

	ASSERT_NE(NULL, got);
	warm(_metadata, self);
	ASSERT_EQ(0, name_to_handle_at(AT_FDCWD, self->b->path, &handle.h, &id,
				       0));
	pc_shut(self->b);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, pc_drop_caches("2"));
	dir = open(self->fs.mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, dir);
	fd = open_by_handle_at(dir, &handle.h, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(SIZE, pread(fd, got, SIZE, 0));
	EXPECT_EQ(0, pc_compare("by handle", self->b->m->data, got, SIZE, 0));
	close(fd);
	close(dir);
	free(got);
	ASSERT_EQ(0, pc_reopen(self->b, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

static bool make_swap(struct pc_file *f)
{
	const char *const mkswap[] = { "mkswap", "-q", f->path, NULL };

	return !chmod(f->path, 0600) && !pc_run(mkswap);
}

/* Blocks that other files have are not for swap. */
TEST_F(others, swap_on_shared_blocks)
{
	const char *const mkswap[] = { "mkswap", "-q", self->a->path, NULL };

	if (pc_run(mkswap))
		SKIP(return, "no mkswap");
	/* That was written to one of them; the rest is shared. */
	EXPECT_EQ(-1, swapon(self->a->path, 0));
	EXPECT_EQ(EINVAL, errno);
}

/*
 * A file that was a clone may be swapped to when its blocks are its own.  What
 * was cached of it is not shown to anybody any more, nor is what swap puts there.
 */
TEST_F(others, swap_on_former_clone)
{
	unsigned char *got = malloc(SIZE);
	struct pc_stat then;

	ASSERT_NE(NULL, got);
	warm(_metadata, self);
	ASSERT_EQ(0, pc_fallocate(self->a, FALLOC_FL_UNSHARE_RANGE, 0, SIZE));
	if (!make_swap(self->a))
		SKIP(return, "no mkswap");
	ASSERT_EQ(0, fsync(self->a->fd));
	ASSERT_EQ(0, pc_drop_caches("1"));
	/* Aliases again, to blocks that nobody else has. */
	ASSERT_EQ(0, read_path(self->a->path, got, SIZE));
	ASSERT_EQ(0, swapon(self->a->path, 0));
	strcpy(self->swap, self->a->path);
	pc_stat(&then);
	ASSERT_EQ(0, pc_drop_caches("1"));
	ASSERT_EQ(0, read_path(self->a->path, got, SIZE));
	pc_expect_count(_metadata, &then, PC_DONATE, 0);
	pc_expect_count(_metadata, &then, PC_ATTACH, 0);
	ASSERT_EQ(0, swapoff(self->swap));
	self->swap[0] = 0;
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	pc_close(self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
	free(got);
}

/* What the kernel reads for itself, as modules and kexec images. */
TEST_F(others, module_from_clone)
{
	const char *ko = getenv("RUST_PAGE_CACHE_KO");
	struct pc_file *one, *two;

	if (!ko)
		SKIP(return, "no module ($RUST_PAGE_CACHE_KO)");
	ASSERT_EQ(0, pc_copy_in(&one, &self->fs, "one.ko", ko));
	ASSERT_EQ(0, pc_clone(&two, one, "two.ko"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	ASSERT_EQ(0, pc_verify(one, PC_READ));
	/* A file that is open for writing is no module. */
	pc_shut(two);
	ASSERT_EQ(0, pc_reopen(two, O_RDONLY));
	ASSERT_EQ(0, syscall(__NR_finit_module, two->fd, "", 0))
		TH_LOG("%s", strerror(errno));
	EXPECT_EQ(0, syscall(__NR_delete_module, "rust_page_cache", 0));
	EXPECT_EQ(0, pc_verify(two, PC_READ));
}

/* The build ID that the kernel finds for what is mapped at an address. */
static int build_id(const void *address, unsigned char *id, unsigned int len)
{
	struct pc_procmap_query query = {
		.size = sizeof(query),
		.query_addr = (uintptr_t)address,
		.build_id_size = len,
		.build_id_addr = (uintptr_t)id,
	};
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int ret = ioctl(fd, PC_PROCMAP_QUERY, &query);

	close(fd);
	return ret ? -errno : (int)query.build_id_size;
}

/* Profilers name programs by their build ID, which is read from the page cache. */
TEST_F(others, build_id)
{
	unsigned char own[64], of_clone[64];
	struct pc_file *one, *two;
	unsigned char *map;
	int len;

	len = build_id(build_id, own, sizeof(own));
	if (len <= 0)
		SKIP(return, "no build ID, or nobody to ask for it");
	ASSERT_EQ(0, pc_copy_in(&one, &self->fs, "one", "/proc/self/exe"));
	ASSERT_EQ(0, pc_clone(&two, one, "two"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	ASSERT_EQ(0, pc_verify(one, PC_READ));
	map = pc_map(two, PC_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	ASSERT_NE(NULL, map);
	/* It does not wait for pages to be read. */
	pc_touch(map);
	ASSERT_EQ(0, pc_verify(two, PC_READ));
	EXPECT_EQ(len, build_id(map, of_clone, sizeof(of_clone)));
	EXPECT_EQ(0, memcmp(own, of_clone, len));
}

/*
 * Write protection by userfaultfd that clears itself: the write that does so
 * still breaks the alias.
 */
TEST_F(others, userfaultfd_wp_async)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED,
	};
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	unsigned char *map;
	int fd;

	warm(_metadata, self);
	map = pc_map(self->b, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, map);
	for (size_t i = 0; i < PAGES; i += 2)
		pc_touch(map + i * PC_PAGE);
	fd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		SKIP(return, "no userfaultfd that protects by itself");
	reg.range.start = (uintptr_t)map;
	reg.range.len = SIZE;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	wp.range = reg.range;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
	/* One that was mapped, and one that was not. */
	for (size_t page = 10; page < 12; page++) {
		pc_fill(map + page * PC_PAGE, PC_PAGE, 5, page * PC_PAGE);
		pc_model_write(self->b->m, page * PC_PAGE, PC_PAGE, 5);
	}
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	close(fd);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Answers what has been asked; how often that was. */
static int answer_all(int fan, uint32_t response)
{
	_Alignas(struct fanotify_event_metadata) char buf[4096];
	struct fanotify_event_metadata *event = (void *)buf;
	ssize_t len = read(fan, buf, sizeof(buf));
	int asked = 0;

	if (len < 0)
		return pc_err("read of fanotify");
	for (; FAN_EVENT_OK(event, len); event = FAN_EVENT_NEXT(event, len)) {
		struct fanotify_response say = {
			.fd = event->fd,
			.response = response,
		};

		if (write(fan, &say, sizeof(say)) != sizeof(say))
			return pc_err("answer to fanotify");
		close(event->fd);
		asked++;
	}
	return asked;
}

/* Gives the same answer to everybody until the child ends; the questions. */
static int answer(int fan, pid_t child, uint32_t response)
{
	struct pollfd pfd = { .fd = fan, .events = POLLIN };
	int asked = 0;

	while (pc_runs(child)) {
		int ret;

		/* The child's end wakes nobody here. */
		if (poll(&pfd, 1, 100) <= 0)
			continue;
		ret = answer_all(fan, response);
		if (ret < 0)
			return ret;
		asked += ret;
	}
	return asked;
}

/*
 * A listener that may have to bring a file's content first is asked for each
 * file, whoever has read the same pages before: what another file has been
 * allowed is not shown through this one.
 */
TEST_F(others, fanotify_pre_content)
{
	unsigned char *got = malloc(SIZE);
	pid_t child;
	int fan;

	ASSERT_NE(NULL, got);
	fan = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY);
	if (fan < 0 || fanotify_mark(fan, FAN_MARK_ADD, FAN_PRE_ACCESS,
				     AT_FDCWD, self->b->path))
		SKIP(return, "no events before an access");
	ASSERT_EQ(0, pc_verify(self->a, PC_READ));
	/* Who has it open from before is not asked. */
	ASSERT_EQ(0, pc_reopen(self->b, O_RDWR));

	child = pc_fork(&self->fs);
	ASSERT_LE(0, child);
	if (!child)
		_exit(pread(self->b->fd, got, SIZE, 0) != -1 || errno != EPERM);
	EXPECT_LT(0, answer(fan, child, FAN_DENY));
	EXPECT_EQ(0, pc_wait(&self->fs, child));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, PAGES);

	child = pc_fork(&self->fs);
	ASSERT_LE(0, child);
	if (!child)
		_exit(pc_verify(self->b, PC_READ) ||
		      pc_verify(self->b, PC_MMAP));
	EXPECT_LT(0, answer(fan, child, FAN_ALLOW));
	EXPECT_EQ(0, pc_wait(&self->fs, child));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	close(fan);
	free(got);
}

/* Dirty pages between aliases are found, and the aliases left where they are. */
TEST_F(others, fsync_and_syncfs)
{
	struct pc_stat then;

	warm(_metadata, self);
	for (size_t i = 1; i < PAGES; i += 7)
		ASSERT_EQ(0, pc_write(self->b, i * PC_PAGE, PC_PAGE, i));
	pc_stat(&then);
	ASSERT_EQ(0, fsync(self->b->fd));
	ASSERT_EQ(0, pc_write(self->b, 0, PC_PAGE, 3));
	ASSERT_EQ(0, syncfs(self->b->fd));
	ASSERT_EQ(0, sync_file_range(self->b->fd, 0, 0,
				     SYNC_FILE_RANGE_WAIT_BEFORE |
				     SYNC_FILE_RANGE_WRITE |
				     SYNC_FILE_RANGE_WAIT_AFTER));
	pc_expect_count(_metadata, &then, PC_ALIAS, -1);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Checked, and rebuilt: 0, or else the error, or EUCLEAN for a file that is
 * found corrupt.
 */
static int scrub(struct pc_file *f, uint32_t type, uint32_t flags)
{
	struct pc_xfs_scrub scrub = { .type = type, .flags = flags };

	if (ioctl(f->fd, PC_XFS_SCRUB, &scrub))
		return errno;
	return scrub.flags & PC_SCRUB_CORRUPT ? EUCLEAN : 0;
}

/* Online fsck of a file that is read and mapped: it stays what it is. */
TEST_F(others, scrub_and_repair)
{
	const uint32_t rebuild = PC_SCRUB_REPAIR | PC_SCRUB_FORCE_REBUILD;
	unsigned char *map;
	int ret;

	warm(_metadata, self);
	map = pc_map(self->b, SIZE, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, map);
	ret = scrub(self->b, PC_SCRUB_DATA_FORK, 0);
	if (ret == EOPNOTSUPP || ret == ENOTTY)
		SKIP(return, "no online scrub");
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, scrub(self->b, PC_SCRUB_INODE, 0));
	EXPECT_EQ(0, pc_compare("map", self->b->m->data, map, SIZE, 0));
	ret = scrub(self->b, PC_SCRUB_DATA_FORK, rebuild);
	if (ret == EOPNOTSUPP)
		SKIP(return, "no online repair");
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, pc_compare("map", self->b->m->data, map, SIZE, 0));
	EXPECT_EQ(0, pc_verify(self->b, PC_READ));
	/* What is read after it may share, or not; it is the same. */
	ASSERT_EQ(0, pc_evict(self->a));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	ASSERT_EQ(0, pc_write(self->b, 0, PC_PAGE, 12));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
