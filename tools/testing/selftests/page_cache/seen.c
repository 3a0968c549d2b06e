// SPDX-License-Identifier: GPL-2.0
/*
 * What is shared can be seen: FS_IOC_CACHEMAP, the counters of the file system
 * and of the memory cgroup, and trace events say what is so, to who may know it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/cachemap.h>
#include <linux/fs.h>

#include "page_cache_fixture.h"

#define PAGES	64UL
#define SIZE	(PAGES * PC_PAGE)
#define EVENTS	PC_TRACING "/events/page_cache_home"

#define ROOM	256

struct seen {
	struct cachemap_run run[ROOM];
	size_t nr;
	int calls;
};

/* All runs of a range, with room for so many at a time; 0 or -errno. */
static int look(int fd, uint64_t start, uint64_t length, uint32_t room,
		struct seen *seen)
{
	struct cachemap map = { .start = start, .length = length };

	memset(seen, 0, sizeof(*seen));
	do {
		uint64_t from = map.start, left = map.length;

		if (seen->nr + room > ROOM)
			room = ROOM - seen->nr;
		if (!room)
			return -ENOSPC;
		map.runs = (uintptr_t)&seen->run[seen->nr];
		map.nr_runs = room;
		if (ioctl(fd, FS_IOC_CACHEMAP, &map))
			return -errno;
		if (map.nr_runs > room || map.start + map.length != start + length ||
		    (map.length && map.start <= from && map.length >= left))
			return -EPROTO;
		seen->nr += map.nr_runs;
		seen->calls++;
	} while (map.length);
	return 0;
}

static uint64_t bytes(const struct seen *seen, uint32_t flags, uint32_t mask)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < seen->nr; i++)
		if ((seen->run[i].flags & mask) == flags)
			sum += seen->run[i].length;
	return sum;
}

/* Which memory a shared page of the file is, or 0. */
static uint64_t id_at(const struct seen *seen, uint64_t offset)
{
	for (size_t i = 0; i < seen->nr; i++) {
		const struct cachemap_run *run = &seen->run[i];

		if (offset >= run->offset && offset < run->offset + run->length &&
		    run->flags & CACHEMAP_SHARED)
			return run->id + (offset - run->offset) / PC_PAGE;
	}
	return 0;
}

/* In order, in pages, apart from each other. */
static void expect_sane(struct __test_metadata *_metadata,
			const struct seen *seen)
{
	uint64_t end = 0;

	for (size_t i = 0; i < seen->nr; i++) {
		const struct cachemap_run *run = &seen->run[i];

		EXPECT_LE(end, run->offset);
		EXPECT_LT(0, run->length);
		EXPECT_EQ(0, (run->offset | run->length) % PC_PAGE);
		if (!(run->flags & CACHEMAP_SHARED)) {
			EXPECT_EQ(0, run->id);
			EXPECT_EQ(0, run->sharers);
		}
		end = run->offset + run->length;
	}
}

FIXTURE(seen)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	struct seen was, is;
};

FIXTURE_SETUP(seen)
{
	if (!pc_setup_sharing(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
}

FIXTURE_TEARDOWN(seen)
{
	pc_teardown(_metadata, &self->fs);
}

/* A file of which nothing is cached has no runs, and one of no size neither. */
TEST_F(seen, nothing_cached)
{
	EXPECT_EQ(0, look(self->a->fd, 0, SIZE, ROOM, &self->is));
	EXPECT_EQ(0, self->is.nr);
	EXPECT_EQ(0, look(self->a->fd, 0, ~0ULL, ROOM, &self->is));
	EXPECT_EQ(0, self->is.nr);
	EXPECT_EQ(0, look(self->a->fd, 5, 0, ROOM, &self->is));
	EXPECT_EQ(0, self->is.nr);
}

/* Clones that have been read are one memory, and say how many they are. */
TEST_F(seen, clones_are_one_memory)
{
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_EQ(0, look(self->a->fd, 0, SIZE, ROOM, &self->was));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, ROOM, &self->is));
	expect_sane(_metadata, &self->was);
	expect_sane(_metadata, &self->is);
	EXPECT_EQ(SIZE, bytes(&self->was, CACHEMAP_SHARED, ~0U));
	EXPECT_EQ(SIZE, bytes(&self->is, CACHEMAP_SHARED, ~0U));
	for (size_t at = 0; at < SIZE; at += PC_PAGE) {
		EXPECT_NE(0, id_at(&self->is, at));
		EXPECT_EQ(id_at(&self->was, at), id_at(&self->is, at));
	}
	for (size_t i = 0; i < self->is.nr; i++)
		EXPECT_EQ(2, self->is.run[i].sharers);

	ASSERT_EQ(0, pc_verify(self->c, PC_READ));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, ROOM, &self->is));
	for (size_t i = 0; i < self->is.nr; i++)
		EXPECT_EQ(3, self->is.run[i].sharers);
}

