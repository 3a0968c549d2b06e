// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT against the page cache.  Direct writes go to the device without a
 * page: in place where a block belongs to one file, to a new block where it is
 * shared.  In both cases no page of the old data may be found afterwards, not
 * by this file, not by another one that gets at the block later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES	16UL
#define SIZE	(PAGES * PC_PAGE)
/* More than XFS keeps back of a full file system of the fixture's size. */
#define ROOM	MIB(16)

FIXTURE(direct)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
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

FIXTURE_SETUP(direct)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
	if (variant->warm)
		pc_warm(_metadata, PAGES, self->a, self->b);
}

FIXTURE_TEARDOWN(direct)
{
	pc_teardown(_metadata, &self->fs);
}

/* A direct read sees a buffered write that has not reached the device. */
TEST_F(direct, read_after_buffered_write)
{
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 100, 5000, 2));
	EXPECT_EQ(0, pc_verify(self->a, PC_DIRECT));
	EXPECT_EQ(0, pc_verify(self->b, PC_DIRECT));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A direct write to shared blocks: new blocks, and no page of the old ones. */
TEST_F(direct, write_to_shared_block)
{
	uint64_t dev = pc_block(_metadata, self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	EXPECT_NE(dev, pc_block(_metadata, self->a, 3 * PC_PAGE));
	EXPECT_EQ(dev, pc_block(_metadata, self->b, 3 * PC_PAGE));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A reader in between fills the cache again; the second write finds it. */
TEST_F(direct, write_read_write)
{
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE,
					     4 * PC_PAGE, 2 + i));
		EXPECT_EQ(0, pc_verify(self->a, PC_READ));
		EXPECT_EQ(0, pc_verify(self->b, PC_SPLICE));
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* b goes, the blocks are a's alone; where the one at page 3 lies. */
static uint64_t a_alone(struct __test_metadata *_metadata,
			struct _test_data_direct *self)
{
	ASSERT_EQ(0, pc_unlink(self->b));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	return pc_block(_metadata, self->a, 3 * PC_PAGE);
}

/* The block is shared again, and its new owner starts from the home. */
static void clone_again(struct __test_metadata *_metadata,
			struct _test_data_direct *self)
{
	ASSERT_EQ(0, pc_clone(&self->c, self->a, "c"));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * The other owner is gone, a is alone but still marked as reflinked: the write
 * goes in place, and the home must not keep what was there.
 */
TEST_F(direct, write_in_place)
{
	uint64_t dev = a_alone(_metadata, self);

	ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	EXPECT_EQ(dev, pc_block(_metadata, self->a, 3 * PC_PAGE));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	clone_again(_metadata, self);
}

/* As above, by a buffered write and its writeback. */
TEST_F(direct, buffered_write_in_place)
{
	uint64_t dev = a_alone(_metadata, self);

	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE, 4 * PC_PAGE, 2));
	ASSERT_EQ(0, pc_evict(self->a));
	EXPECT_EQ(dev, pc_block(_metadata, self->a, 3 * PC_PAGE));
	clone_again(_metadata, self);
}

/* The others leave the block by truncate, punch and overwrite, one by one. */
TEST_F(direct, write_in_place_after_others_left)
{
	struct pc_file *d;
	uint64_t dev = pc_block(_metadata, self->a, 3 * PC_PAGE);

	ASSERT_EQ(0, pc_clone(&self->c, self->b, "c"));
	ASSERT_EQ(0, pc_clone(&d, self->b, "d"));
	if (variant->warm)
		pc_warm(_metadata, PAGES, self->a, self->b, self->c, d);
	ASSERT_EQ(0, pc_truncate(self->b, PC_PAGE));
	ASSERT_EQ(0, pc_fallocate(self->c,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  2 * PC_PAGE, 8 * PC_PAGE));
	ASSERT_EQ(0, pc_write(d, 2 * PC_PAGE, 8 * PC_PAGE, 3));
	ASSERT_EQ(0, fsync(d->fd));
	ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE, 2 * PC_PAGE, 2));
	EXPECT_EQ(dev, pc_block(_metadata, self->a, 3 * PC_PAGE));
	ASSERT_EQ(0, pc_clone_range(self->b, 3 * PC_PAGE, self->a,
				    3 * PC_PAGE, 2 * PC_PAGE));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Sectors of a shared block, then of one that is a's own. */
TEST_F(direct, write_sectors)
{
	ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE + 512, 1024, 2));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_write_direct(self->a, 3 * PC_PAGE + 2048, 512, 3));
	EXPECT_EQ(0, pc_verify_all(&self->fs));
	ASSERT_EQ(0, pc_write_direct(self->a, 5 * PC_PAGE - 512, 1024, 4));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A direct write that starts inside of the file and makes it longer. */
