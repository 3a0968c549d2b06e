// SPDX-License-Identifier: GPL-2.0
/*
 * What operations on files cost, in instructions: the part of "lab bench" that is
 * counted.
 *
 * For a guest that counts (QEMU's -icount shift=0): there the processor's time
 * stamp counter goes on by one with each instruction, of the kernel as of
 * programs.  Elsewhere the numbers are time, and of little use.
 *
 * Usage: cost DEVICE MEASURE, in a folder on XFS on /dev/DEVICE that is not in use
 * otherwise.  Prints lines "name value".  The device should be one that reads
 * while the reader waits in the kernel without sleeping (pmem), so that waiting is
 * no part of the numbers.
 *
 * What is repeated without a change of state is the least of some rounds, each so
 * short that in most of them no tick of the timer falls, less what the empty loop
 * takes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096L
#define MIB (1L << 20)
/* How cp and cat read. */
#define CHUNK (128L << 10)
#define ROUNDS 24
/* Rounds that need new files each. */
#define NEW_ROUNDS 8
/* The file that stays in the cache. */
#define SIZE (8 * MIB)
/* A file of a round. */
#define SMALL MIB
#define INODES 512
/* Files that share all they have, for reclaim. */
#define SHARERS 16
#define SHARED (2 * MIB)
#define CGROUP "/sys/fs/cgroup/cost"
#define AROUND "/sys/kernel/debug/fault_around_bytes"

#define unchanging __attribute__((noipa))

typedef void (*call_t)(long n);

static const char *device;
static char *buffer;
/* What the calls below work on. */
static int fd;
static size_t length;
static long offset;

static void die(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	exit(1);
}

static void check(int good, const char *what)
{
	if (!good)
		die("%s: %s", what, strerror(errno));
}

static uint64_t now(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void put(const char *name, double value)
{
	printf("%s %.2f\n", name, value);
}

/* -- Files ---------------------------------------------------------------- */

static int open_file(const char *path, int flags)
{
	int file = open(path, flags | O_CLOEXEC, 0600);

	check(file >= 0, path);
	return file;
}

static void write_text(const char *path, const char *text)
{
	int file = open_file(path, O_WRONLY);

	check(write(file, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(file);
}

static void fill(char *to, size_t bytes)
{
	static uint64_t state = 88172645463325252ULL;
	uint64_t *word = (uint64_t *)to;

	for (size_t n = 0; n < bytes / sizeof(*word); n++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		word[n] = state;
	}
}

/* A file of its own data, all of it cached and on the device. */
static int new_file(const char *path, long size)
{
	int file = open_file(path, O_RDWR | O_CREAT | O_TRUNC);

	for (long at = 0; at < size; at += MIB) {
		fill(buffer, MIB);
		check(pwrite(file, buffer, MIB, at) == MIB, path);
	}
	check(!fsync(file), path);
	return file;
}

static int new_clone(int of, const char *path)
{
	int file = open_file(path, O_RDWR | O_CREAT | O_TRUNC);

	check(!ioctl(file, FICLONE, of), "FICLONE");
	return file;
}

static void read_whole(int file, long size, long chunk)
{
	for (long at = 0; at < size; at += chunk)
		check(pread(file, buffer, chunk, at) == chunk, "pread");
}

static void drop_caches(void)
{
	sync();
	write_text("/proc/sys/vm/drop_caches", "1");
	/*
	 * A first read in the tick of the write leaves the access time no later
	 * than that of the change, and every read after it looks at that again.
	 */
	usleep(100000);
}

/* A line "name number" of a file in /proc; -1 when there is none. */
static long line_of(const char *path, const char *name)
{
	char line[256];
	size_t known = strlen(name);
	FILE *file = fopen(path, "re");
	long value = -1;

	check(file != NULL, path);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, known) && line[known] == ' ')
			value = atol(line + known);
	fclose(file);
	return value;
}

static long vmstat(const char *name)
{
	/* What each processor has counted for itself goes into the sums. */
	write_text("/proc/sys/vm/stat_refresh", "1");
	return line_of("/proc/vmstat", name);
}

static long device_bytes(void)
{
	char path[128];
	unsigned long sectors;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", device);
	file = fopen(path, "re");
	check(file != NULL, path);
	check(fscanf(file, "%*u %*u %lu", &sectors) == 1, path);
	fclose(file);
	return sectors * 512;
}

/* On a kernel that shares, what is called aliased has to be. */
static void must_share(long before, long pages)
{
	long is = vmstat("nr_page_cache_alias");

	if (is >= 0 && is - before < pages)
		die("of %ld pages only %ld are shared", pages, is - before);
}

/* -- Counting ------------------------------------------------------------- */

static unchanging void nothing(long n)
{
	(void)n;
}

static unchanging double least_of(call_t call, long times)
{
	uint64_t best = UINT64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t begin = now(), spent;

		for (long n = 0; n < times; n++)
			call(n);
		spent = now() - begin;
		if (spent < best)
			best = spent;
	}
	return (double)best / times;
}

