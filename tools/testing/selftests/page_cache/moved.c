// SPDX-License-Identifier: GPL-2.0
/*
 * Mapped pages that several files share and that memory management wants to
 * have: those that are reclaimed leave all page tables and files, those that
 * are migrated stay shared, those that fail are nobody's any more.
 */
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define PC_MOVE_ALL	(1 << 2)	/* MPOL_MF_MOVE_ALL, as in numaif.h */

#define PAGES	64UL
#define SIZE	(PAGES * PC_PAGE)

#define LRU_GEN		"/sys/kernel/mm/lru_gen/enabled"
#define MEMORY		"/sys/devices/system/memory"

/*
 * With all its page table entries in one table: madvise() works table by table,
 * and leaves a folio that others share alone if it finds a part of it only.
 */
static void map_touched(struct __test_metadata *_metadata, struct pc_file *f,
			int prot, int flags)
{
	const size_t align = MIB(2);
	unsigned char *room, *to;

	ASSERT_NE(NULL, pc_map(f, SIZE, prot, flags));
	room = mmap(NULL, SIZE + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)room);
	to = (unsigned char *)(((uintptr_t)room + align - 1) & ~(align - 1));
	ASSERT_EQ(to, mremap(f->map, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     to));
	f->map = to;
	if (to != room)
		munmap(room, to - room);
	munmap(to + SIZE, room + align - to);
	pc_touch_pages(f, 0, PAGES);
}

static size_t major_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_majflt;
}

/* Pages of the mapping that are in the page table. */
static size_t pages_mapped(const struct pc_file *f)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGES; i++)
		n += !!pc_pfn(f->map + i * PC_PAGE);
	return n;
}

/* Memory is short, in a memory cgroup that has read the files. */
FIXTURE(reclaim)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	char lru_gen[32];
	char cgroup[256];
	bool entered;
};

FIXTURE_VARIANT(reclaim)
{
	const char *lru_gen;
};

FIXTURE_VARIANT_ADD(reclaim, lru_gen_off)
{
	.lru_gen = "n",
};

FIXTURE_VARIANT_ADD(reclaim, lru_gen_on)
{
	.lru_gen = "y",
};

FIXTURE_SETUP(reclaim)
{
	/* Without the multi-gen LRU there is the other one. */
	if (pc_read_str(LRU_GEN, self->lru_gen, sizeof(self->lru_gen)) <= 0 &&
	    variant->lru_gen[0] == 'y')
		SKIP(return, "no " LRU_GEN);
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	if (self->lru_gen[0])
		ASSERT_EQ(0, pc_write_str(LRU_GEN, variant->lru_gen));
	if (pc_memcg_enter("moved", 0, self->cgroup, sizeof(self->cgroup)))
		SKIP(return, "%s", self->cgroup);
	self->entered = true;
}

FIXTURE_TEARDOWN(reclaim)
{
	pc_teardown(_metadata, &self->fs);
	if (self->entered)
		pc_memcg_remove("moved", getpid());
	if (self->lru_gen[0])
		EXPECT_EQ(0, pc_write_str(LRU_GEN, self->lru_gen));
}

/* Is there still something of the files, by way of a or b? */
static bool resident(struct _test_data_reclaim *self)
{
	return pages_mapped(self->a) || pages_mapped(self->b) ||
	       pc_since(&self->fs.cold).v[PC_HOME] > 0;
}

/* Until there is nothing, or no more can be had. */
static void reclaim_all(struct _test_data_reclaim *self)
{
	for (int i = 0; i < 200 && resident(self); i++)
		pc_memcg_reclaim(self->cgroup, SIZE);
}

/* They go from all page tables and files, and the next reader gets them. */
TEST_F(reclaim, mapped_pages_go_and_come_back)
{
	long long refaults;
	struct pc_stat d;

	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_PRIVATE);
	ASSERT_EQ(0, pc_verify(self->c, PC_READ));
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 3 * PAGES);
	pc_stat(&d);
	refaults = pc_memcg_stat(self->cgroup, "workingset_refault_file");
	reclaim_all(self);
	EXPECT_EQ(0, pages_mapped(self->a));
	EXPECT_EQ(0, pages_mapped(self->b));
	/* With the last entry in a page table went the last alias. */
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	pc_expect_count(_metadata, &d, PC_RECLAIM, 3 * PAGES);
	pc_expect_count(_metadata, &d, PC_BREAK, 0);

	pc_expect_map(_metadata, self->b);
	pc_expect_map(_metadata, self->a);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	/* It is known that they were there. */
	refaults += PAGES;
	EXPECT_LE(refaults,
		  pc_memcg_until(self->cgroup, "workingset_refault_file",
				 refaults, LLONG_MAX));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* What one of the files has locked stays for all, whatever is asked for. */
