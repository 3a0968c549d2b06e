// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of files that share blocks: what a mapping shows is what read(2) of
 * that file shows, whatever happened to the page between the two; a write
 * through one mapping reaches its own file only.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif

#define PAGES	16UL
#define SIZE	(PAGES * PC_PAGE)

/* What main() returns when it is run as "map --exec". */
#define EXEC_STATUS	42

FIXTURE(map)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
};

/* Is the data in the page cache, and shared there, before it is mapped? */
FIXTURE_VARIANT(map)
{
	bool warm;
};

FIXTURE_VARIANT_ADD(map, cold)
{
	.warm = false,
};

FIXTURE_VARIANT_ADD(map, warm)
{
	.warm = true,
};

FIXTURE_SETUP(map)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	if (variant->warm)
		pc_warm(_metadata, PAGES, self->a, self->b);
}

FIXTURE_TEARDOWN(map)
{
	pc_teardown(_metadata, &self->fs);
}

static void map_both(struct __test_metadata *_metadata,
		     struct _test_data_map *self, int prot, int flags)
{
	ASSERT_NE(NULL, pc_map(self->a, SIZE, prot, flags));
	ASSERT_NE(NULL, pc_map(self->b, SIZE, prot, flags));
}

/* Both mappings show what the models say. */
static void check_maps(struct __test_metadata *_metadata,
		       struct _test_data_map *self)
{
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
}

/* The mappings a last time, then everything else; they are gone afterwards. */
static void check_all(struct __test_metadata *_metadata,
		      struct _test_data_map *self)
{
	check_maps(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A write through the mapping of a file. */
static void write_map(struct pc_file *f, size_t off, size_t len, uint64_t seed)
{
	pc_fill(f->map + off, len, seed, off);
	pc_model_write(f->m, off, len, seed);
}

/* Shared mappings that are only read. */
TEST_F(map, shared_read)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	check_all(_metadata, self);
}

/* Private mappings that are only read. */
TEST_F(map, private_read)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	check_maps(_metadata, self);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	check_all(_metadata, self);
}

/* A private mapping is written: no file changes, the mapping keeps it. */
TEST_F(map, private_write)
{
	size_t off = 3 * PC_PAGE + 10, len = 5000;
	unsigned char want[SIZE], *map;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	map = self->a->map;
	memset(map + off, 0x55, len);
	/* Read first, then written. */
	EXPECT_EQ(self->a->m->data[7 * PC_PAGE], map[7 * PC_PAGE]);
	map[7 * PC_PAGE] ^= 0xff;
	memcpy(want, self->a->m->data, SIZE);
	memset(want + off, 0x55, len);
	want[7 * PC_PAGE] ^= 0xff;
	EXPECT_EQ(0, pc_compare("private mapping", want, map, SIZE, 0));
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_drop_caches("1"));
	EXPECT_EQ(0, pc_compare("private mapping", want, map, SIZE, 0));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Written without having been read, through both mappings in turn. */
TEST_F(map, shared_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	write_map(self->a, 3 * PC_PAGE + 10, 5000, 2);
	check_maps(_metadata, self);
	write_map(self->b, 3 * PC_PAGE + 2000, 5000, 3);
	check_all(_metadata, self);
}

/* Read first: the page is in the page table read-only when it is written. */
TEST_F(map, shared_read_then_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	check_maps(_metadata, self);
	write_map(self->a, 3 * PC_PAGE, PC_PAGE, 2);
	check_all(_metadata, self);
}

/* msync() puts what was written on the disk, for this file alone. */
TEST_F(map, msync_reaches_the_disk)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	write_map(self->a, PC_PAGE, 2 * PC_PAGE, 2);
	ASSERT_EQ(0, msync(self->a->map, SIZE, MS_SYNC));
	EXPECT_EQ(0, pc_verify(self->a, PC_DIRECT));
	EXPECT_EQ(0, pc_verify(self->b, PC_DIRECT));
	/* Written again after it was cleaned. */
	write_map(self->a, PC_PAGE, 2 * PC_PAGE, 3);
	check_all(_metadata, self);
}

/* MAP_POPULATE and MADV_POPULATE_READ. */
TEST_F(map, populate_read)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED | MAP_POPULATE);
	check_maps(_metadata, self);
	ASSERT_EQ(0, madvise(self->b->map, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(self->b->map, SIZE, MADV_POPULATE_READ));
	check_all(_metadata, self);
}

/* MADV_POPULATE_WRITE makes every page a's own and changes nothing. */
TEST_F(map, populate_write)
{
	struct pc_stat start;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	pc_stat(&start);
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_POPULATE_WRITE));
	if (variant->warm)
		pc_expect_pages(_metadata, &start, 0, -(int64_t)PAGES);
	check_maps(_metadata, self);
	write_map(self->a, 2 * PC_PAGE, 99, 2);
	check_all(_metadata, self);
}

