// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT against the page cache.  Direct writes go to the device without a
 * page: in place where a block belongs to one file, to a new block where it is
 * shared.  In both cases no page of the old data may be found afterwards, not
 * by this file, not by another one that gets at the block later.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES	16UL
#define SIZE	(PAGES * PC_PAGE)

FIXTURE(direct)
{
	struct pc_fs fs;
	struct pc_file a, b, c;
};

FIXTURE_VARIANT(direct)
{
	bool warm;
};

FIXTURE_VARIANT_ADD(direct, cold)
{
	.warm = false,
};

FIXTURE_VARIANT_ADD(direct, warm)
{
	.warm = true,
};

static void warm(struct __test_metadata *_metadata, struct pc_file *f)
{
	ASSERT_EQ(0, pc_verify(f, PC_READ));
}

FIXTURE_SETUP(direct)
{
	pc_setup(_metadata, &self->fs, NULL);
	if (_metadata->exit_code)
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	if (variant->warm) {
		struct pc_stat start;

		pc_stat(&start);
		warm(_metadata, &self->a);
		warm(_metadata, &self->b);
		pc_expect_pages(_metadata, &start, PAGES, 2 * PAGES);
	}
}

FIXTURE_TEARDOWN(direct)
{
	pc_teardown(_metadata, &self->fs);
}