/* Of one call. */
static double cost(call_t call, long times)
{
	return least_of(call, times) - least_of(nothing, times);
}

static unchanging void call_getppid(long n)
{
	(void)n;
	syscall(SYS_getppid);
}

/* Every fourth page: as far apart as the file is long for the calls of a round. */
static unchanging void call_read(long n)
{
	if (pread(fd, buffer, length, n * 4 * PAGE % SIZE) != (ssize_t)length)
		die("a short read");
}

static unchanging void call_read_large(long n)
{
	if (pread(fd, buffer, MIB, n * MIB % SIZE) != MIB)
		die("a short read");
}

/* The nth piece of a file, in order. */
static unchanging void call_read_next(long n)
{
	if (pread(fd, buffer, length, n * length) != (ssize_t)length)
		die("a short read");
}

static unchanging void call_write_next(long n)
{
	if (pwrite(fd, buffer, length, n * PAGE + offset) != (ssize_t)length)
		die("a short write");
}

static unchanging void call_write_large(long n)
{
	if (pwrite(fd, buffer, CHUNK, n * CHUNK) != CHUNK)
		die("a short write");
}

/* Of one call, where it can be made but once. */
static double once(call_t call, long times)
{
	uint64_t begin = now();

	for (long n = 0; n < times; n++)
		call(n);
	return (double)(now() - begin) / times - least_of(nothing, times);
}

/* -- The measures --------------------------------------------------------- */

/*
 * A file as it is read ahead, one that is cached by single pages, and a clone of
 * another with as much in it; all of them cached.
 */
static int plain, single, alias;

static void cached_files(void)
{
	int original;
	long before;

	plain = new_file("plain", SIZE);
	single = new_file("single", SIZE);
	original = new_file("original", SIZE);
	alias = new_clone(original, "alias");
	drop_caches();
	check(!posix_fadvise(single, 0, 0, POSIX_FADV_RANDOM), "fadvise");
	read_whole(single, SIZE, PAGE);
	check(!posix_fadvise(single, 0, 0, POSIX_FADV_NORMAL), "fadvise");
	before = vmstat("nr_page_cache_alias");
	read_whole(plain, SIZE, CHUNK);
	read_whole(original, SIZE, CHUNK);
	read_whole(alias, SIZE, CHUNK);
	must_share(before, 2 * SIZE / PAGE);
}

static void reads_of(const char *which, int file)
{
	char name[64];

	fd = file;
	length = 1;
	snprintf(name, sizeof(name), "read.%s.1", which);
	put(name, cost(call_read, 512));
	length = PAGE;
	snprintf(name, sizeof(name), "read.%s.4k", which);
	put(name, cost(call_read, 512));
	snprintf(name, sizeof(name), "read.%s.1m", which);
	put(name, cost(call_read_large, 8));
}

static void measure_read(void)
{
	put("read.getppid", cost(call_getppid, 512));
	cached_files();
	reads_of("plain", plain);
	reads_of("single", single);
	reads_of("alias", alias);
}

/* Of a page touched first, less what touching it again takes. */
static double fault(int file, const char *around)
{
	const long pages = 512;
	uint64_t best = UINT64_MAX;

	write_text(AROUND, around);
	for (int round = 0; round < ROUNDS; round++) {
		volatile char *at = mmap(NULL, pages * PAGE, PROT_READ,
					 MAP_SHARED, file, 0);
		uint64_t begin, first, again;

		check(at != MAP_FAILED, "mmap");
		begin = now();
		for (long n = 0; n < pages; n++)
			(void)at[n * PAGE];
		first = now() - begin;
		begin = now();
		for (long n = 0; n < pages; n++)
			(void)at[n * PAGE];
		again = now() - begin;
		munmap((void *)at, pages * PAGE);
		if (first - again < best)
			best = first - again;
	}
	return (double)best / pages;
}

