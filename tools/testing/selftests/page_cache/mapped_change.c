// SPDX-License-Identifier: GPL-2.0
/*
 * A file is changed whose pages are in page tables, and are those of its clone:
 * they are taken out of the mappings of this file, in all processes, and out of
 * no others.  Nobody sees anything there but what was and what is to be.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define PAGES	24UL
#define SIZE	(PAGES * PC_PAGE)
/* The file may grow into its mapping. */
#define MAP	(2 * SIZE)

/* One change of a, in which pages from first to before end are replaced. */
FIXTURE(change)
{
	struct pc_fs fs;
	struct pc_file *a, *b, *d;
};

FIXTURE_VARIANT(change)
{
	int (*fn)(struct pc_file *a, struct pc_file *d);
	size_t first;
	size_t end;
};

static int by_write(struct pc_file *a, struct pc_file *d)
{
	return pc_write(a, 5 * PC_PAGE + 100, 2 * PC_PAGE, 2);
}

FIXTURE_VARIANT_ADD(change, write)
{
	.fn = by_write,
	.first = 5,
	.end = 8,
};

static int by_mapping(struct pc_file *a, struct pc_file *d)
{
	return pc_write_mmap(a, 5 * PC_PAGE + 100, 2 * PC_PAGE, 2);
}

FIXTURE_VARIANT_ADD(change, mapping)
{
	.fn = by_mapping,
	.first = 5,
	.end = 8,
};

static int by_direct(struct pc_file *a, struct pc_file *d)
{
	return pc_write_direct(a, 5 * PC_PAGE, 3 * PC_PAGE, 2);
}

FIXTURE_VARIANT_ADD(change, direct)
{
	.fn = by_direct,
	.first = 5,
	.end = 8,
};

static int by_punch(struct pc_file *a, struct pc_file *d)
{
	return pc_fallocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    5 * PC_PAGE + 100, 2 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, punch)
{
	.fn = by_punch,
	.first = 5,
	.end = 8,
};