TEST_F(reclaim, locked_pages_stay)
{
	uint64_t pfn[PAGES];
	size_t locked = 0, same = 0, faults;
	struct pc_stat d;

	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	ASSERT_EQ(0, pc_verify(self->c, PC_READ));
	ASSERT_EQ(0, mlock(self->b->map, SIZE));
	for (size_t i = 0; i < PAGES; i++)
		pfn[i] = pc_pfn(self->b->map + i * PC_PAGE);
	pc_stat(&d);
	for (int i = 0; i < 50; i++)
		pc_memcg_reclaim(self->cgroup, SIZE);
	faults = major_faults();
	for (size_t i = 0; i < PAGES; i++) {
		same += pfn[i] && pfn[i] == pc_pfn(self->b->map + i * PC_PAGE);
		locked += pc_page_flags(pfn[i]) >> PC_KPF_MLOCKED & 1;
		pc_touch(self->b->map + i * PC_PAGE);
	}
	EXPECT_EQ(PAGES, same);
	EXPECT_EQ(PAGES, locked);
	EXPECT_EQ(faults, major_faults());
	EXPECT_EQ(SIZE / 1024, pc_smaps(self->b->map, "Rss"));
	pc_expect_pages(_metadata, &d, 0, 0);
	pc_expect_count(_metadata, &d, PC_RECLAIM, 0);
	/* Pss is told for locked pages: each has two mappers. */
	if (pc_sharing())
		EXPECT_EQ(SIZE / 1024 / 2, pc_smaps(self->b->map, "Locked"));
	EXPECT_EQ(0, pc_smaps(self->a->map, "Locked"));
	pc_expect_map(_metadata, self->a);
	/* Free to go when it is unlocked. */
	ASSERT_EQ(0, munlock(self->b->map, SIZE));
	reclaim_all(self);
	EXPECT_EQ(0, pages_mapped(self->b));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Locked by the one file, written by way of the other. */
TEST_F(reclaim, locked_pages_are_broken)
{
	map_touched(_metadata, self->a, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_touched(_metadata, self->b, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_EQ(0, mlock(self->a->map, SIZE));
	ASSERT_EQ(0, mlock(self->b->map, SIZE));
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 7, 2 * PC_PAGE, 2));
	pc_fill(self->b->map + 9 * PC_PAGE, PC_PAGE, 3, 9 * PC_PAGE);
	pc_model_write(self->b->m, 9 * PC_PAGE, PC_PAGE, 3);
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	pc_expect_pages(_metadata, &self->fs.cold, PAGES, 2 * PAGES - 4);
	for (int i = 0; i < 10; i++)
		pc_memcg_reclaim(self->cgroup, SIZE);
	/* The copies are locked as what they were copied from. */
	EXPECT_EQ(PAGES, pages_mapped(self->a));
	EXPECT_EQ(PAGES, pages_mapped(self->b));
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Pages that a process does not want to have, of which it may not be alone. */
FIXTURE(moved)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *c;
	struct pc_stat start;
	uint64_t pfn[PAGES];
};

FIXTURE_SETUP(moved)
{
	cpu_set_t one;

	/* Each processor knows some new pages alone; so there is but one. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b,
			&self->c);
	pc_warm(_metadata, PAGES, self->a, self->b, self->c);
	map_touched(_metadata, self->a, PROT_READ, MAP_SHARED);
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(moved)
{
	pc_teardown(_metadata, &self->fs);
}

/* Page frames that b's mapping has, for comparing them later. */
static void map_second(struct __test_metadata *_metadata,
		       struct _test_data_moved *self)
{
	map_touched(_metadata, self->b, PROT_READ, MAP_PRIVATE);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	for (size_t i = 0; i < PAGES; i++)
		self->pfn[i] = pc_pfn(self->b->map + i * PC_PAGE);
	pc_stat(&self->start);
}

/* How many pages of b are in another page frame now? */
static size_t pages_moved(const struct _test_data_moved *self)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGES; i++)
		n += self->pfn[i] != pc_pfn(self->b->map + i * PC_PAGE);
	return n;
}

