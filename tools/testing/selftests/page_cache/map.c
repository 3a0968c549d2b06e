// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of files that share blocks: what a mapping shows is what read(2) of
 * that file shows, whatever happened to the page between the two; a write
 * through one mapping reaches its own file only.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
	struct pc_file a, b, c;
	unsigned char *ma, *mb;
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
	pc_setup(_metadata, &self->fs, NULL);
	if (_metadata->exit_code)
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
	ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	self->ma = MAP_FAILED;
	self->mb = MAP_FAILED;
	if (variant->warm) {
		struct pc_stat start;

		pc_stat(&start);
		ASSERT_EQ(0, pc_verify(&self->a, PC_READ));
		ASSERT_EQ(0, pc_verify(&self->b, PC_READ));
		pc_expect_pages(_metadata, &start, PAGES, 2 * PAGES);
	}
}

static void unmap(struct _test_data_map *self)
{
	if (self->ma != MAP_FAILED)
		munmap(self->ma, SIZE);
	if (self->mb != MAP_FAILED)
		munmap(self->mb, SIZE);
	self->ma = MAP_FAILED;
	self->mb = MAP_FAILED;
}

FIXTURE_TEARDOWN(map)
{
	unmap(self);
	pc_teardown(_metadata, &self->fs);
}

static void map_both(struct __test_metadata *_metadata, struct _test_data_map *self,
		     int prot, int flags)
{
	self->ma = mmap(NULL, SIZE, prot, flags, self->a.fd, 0);
	ASSERT_NE(MAP_FAILED, self->ma);
	self->mb = mmap(NULL, SIZE, prot, flags, self->b.fd, 0);
	ASSERT_NE(MAP_FAILED, self->mb);
}

/* Both mappings show what the models say. */
static void check_maps(struct __test_metadata *_metadata,
		       struct _test_data_map *self)
{
	EXPECT_EQ(0, pc_compare("mapping of a", self->a.m->data, self->ma,
				self->a.m->size, 0));
	EXPECT_EQ(0, pc_compare("mapping of b", self->b.m->data, self->mb,
				self->b.m->size, 0));
}