/* What was written is the file's own, and dirty until it is on disk. */
TEST_F(seen, written_pages_are_private)
{
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_EQ(0, pc_write(self->b, 3 * PC_PAGE, 2 * PC_PAGE, 7));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, ROOM, &self->is));
	expect_sane(_metadata, &self->is);
	EXPECT_EQ(2 * PC_PAGE, bytes(&self->is, 0, CACHEMAP_SHARED));
	EXPECT_EQ(2 * PC_PAGE, bytes(&self->is, CACHEMAP_DIRTY, ~0U));
	EXPECT_EQ(SIZE, bytes(&self->is, 0, 0));
	EXPECT_EQ(0, id_at(&self->is, 3 * PC_PAGE));

	ASSERT_EQ(0, fsync(self->b->fd));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, ROOM, &self->is));
	EXPECT_EQ(0, bytes(&self->is, CACHEMAP_DIRTY, CACHEMAP_DIRTY));
	EXPECT_EQ(2 * PC_PAGE, bytes(&self->is, 0, CACHEMAP_SHARED));
	ASSERT_EQ(0, look(self->a->fd, 0, SIZE, ROOM, &self->is));
	EXPECT_EQ(SIZE, bytes(&self->is, CACHEMAP_SHARED, ~0U));
}

/* However little room there is, and wherever it begins, it says the same. */
TEST_F(seen, piece_by_piece)
{
	pc_warm(_metadata, PAGES, self->a, self->b);
	for (size_t page = 1; page < 20; page += 3)
		ASSERT_EQ(0, pc_write(self->b, page * PC_PAGE, 10, page));
	ASSERT_EQ(0, pc_fallocate(self->b, FALLOC_FL_PUNCH_HOLE |
				  FALLOC_FL_KEEP_SIZE, 30 * PC_PAGE,
				  4 * PC_PAGE));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, ROOM, &self->was));
	expect_sane(_metadata, &self->was);
	EXPECT_LT(14, self->was.nr);
	EXPECT_EQ(SIZE - 4 * PC_PAGE, bytes(&self->was, 0, 0));
	ASSERT_EQ(0, look(self->b->fd, 0, SIZE, 1, &self->is));
	EXPECT_EQ(0, memcmp(&self->was.run, &self->is.run,
			    sizeof(self->is.run)));
	EXPECT_EQ(self->was.nr, self->is.nr);

	/* A piece in the middle, which ends and begins within pages. */
	ASSERT_EQ(0, look(self->b->fd, 7 * PC_PAGE + 5, 30 * PC_PAGE, 2,
			  &self->is));
	expect_sane(_metadata, &self->is);
	EXPECT_EQ(7 * PC_PAGE, self->is.run[0].offset);
	EXPECT_EQ(31 * PC_PAGE - 4 * PC_PAGE, bytes(&self->is, 0, 0));
	for (size_t at = 7 * PC_PAGE; at < 38 * PC_PAGE; at += PC_PAGE)
		EXPECT_EQ(id_at(&self->was, at), id_at(&self->is, at));
}

/* Other files have pages of their own, as ever. */
TEST_F(seen, files_that_share_nothing)
{
	struct pc_file *own;

	ASSERT_EQ(0, pc_create(&own, &self->fs, "own", SIZE, 5));
	ASSERT_EQ(0, pc_verify(own, PC_READ));
	ASSERT_EQ(0, look(own->fd, 0, SIZE, ROOM, &self->is));
	EXPECT_EQ(1, self->is.nr);
	EXPECT_EQ(SIZE, bytes(&self->is, 0, ~0U));
}

/* One call does so much and no more, in whatever file it is. */
TEST(calls_are_bounded)
{
	const size_t pages = 70000;
	struct seen seen;
	int fd = memfd_create("many", MFD_CLOEXEC);

	if (!pc_sharing())
		SKIP(return, PC_NO_SHARING);
	ASSERT_LE(0, fd);
	if (fallocate(fd, 0, 0, pages * PC_PAGE))
		SKIP(return, "no memory for a file of %zu pages", pages);
	ASSERT_EQ(0, look(fd, 0, pages * PC_PAGE, ROOM, &seen));
	expect_sane(_metadata, &seen);
	EXPECT_EQ(pages * PC_PAGE, bytes(&seen, 0, CACHEMAP_SHARED));
	/* Where they are not in large folios. */
	if (!pc_number("/proc/meminfo", "ShmemHugePages"))
		EXPECT_LT(1, seen.calls);
	close(fd);
}

