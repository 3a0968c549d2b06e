// SPDX-License-Identifier: GPL-2.0
/*
 * Files that share blocks share the pages that are mapped: one page frame is
 * in the page tables of everybody who maps any of them, until somebody writes.
 * Who writes gets a page of the file's own, which those see that map the same
 * file, and nobody else.
 *
 * map.c and break.c look at the bytes, on every kernel; this looks at page
 * frames and counters as well.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define PAGES	24UL
#define SIZE	(PAGES * PC_PAGE)
/* Files may grow into their mappings. */
#define MAP	(2 * SIZE)

#define FAULT_AROUND	"/sys/kernel/debug/fault_around_bytes"

static void map_file(struct __test_metadata *_metadata, struct pc_file *f,
		     int prot, int flags)
{
	ASSERT_NE(NULL, pc_map(f, MAP, prot, flags));
}

/* Maps it and has all of it in the page table. */
static void map_touched(struct __test_metadata *_metadata, struct pc_file *f,
			int prot, int flags)
{
	map_file(_metadata, f, prot, flags);
	pc_touch_pages(f, 0, PAGES);
}

/* A write through the mapping of a file. */
static void write_map(struct pc_file *f, size_t off, size_t len, uint64_t seed)
{
	pc_fill(f->map + off, len, seed, off);
	pc_model_write(f->m, off, len, seed);
}

static size_t major_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_majflt;
}

/* Every way to get a page into the page table for reading. */
FIXTURE(kind)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	char around[32];
};

FIXTURE_VARIANT(kind)
{
	int prot;
	int flags;
	int advice;		/* for madvise() */
	bool warm;		/* read before */
	bool single;		/* no fault-around */
	bool lock;		/* mlock() */
};

FIXTURE_VARIANT_ADD(kind, shared)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED,
	.warm = true,
};

FIXTURE_VARIANT_ADD(kind, shared_writable)
{
	.prot = PROT_READ | PROT_WRITE,
	.flags = MAP_SHARED,
	.warm = true,
};

FIXTURE_VARIANT_ADD(kind, private)
{
	.prot = PROT_READ | PROT_WRITE,
	.flags = MAP_PRIVATE,
	.warm = true,
};

/* The fault reads ahead, and what it reads is shared as well. */
FIXTURE_VARIANT_ADD(kind, cold)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(kind, cold_sequential)
{
	.prot = PROT_READ,
	.flags = MAP_PRIVATE,
	.advice = MADV_SEQUENTIAL,
};

FIXTURE_VARIANT_ADD(kind, cold_exec)
{
	.prot = PROT_READ | PROT_EXEC,
	.flags = MAP_PRIVATE,
};

FIXTURE_VARIANT_ADD(kind, random)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED,
	.advice = MADV_RANDOM,
	.warm = true,
};

/* Each page by a fault of its own. */
FIXTURE_VARIANT_ADD(kind, single)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED,
	.advice = MADV_RANDOM,
	.warm = true,
	.single = true,
};

FIXTURE_VARIANT_ADD(kind, populate)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED | MAP_POPULATE,
	.warm = true,
};

FIXTURE_VARIANT_ADD(kind, cold_populate)
{
	.prot = PROT_READ,
	.flags = MAP_PRIVATE | MAP_POPULATE,
};

FIXTURE_VARIANT_ADD(kind, locked)
{
	.prot = PROT_READ,
	.flags = MAP_SHARED,
	.warm = true,
	.lock = true,
};

FIXTURE_SETUP(kind)
{
	if (variant->single &&
	    pc_read_str(FAULT_AROUND, self->around, sizeof(self->around)) <= 0)
		SKIP(return, "no " FAULT_AROUND);
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	if (variant->warm)
		pc_warm(_metadata, PAGES, self->a, self->b, self->c);
	if (variant->single)
		ASSERT_EQ(0, pc_write_str(FAULT_AROUND, "4096"));
}

FIXTURE_TEARDOWN(kind)
{
	if (variant->single)
		EXPECT_EQ(0, pc_write_str(FAULT_AROUND, self->around));
	pc_teardown(_metadata, &self->fs);
}

static void map_kind(struct __test_metadata *_metadata, struct pc_file *f,
		     const struct _fixture_variant_kind *variant)
{
	ASSERT_NE(NULL, pc_map(f, SIZE, variant->prot, variant->flags));
	if (variant->advice)
		ASSERT_EQ(0, madvise(f->map, SIZE, variant->advice));
	if (variant->lock)
		ASSERT_EQ(0, mlock(f->map, SIZE));
	pc_touch_pages(f, 0, PAGES);
}