/* A direct read sees a buffered write that has not reached the device. */
TEST_F(direct, read_after_buffered_write)
{
	ASSERT_EQ(0, pc_write(&self->a, 3 * PC_PAGE + 100, 5000, 2));
	EXPECT_EQ(0, pc_verify(&self->a, PC_DIRECT));
	EXPECT_EQ(0, pc_verify(&self->b, PC_DIRECT));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A direct write to shared blocks: new blocks, and no page of the old ones. */
TEST_F(direct, write_to_shared_block)
{
	uint64_t dev = pc_physical(&self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	EXPECT_NE(dev, pc_physical(&self->a, 3 * PC_PAGE));
	EXPECT_EQ(dev, pc_physical(&self->b, 3 * PC_PAGE));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A reader in between fills the cache again; the second write finds it. */
TEST_F(direct, write_read_write)
{
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE,
					     4 * PC_PAGE, 2 + i));
		EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
		EXPECT_EQ(0, pc_verify(&self->b, PC_SPLICE));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * The other owner is gone, a is alone but still marked as reflinked: the write
 * goes in place, and the home must not keep what was there.
 */
TEST_F(direct, write_in_place)
{
	uint64_t dev = pc_physical(&self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_unlink(&self->b));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	EXPECT_EQ(dev, pc_physical(&self->a, 3 * PC_PAGE));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	/* The block is shared again, and its new owner starts from the home. */
	ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
	EXPECT_EQ(0, pc_verify(&self->c, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* As above, by a buffered write and its writeback. */
TEST_F(direct, buffered_write_in_place)
{
	uint64_t dev = pc_physical(&self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_unlink(&self->b));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	ASSERT_EQ(0, pc_write(&self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	ASSERT_EQ(0, pc_evict(&self->a));
	EXPECT_EQ(dev, pc_physical(&self->a, 3 * PC_PAGE));
	ASSERT_EQ(0, pc_clone(&self->c, &self->a, "c"));
	EXPECT_EQ(0, pc_verify(&self->c, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The others leave the block by truncate, punch and overwrite, one by one. */
TEST_F(direct, write_in_place_after_others_left)
{
	static struct pc_file d;
	uint64_t dev = pc_physical(&self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_clone(&self->c, &self->b, "c"));
	ASSERT_EQ(0, pc_clone(&d, &self->b, "d"));
	if (variant->warm) {
		warm(_metadata, &self->c);
		warm(_metadata, &d);
	}
	ASSERT_EQ(0, pc_truncate(&self->b, PC_PAGE));
	ASSERT_EQ(0, pc_fallocate(&self->c,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  2 * PC_PAGE, 8 * PC_PAGE));
	ASSERT_EQ(0, pc_write(&d, 2 * PC_PAGE, 8 * PC_PAGE, 3));
	ASSERT_EQ(0, fsync(d.fd));
	ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE, 2 * PC_PAGE, 2));
	EXPECT_EQ(dev, pc_physical(&self->a, 3 * PC_PAGE));
	ASSERT_EQ(0, pc_clone_range(&self->b, 3 * PC_PAGE, &self->a,
				    3 * PC_PAGE, 2 * PC_PAGE));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Sectors of a shared block, then of one that is a's own. */
TEST_F(direct, write_sectors)
{
	ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE + 512, 1024, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_write_direct(&self->a, 3 * PC_PAGE + 2048, 512, 3));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_write_direct(&self->a, 5 * PC_PAGE - 512, 1024, 4));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A direct write that starts inside of the file and makes it longer. */
TEST_F(direct, write_over_end)
{
	ASSERT_EQ(0, pc_write_direct(&self->a, SIZE - PC_PAGE, 4 * PC_PAGE, 2));
	ASSERT_EQ(0, pc_write_direct(&self->b, SIZE + 2 * PC_PAGE, PC_PAGE, 3));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Direct I/O between a file and a mapping of its clone, both ways. */
TEST_F(direct, buffer_is_a_mapping_of_the_clone)
{
	unsigned char *map;
	int fd;

	fd = open(self->a.path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->b.fd,
		   0);
	ASSERT_NE(MAP_FAILED, map);
	/* b's pages 8 to 11 to a's 0 to 3. */
	ASSERT_EQ(4 * PC_PAGE, pwrite(fd, map + 8 * PC_PAGE, 4 * PC_PAGE, 0));
	pc_model_copy(self->a.m, 0, self->b.m, 8 * PC_PAGE, 4 * PC_PAGE);
	/* a's pages 0 to 3 to b's 4 to 7: a write to shared pages of b. */
	ASSERT_EQ(4 * PC_PAGE, pread(fd, map + 4 * PC_PAGE, 4 * PC_PAGE, 0));
	pc_model_copy(self->b.m, 4 * PC_PAGE, self->a.m, 0, 4 * PC_PAGE);
	munmap(map, SIZE);
	close(fd);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Direct write from a mapping of the file's own other pages. */
TEST_F(direct, buffer_is_a_mapping_of_the_file)
{
	unsigned char *map;
	int fd;

	fd = open(self->a.path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->a.fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(4 * PC_PAGE, pwrite(fd, map + 8 * PC_PAGE, 4 * PC_PAGE, 0));
	pc_model_copy(self->a.m, 0, self->a.m, 8 * PC_PAGE, 4 * PC_PAGE);
	EXPECT_EQ(0, pc_compare("mapping", self->a.m->data, map, SIZE, 0));
	munmap(map, SIZE);
	close(fd);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A block that was in the home is freed and becomes another file's: the home
 * must not answer with what it was.
 */
TEST_F(direct, freed_block_of_another_file)
{
	uint64_t dev = pc_physical(&self->a, 0);
	static struct pc_file filler;
	bool same = false;
	int ret;

	/* No other room: the new file gets the old one's blocks. */
	ASSERT_EQ(0, pc_open(&self->c, &self->fs, "c", O_RDWR | O_CREAT,
			     MIB(1)));
	ASSERT_EQ(0, pc_open(&filler, &self->fs, "filler", O_RDWR | O_CREAT,
			     PC_PAGE));
	for (size_t n = MIB(8), off = 0; n >= PC_PAGE;) {
		if (fallocate(filler.fd, FALLOC_FL_KEEP_SIZE, off, n))
			n /= 2;
		else
			off += n;
	}
	ASSERT_EQ(0, pc_unlink(&self->a));
	ASSERT_EQ(0, pc_truncate(&self->b, PC_PAGE));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	if (variant->warm)
		ret = pc_write_direct(&self->c, 0, SIZE / 2, 7);
	else
		ret = pc_write(&self->c, 0, SIZE / 2, 7);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pc_evict(&self->c));
	for (size_t off = 0; off < SIZE / 2; off += PC_PAGE) {
		uint64_t at = pc_physical(&self->c, off);

		same |= at >= dev && at < dev + SIZE;
	}
	EXPECT_TRUE(same)
		TH_LOG("no old block was used again: this tested nothing");
	ASSERT_EQ(0, pc_unlink(&filler));
	ASSERT_EQ(0, pc_clone(&self->a, &self->c, "clone of c"));
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A writer and readers at the same time, until the writer has done enough. */
#define WRITES	600

struct race {
	struct pc_cell cell[PAGES];
	int stop;
	uint64_t reads;
};

FIXTURE(race)
{
	struct pc_fs fs;
	struct pc_file a, b;
	struct race *race;
};

FIXTURE_VARIANT(race)
{
	bool direct_write;
	bool in_place;
};

/* Each write goes to the block that is there. */
FIXTURE_VARIANT_ADD(race, direct_in_place)
{
	.direct_write = true,
	.in_place = true,
};

/* A clone is made again and again: each write goes to a new block. */
FIXTURE_VARIANT_ADD(race, direct_copy_on_write)
{
	.direct_write = true,
};

FIXTURE_VARIANT_ADD(race, buffered_in_place)
{
	.in_place = true,
};

FIXTURE_VARIANT_ADD(race, buffered_copy_on_write)
{
};

FIXTURE_SETUP(race)
{
	pc_setup(_metadata, &self->fs, NULL);
	if (_metadata->exit_code)
		return;
	self->race = mmap(NULL, sizeof(*self->race), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->race);
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	for (size_t i = 0; i < PAGES; i++) {
		/* Value 1 is the pattern that pc_create() wrote. */
		pc_cell_begin(&self->race->cell[i], 1, true);
		pc_cell_end(&self->race->cell[i]);
	}
	ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
	if (variant->in_place) {
		ASSERT_EQ(0, pc_unlink(&self->b));
		ASSERT_EQ(0, pc_fs_settle(&self->fs));
	}
}

FIXTURE_TEARDOWN(race)
{
	pc_teardown(_metadata, &self->fs);
}

static int race_reader(struct race *r, struct pc_file *f, int nr)
{
	static const enum pc_via via[] = { PC_READ, PC_SPLICE, PC_READ };
	static unsigned char buf[4 * PC_PAGE];
	uint64_t rnd = nr * 1000;
	uint32_t entered[4];
	int fd;

	fd = open(f->path, O_RDONLY);
	if (fd < 0)
		return pc_err("%s", f->path);
	while (!__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST)) {
		size_t n = 1 + pc_rand(&rnd) % 4;
		size_t page = pc_rand(&rnd) % (PAGES - n + 1);
		enum pc_via how = via[nr % ARRAY_SIZE(via)];
		ssize_t ret;

		for (size_t i = 0; i < n; i++)
			entered[i] = pc_cell_enter(&r->cell[page + i]);
		/* One read(2): a buffered writer is seen whole or not. */
		if (how == PC_READ)
			ret = pread(fd, buf, n * PC_PAGE, page * PC_PAGE);
		else
			ret = pc_read_via(fd, f->path, how, buf,
					  page * PC_PAGE, n * PC_PAGE);
		if (ret != n * PC_PAGE) {
			pc_log("%s at page %zu: %zd", pc_via_name(how), page,
			       ret);
			return -EIO;
		}
		for (size_t i = 0; i < n; i++) {
			if (pc_cell_check(pc_via_name(how), &r->cell[page + i],
					  entered[i], buf + i * PC_PAGE,
					  page + i, how != PC_READ) < 0)
				return -EILSEQ;
		}
		__atomic_add_fetch(&r->reads, 1, __ATOMIC_RELAXED);
		if (pc_rand(&rnd) % 16 == 0)
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	close(fd);
	return 0;
}

/* A read that began after a write returned sees the write, never older data. */
TEST_F_TIMEOUT(race, reader_never_sees_older_data, 300)
{
	struct race *r = self->race;
	unsigned char *buf;
	uint64_t rnd = 42;
	pid_t pid[3];
	int fd;

	fd = open(self->a.path, O_RDWR | (variant->direct_write ? O_DIRECT :
								  0));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, posix_memalign((void **)&buf, PC_PAGE, PC_PAGE));
	for (int i = 0; i < 3; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(!!race_reader(r, &self->a, i));
	}
	for (int i = 0; i < WRITES; i++) {
		size_t page = pc_rand(&rnd) % PAGES;
		struct pc_cell *c = &r->cell[page];

		if (!variant->in_place && i % 20 == 0) {
			ASSERT_EQ(0, pc_unlink(&self->b));
			ASSERT_EQ(0, pc_clone(&self->b, &self->a, "b"));
		}
		pc_cell_begin(c, 2 + i, !variant->direct_write);
		pc_cell_fill(buf, 2 + i, page);
		ASSERT_EQ(PC_PAGE, pwrite(fd, buf, PC_PAGE, page * PC_PAGE));
		memcpy(self->a.m->data + page * PC_PAGE, buf, PC_PAGE);
		pc_cell_end(c);
	}
	/* On a slow machine the readers may not have begun yet. */
	for (int i = 0; i < 1000; i++) {
		if (__atomic_load_n(&r->reads, __ATOMIC_RELAXED) > 50)
			break;
		usleep(10000);
	}
	__atomic_store_n(&r->stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	EXPECT_GT(r->reads, 50);
	free(buf);
	close(fd);
	EXPECT_EQ(0, pc_verify(&self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(&self->a, PC_DIRECT));
	/* What the clone holds is what was there when it was last made. */
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