TEST_F(direct, write_over_end)
{
	ASSERT_EQ(0, pc_write_direct(self->a, SIZE - PC_PAGE, 4 * PC_PAGE, 2));
	ASSERT_EQ(0, pc_write_direct(self->b, SIZE + 2 * PC_PAGE, PC_PAGE, 3));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Direct I/O between a file and a mapping of its clone, both ways. */
TEST_F(direct, buffer_is_a_mapping_of_the_clone)
{
	unsigned char *map;

	map = pc_map(self->b, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR | O_DIRECT));
	/* b's pages 8 to 11 to a's 0 to 3. */
	ASSERT_EQ(4 * PC_PAGE, pwrite(self->a->fd, map + 8 * PC_PAGE,
				      4 * PC_PAGE, 0));
	pc_model_copy(self->a->m, 0, self->b->m, 8 * PC_PAGE, 4 * PC_PAGE);
	/* a's pages 0 to 3 to b's 4 to 7: a write to shared pages of b. */
	ASSERT_EQ(4 * PC_PAGE, pread(self->a->fd, map + 4 * PC_PAGE,
				     4 * PC_PAGE, 0));
	pc_model_copy(self->b->m, 4 * PC_PAGE, self->a->m, 0, 4 * PC_PAGE);
	pc_expect_map(_metadata, self->b);
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Direct write from a mapping of the file's own other pages. */
TEST_F(direct, buffer_is_a_mapping_of_the_file)
{
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR | O_DIRECT));
	ASSERT_NE(NULL, pc_map(self->a, SIZE, PROT_READ, MAP_SHARED));
	ASSERT_EQ(4 * PC_PAGE, pwrite(self->a->fd, self->a->map + 8 * PC_PAGE,
				      4 * PC_PAGE, 0));
	pc_model_copy(self->a->m, 0, self->a->m, 8 * PC_PAGE, 4 * PC_PAGE);
	pc_expect_map(_metadata, self->a);
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A block that was in the home is freed and becomes another file's: the home
 * must not answer with what it was.
 */
TEST_F(direct, freed_block_of_another_file)
{
	uint64_t dev = pc_block(_metadata, self->a, 0);
	struct pc_file *filler;
	bool same = false;
	int ret = 0;

	/*
	 * No other room but what the file system keeps back: the new file gets
	 * the old one's blocks, sooner or later.
	 */
	ASSERT_EQ(0, pc_open(&self->c, &self->fs, "c", O_RDWR | O_CREAT,
			     ROOM));
	ASSERT_EQ(0, pc_fill_up(&filler, &self->fs, "filler"));
	ASSERT_EQ(0, pc_unlink(self->a));
	ASSERT_EQ(0, pc_truncate(self->b, PC_PAGE));
	ASSERT_EQ(0, pc_fs_settle(&self->fs));
	/* In turn past the page cache and by writeback. */
	for (size_t off = 0; off < ROOM && (!same || off < SIZE / 2);
	     off += PC_PAGE) {
		uint64_t at;

		if (off / PC_PAGE % 2)
			ret = pc_write(self->c, off, PC_PAGE, 7);
		else
			ret = pc_write_direct(self->c, off, PC_PAGE, 7);
		if (ret == -ENOSPC)
			break;
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, pc_evict(self->c));
		at = pc_block(_metadata, self->c, off);
		same |= at >= dev && at < dev + SIZE;
	}
	EXPECT_TRUE(same)
		TH_LOG("no old block was used again: this tested nothing");
	ASSERT_EQ(0, pc_unlink(filler));
	ASSERT_EQ(0, pc_clone(&self->a, self->c, "clone of c"));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A writer and readers at the same time: so many writes at least. */
#define WRITES	600

FIXTURE(race)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
	struct pc_race *race;
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
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	/* Value 1 is the pattern that the files are made with. */
	self->race = pc_race(PAGES, 1);
	ASSERT_NE(NULL, self->race);
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
	if (variant->in_place) {
		ASSERT_EQ(0, pc_unlink(self->b));
		ASSERT_EQ(0, pc_fs_settle(&self->fs));
	}
}

FIXTURE_TEARDOWN(race)
{
	pc_teardown(_metadata, &self->fs);
}