/* Each page of the mapping counts so many mappers, in all its numbers. */
static void expect_mappers(struct __test_metadata *_metadata,
			   const struct pc_file *f, unsigned int mappers)
{
	const uint64_t kind = 1ULL << KPF_MMAP | 1ULL << KPF_ANON;
	size_t good = 0;

	for (size_t i = 0; i < PAGES; i++) {
		uint64_t pfn = pc_pfn(f->map + i * PC_PAGE);

		good += pc_mapcount(pfn) == mappers &&
			(pc_page_flags(pfn) & kind) == 1ULL << KPF_MMAP;
	}
	EXPECT_EQ(PAGES, good)
		TH_LOG("%s: pages that %u map", f->path, mappers);
	EXPECT_EQ(SIZE / 1024, pc_smaps(f->map, "Rss"));
	/* Each page is divided, with twelve bits behind the point. */
	EXPECT_EQ(PAGES * ((PC_PAGE << 12) / mappers) >> 22,
		  pc_smaps(f->map, "Pss"));
	EXPECT_EQ(0, pc_smaps(f->map, "Anonymous"));
}

/* Three files, three mappings, one page; and nothing is copied for it. */
TEST_F(kind, one_page_for_all)
{
	struct pc_file *f[] = { self->a, self->b, self->c };
	unsigned char vec[PAGES];
	struct pc_stat start;

	pc_stat(&start);
	for (size_t i = 0; i < ARRAY_SIZE(f); i++)
		map_kind(_metadata, f[i], variant);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	pc_expect_same(_metadata, self->a, self->c, 0, PAGES, true);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 3 * PAGES);
	pc_expect_count(_metadata, &self->fs.cold, PC_DONATE, PAGES);
	pc_expect_count(_metadata, &start, PC_BREAK, 0);
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		pc_expect_map(_metadata, f[i]);
		if (pc_sharing())
			expect_mappers(_metadata, f[i], ARRAY_SIZE(f));
		ASSERT_EQ(0, mincore(f[i]->map, SIZE, vec));
		for (size_t n = 0; n < PAGES; n++)
			EXPECT_EQ(1, vec[n] & 1);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The page table lets go of them one by one, the files keep the page. */
TEST_F(kind, unmap_keeps_the_page)
{
	uint64_t pfn;

	map_kind(_metadata, self->a, variant);
	map_kind(_metadata, self->b, variant);
	pfn = pc_pfn(self->a->map);
	pc_unmap(self->a);
	if (pc_sharing()) {
		EXPECT_EQ(pfn, pc_pfn(self->b->map));
		EXPECT_EQ(1, pc_mapcount(pfn));
	}
	pc_expect_map(_metadata, self->b);
	pc_unmap(self->b);
	EXPECT_EQ(0, pc_mapcount(pfn));
	pc_expect_pages(_metadata, &self->fs.cold, PAGES,
			(variant->warm ? 3 : 2) * PAGES);
	/* The next one finds the very same. */
	map_kind(_metadata, self->c, variant);
	if (pc_sharing())
		EXPECT_EQ(pfn, pc_pfn(self->c->map));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Two files that share all, and a third one that nobody has read yet. */
FIXTURE(mapped)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	struct pc_stat start;
};

FIXTURE_SETUP(mapped)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	pc_warm(_metadata, PAGES, self->a, self->b);
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(mapped)
{
	pc_teardown(_metadata, &self->fs);
}

/* So many pages of one file were broken, and nothing else happened. */
static void expect_broken(struct __test_metadata *_metadata,
			  struct _test_data_mapped *self, int64_t pages)
{
	pc_expect_pages(_metadata, &self->start, 0, -pages);
	pc_expect_count(_metadata, &self->start, PC_BREAK, pages);
}

