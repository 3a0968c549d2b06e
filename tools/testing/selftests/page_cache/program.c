// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that are clones of each other: all that run have the same pages of
 * code, and a breakpoint in one of them is not one in the others.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page_cache_fixture.h"

#define EVENT		"page_cache/probed"

/* What main() returns when the program is run as a clone of itself. */
#define EXEC_STATUS	42

/* The function that is probed, alone in its page of code. */
static int __attribute__((noinline, noclone, aligned(4096))) probed(int x)
{
	asm volatile("" : "+r" (x) : : "memory");
	return x + 1;
}

/* Where in the file that a process runs is what lies at p? */
static size_t offset_in_file(const void *p)
{
	uint64_t addr = (uintptr_t)p, start, end, pgoff;
	char *line = NULL;
	size_t len = 0, off = 0;
	FILE *maps;

	maps = fopen("/proc/self/maps", "r");
	while (maps && !off && getline(&line, &len, maps) > 0) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64, &start,
			   &end, &pgoff) == 3 &&
		    addr >= start && addr < end)
			off = addr - start + pgoff;
	}
	free(line);
	if (maps)
		fclose(maps);
	return off;
}

FIXTURE(program)
{
	struct pc_fs fs;
	struct pc_file *prog, *clone;
	struct pc_stat start;
	size_t off;		/* of probed() in the file */
	bool probe;		/* there is one */
};

/* Two copies of this program, cold. */
FIXTURE_SETUP(program)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	ASSERT_EQ(0, pc_copy_in(&self->prog, &self->fs, "prog",
				"/proc/self/exe"));
	ASSERT_EQ(0, pc_clone(&self->clone, self->prog, "clone"));
	ASSERT_EQ(0, pc_drop_caches("3"));
	pc_stat(&self->start);
	self->off = offset_in_file(probed);
	ASSERT_NE(0, self->off);
	/* No program runs that is open for writing. */
	ASSERT_EQ(0, pc_fs_reopen(&self->fs, O_RDONLY));
}

static void remove_probe(struct _test_data_program *self)
{
	if (!self->probe)
		return;
	pc_write_str(PC_TRACING "/events/" EVENT "/enable", "0");
	pc_write_str(PC_TRACING "/uprobe_events", "-:" EVENT);
	self->probe = false;
}

FIXTURE_TEARDOWN(program)
{
	remove_probe(self);
	pc_teardown(_metadata, &self->fs);
}

/* Runs the file: the page frame in which it found its probed(). */
static uint64_t run(struct __test_metadata *_metadata,
		    struct _test_data_program *self, struct pc_file *f)
{
	char text[32];
	int p[2], status;
	pid_t pid;

	ASSERT_EQ(0, pipe(p));
	pid = pc_fork(&self->fs);
	ASSERT_LE(0, pid);
	if (!pid) {
		dup2(p[1], 1);
		close(p[0]);
		close(p[1]);
		execl(f->path, f->path, "--exec", NULL);
		_exit(1);
	}
	close(p[1]);
	status = pc_wait(&self->fs, pid);
	EXPECT_EQ(EXEC_STATUS << 8, status);
	memset(text, 0, sizeof(text));
	EXPECT_LT(0, read(p[0], text, sizeof(text) - 1));
	close(p[0]);
	return strtoull(text, NULL, 10);
}

/* Both run from one page, which is also that of a mapping of the file. */
TEST_F(program, one_page_of_code)
{
	unsigned char *map;
	uint64_t pfn;

	map = pc_map(self->prog, self->prog->m->size, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, map);
	for (int i = 0; i < 2; i++) {
		pfn = run(_metadata, self, self->prog);
		EXPECT_NE(0, pfn);
		if (pc_sharing())
			EXPECT_EQ(pfn, run(_metadata, self, self->clone));
		pc_touch(map + self->off);
		EXPECT_EQ(pfn, pc_pfn(map + self->off));
	}
	pc_expect_count(_metadata, &self->start, PC_BREAK, 0);
	ASSERT_EQ(0, pc_fs_reopen(&self->fs, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A program that runs is written to by nobody, and its clone may be. */
TEST_F(program, clone_is_written_while_it_runs)
{
	uint64_t pfn = run(_metadata, self, self->prog);

	ASSERT_EQ(0, pc_reopen(self->clone, O_RDWR));
	ASSERT_EQ(0, pc_write(self->clone, self->off, PC_PAGE, 2));
	if (pc_sharing())
		EXPECT_EQ(pfn, run(_metadata, self, self->prog));
	run(_metadata, self, self->prog);
	ASSERT_EQ(0, pc_fs_reopen(&self->fs, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* How often was the probe hit? */
static long hits(void)
{
	char buf[4096], *at;
	long n;

	if (pc_read_str(PC_TRACING "/uprobe_profile", buf, sizeof(buf)) < 0)
		return -1;
	at = strstr(buf, "probed");
	return at && sscanf(at, "%*s %ld", &n) == 1 ? n : -1;
}

/* A breakpoint in the clone, put there while both may be in page tables. */
TEST_F(program, breakpoint)
{
	unsigned char *prog, *clone;
	size_t len = self->prog->m->size;
	char text[256];

	if (!pc_tracefs() || access(PC_TRACING "/uprobe_events", W_OK))
		SKIP(return, "no uprobe_events in tracefs");
	prog = pc_map(self->prog, len, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	ASSERT_NE(NULL, prog);
	clone = pc_map(self->clone, len, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	ASSERT_NE(NULL, clone);
	pc_expect_map(_metadata, self->prog);
	pc_expect_map(_metadata, self->clone);
	run(_metadata, self, self->prog);
	run(_metadata, self, self->clone);

	snprintf(text, sizeof(text), "p:" EVENT " %s:%#zx", self->clone->path,
		 self->off);
	ASSERT_EQ(0, pc_write_str(PC_TRACING "/uprobe_events", text));
	self->probe = true;
	ASSERT_EQ(0, pc_write_str(PC_TRACING "/events/" EVENT "/enable", "1"));
	/* It is in this process's mapping of the clone, and nowhere else. */
	EXPECT_TRUE(pc_is_anon(clone + self->off));
	EXPECT_NE(self->clone->m->data[self->off], clone[self->off]);
	pc_expect_map(_metadata, self->prog);
	EXPECT_EQ(0, pc_verify(self->prog, PC_READ));
	EXPECT_EQ(0, pc_verify(self->clone, PC_READ));
	EXPECT_EQ(0, hits());
	run(_metadata, self, self->prog);
	EXPECT_EQ(0, hits());
	run(_metadata, self, self->clone);
	EXPECT_EQ(1, hits());
	EXPECT_EQ(0, pc_verify(self->clone, PC_READ));

	remove_probe(self);
	pc_expect_map(_metadata, self->clone);
	pc_expect_map(_metadata, self->prog);
	run(_metadata, self, self->clone);
	ASSERT_EQ(0, pc_fs_reopen(&self->fs, O_RDWR));
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Run by run(): tells where it is. */
static int in_clone(void)
{
	if (probed(1) != 2)
		return 1;
	printf("%" PRIu64 "\n", pc_pfn(probed));
	return fflush(stdout) ? 1 : EXEC_STATUS;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--exec"))
		return in_clone();
	return test_harness_run(argc, argv);
}