static void measure_fault(void)
{
	cached_files();
	put("fault.plain.one", fault(plain, "4096"));
	put("fault.single.one", fault(single, "4096"));
	put("fault.alias.one", fault(alias, "4096"));
	put("fault.plain.around", fault(plain, "65536"));
	put("fault.single.around", fault(single, "65536"));
	put("fault.alias.around", fault(alias, "65536"));
}

/* Of rounds of which each uses new files up: the cheapest, and the most it read. */
struct rounds {
	double best;
	long most;
};

/* A round, of so many calls; what one took counts scale times. */
static void add_round(struct rounds *rounds, void (*call)(long), long calls,
		      double scale)
{
	long before = device_bytes();
	double is = once(call, calls) * scale;
	long bytes = device_bytes() - before;

	if (bytes > rounds->most)
		rounds->most = bytes;
	if (rounds->best < 0 || is < rounds->best)
		rounds->best = is;
}

/* Of a page of a clone that nobody has read, of a file that is cached. */
static void first_read(const char *which, long piece)
{
	struct rounds rounds = { .best = -1 };
	char name[64];

	for (int round = 0; round < NEW_ROUNDS; round++) {
		int source = new_file("source", SMALL);

		fd = new_clone(source, "clone");
		length = piece;
		/* See drop_caches(). */
		usleep(100000);
		add_round(&rounds, call_read_next, SMALL / piece,
			  (double)PAGE / piece);
		close(fd);
		close(source);
		unlink("clone");
		unlink("source");
	}
	snprintf(name, sizeof(name), "warm.first.%s", which);
	put(name, rounds.best);
	snprintf(name, sizeof(name), "warm.bytes.%s", which);
	put(name, rounds.most);
}

static void again_read(const char *which, long piece)
{
	char name[64];

	fd = new_file("source", SMALL);
	drop_caches();
	read_whole(fd, SMALL, CHUNK);
	length = piece;
	snprintf(name, sizeof(name), "warm.again.%s", which);
	put(name, cost(call_read_next, SMALL / piece) * PAGE / piece);
	close(fd);
	unlink("source");
}

static void measure_warm(void)
{
	first_read("4k", PAGE);
	again_read("4k", PAGE);
	first_read("128k", CHUNK);
	again_read("128k", CHUNK);
}

/* Of the first writes into a clone, that many of them. */
static void first_write(const char *which, call_t call, long times, int cached)
{
	struct rounds rounds = { .best = -1 };
	char name[64];

	for (int round = 0; round < NEW_ROUNDS; round++) {
		int source = new_file("source", SMALL);

		fd = new_clone(source, "clone");
		if (cached) {
			long before;

			drop_caches();
			before = vmstat("nr_page_cache_alias");
			read_whole(source, SMALL, CHUNK);
			read_whole(fd, SMALL, CHUNK);
			must_share(before, 2 * SMALL / PAGE);
		}
		add_round(&rounds, call, times, 1);
		close(fd);
		close(source);
		unlink("clone");
		unlink("source");
	}
	snprintf(name, sizeof(name), "write.%s", which);
	put(name, rounds.best);
	snprintf(name, sizeof(name), "write.%s.bytes", which);
	put(name, rounds.most);
}

static void measure_write(void)
{
	length = PAGE;
	offset = 0;
	first_write("page", call_write_next, SMALL / PAGE, 0);
	first_write("page_read", call_write_next, SMALL / PAGE, 1);
	first_write("large", call_write_large, SMALL / CHUNK, 0);
	first_write("large_read", call_write_large, SMALL / CHUNK, 1);
	length = 100;
	offset = 100;
	first_write("part", call_write_next, SMALL / PAGE, 0);
	first_write("part_read", call_write_next, SMALL / PAGE, 1);
}

static void enter(const char *cgroup)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	write_text(path, "0");
}

/*
 * What it takes to free, of each page of a file, all that SHARERS files which share
 * it have in memory: the folio that all of them have, or a folio of each.  Only
 * these pages are charged to a cgroup, and memory.reclaim is asked for three
 * quarters of them: for the last ones it would go round and round.
 */