/* Everything else, once the mappings are gone. */
static void check_files(struct __test_metadata *_metadata,
			struct _test_data_map *self)
{
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	unmap(self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Shared mappings that are only read. */
TEST_F(map, shared_read)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* Private mappings that are only read. */
TEST_F(map, private_read)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* A private mapping is written: no file changes, the mapping keeps it. */
TEST_F(map, private_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(self->ma + 3 * PC_PAGE + 10, 0x55, 5000);
	check_files(_metadata, self);
	self->ma = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			self->a.fd, 0);
	ASSERT_NE(MAP_FAILED, self->ma);
	/* Read first, then written. */
	EXPECT_EQ(self->a.m->data[5 * PC_PAGE], self->ma[5 * PC_PAGE]);
	self->ma[5 * PC_PAGE] ^= 0xff;
	EXPECT_EQ(self->a.m->data[5 * PC_PAGE] ^ 0xff, self->ma[5 * PC_PAGE]);
	EXPECT_EQ(self->a.m->data[5 * PC_PAGE + 1], self->ma[5 * PC_PAGE + 1]);
	check_files(_metadata, self);
}

/* Written without having been read, through both mappings in turn. */
TEST_F(map, shared_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	pc_fill(self->ma + 3 * PC_PAGE + 10, 5000, 2, 3 * PC_PAGE + 10);
	pc_model_write(self->a.m, 3 * PC_PAGE + 10, 5000, 2);
	check_maps(_metadata, self);
	pc_fill(self->mb + 3 * PC_PAGE + 2000, 5000, 3, 3 * PC_PAGE + 2000);
	pc_model_write(self->b.m, 3 * PC_PAGE + 2000, 5000, 3);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* Read first: the page is in the page table read-only when it is written. */
TEST_F(map, shared_read_then_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	check_maps(_metadata, self);
	pc_fill(self->ma + 3 * PC_PAGE, PC_PAGE, 2, 3 * PC_PAGE);
	pc_model_write(self->a.m, 3 * PC_PAGE, PC_PAGE, 2);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* msync() puts what was written on the disk, for this file alone. */
TEST_F(map, msync_reaches_the_disk)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	pc_fill(self->ma + PC_PAGE, 2 * PC_PAGE, 2, PC_PAGE);
	pc_model_write(self->a.m, PC_PAGE, 2 * PC_PAGE, 2);
	ASSERT_EQ(0, msync(self->ma, SIZE, MS_SYNC));
	EXPECT_EQ(0, pc_verify(&self->a, PC_DIRECT));
	EXPECT_EQ(0, pc_verify(&self->b, PC_DIRECT));
	/* Written again after it was cleaned. */
	pc_fill(self->ma + PC_PAGE, 2 * PC_PAGE, 3, PC_PAGE);
	pc_model_write(self->a.m, PC_PAGE, 2 * PC_PAGE, 3);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* MAP_POPULATE and MADV_POPULATE_READ. */
TEST_F(map, populate_read)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED | MAP_POPULATE);
	check_maps(_metadata, self);
	ASSERT_EQ(0, madvise(self->mb, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(self->mb, SIZE, MADV_POPULATE_READ));
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* MADV_POPULATE_WRITE makes every page a's own and changes nothing. */
TEST_F(map, populate_write)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_EQ(0, madvise(self->ma, SIZE, MADV_POPULATE_WRITE));
	check_maps(_metadata, self);
	pc_fill(self->ma + 2 * PC_PAGE, 99, 2, 2 * PC_PAGE);
	pc_model_write(self->a.m, 2 * PC_PAGE, 99, 2);
	check_maps(_metadata, self);
	check_files(_metadata, self);
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
		madvise(self->ma, SIZE, advice[i]);
		madvise(self->mb, SIZE, advice[i]);
		EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
		EXPECT_EQ(0, pc_verify(&self->b, PC_READ));
		pc_fill(self->ma + i * PC_PAGE, 99, i, i * PC_PAGE);
		pc_model_write(self->a.m, i * PC_PAGE, 99, i);
	}
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* write(2) to a page that is in page tables shows in its file's mapping. */
TEST_F(map, write_shows_in_mapping)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write(&self->a, 3 * PC_PAGE + 5, 5000, 2));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write_direct(&self->b, 3 * PC_PAGE, 2 * PC_PAGE, 3));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_fallocate(&self->a,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  6 * PC_PAGE + 5, 2 * PC_PAGE));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_clone_range(&self->b, 9 * PC_PAGE, &self->a,
				    2 * PC_PAGE, 4 * PC_PAGE));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_exchange(&self->a, 0, &self->b, 8 * PC_PAGE,
				 4 * PC_PAGE));
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* Mapping, then reading: the read fills from the same page. */
TEST_F(map, write_by_mapping_read_by_clone)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 8; i++) {
		size_t off = (i % 3) * PC_PAGE + 400 * i;

		pc_fill(self->ma + off, 300, 10 + i, off);
		pc_model_write(self->a.m, off, 300, 10 + i);
		ASSERT_EQ(0, pc_verify(&self->a, PC_READ));
		ASSERT_EQ(0, pc_verify(&self->b, PC_READ));
		ASSERT_EQ(0, pc_verify(&self->c, PC_READ));
		if (i == 4)
			ASSERT_EQ(0, pc_clone_range(&self->c, 0, &self->a, 0,
						    0));
	}
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* What truncate took away is gone from the mapping, what is left is there. */
TEST_F(map, truncate_takes_pages_away)
{
	map_both(_metadata, self, PROT_READ, MAP_SHARED);
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_truncate(&self->a, 5 * PC_PAGE + 100));
	check_maps(_metadata, self);
	EXPECT_FALSE(pc_touch_raises_bus(self->ma + 5 * PC_PAGE + 200));
	EXPECT_EQ(0, self->ma[5 * PC_PAGE + 200]);
	EXPECT_TRUE(pc_touch_raises_bus(self->ma + 6 * PC_PAGE));
	EXPECT_FALSE(pc_touch_raises_bus(self->mb + 6 * PC_PAGE));
	ASSERT_EQ(0, pc_truncate(&self->a, SIZE));
	check_maps(_metadata, self);
	check_files(_metadata, self);
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
		/* The model is shared memory. */
		pc_fill(self->ma + 3 * PC_PAGE, 500, 2, 3 * PC_PAGE);
		pc_model_write(self->a.m, 3 * PC_PAGE, 500, 2);
		_exit(0);
	}
	EXPECT_EQ(0, pc_wait(&self->fs, pid));
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* The buffer of a read or write is a mapping of the file or of its clone. */
TEST_F(map, buffer_is_a_mapping)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	/* Of the clone, at the same blocks. */
	ASSERT_EQ(5000, pwrite(self->a.fd, self->mb + 8 * PC_PAGE, 5000, 77));
	pc_model_copy(self->a.m, 77, self->b.m, 8 * PC_PAGE, 5000);
	check_maps(_metadata, self);
	ASSERT_EQ(PC_PAGE, pwrite(self->a.fd, self->mb + 4 * PC_PAGE, PC_PAGE,
				  4 * PC_PAGE));
	check_maps(_metadata, self);
	/* Of the file itself, the very page that is written. */
	ASSERT_EQ(2000, pwrite(self->a.fd, self->ma + 6 * PC_PAGE, 2000,
			       6 * PC_PAGE));
	check_maps(_metadata, self);
	/* A read into a page of the clone that is still shared. */
	ASSERT_EQ(PC_PAGE, pread(self->a.fd, self->mb + 10 * PC_PAGE, PC_PAGE,
				 3 * PC_PAGE));
	pc_model_copy(self->b.m, 10 * PC_PAGE, self->a.m, 3 * PC_PAGE, PC_PAGE);
	check_maps(_metadata, self);
	ASSERT_EQ(PC_PAGE, pread(self->a.fd, self->mb + 11 * PC_PAGE, PC_PAGE,
				 11 * PC_PAGE));
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* A write to the mapping by the kernel, which pins the page first. */
TEST_F(map, write_by_proc_mem)
{
	unsigned char buf[1000];
	size_t off = 4 * PC_PAGE + 3500;
	int fd;

	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	fd = open("/proc/self/mem", O_RDWR);
	if (fd < 0)
		SKIP(return, "/proc/self/mem: %s", strerror(errno));
	pc_fill(buf, sizeof(buf), 2, off);
	ASSERT_EQ(sizeof(buf), pwrite(fd, buf, sizeof(buf),
				      (uintptr_t)self->ma + off));
	close(fd);
	pc_model_write(self->a.m, off, sizeof(buf), 2);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* Locked pages of two files, then one of the files is written. */
TEST_F(map, mlock)
{
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_EQ(0, mlock(self->ma, SIZE));
	ASSERT_EQ(0, mlock(self->mb, SIZE));
	ASSERT_EQ(0, pc_drop_caches("1"));
	check_maps(_metadata, self);
	ASSERT_EQ(0, pc_write(&self->a, 3 * PC_PAGE + 7, 2 * PC_PAGE, 2));
	check_maps(_metadata, self);
	ASSERT_EQ(0, munlock(self->ma, SIZE));
	ASSERT_EQ(0, munlock(self->mb, SIZE));
	check_files(_metadata, self);
}

/* A file that maps one block at two places, mapped twice. */
TEST_F(map, file_with_itself)
{
	ASSERT_EQ(0, pc_clone_range(&self->a, 8 * PC_PAGE, &self->a, 0,
				    8 * PC_PAGE));
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	check_maps(_metadata, self);
	pc_fill(self->ma + 9 * PC_PAGE, 200, 2, 9 * PC_PAGE);
	pc_model_write(self->a.m, 9 * PC_PAGE, 200, 2);
	check_maps(_metadata, self);
	pc_fill(self->ma + 2 * PC_PAGE, 200, 3, 2 * PC_PAGE);
	pc_model_write(self->a.m, 2 * PC_PAGE, 200, 3);
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

/* A program and its clones run, also after the clone was read as a file. */
TEST_F(map, exec_of_clone)
{
	static struct pc_file prog, clone;
	char buf[16384];
	size_t off = 0;
	struct stat st;
	ssize_t n;
	int fd;

	fd = open("/proc/self/exe", O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(0, pc_open(&prog, &self->fs, "prog", O_RDWR | O_CREAT,
			     st.st_size));
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		ASSERT_EQ(n, pwrite(prog.fd, buf, n, off));
		memcpy(prog.m->data + off, buf, n);
		off += n;
	}
	close(fd);
	prog.m->size = off;
	ASSERT_EQ(0, pc_evict(&prog));
	ASSERT_EQ(0, pc_clone(&clone, &prog, "clone"));
	if (variant->warm) {
		ASSERT_EQ(0, pc_verify(&prog, PC_READ));
		ASSERT_EQ(0, pc_verify(&clone, PC_READ));
	}
	/* No program runs that is open for writing. */
	close(prog.fd);
	close(clone.fd);
	prog.fd = -1;
	clone.fd = -1;
	for (int i = 0; i < 4; i++) {
		const char *path = i & 1 ? clone.path : prog.path;
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
	prog.fd = open(prog.path, O_RDWR);
	clone.fd = open(clone.path, O_RDWR);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Readers of a mapping race with writers of the file and with breaks of the
 * pages: the page table must never go on showing a page that was given up.
 */
TEST_F_TIMEOUT(map, reader_never_sees_older_data, 300)
{
	struct pc_cell *cell;
	uint64_t rnd = 5;
	pid_t pid[2];
	int *stop;

	cell = mmap(NULL, PAGES * sizeof(*cell) + PC_PAGE,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, cell);
	stop = (int *)(cell + PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		pc_cell_begin(&cell[i], 1, true);
		pc_cell_end(&cell[i]);
	}
	map_both(_metadata, self, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (int i = 0; i < 2; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		for (rnd = i * 1000; !__atomic_load_n(stop, __ATOMIC_SEQ_CST);) {
			size_t page = pc_rand(&rnd) % PAGES;
			unsigned char buf[PC_PAGE];
			uint32_t entered = pc_cell_enter(&cell[page]);

			memcpy(buf, self->ma + page * PC_PAGE, PC_PAGE);
			if (pc_cell_check("mapping", &cell[page], entered, buf,
					  page, true) < 0)
				_exit(1);
			if (pc_rand(&rnd) % 32 == 0)
				madvise(self->ma, SIZE, MADV_DONTNEED);
		}
		_exit(0);
	}
	for (int i = 0; i < 400; i++) {
		size_t page = pc_rand(&rnd) % PAGES;
		size_t off = page * PC_PAGE;
		unsigned char *buf = self->a.m->data + off;
		int how = pc_rand(&rnd) % 4;

		/* b becomes a's clone, a's pages are read: shared again. */
		if (i % 8 == 0) {
			ASSERT_EQ(0, pc_clone_range(&self->b, 0, &self->a, 0,
						    0));
			ASSERT_EQ(0, pc_evict(&self->a));
			ASSERT_EQ(0, pc_verify(&self->a, PC_READ));
			ASSERT_EQ(0, pc_verify(&self->b, PC_READ));
		}
		pc_cell_begin(&cell[page], how ? 2 + i : 0, false);
		switch (how) {
		case 0:
			ASSERT_EQ(0, pc_fallocate(&self->a,
						  FALLOC_FL_PUNCH_HOLE |
						  FALLOC_FL_KEEP_SIZE, off,
						  PC_PAGE));
			break;
		case 1:
			ASSERT_EQ(0, pc_write_direct(&self->a, off, PC_PAGE,
						     2 + i));
			break;
		case 2:
			pc_fill(buf, PC_PAGE, 2 + i, off);
			memcpy(self->ma + off, buf, PC_PAGE);
			break;
		default:
			ASSERT_EQ(0, pc_write(&self->a, off, PC_PAGE, 2 + i));
			break;
		}
		pc_cell_end(&cell[page]);
	}
	__atomic_store_n(stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	check_maps(_metadata, self);
	check_files(_metadata, self);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--exec"))
		return EXEC_STATUS;
	return test_harness_run(argc, argv);
}