static int ask(int fd, struct cachemap map)
{
	return ioctl(fd, FS_IOC_CACHEMAP, &map) ? -errno : 0;
}

/* What makes no sense is refused, and nothing is written where it must not be. */
TEST_F(seen, bad_requests)
{
	struct cachemap_run *run = self->is.run;
	const struct cachemap good = {
		.length = SIZE, .runs = (uintptr_t)run, .nr_runs = ROOM,
	};
	struct cachemap map = good;
	int fd = self->a->fd, dir, pipes[2];
	char *edge;

	pc_warm(_metadata, PAGES, self->a);
	EXPECT_EQ(0, ask(fd, map));
	map.flags = 1;
	EXPECT_EQ(-EINVAL, ask(fd, map));
	map = good;
	map.reserved[0] = 1;
	EXPECT_EQ(-EINVAL, ask(fd, map));
	map = good;
	map.reserved[1] = 1ULL << 63;
	EXPECT_EQ(-EINVAL, ask(fd, map));
	map = good;
	map.nr_runs = 0;
	EXPECT_EQ(-EINVAL, ask(fd, map));
	map = good;
	map.start = ~0ULL;
	EXPECT_EQ(-EINVAL, ask(fd, map));
	map.length = 0;
	EXPECT_EQ(0, ask(fd, map));
	map = good;
	map.runs = 8;
	EXPECT_EQ(-EFAULT, ask(fd, map));
	map.runs = ~0ULL - 7;
	EXPECT_EQ(-EFAULT, ask(fd, map));
	EXPECT_EQ(-1, ioctl(fd, FS_IOC_CACHEMAP, 8UL));
	EXPECT_EQ(EFAULT, errno);

	/* More room than there is memory is no error as long as it will do. */
	edge = mmap(NULL, 2 * PC_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, edge);
	ASSERT_EQ(0, munmap(edge + PC_PAGE, PC_PAGE));
	map = good;
	map.nr_runs = ~0U;
	map.runs = (uintptr_t)edge;
	EXPECT_EQ(0, ask(fd, map));
	map.runs = (uintptr_t)edge + PC_PAGE - 8;
	EXPECT_EQ(-EFAULT, ask(fd, map));

	dir = open(self->fs.mnt, O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, dir);
	EXPECT_EQ(-ENOTTY, ask(dir, good));
	close(dir);
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-ENOTTY, ask(pipes[0], good));
	close(pipes[0]);
	close(pipes[1]);
}

/* Who may not know what is cached is not told. */
TEST_F(seen, strangers_are_not_told)
{
	static const struct {
		mode_t mode;
		int ret;
	} cases[] = {
		{ 0644, -EPERM }, { 0444, -EPERM }, { 0666, 0 },
	};

	pc_warm(_metadata, PAGES, self->a);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cachemap map = {
			.length = SIZE, .runs = (uintptr_t)self->is.run,
			.nr_runs = ROOM,
		};
		int status, fd;
		pid_t pid;

		ASSERT_EQ(0, fchmod(self->a->fd, cases[i].mode));
		fd = open(self->a->path, O_RDONLY | O_CLOEXEC);
		ASSERT_LE(0, fd);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (setresuid(65534, 65534, 65534))
				_exit(99);
			_exit(-ask(fd, map));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(-cases[i].ret, WEXITSTATUS(status));
		close(fd);
	}
}

/* The number in a file of /sys/fs/xfs/<dev>/page_cache, or -1. */
static long long counted(struct pc_fs *fs, const char *what)
{
	char path[256], text[32];

	snprintf(path, sizeof(path), "/sys/fs/xfs/%s/page_cache/%s",
		 strrchr(fs->dev, '/') + 1, what);
	return pc_read_str(path, text, sizeof(text)) < 0 ? -1 : atoll(text);
}