static int race_reader(struct pc_race *r, struct pc_file *f, int nr)
{
	static const enum pc_via via[] = { PC_READ, PC_SPLICE, PC_READ };
	enum pc_via how = via[nr % ARRAY_SIZE(via)];
	static unsigned char buf[4 * PC_PAGE];
	uint64_t rnd = nr * 1000;
	uint32_t entered[4];

	if (pc_reopen(f, O_RDONLY))
		return 1;
	while (!pc_race_stopped(r)) {
		size_t n = 1 + pc_rand(&rnd) % 4;
		size_t page = pc_rand(&rnd) % (PAGES - n + 1);
		int unjudged = 0;
		ssize_t ret;

		for (size_t i = 0; i < n; i++)
			entered[i] = pc_cell_enter(&r->cell[page + i]);
		/* One read(2): a buffered writer is seen whole or not. */
		if (how == PC_READ)
			ret = pread(f->fd, buf, n * PC_PAGE, page * PC_PAGE);
		else
			ret = pc_read_via(f->fd, f->path, how, buf,
					  page * PC_PAGE, n * PC_PAGE);
		if (ret != n * PC_PAGE) {
			pc_log("%s at page %zu: %zd", pc_via_name(how), page,
			       ret);
			return 1;
		}
		for (size_t i = 0; i < n; i++) {
			ret = pc_cell_check(pc_via_name(how),
					    &r->cell[page + i], entered[i],
					    buf + i * PC_PAGE, page + i,
					    how != PC_READ);
			if (ret < 0)
				return 1;
			unjudged += ret;
		}
		if (!unjudged)
			pc_race_read(r);
		if (pc_rand(&rnd) % 16 == 0)
			posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	return 0;
}

/* Maps a file where there is room behind it, for as much again. */
static unsigned char *map_with_room(struct pc_file *f)
{
	unsigned char *map = mmap(NULL, 2 * SIZE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || munmap(map + SIZE, SIZE))
		return MAP_FAILED;
	return mmap(map, SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, f->fd, 0);
}

/*
 * Its mapping, the only one, grows and shrinks all the time: it must be found
 * by who takes a page away from the file, at every moment.
 */
static int race_resizer(struct pc_race *r, struct pc_file *f)
{
	unsigned char *map;
	uint64_t rnd = 7;

	if (pc_reopen(f, O_RDONLY))
		return 1;
	map = map_with_room(f);
	if (map == MAP_FAILED)
		return 1;
	while (!pc_race_stopped(r)) {
		if (mremap(map, SIZE, 2 * SIZE, 0) != map ||
		    mremap(map, 2 * SIZE, SIZE, 0) != map) {
			pc_log("mremap: %s", strerror(errno));
			return 1;
		}
		if (pc_race_look(r, map, pc_rand(&rnd) % PAGES))
			return 1;
		/* What a buffered write left is shared again when it is read. */
		if (pc_rand(&rnd) % 16 == 0) {
			madvise(map, SIZE, MADV_DONTNEED);
			posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		}
	}
	return 0;
}

static void race_writer(struct __test_metadata *_metadata,
			FIXTURE_DATA(race) *self,
			const FIXTURE_VARIANT(race) *variant)
{
	struct pc_race *r = self->race;
	unsigned char *buf;
	uint64_t rnd = 42;

	ASSERT_EQ(0, posix_memalign((void **)&buf, PC_PAGE, PC_PAGE));
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR |
			       (variant->direct_write ? O_DIRECT : 0)));
	for (int i = 0; pc_race_writes(r, i, WRITES); i++) {
		size_t page = pc_rand(&rnd) % PAGES;
		struct pc_cell *c = &r->cell[page];

		if (!variant->in_place && i % 20 == 0) {
			ASSERT_EQ(0, pc_unlink(self->b));
			ASSERT_EQ(0, pc_clone(&self->b, self->a, "b"));
		}
		pc_cell_begin(c, 2 + i, !variant->direct_write);
		pc_cell_fill(buf, 2 + i, page);
		ASSERT_EQ(PC_PAGE, pwrite(self->a->fd, buf, PC_PAGE,
					  page * PC_PAGE));
		memcpy(self->a->m->data + page * PC_PAGE, buf, PC_PAGE);
		pc_cell_end(c);
	}
	pc_race_stop(r);
	free(buf);
}

/* What is left when the writer is through. */
static void race_end(struct __test_metadata *_metadata,
		     FIXTURE_DATA(race) *self)
{
	EXPECT_GT(self->race->reads, PC_RACE_READS);
	ASSERT_EQ(0, pc_reopen(self->a, O_RDWR));
	/* What the clone holds is what was there when it was last made. */
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A read that began after a write returned sees the write, never older data. */
TEST_F_TIMEOUT(race, reader_never_sees_older_data, 300)
{
	pid_t pid[3];

	for (int i = 0; i < 3; i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(race_reader(self->race, self->a, i));
	}
	race_writer(_metadata, self, variant);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	race_end(_metadata, self);
}

/* Nor does a mapping that changes its size while the page is taken from it. */
TEST_F_TIMEOUT(race, mapping_never_shows_older_data, 300)
{
	pid_t pid = pc_fork(&self->fs);

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(race_resizer(self->race, self->a));
	race_writer(_metadata, self, variant);
	EXPECT_EQ(0, pc_wait(&self->fs, pid));
	race_end(_metadata, self);
}

TEST_HARNESS_MAIN