/* All three have the same pages, and the right ones. */
static void expect_same(struct __test_metadata *_metadata,
			struct _test_data_moved *self)
{
	pc_touch_pages(self->a, 0, PAGES);
	pc_touch_pages(self->b, 0, PAGES);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
}

/* And no alias went and none came, wherever the pages may be. */
static void expect_still_shared(struct __test_metadata *_metadata,
				struct _test_data_moved *self)
{
	expect_same(_metadata, self);
	pc_expect_pages(_metadata, &self->start, 0, 0);
	for (int i = PC_ATTACH; i < PC_COUNTERS; i++)
		pc_expect_count(_metadata, &self->start, i, 0);
}

/* The only mapper gives the pages up: they go, from all three files. */
TEST_F(moved, pageout_by_the_only_mapper)
{
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_PAGEOUT));
	EXPECT_EQ(0, pages_mapped(self->a));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	pc_expect_count(_metadata, &self->start, PC_RECLAIM, 3 * PAGES);
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The same by process_madvise(), half of the pages after the other. */
TEST_F(moved, pageout_by_process_madvise)
{
	struct iovec v[2] = {
		{ self->a->map, SIZE / 2 }, { self->a->map + SIZE / 2, SIZE / 2 },
	};
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0);

	ASSERT_LE(0, pidfd);
	ASSERT_EQ(SIZE, syscall(SYS_process_madvise, pidfd, v, 2, MADV_COLD, 0));
	EXPECT_EQ(PAGES, pages_mapped(self->a));
	ASSERT_EQ(SIZE, syscall(SYS_process_madvise, pidfd, v, 2, MADV_PAGEOUT,
				0));
	close(pidfd);
	EXPECT_EQ(0, pages_mapped(self->a));
	pc_expect_pages(_metadata, &self->fs.cold, 0, 0);
	pc_expect_count(_metadata, &self->start, PC_RECLAIM, 3 * PAGES);
	pc_expect_map(_metadata, self->a);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* It leaves those alone that others have, as with one file. */