/* Advice that drops pages from the table, or reclaims them. */
TEST_F(map, madvise_drops_pages)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
		MADV_RANDOM, MADV_DONTNEED
	};

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		check_maps(_metadata, self);
		EXPECT_EQ(0, madvise(self->a->map, SIZE, advice[i]));
		EXPECT_EQ(0, madvise(self->b->map, SIZE, advice[i]));
		EXPECT_EQ(0, pc_verify(self->a, PC_READ));
		EXPECT_EQ(0, pc_verify(self->b, PC_READ));
		write_map(self->a, i * PC_PAGE, 99, i);
	}
	check_all(_metadata, self);
}

/* write(2) to a page that is in page tables shows in its file's mapping. */
TEST_F(map, write_shows_in_mapping)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 5, 5000, 2));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write_direct(self->b, 3 * PC_PAGE, 2 * PC_PAGE, 3));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_fallocate(self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  6 * PC_PAGE + 5, 2 * PC_PAGE));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_clone_range(self->b, 9 * PC_PAGE, self->a,
				    2 * PC_PAGE, 4 * PC_PAGE));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_exchange(self->a, 0, self->b, 8 * PC_PAGE,
				 4 * PC_PAGE));
	check_all(_metadata, self);
}

/* Mapping, then reading: the read fills from the same page. */
TEST_F(map, write_by_mapping_read_by_clone)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 8; i++) {
		size_t off = (i % 3) * PC_PAGE + 400 * i;

		write_map(self->a, off, 300, 10 + i);
		ASSERT_EQ(0, pc_verify(self->a, PC_READ));
		ASSERT_EQ(0, pc_verify(self->b, PC_READ));
		ASSERT_EQ(0, pc_verify(self->c, PC_READ));
		if (i == 4)
			ASSERT_EQ(0, pc_clone_range(self->c, 0, self->a, 0,
						    0));
	}
	check_all(_metadata, self);
}

/* What truncate took away is gone from the mapping, what is left is there. */
TEST_F(map, truncate_takes_pages_away)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_truncate(self->a, 5 * PC_PAGE + 100));
	check_maps(_metadata, self);
	EXPECT_FALSE(pc_touch_raises_bus(self->a->map + 5 * PC_PAGE + 200));
	EXPECT_EQ(0, self->a->map[5 * PC_PAGE + 200]);
	EXPECT_TRUE(pc_touch_raises_bus(self->a->map + 6 * PC_PAGE));
	EXPECT_FALSE(pc_touch_raises_bus(self->b->map + 6 * PC_PAGE));
	ASSERT_EQ(0, pc_truncate(self->a, SIZE));
	check_all(_metadata, self);
}

/* fork() of a mapping: parent and child see the same file. */
TEST_F(map, fork)
{
	pid_t pid;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	check_maps(_metadata, self);
	pid = pc_fork(&self->fs);
	ASSERT_LE(0, pid);
	if (!pid) {
		if (pc_compare("mapping in the child", self->b->m->data,
			       self->b->map, SIZE, 0))
			_exit(1);
		/* The model is shared memory. */
		write_map(self->a, 3 * PC_PAGE, 500, 2);
		_exit(0);
	}
	EXPECT_EQ(0, pc_wait(&self->fs, pid));
	check_all(_metadata, self);
}

/* The buffer of a read or write is a mapping of the file or of its clone. */
TEST_F(map, buffer_is_a_mapping)
{
	struct pc_file *a = self->a, *b = self->b;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	/* Of the clone, at the same blocks. */
	ASSERT_EQ(5000, pwrite(a->fd, b->map + 8 * PC_PAGE, 5000, 77));
	pc_model_copy(a->m, 77, b->m, 8 * PC_PAGE, 5000);
	check_maps(_metadata, self);
	ASSERT_EQ(PC_PAGE, pwrite(a->fd, b->map + 4 * PC_PAGE, PC_PAGE,
				  4 * PC_PAGE));
	check_maps(_metadata, self);
	/* Of the file itself, the very page that is written. */
	ASSERT_EQ(2000, pwrite(a->fd, a->map + 6 * PC_PAGE, 2000,
			       6 * PC_PAGE));
	check_maps(_metadata, self);
	/* A read into a page of the clone that is still shared. */
	ASSERT_EQ(PC_PAGE, pread(a->fd, b->map + 10 * PC_PAGE, PC_PAGE,
				 3 * PC_PAGE));
	pc_model_copy(b->m, 10 * PC_PAGE, a->m, 3 * PC_PAGE, PC_PAGE);
	check_maps(_metadata, self);
	ASSERT_EQ(PC_PAGE, pread(a->fd, b->map + 11 * PC_PAGE, PC_PAGE,
				 11 * PC_PAGE));
	check_all(_metadata, self);
}

/* A write to the mapping by the kernel, which pins the page first. */
TEST_F(map, write_by_proc_mem)
{
	unsigned char buf[1000];
	size_t off = 4 * PC_PAGE + 3500;
	int fd;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	fd = open("/proc/self/mem", O_RDWR);
	ASSERT_LE(0, fd);
	pc_fill(buf, sizeof(buf), 2, off);
	ASSERT_EQ(sizeof(buf), pwrite(fd, buf, sizeof(buf),
				      (uintptr_t)self->a->map + off));
	close(fd);
	pc_model_write(self->a->m, off, sizeof(buf), 2);
	check_all(_metadata, self);
}