static int by_zero(struct pc_file *a, struct pc_file *d)
{
	return pc_fallocate(a, FALLOC_FL_ZERO_RANGE, 5 * PC_PAGE + 100,
			    2 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, zero)
{
	.fn = by_zero,
	.first = 5,
	.end = 8,
};

static int by_unshare(struct pc_file *a, struct pc_file *d)
{
	return pc_fallocate(a, FALLOC_FL_UNSHARE_RANGE, 5 * PC_PAGE,
			    3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, unshare)
{
	.fn = by_unshare,
	.first = 5,
	.end = 8,
};

static int by_collapse(struct pc_file *a, struct pc_file *d)
{
	return pc_fallocate(a, FALLOC_FL_COLLAPSE_RANGE, 5 * PC_PAGE,
			    3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, collapse)
{
	.fn = by_collapse,
	.first = 5,
	.end = PAGES - 3,
};

static int by_insert(struct pc_file *a, struct pc_file *d)
{
	return pc_fallocate(a, FALLOC_FL_INSERT_RANGE, 5 * PC_PAGE,
			    3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, insert)
{
	.fn = by_insert,
	.first = 5,
	.end = PAGES,
};

static int by_clone_range(struct pc_file *a, struct pc_file *d)
{
	return pc_clone_range(a, 5 * PC_PAGE, d, 2 * PC_PAGE, 3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, clone_range)
{
	.fn = by_clone_range,
	.first = 5,
	.end = 8,
};

static int by_exchange(struct pc_file *a, struct pc_file *d)
{
	return pc_exchange(a, 5 * PC_PAGE, d, 2 * PC_PAGE, 3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, exchange)
{
	.fn = by_exchange,
	.first = 5,
	.end = 8,
};

static int by_copy(struct pc_file *a, struct pc_file *d)
{
	return pc_copy_range(a, 5 * PC_PAGE + 10, d, 2 * PC_PAGE + 300,
			     2 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(change, copy)
{
	.fn = by_copy,
	.first = 5,
	.end = 8,
};

FIXTURE_SETUP(change)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_EQ(0, pc_create(&self->d, &self->fs, "d", SIZE, 9));
	ASSERT_NE(NULL, pc_map(self->a, MAP, PROT_READ, MAP_SHARED));
	ASSERT_NE(NULL, pc_map(self->b, MAP, PROT_READ, MAP_SHARED));
	pc_touch_pages(self->a, 0, PAGES);
	pc_touch_pages(self->b, 0, PAGES);
}

FIXTURE_TEARDOWN(change)
{
	pc_teardown(_metadata, &self->fs);
}

static int show_both(struct pc_file *a, struct pc_file *b)
{
	return pc_compare("a in the child", a->m->data, a->map, a->m->size,
			  0) ?:
	       pc_compare("b in the child", b->m->data, b->map, b->m->size, 0);
}

/*
 * Two processes have every page of two files in their page tables, one of the
 * files is changed: both see it at once, the other pages are those from
 * before, and nothing happens to the mapping of the other file.
 */
TEST_F(change, shows_in_every_mapping)
{
	struct pc_file *a = self->a, *b = self->b;
	uint64_t before[PAGES];
	size_t untouched = 0;
	struct pc_peer peer;
	pid_t pid;

	pid = pc_fork_peer(&self->fs, &peer);
	ASSERT_LE(0, pid);
	if (!pid) {
		if (show_both(a, b) || pc_say(&peer) || pc_hear(&peer))
			_exit(1);
		_exit(show_both(a, b) ? 1 : 0);
	}
	ASSERT_EQ(0, pc_hear(&peer));
	pc_expect_same(_metadata, a, b, 0, PAGES, true);
	for (size_t i = 0; i < PAGES; i++)
		before[i] = pc_pfn(b->map + i * PC_PAGE);

	ASSERT_EQ(0, variant->fn(a, self->d));
	for (size_t i = 0; i < PAGES; i++)
		untouched += before[i] == pc_pfn(b->map + i * PC_PAGE);
	EXPECT_EQ(PAGES, untouched);
	pc_expect_map(_metadata, a);
	pc_expect_map(_metadata, b);
	pc_expect_same(_metadata, a, b, 0, variant->first, true);
	pc_expect_same(_metadata, a, b, variant->first, variant->end, false);
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* One change of a part of a large folio. */
FIXTURE(replace)
{
	struct pc_fs fs;
	struct pc_file *a, *d;
};

FIXTURE_VARIANT(replace)
{
	int (*fn)(struct pc_file *a, struct pc_file *d);
	size_t page;		/* has no zeros before nor after */
	size_t len;		/* of it, if not all, in bytes */
};

FIXTURE_VARIANT_ADD(replace, clone_range)
{
	.fn = by_clone_range,
	.page = 6,
};

static int by_dedupe(struct pc_file *a, struct pc_file *d)
{
	/* Equal at the same place. */
	return pc_write(d, 5 * PC_PAGE, 3 * PC_PAGE, 1) ?:
	       pc_dedupe(a, 5 * PC_PAGE, d, 5 * PC_PAGE, 3 * PC_PAGE);
}

FIXTURE_VARIANT_ADD(replace, dedupe)
{
	.fn = by_dedupe,
	.page = 6,
};

FIXTURE_VARIANT_ADD(replace, exchange)
{
	.fn = by_exchange,
	.page = 6,
};

FIXTURE_VARIANT_ADD(replace, collapse)
{
	.fn = by_collapse,
	.page = 6,
};

/* What is before the range is not changed. */
FIXTURE_VARIANT_ADD(replace, punch)
{
	.fn = by_punch,
	.page = 5,
	.len = 96,
};

FIXTURE_VARIANT_ADD(replace, zero)
{
	.fn = by_zero,
	.page = 5,
	.len = 96,
};

FIXTURE_VARIANT_ADD(replace, insert)
{
	.fn = by_insert,
	.page = 9,
};

FIXTURE_SETUP(replace)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, pc_create(&self->a, &self->fs, "a", SIZE, 1));
	ASSERT_EQ(0, pc_create(&self->d, &self->fs, "d", SIZE, 2));
	ASSERT_NE(NULL, pc_map(self->a, MAP, PROT_READ, MAP_SHARED));
}

FIXTURE_TEARDOWN(replace)
{
	pc_teardown(_metadata, &self->fs);
}

struct watched {
	int stop;
	unsigned int turn;	/* odd: look */
	unsigned int done;	/* of them, when not looking */
	unsigned long long reads, zeros;
};

static void watch(const void *page, size_t len, struct watched *w)
{
	const volatile unsigned long *at = page;
	size_t i = 0;

	while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST)) {
		unsigned int turn = __atomic_load_n(&w->turn, __ATOMIC_SEQ_CST);

		if (!(turn & 1)) {
			__atomic_store_n(&w->done, turn, __ATOMIC_SEQ_CST);
			continue;
		}
		if (!at[i++ % (len / sizeof(*at))])
			w->zeros++;
		__atomic_add_fetch(&w->reads, 1, __ATOMIC_SEQ_CST);
	}
}

static bool has_looked(struct watched *w, unsigned long long reads)
{
	return __atomic_load_n(&w->reads, __ATOMIC_SEQ_CST) != reads;
}

static bool has_stopped(struct watched *w)
{
	return __atomic_load_n(&w->done, __ATOMIC_SEQ_CST) == w->turn;
}

/*
 * A mapping shows what a page had or what it is to have, but not the zeros that
 * truncation leaves in a part of a folio.
 */
TEST_F(replace, shows_no_zeros)
{
	struct watched *w = pc_shared(sizeof(*w));
	struct pc_file *a = self->a, *d = self->d;
	int status;
	pid_t pid;

	ASSERT_NE(NULL, w);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		watch(a->map + variant->page * PC_PAGE,
		      variant->len ?: PC_PAGE, w);
		_exit(0);
	}
	for (int i = 0; i < 40; i++) {
		unsigned long long reads = w->reads;

		/* All anew, for folios as large as they can be. */
		EXPECT_EQ(0, pc_truncate(a, 0));
		EXPECT_EQ(0, pc_write(a, 0, SIZE, 1));
		EXPECT_EQ(0, pc_write(d, 0, SIZE, 2));
		__atomic_add_fetch(&w->turn, 1, __ATOMIC_SEQ_CST);
		while (!has_looked(w, reads) && !waitpid(pid, &status, WNOHANG))
			;
		EXPECT_EQ(0, variant->fn(a, d));
		__atomic_add_fetch(&w->turn, 1, __ATOMIC_SEQ_CST);
		while (!has_stopped(w) && !waitpid(pid, &status, WNOHANG))
			;
	}
	__atomic_store_n(&w->stop, 1, __ATOMIC_SEQ_CST);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, w->zeros)
		TH_LOG("in %llu reads", w->reads);
	EXPECT_EQ(0, pc_verify(a, PC_READ));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

TEST_HARNESS_MAIN