TEST_F(moved, pageout_by_one_of_two)
{
	map_second(_metadata, self);
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_COLD));
	ASSERT_EQ(0, madvise(self->a->map, SIZE, MADV_PAGEOUT));
	if (pc_sharing())
		EXPECT_EQ(0, pages_moved(self));
	expect_still_shared(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* On which node are they?  Negative where there is none. */
static long page_nodes(unsigned char *map, int *nodes)
{
	void *page[PAGES];

	for (size_t i = 0; i < PAGES; i++)
		page[i] = map + i * PC_PAGE;
	return syscall(__NR_move_pages, 0, PAGES, page, NULL, nodes, 0);
}

/* Each to the other of two nodes; how many are there. */
static long move_pages(unsigned char *map)
{
	int node[PAGES], status[PAGES];
	void *page[PAGES];
	long moved = 0;

	if (page_nodes(map, node))
		return -1;
	for (size_t i = 0; i < PAGES; i++) {
		page[i] = map + i * PC_PAGE;
		node[i] = !node[i];
	}
	/* Its own answer says nothing of the others when one is left. */
	if (syscall(__NR_move_pages, 0, PAGES, page, node, status,
		    PC_MOVE_ALL) < 0 || page_nodes(map, status))
		return -1;
	for (size_t i = 0; i < PAGES; i++)
		moved += status[i] == node[i];
	return moved;
}

/* To the other node and back: three files that follow. */
TEST_F(moved, to_another_node)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	map_second(_metadata, self);
	for (int i = 0; i < 2; i++) {
		long moved = move_pages(self->a->map);

		/* Pages in large folios of one file may not all move. */
		ASSERT_LT(0, moved);
		if (pc_sharing())
			ASSERT_EQ(PAGES, moved);
		expect_still_shared(_metadata, self);
		if (pc_sharing() && !i)
			EXPECT_EQ(PAGES, pages_moved(self));
	}
	/* They are found where they are when they are written. */
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE + 5, 5000, 2));
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	pc_expect_pages(_metadata, &self->start, 0, -2);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A page that waits in a pipe cannot be moved, and nothing is lost. */
TEST_F(moved, while_somebody_has_a_page)
{
	unsigned char buf[PC_PAGE];
	loff_t pos = 5 * PC_PAGE;
	long moved;
	int end[2];

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	map_second(_metadata, self);
	ASSERT_EQ(0, pipe(end));
	ASSERT_EQ(PC_PAGE, splice(self->c->fd, &pos, end[1], NULL, PC_PAGE, 0));
	moved = move_pages(self->a->map);
	EXPECT_LT(0, moved);
	if (pc_sharing()) {
		/* It may be one of a large folio, which then stays whole. */
		EXPECT_GT(PAGES, moved);
		EXPECT_EQ(self->pfn[5], pc_pfn(self->b->map + 5 * PC_PAGE));
	}
	expect_still_shared(_metadata, self);
	ASSERT_EQ(PC_PAGE, read(end[0], buf, PC_PAGE));
	EXPECT_EQ(0, pc_compare("spliced", self->c->m->data + 5 * PC_PAGE, buf,
				PC_PAGE, 5 * PC_PAGE));
	close(end[0]);
	close(end[1]);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Moved again and again while others read, fault and write. */
static int load(struct pc_file *f, const int *stop, uint64_t seed)
{
	uint64_t rnd = seed;

	for (int i = 0; !__atomic_load_n(stop, __ATOMIC_SEQ_CST) || i < 20;
	     i++) {
		size_t off = pc_rand(&rnd) % (SIZE - 200);

		/*
		 * A page that is read again and again is marked as used, also
		 * while it is on its way.
		 */
		if (pc_compare("mapping", f->m->data, f->map, SIZE, 0) ||
		    pc_verify(f, PC_READ) || pc_verify(f, PC_PREAD) ||
		    madvise(f->map, SIZE, MADV_DONTNEED) ||
		    (i % 8 == 0 && pc_write(f, off, 200, seed + i)) ||
		    (i % 16 == 0 && pc_evict(f)))
			return 1;
	}
	return 0;
}

TEST_F_TIMEOUT(moved, under_load, 300)
{
	struct pc_file *f[] = { self->a, self->b, self->c };
	int *stop = pc_shared(sizeof(*stop));
	pid_t pid[ARRAY_SIZE(f)];
	long moved = 0;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	ASSERT_NE(NULL, stop);
	map_touched(_metadata, self->b, PROT_READ, MAP_SHARED);
	map_touched(_metadata, self->c, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		pid[i] = pc_fork(&self->fs);
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			_exit(load(f[i], stop, 1000 * i));
	}
	for (int i = 0; i < 100; i++) {
		/* Only what is in this page table is moved. */
		pc_touch_pages(f[i % ARRAY_SIZE(f)], 0, PAGES);
		moved += move_pages(f[i % ARRAY_SIZE(f)]->map) > 0;
	}
	__atomic_store_n(stop, 1, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < ARRAY_SIZE(f); i++)
		EXPECT_EQ(0, pc_wait(&self->fs, pid[i]));
	EXPECT_LT(0, moved);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/*
 * Memory is compacted, wherever pages go by that.  A large folio for which there
 * is no room is split, and read again.
 */
TEST_F(moved, compaction)
{
	map_second(_metadata, self);
	for (int i = 0; i < 3; i++) {
		int ret = pc_write_str("/proc/sys/vm/compact_memory", "1");

		if (ret)
			SKIP(return, "compact_memory: %s", strerror(-ret));
		expect_same(_metadata, self);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* The child that takes memory away is stopped if that takes for ever. */
static int offline(const char *state)
{
	int ret;

	alarm(60);
	ret = pc_write_str(state, "offline");
	if (ret)
		pc_log("%s: %s", state, strerror(-ret));
	return ret ? KSFT_SKIP : 0;
}

/* The folder of the block of memory that a page is in; can that be taken away? */
static bool removable(uint64_t pfn, const char *block_size, char *dir,
		      size_t len)
{
	char path[128], zones[64];

	snprintf(dir, len, MEMORY "/memory%llu", (unsigned long long)
		 (pfn * PC_PAGE / strtoull(block_size, NULL, 16)));
	snprintf(path, sizeof(path), "%s/valid_zones", dir);
	return pc_read_str(path, zones, sizeof(zones)) > 0 &&
	       !strncmp(zones, "Movable", strlen("Movable"));
}

/*
 * Takes away the memory that one of b's pages is in; which page, or PAGES.  The
 * kernel has something of its own in some of it.
 */
static size_t take_away(struct _test_data_moved *self, const char *block_size,
			char *state, size_t len)
{
	char dir[80], last[80] = "";

	for (size_t n = 0; n < PAGES; n++) {
		pid_t pid;

		if (!removable(self->pfn[n], block_size, dir, sizeof(dir)) ||
		    !strcmp(dir, last))
			continue;
		strcpy(last, dir);
		snprintf(state, len, "%s/state", dir);
		pid = pc_fork(&self->fs);
		if (!pid)
			_exit(offline(state));
		if (pid > 0 && !pc_wait(&self->fs, pid))
			return n;
	}
	return PAGES;
}

/* Takes some of the free memory of the second node, so that others get other. */
static void take_memory(void)
{
	const size_t len = MIB(32);
	unsigned long nodes = 1 << 1;
	char *hog = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (hog == MAP_FAILED)
		return;
	syscall(__NR_mbind, hog, len, 1 /* MPOL_PREFERRED */, &nodes,
		8 * sizeof(nodes), 0);
	memset(hog, 1, len);
}

/* The memory goes in which a page is: it goes to other memory. */
TEST_F(moved, memory_is_removed)
{
	char text[64], state[96];
	size_t n = PAGES;

	if (pc_read_str(MEMORY "/block_size_bytes", text, sizeof(text)) <= 0)
		SKIP(return, "no memory hotplug");
	/* The last block has something of the kernel, and pages go there first. */
	for (int tries = 0; tries < 12 && n == PAGES; tries++) {
		map_second(_metadata, self);
		n = take_away(self, text, state, sizeof(state));
		if (n == PAGES) {
			take_memory();
			move_pages(self->a->map);
		}
	}
	if (n == PAGES)
		SKIP(return, "no memory that can be taken away (movablecore=)");
	EXPECT_NE(self->pfn[n], pc_pfn(self->b->map + n * PC_PAGE));
	expect_same(_metadata, self);
	EXPECT_EQ(0, pc_write_str(state, "online"));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Memory that begins to fail is no longer used, and nobody notices. */
TEST_F(moved, soft_offline)
{
	map_second(_metadata, self);
	/* By a's mapping, of which b's has the page. */
	if (pc_sharing())
		ASSERT_EQ(self->pfn[5], pc_pfn(self->a->map + 5 * PC_PAGE));
	self->pfn[5] = pc_pfn(self->a->map + 5 * PC_PAGE);
	if (madvise(self->a->map + 5 * PC_PAGE, PC_PAGE, MADV_SOFT_OFFLINE))
		SKIP(return, "MADV_SOFT_OFFLINE: %s", strerror(errno));
	pc_touch_pages(self->b, 0, PAGES);
	EXPECT_NE(self->pfn[5], pc_pfn(self->b->map + 5 * PC_PAGE));
	EXPECT_NE(0, pc_page_flags(self->pfn[5]) & (1ULL << KPF_HWPOISON));
	expect_same(_metadata, self);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Memory that has failed */

enum outcome {
	GOOD,		/* the data was there */
	BAD,		/* and it was other data */
	KILLED,		/* SIGBUS that says what failed where */
	ODD,		/* another SIGBUS */
};

static sigjmp_buf failed;
static siginfo_t bus_info;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	bus_info = *info;
	siglongjmp(failed, 1);
}

/* What comes of it when page n of the mapping is touched? */
static enum outcome touch(const struct pc_file *f, size_t n)
{
	struct sigaction sa = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	const unsigned char *p = f->map + n * PC_PAGE;

	sigaction(SIGBUS, &sa, NULL);
	if (!sigsetjmp(failed, 1))
		return pc_compare("mapping", f->m->data + n * PC_PAGE, p,
				  PC_PAGE, n * PC_PAGE) ? BAD : GOOD;
	if (bus_info.si_code == BUS_MCEERR_AR && bus_info.si_addr >= (void *)p &&
	    bus_info.si_addr < (void *)(p + PC_PAGE))
		return KILLED;
	pc_log("SIGBUS with code %d at %p, page at %p", bus_info.si_code,
	       bus_info.si_addr, p);
	return ODD;
}

/* A process that has the mapping of the file, and touches page n when told. */
static void fork_mapper(struct __test_metadata *_metadata,
			struct _test_data_moved *self, struct pc_file *f,
			size_t n, struct pc_peer *peer)
{
	pid_t pid = pc_fork_peer(&self->fs, peer);

	ASSERT_LE(0, pid);
	if (!pid) {
		pc_touch_pages(f, 0, PAGES);
		if (pc_say(peer) || pc_hear(peer))
			_exit(ODD);
		_exit(touch(f, n));
	}
	ASSERT_EQ(0, pc_hear(peer));
}

static enum outcome outcome_of(struct _test_data_moved *self,
			       struct pc_peer *peer)
{
	int status = pc_end(&self->fs, peer);

	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : ODD;
}

/* Fails the page, and says whether that can be done here. */
static bool fail_page(struct pc_file *f, size_t n)
{
	if (!madvise(f->map + n * PC_PAGE, PC_PAGE, MADV_HWPOISON))
		return true;
	pc_err("MADV_HWPOISON");
	return false;
}

/*
 * Who has mapped the page by way of any file has it no more, and the next access
 * reads the data again, as for any page that is clean: nobody is killed.  A clone
 * with a copy of its own never notices, nor does another file.
 */
TEST_F(moved, memory_failure)
{
	struct pc_file *a = self->a, *b = self->b, *c = self->c, *d;
	struct pc_peer at_a, at_b, at_c, at_d;

	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 9));
	map_second(_metadata, self);
	ASSERT_EQ(0, pc_write(c, 5 * PC_PAGE + 100, 100, 2));
	map_touched(_metadata, c, PROT_READ, MAP_SHARED);
	map_touched(_metadata, d, PROT_READ, MAP_SHARED);
	/* By a's mapping, of which b's has the page. */
	self->pfn[5] = pc_pfn(a->map + 5 * PC_PAGE);
	fork_mapper(_metadata, self, a, 5, &at_a);
	fork_mapper(_metadata, self, b, 5, &at_b);
	fork_mapper(_metadata, self, c, 5, &at_c);
	fork_mapper(_metadata, self, d, 5, &at_d);
	if (!fail_page(a, 5))
		SKIP(return, "no MADV_HWPOISON");
	EXPECT_NE(0, pc_page_flags(self->pfn[5]) & (1ULL << KPF_HWPOISON));
	EXPECT_EQ(GOOD, outcome_of(self, &at_a));
	EXPECT_EQ(GOOD, outcome_of(self, &at_b));
	EXPECT_EQ(GOOD, outcome_of(self, &at_c));
	EXPECT_EQ(GOOD, outcome_of(self, &at_d));
	EXPECT_NE(self->pfn[5], pc_pfn(a->map + 5 * PC_PAGE));
	EXPECT_NE(self->pfn[5], pc_pfn(b->map + 5 * PC_PAGE));
	/* The data is that of the device, and can be mapped again. */
	EXPECT_EQ(0, pc_verify(a, PC_READ));
	EXPECT_EQ(0, pc_verify(b, PC_READ));
	EXPECT_EQ(0, pc_verify(c, PC_READ));
	map_touched(_metadata, a, PROT_READ, MAP_SHARED);
	map_touched(_metadata, b, PROT_READ, MAP_SHARED);
	pc_expect_map(_metadata, a);
	pc_expect_map(_metadata, b);
	pc_expect_map(_metadata, c);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Nobody has mapped it: it is read again. */
TEST_F(moved, memory_failure_of_other_files)
{
	map_second(_metadata, self);
	if (!fail_page(self->b, 7))
		SKIP(return, "no MADV_HWPOISON");
	/* c has never been mapped. */
	EXPECT_EQ(0, pc_verify(self->c, PC_READ));
	EXPECT_EQ(0, pc_write(self->c, 7 * PC_PAGE + 5, 500, 2));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