/* A file system counts what is its own, from when it is mounted. */
TEST_F(seen, counters_of_the_file_system)
{
	static const struct {
		const char *name;
		enum pc_counter counter;
	} all[] = {
		{ "nr_home", PC_HOME }, { "nr_alias", PC_ALIAS },
		{ "nr_fragment", PC_FRAGMENT }, { "attach", PC_ATTACH },
		{ "donate", PC_DONATE }, { "break", PC_BREAK },
		{ "reclaim", PC_RECLAIM },
	};
	struct pc_stat d;

	pc_warm(_metadata, PAGES, self->a, self->b, self->c);
	ASSERT_EQ(0, pc_write(self->b, 0, PC_PAGE, 9));
	ASSERT_EQ(0, pc_evict(self->c));
	d = pc_since(&self->fs.before);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_EQ(d.v[all[i].counter], counted(&self->fs, all[i].name))
			TH_LOG("%s", all[i].name);
	}
	EXPECT_EQ(PAGES, counted(&self->fs, "nr_home"));
	EXPECT_EQ(2 * PAGES - 1, counted(&self->fs, "nr_alias"));
	EXPECT_EQ(1, counted(&self->fs, "break"));

	ASSERT_EQ(0, pc_fs_cycle(&self->fs));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_EQ(0, counted(&self->fs, all[i].name))
			TH_LOG("%s", all[i].name);
	}
}

/* The cgroup that is charged for what others have, too, sees how much it is. */
TEST_F(seen, charge_of_the_cgroup)
{
	char cgroup[128];
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (pc_memcg_enter("seen", 0, cgroup, sizeof(cgroup))) {
			pc_log("%s", cgroup);
			_exit(KSFT_SKIP);
		}
		if (pc_verify(self->a, PC_READ) || pc_verify(self->b, PC_READ) ||
		    pc_memcg_until(cgroup, "file_home", SIZE, SIZE) != SIZE)
			_exit(1);
		/* One of two breaks: it goes on being the other's. */
		if (pc_write(self->b, 0, PC_PAGE, 3) ||
		    pc_memcg_until(cgroup, "file_home", SIZE, SIZE) != SIZE)
			_exit(2);
		/* The last one takes it back. */
		if (pc_write(self->a, PC_PAGE * 8, PC_PAGE, 4) ||
		    pc_evict(self->b) || pc_write(self->a, 0, SIZE, 5) ||
		    pc_memcg_until(cgroup, "file_home", 0, 0) != 0)
			_exit(3);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	pc_memcg_remove("seen", pid);
	if (WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no memory cgroup");
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* How many pages the events of a name were about, of a file. */
static long traced(const char *name, ino_t ino)
{
	char line[512], want[64], file[64];
	FILE *trace = fopen(PC_TRACING "/trace", "r");
	long pages = 0;

	if (!trace)
		return -1;
	snprintf(want, sizeof(want), " page_cache_%s: ", name);
	snprintf(file, sizeof(file), " ino %lx ", (unsigned long)ino);
	while (fgets(line, sizeof(line), trace)) {
		char *nr = strstr(line, " nr=");

		if (nr && strstr(line, want) && strstr(line, file))
			pages += atol(nr + 4);
	}
	fclose(trace);
	return pages;
}

/* Trace events tell of each page what became of it. */
TEST_F(seen, events_are_traced)
{
	struct stat a, b;

	if (!pc_tracefs())
		SKIP(return, "no tracefs");
	ASSERT_EQ(0, access(EVENTS "/enable", F_OK));
	ASSERT_EQ(0, fstat(self->a->fd, &a));
	ASSERT_EQ(0, fstat(self->b->fd, &b));
	ASSERT_EQ(0, pc_write_str(PC_TRACING "/trace", ""));
	ASSERT_EQ(0, pc_write_str(EVENTS "/enable", "1"));
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_EQ(0, pc_write(self->b, 0, PC_PAGE, 9));
	EXPECT_EQ(0, fsync(self->b->fd));
	EXPECT_EQ(0, pc_drop_caches("1"));
	EXPECT_EQ(0, pc_write_str(EVENTS "/enable", "0"));

	EXPECT_EQ(PAGES, traced("donate", a.st_ino));
	EXPECT_EQ(0, traced("attach", a.st_ino));
	EXPECT_EQ(PAGES, traced("reclaim", a.st_ino));
	EXPECT_EQ(0, traced("donate", b.st_ino));
	EXPECT_EQ(PAGES, traced("attach", b.st_ino));
	EXPECT_EQ(1, traced("break", b.st_ino));
	EXPECT_EQ(PAGES - 1, traced("reclaim", b.st_ino));
	EXPECT_EQ(0, pc_write_str(PC_TRACING "/trace", ""));
}

TEST_HARNESS_MAIN