static void check_all(struct __test_metadata *_metadata,
		      struct _test_data_mapped *self)
{
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* What a child does that has the mappings of its parent. */
typedef int (*child_fn)(struct pc_file *a, struct pc_file *b);

static int show_both(struct pc_file *a, struct pc_file *b)
{
	return pc_compare("a in the child", a->m->data, a->map, a->m->size,
			  0) ?:
	       pc_compare("b in the child", b->m->data, b->map, b->m->size, 0);
}

/* It has touched all pages, and does that when its parent says so. */
static void fork_mapper(struct __test_metadata *_metadata,
			struct _test_data_mapped *self, struct pc_peer *peer,
			child_fn fn)
{
	pid_t pid = pc_fork_peer(&self->fs, peer);

	ASSERT_LE(0, pid);
	if (!pid) {
		if (show_both(self->a, self->b) || pc_say(peer) ||
		    pc_hear(peer))
			_exit(1);
		_exit(fn(self->a, self->b) ? 1 : 0);
	}
	ASSERT_EQ(0, pc_hear(peer));
}

/* Of two processes that map two files each, each is one of four. */
TEST_F(mapped, processes_share)
{
	struct pc_peer peer;

	map_file(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_file(_metadata, self->b, PROT_READ, MAP_PRIVATE);
	fork_mapper(_metadata, self, &peer, show_both);
	pc_touch_pages(self->a, 0, PAGES);
	pc_touch_pages(self->b, 0, PAGES);
	if (pc_sharing()) {
		expect_mappers(_metadata, self->a, 4);
		expect_mappers(_metadata, self->b, 4);
	}
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	if (pc_sharing())
		expect_mappers(_metadata, self->a, 2);
	expect_broken(_metadata, self, 0);
	check_all(_metadata, self);
}

/* Memory: three cold files are mapped, and the page cache grows by one. */
TEST_F(mapped, cached_grows_by_one_copy)
{
	struct pc_file *f[3];
	long long before;

	ASSERT_EQ(0, pc_create(&f[0], &self->fs, "big", MIB(8), 5));
	ASSERT_EQ(0, pc_clone(&f[1], f[0], "big2"));
	ASSERT_EQ(0, pc_clone(&f[2], f[0], "big3"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	before = pc_number("/proc/meminfo", "Cached");
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		ASSERT_NE(NULL, pc_map(f[i], MIB(8), PROT_READ, MAP_SHARED));
		pc_expect_map(_metadata, f[i]);
	}
	/* What else is read meanwhile is less than half a copy. */
	if (pc_sharing())
		EXPECT_LT(pc_number("/proc/meminfo", "Cached") - before,
			  MIB(12) / 1024);
	EXPECT_GT(pc_number("/proc/meminfo", "Cached") - before,
		  MIB(6) / 1024);
}

/* A private mapping is written: it alone changes, and no alias goes. */
TEST_F(mapped, private_write)
{
	unsigned char *map;

	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	map = self->a->map;
	map[3 * PC_PAGE] ^= 0xff;
	/* And one that this mapping has not read before. */
	ASSERT_EQ(0, madvise(map + 7 * PC_PAGE, PC_PAGE, MADV_DONTNEED));
	memset(map + 7 * PC_PAGE, 0x55, PC_PAGE);
	EXPECT_TRUE(pc_is_anon(map + 3 * PC_PAGE));
	EXPECT_TRUE(pc_is_anon(map + 7 * PC_PAGE));
	EXPECT_EQ(self->a->m->data[3 * PC_PAGE + 1], map[3 * PC_PAGE + 1]);
	pc_expect_same(_metadata, self->a, self->b, 4, 7, true);
	expect_broken(_metadata, self, 0);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The file is written: pages that the mapping has written stay, others show. */
TEST_F(mapped, private_mapping_keeps_its_own)
{
	unsigned char *map, want[PC_PAGE];

	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	map = self->a->map;
	map[5 * PC_PAGE] ^= 0xff;
	memcpy(want, map + 5 * PC_PAGE, PC_PAGE);
	ASSERT_EQ(0, pc_write(self->a, 4 * PC_PAGE, 3 * PC_PAGE, 2));
	EXPECT_EQ(0, pc_compare("written page", want, map + 5 * PC_PAGE,
				PC_PAGE, 0));
	EXPECT_EQ(0, pc_compare("page before", self->a->m->data + 4 * PC_PAGE,
				map + 4 * PC_PAGE, PC_PAGE, 0));
	EXPECT_EQ(0, pc_compare("page behind", self->a->m->data + 6 * PC_PAGE,
				map + 6 * PC_PAGE, PC_PAGE, 0));
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * A write through a mapping, of a page that other processes have in their page
 * tables: those of the same file see it, those of the clone do not.  Then what
 * was written is on the disk.
 */
TEST_F(mapped, shared_write_breaks)
{
	struct pc_peer peer;
	uint64_t pfn;

	map_file(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	fork_mapper(_metadata, self, &peer, show_both);
	pc_touch_pages(self->a, 0, PAGES);
	pfn = pc_pfn(self->b->map + 3 * PC_PAGE);
	write_map(self->a, 3 * PC_PAGE + 10, 100, 2);
	pc_expect_same(_metadata, self->a, self->b, 3, 4, false);
	EXPECT_EQ(pfn, pc_pfn(self->b->map + 3 * PC_PAGE));
	pc_expect_same(_metadata, self->a, self->b, 4, PAGES, true);
	expect_broken(_metadata, self, 1);
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	/* It was broken once; it is written where it is from now on. */
	write_map(self->a, 3 * PC_PAGE, 100, 3);
	expect_broken(_metadata, self, 1);
	ASSERT_EQ(0, msync(self->a->map, SIZE, MS_SYNC));
	EXPECT_EQ(0, pc_verify(self->a, PC_DIRECT));
	pc_unmap(self->a);
	ASSERT_EQ(0, pc_drop_caches("1"));
	EXPECT_EQ(0, pc_verify(self->a, PC_READ));
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

static int write_page_4(struct pc_file *a, struct pc_file *b)
{
	write_map(a, 4 * PC_PAGE + 5, 999, 4);
	return show_both(a, b);
}

/* The child writes, the parent had the page in its page table before. */
TEST_F(mapped, child_writes)
{
	struct pc_peer peer;

	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	fork_mapper(_metadata, self, &peer, write_page_4);
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	pc_expect_map(_metadata, self->a);
	pc_expect_same(_metadata, self->a, self->b, 4, 5, false);
	expect_broken(_metadata, self, 1);
	check_all(_metadata, self);
}

/* A mapping that becomes writable after its pages were read. */
TEST_F(mapped, mprotect_then_write)
{
	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	ASSERT_EQ(0, mprotect(self->a->map, MAP, PROT_READ | PROT_WRITE));
	expect_broken(_metadata, self, 0);
	write_map(self->a, 6 * PC_PAGE, 2 * PC_PAGE, 2);
	expect_broken(_metadata, self, 2);
	pc_expect_same(_metadata, self->a, self->b, 6, 8, false);
	/* And back, and again. */
	ASSERT_EQ(0, mprotect(self->a->map, MAP, PROT_READ));
	ASSERT_EQ(0, mprotect(self->a->map, MAP, PROT_READ | PROT_WRITE));
	write_map(self->a, 7 * PC_PAGE, 2 * PC_PAGE, 3);
	expect_broken(_metadata, self, 3);
	check_all(_metadata, self);
}

/* A mapping that was moved is found when its page is taken away. */
TEST_F(mapped, mremap)
{
	struct pc_file *a = self->a;
	unsigned char *to;

	map_touched(_metadata, a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	to = mmap(NULL, 2 * MAP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap(a->map, MAP, 2 * MAP,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	a->map = to;
	a->map_len = 2 * MAP;
	/* They moved with it, there was no fault. */
	pc_expect_same(_metadata, a, self->b, 0, PAGES, true);
	ASSERT_EQ(0, pc_write(a, 2 * PC_PAGE + 5, 2 * PC_PAGE, 2));
	pc_expect_map(_metadata, a);
	write_map(a, 8 * PC_PAGE, 50, 3);
	expect_broken(_metadata, self, 4);
	check_all(_metadata, self);
}

/* Behind the end of the file there is nothing, for this file alone. */
static int bus_behind_end(struct pc_file *a, struct pc_file *b)
{
	if (show_both(a, b))
		return 1;
	if (pc_touch_raises_bus(a->map + 5 * PC_PAGE + 200) ||
	    a->map[5 * PC_PAGE + 200])
		return pc_err("no zeros behind the end");
	if (!pc_touch_raises_bus(a->map + 6 * PC_PAGE) ||
	    !pc_touch_raises_bus(a->map + (PAGES - 1) * PC_PAGE))
		return pc_err("no SIGBUS");
	return 0;
}

TEST_F(mapped, truncate)
{
	struct pc_peer peer;

	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_PRIVATE);
	fork_mapper(_metadata, self, &peer, bus_behind_end);
	ASSERT_EQ(0, pc_truncate(self->a, 5 * PC_PAGE + 100));
	EXPECT_EQ(0, bus_behind_end(self->a, self->b));
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	pc_expect_same(_metadata, self->a, self->b, 0, 5, true);
	pc_expect_same(_metadata, self->a, self->b, 5, 6, false);
	check_all(_metadata, self);
}

/* To compare them is not to map them: files that were mapped become one. */
TEST_F(mapped, dedupe)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 1));
	map_touched(_metadata, d, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	pc_expect_same(_metadata, self->a, d, 0, PAGES, false);
	ASSERT_EQ(0, pc_dedupe(d, 0, self->a, 0, SIZE));
	pc_expect_map(_metadata, d);
	pc_expect_map(_metadata, self->a);
	/* The pages from before may stay; those read anew are shared. */
	pc_unmap(d);
	pc_unmap(self->a);
	pc_unmap(self->b);
	ASSERT_EQ(0, pc_drop_caches("1"));
	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, d, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	pc_expect_same(_metadata, self->a, d, 0, PAGES, true);
	ASSERT_EQ(0, pc_write(d, 5, 5000, 2));
	pc_expect_map(_metadata, d);
	check_all(_metadata, self);
}

/* Reading, as every advice does but one, breaks nothing. */
TEST_F(mapped, advice_that_reads)
{
	map_file(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_file(_metadata, self->b, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_POPULATE_READ));
	ASSERT_EQ(0, madvise(self->b->map, SIZE, MADV_POPULATE_READ));
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	expect_broken(_metadata, self, 0);
	/* Out of the page table, but not out of the page cache. */
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_DONTNEED));
	EXPECT_EQ(0, pc_pfn(self->a->map));
	expect_broken(_metadata, self, 0);
	pc_touch_pages(self->a, 0, PAGES);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	/* A file that nobody has read is attached, not read. */
	map_file(_metadata, self->c, PROT_READ, MAP_SHARED);
	ASSERT_EQ(0, madvise(self->c->map, SIZE, MADV_WILLNEED));
	pc_expect_pages(_metadata, &self->start, 0, PAGES);
	pc_touch_pages(self->c, 0, PAGES);
	pc_expect_same(_metadata, self->c, self->b, 0, PAGES, true);
	pc_expect_count(_metadata, &self->start, PC_DONATE, 0);
	pc_expect_map(_metadata, self->c);
	check_all(_metadata, self);
}

TEST_F(mapped, populate_write_breaks)
{
	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_POPULATE_WRITE));
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, false);
	expect_broken(_metadata, self, PAGES);
	check_all(_metadata, self);
}

/* A hole by advice, in a page that the clone has mapped as well. */
TEST_F(mapped, advice_that_removes)
{
	uint64_t pfn;

	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	pfn = pc_pfn(self->b->map + 5 * PC_PAGE);
	ASSERT_EQ(0, madvise(self->a->map + 5 * PC_PAGE, 3 * PC_PAGE,
			     MADV_REMOVE));
	pc_model_fallocate(self->a->m,
			   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   5 * PC_PAGE, 3 * PC_PAGE);
	EXPECT_EQ(pfn, pc_pfn(self->b->map + 5 * PC_PAGE));
	pc_expect_pages(_metadata, &self->start, 0, -3);
	pc_expect_count(_metadata, &self->start, PC_BREAK, 0);
	check_all(_metadata, self);
}

/*
 * What only takes clean pages that nobody uses leaves those that are mapped
 * by way of any file, and takes them when they are mapped no more.
 */
TEST_F(mapped, drop_caches_leaves_them)
{
	size_t faults;

	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	ASSERT_EQ(0, pc_drop_caches("1"));
	ASSERT_EQ(0, pc_evict(self->a));
	if (pc_sharing())
		EXPECT_NE(0, pc_pfn(self->a->map));
	expect_broken(_metadata, self, 0);
	/* The alias of b, too: its page is there and stays. */
	ASSERT_EQ(0, pc_evict(self->b));
	expect_broken(_metadata, self, 0);
	faults = major_faults();
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	if (pc_sharing())
		EXPECT_EQ(faults, major_faults());
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	pc_unmap(self->a);
	pc_unmap(self->b);
	ASSERT_EQ(0, pc_drop_caches("1"));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* All that was counted is given back, in the order in which one cleans up. */
TEST_F(mapped, unmount)
{
	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ | PROT_WRITE, MAP_SHARED);
	write_map(self->b, 3 * PC_PAGE, 50, 2);
	ASSERT_EQ(0, pc_fs_umount(&self->fs));
	for (int i = PC_HOME; i <= PC_FRAGMENT; i++)
		pc_expect_count(_metadata, &self->fs.before, i, 0);
}

/* ...and when a mapping is what keeps the file system for last. */
TEST_F(mapped, unmount_before_unmap)
{
	unsigned char *map;

	map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, self->a->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	EXPECT_EQ(0, pc_compare("a", self->a->m->data, map, SIZE, 0));
	pc_shut(self->a);
	pc_shut(self->b);
	pc_shut(self->c);
	ASSERT_EQ(0, umount2(self->fs.mnt, MNT_DETACH));
	self->fs.mounted = false;
	EXPECT_EQ(0, pc_compare("a", self->a->m->data, map, SIZE, 0));
	pc_expect_pages(_metadata, &self->start, 0, 0);
	/* The last reference. */
	munmap(map, SIZE);
	for (int i = PC_HOME; i <= PC_FRAGMENT; i++)
		pc_expect_count(_metadata, &self->fs.before, i, 0);
}

TEST_HARNESS_MAIN