static double reclaim(const int *files, int advice, long piece)
{
	double best = -1;

	for (int round = 0; round < NEW_ROUNDS; round++) {
		long empty, cached, freed;
		char request[32];
		uint64_t begin;
		double is;
		int ask;

		drop_caches();
		empty = vmstat("nr_file_pages");
		enter(CGROUP);
		for (int n = 0; n < SHARERS; n++) {
			check(!posix_fadvise(files[n], 0, 0, advice), "fadvise");
			read_whole(files[n], SHARED, piece);
		}
		enter("/sys/fs/cgroup");
		cached = vmstat("nr_file_pages") - empty;
		snprintf(request, sizeof(request), "%ld", cached * PAGE * 3 / 4);
		ask = open_file(CGROUP "/memory.reclaim", O_WRONLY);
		begin = now();
		/* Less than was asked for is an error, and counts as it is. */
		if (write(ask, request, strlen(request)) < 0 && errno != EAGAIN)
			die("memory.reclaim: %s", strerror(errno));
		is = now() - begin;
		close(ask);
		freed = cached - (vmstat("nr_file_pages") - empty);
		if (freed < cached / 2)
			die("of %ld pages only %ld were reclaimed", cached, freed);
		is = is / freed * cached / (SHARED / PAGE);
		if (best < 0 || is < best)
			best = is;
	}
	return best;
}

static void measure_reclaim(void)
{
	int files[SHARERS];
	char path[32];

	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	check(!mkdir(CGROUP, 0700) || errno == EEXIST, CGROUP);
	files[0] = new_file("shared", SHARED);
	for (int n = 1; n < SHARERS; n++) {
		snprintf(path, sizeof(path), "shared%d", n);
		files[n] = new_clone(files[0], path);
	}
	put("reclaim.pages", reclaim(files, POSIX_FADV_RANDOM, PAGE));
	put("reclaim.ahead", reclaim(files, POSIX_FADV_NORMAL, CHUNK));
}

static char names[INODES][16];

static unchanging void call_open(long n)
{
	int file = open(names[n], O_RDONLY);

	if (file < 0)
		die("%s: %s", names[n], strerror(errno));
	close(file);
}

static unchanging void call_stat(long n)
{
	struct stat info;

	if (stat(names[n], &info))
		die("%s: %s", names[n], strerror(errno));
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * The middle of all calls: some of them allocate inodes on the device, or are
 * interrupted.
 */
static double create(void)
{
	static uint64_t spent[INODES];

	for (long n = 0; n < INODES; n++) {
		uint64_t begin = now();
		int file = open(names[n], O_RDWR | O_CREAT | O_EXCL, 0600);

		spent[n] = now() - begin;
		check(file >= 0, names[n]);
		close(file);
	}
	qsort(spent, INODES, sizeof(spent[0]), compare);
	return spent[INODES / 2];
}

/* Of a clean inode that nobody has open, by drop_caches. */
static double evict(void)
{
	uint64_t best = UINT64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		int file = open_file("/proc/sys/vm/drop_caches", O_WRONLY);
		uint64_t begin, spent;

		/* First all that is not the matter here. */
		check(write(file, "2", 1) == 1, "drop_caches");
		for (long n = 0; n < INODES; n++)
			call_stat(n);
		begin = now();
		check(write(file, "2", 1) == 1, "drop_caches");
		spent = now() - begin;
		close(file);
		if (spent < best)
			best = spent;
	}
	return (double)best / INODES;
}

static void measure_inode(void)
{
	double created, evicted;
	int folder;

	check(!mkdir("d", 0700), "d");
	for (long n = 0; n < INODES; n++)
		snprintf(names[n], sizeof(names[n]), "d/file%04ld", n);
	created = create();
	folder = open_file(".", O_RDONLY | O_DIRECTORY);
	/* After this no inode waits to be written. */
	check(!ioctl(folder, FIFREEZE, 0), "FIFREEZE");
	check(!ioctl(folder, FITHAW, 0), "FITHAW");
	evicted = evict();
	put("inode.create", created);
	put("inode.evict", evicted);
	put("inode.both", created + evicted);
	cost(call_open, INODES / 2);
	put("inode.open", cost(call_open, INODES / 2));
	put("inode.stat", cost(call_stat, INODES));
}

static const struct {
	const char *name;
	void (*run)(void);
} measures[] = {
	{ "read", measure_read },
	{ "fault", measure_fault },
	{ "warm", measure_warm },
	{ "write", measure_write },
	{ "reclaim", measure_reclaim },
	{ "inode", measure_inode },
};

int main(int argc, char **argv)
{
	if (argc != 3)
		die("usage: %s DEVICE MEASURE", argv[0]);
	device = argv[1];
	buffer = aligned_alloc(PAGE, MIB);
	check(buffer != NULL, "memory");
	fill(buffer, MIB);
	for (size_t n = 0; n < sizeof(measures) / sizeof(measures[0]); n++) {
		if (strcmp(measures[n].name, argv[2]))
			continue;
		measures[n].run();
		return 0;
	}
	die("no measure %s", argv[2]);
}