/* Locked pages of two files, then one of the files is written. */
TEST_F(map, mlock)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_EQ(0, mlock(self->a->map, SIZE));
	ASSERT_EQ(0, mlock(self->b->map, SIZE));
	ASSERT_EQ(0, pc_drop_caches("1"));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 7, 2 * PC_PAGE, 2));
	check_maps(_metadata, self);
	ASSERT_EQ(0, munlock(self->a->map, SIZE));
	ASSERT_EQ(0, munlock(self->b->map, SIZE));
	check_all(_metadata, self);
}

/* A file that maps one block at two places, mapped twice. */
TEST_F(map, file_with_itself)
{
	ASSERT_EQ(0, pc_clone_range(self->a, 8 * PC_PAGE, self->a, 0,
				    8 * PC_PAGE));
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	check_maps(_metadata, self);
	write_map(self->a, 9 * PC_PAGE, 200, 2);
	check_maps(_metadata, self);
	write_map(self->a, 2 * PC_PAGE, 200, 3);
	check_all(_metadata, self);
}

/* A program and its clones run, also after the clone was read as a file. */
TEST_F(map, exec_of_clone)
{
	struct pc_file *prog, *clone;

	ASSERT_EQ(0, pc_copy_in(&prog, &self->fs, "prog",
				"/proc/self/exe"));
	ASSERT_EQ(0, pc_clone(&clone, prog, "clone"));
	if (variant->warm) {
		ASSERT_EQ(0, pc_verify(prog, PC_READ));
		ASSERT_EQ(0, pc_verify(clone, PC_READ));
	}
	/* No program runs that is open for writing. */
	pc_shut(prog);
	pc_shut(clone);
	for (int i = 0; i < 4; i++) {
		const char *path = i & 1 ? clone->path : prog->path;
		int status;
		pid_t pid;

		pid = pc_fork(&self->fs);
		ASSERT_LE(0, pid);
		if (!pid) {
			execl(path, path, "--exec", NULL);
			_exit(1);
		}
		status = pc_wait(&self->fs, pid);
		ASSERT_TRUE(WIFEXITED(status))
			TH_LOG("%s died of signal %d", path, WTERMSIG(status));
		ASSERT_EQ(EXEC_STATUS, WEXITSTATUS(status));
	}
	ASSERT_EQ(0, pc_reopen(prog, O_RDWR));
	ASSERT_EQ(0, pc_reopen(clone, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

static int race_reader(struct pc_race *r, unsigned char *map, uint64_t rnd)
{
	while (!pc_race_stopped(r)) {
		if (pc_race_look(r, map, pc_rand(&rnd) % PAGES))
			return 1;
		if (pc_rand(&rnd) % 32 == 0 &&
		    madvise(map, SIZE, MADV_DONTNEED))
			return 1;
	}
	return 0;
}

/*
 * Readers of a mapping race with writers of the file and with breaks of the
 * pages: the page table must never go on showing a page that was given up.
 */
TEST_F_TIMEOUT(map, reader_never_sees_older_data, 300)
{
	struct pc_race *r = pc_race(PAGES, 1);
	uint64_t rnd = 5;
	pid_t pid[2];

	ASSERT_NE(NULL, r);
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (int i = 0; i < 2; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(race_reader(r, self->a->map, i * 1000));
	}
	for (int i = 0; pc_race_writes(r, i, 400); i++) {
		size_t page = pc_rand(&rnd) % PAGES;
		size_t off = page * PC_PAGE;
		unsigned char *buf = self->a->m->data + off;
		int how = pc_rand(&rnd) % 4;

		/* b becomes a's clone, a's pages are read: shared again. */
		if (i % 8 == 0) {
			ASSERT_EQ(0, pc_clone_range(self->b, 0, self->a, 0,
						    0));
			ASSERT_EQ(0, pc_evict(self->a));
			ASSERT_EQ(0, pc_verify(self->a, PC_READ));
			ASSERT_EQ(0, pc_verify(self->b, PC_READ));
		}
		pc_cell_begin(&r->cell[page], how ? 2 + i : 0, false);
		switch (how) {
		case 0:
			ASSERT_EQ(0, pc_fallocate(self->a,
						  FALLOC_FL_PUNCH_HOLE |
						  FALLOC_FL_KEEP_SIZE, off,
						  PC_PAGE));
			break;
		case 1:
			ASSERT_EQ(0, pc_write_direct(self->a, off, PC_PAGE,
						     2 + i));
			break;
		case 2:
			pc_fill(buf, PC_PAGE, 2 + i, off);
			memcpy(self->a->map + off, buf, PC_PAGE);
			break;
		default:
			ASSERT_EQ(0, pc_write(self->a, off, PC_PAGE, 2 + i));
			break;
		}
		pc_cell_end(&r->cell[page]);
	}
	pc_race_stop(r);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	EXPECT_GT(r->reads, PC_RACE_READS);
	check_all(_metadata, self);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--exec"))
		return EXEC_STATUS;
	return test_harness_run(argc, argv);
}
