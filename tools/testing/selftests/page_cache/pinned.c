// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel does with the pages that a process has mapped, when these are
 * shared by several files: it reads them where they are, and gets a page of the
 * file's own before it writes, or holds them for long, or tells others about
 * them.  What it holds goes on being what it was when the file is written.
 */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/io_uring.h>

#include "page_cache_fixture.h"

#define PAGES	16UL
#define SIZE	(PAGES * PC_PAGE)

/* Two files that share all they have, mapped and in the page table. */
FIXTURE(pinned)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
	struct pc_stat start;
};

FIXTURE_SETUP(pinned)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_NE(NULL, pc_map(self->a, SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED));
	ASSERT_NE(NULL, pc_map(self->b, SIZE, PROT_READ, MAP_SHARED));
	pc_touch_pages(self->a, 0, PAGES);
	pc_touch_pages(self->b, 0, PAGES);
	pc_stat(&self->start);
}

FIXTURE_TEARDOWN(pinned)
{
	pc_teardown(_metadata, &self->fs);
}

/* So many pages of one file were broken, and nothing else happened. */
static void expect_broken(struct __test_metadata *_metadata,
			  struct _test_data_pinned *self, int64_t pages)
{
	pc_expect_pages(_metadata, &self->start, 0, -pages);
	pc_expect_count(_metadata, &self->start, PC_BREAK, pages);
}

static void check_all(struct __test_metadata *_metadata,
		      struct _test_data_pinned *self)
{
	pc_expect_map(_metadata, self->a);
	pc_expect_map(_metadata, self->b);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* A process that has the same mappings, with all pages in its page table. */
static void fork_mapper(struct __test_metadata *_metadata,
			struct _test_data_pinned *self, struct pc_peer *peer)
{
	pid_t pid = pc_fork_peer(&self->fs, peer);

	ASSERT_LE(0, pid);
	if (!pid) {
		pc_touch_pages(self->a, 0, PAGES);
		pc_touch_pages(self->b, 0, PAGES);
		if (pc_say(peer) || pc_hear(peer))
			_exit(1);
		_exit(pc_compare("a in the child", self->a->m->data,
				 self->a->map, SIZE, 0) ||
		      pc_compare("b in the child", self->b->m->data,
				 self->b->map, SIZE, 0));
	}
	ASSERT_EQ(0, pc_hear(peer));
}

/* Another process reads and writes these mappings of a process. */
TEST_F(pinned, process_vm)
{
	unsigned char buf[SIZE];
	struct iovec here = { buf, SIZE };
	struct iovec there = { self->a->map, SIZE };
	size_t off = 3 * PC_PAGE + 100;
	struct pc_peer peer;

	if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) < 0)
		SKIP(return, "process_vm_readv: %s", strerror(errno));
	fork_mapper(_metadata, self, &peer);
	ASSERT_EQ(SIZE, process_vm_readv(peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ(0, pc_compare("a", self->a->m->data, buf, SIZE, 0));
	there.iov_base = self->b->map;
	ASSERT_EQ(SIZE, process_vm_readv(peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ(0, pc_compare("b", self->b->m->data, buf, SIZE, 0));
	expect_broken(_metadata, self, 0);

	/* No permission there, no write here. */
	here.iov_len = 1000;
	EXPECT_EQ(-1, process_vm_writev(peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	expect_broken(_metadata, self, 0);
	pc_fill(buf, 1000, 2, off);
	there.iov_base = self->a->map + off;
	there.iov_len = 1000;
	ASSERT_EQ(1000, process_vm_writev(peer.pid, &here, 1, &there, 1, 0));
	pc_model_write(self->a->m, off, 1000, 2);
	expect_broken(_metadata, self, 1);
	EXPECT_EQ(0, pc_end(&self->fs, &peer));
	check_all(_metadata, self);
}

/* The debugged child: what was written is all that it finds changed. */
static int debugged(struct pc_file *a, size_t off, long word)
{
	unsigned char want[PC_PAGE];
	size_t page = off & ~(PC_PAGE - 1);

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return pc_err("PTRACE_TRACEME");
	pc_touch(a->map + off);
	raise(SIGSTOP);
	memcpy(want, a->m->data + page, PC_PAGE);
	memcpy(want + off - page, &word, sizeof(word));
	if (!pc_is_anon(a->map + off))
		pc_log("the written page is the file's");
	return !pc_is_anon(a->map + off) ||
	       pc_compare("written page", want, a->map + page, PC_PAGE, page);
}

/* As a debugger writes: into what the process itself may only read. */
TEST_F(pinned, debugger_writes)
{
	size_t off = 4 * PC_PAGE + 104;
	unsigned char *map;
	int status;
	pid_t pid;

	map = pc_map(self->a, SIZE, PROT_READ, MAP_PRIVATE);
	ASSERT_NE(NULL, map);
	pc_touch_pages(self->a, 0, PAGES);
	pid = pc_fork(&self->fs);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(debugged(self->a, off, 0x12345678) ? 1 : 0);
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, map + off, 0x12345678L));
	/* A shared mapping without permission is nobody's to write. */
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->b->map + off, 1L));
	EXPECT_EQ(0, ptrace(PTRACE_CONT, pid, NULL, NULL));
	EXPECT_EQ(0, pc_wait(&self->fs, pid));
	expect_broken(_metadata, self, 0);
	check_all(_metadata, self);
}

/* Direct I/O: the device reads shared pages, of any file, where they are. */
TEST_F(pinned, direct_write_from_mapping)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 9));
	ASSERT_EQ(0, pc_reopen(d, O_RDWR | O_DIRECT));
	ASSERT_EQ(4 * PC_PAGE, pwrite(d->fd, self->b->map + 8 * PC_PAGE,
				      4 * PC_PAGE, 0));
	pc_model_copy(d->m, 0, self->b->m, 8 * PC_PAGE, 4 * PC_PAGE);
	pc_expect_same(_metadata, self->a, self->b, 0, PAGES, true);
	expect_broken(_metadata, self, 0);
	ASSERT_EQ(0, pc_reopen(d, O_RDWR));
	check_all(_metadata, self);
}

/* ...and writes to pages of the file's own. */
TEST_F(pinned, direct_read_into_mapping)
{
	struct pc_file *d;

	ASSERT_EQ(0, pc_create(&d, &self->fs, "d", SIZE, 9));
	ASSERT_EQ(0, pc_reopen(d, O_RDWR | O_DIRECT));
	ASSERT_EQ(4 * PC_PAGE, pread(d->fd, self->a->map + 8 * PC_PAGE,
				     4 * PC_PAGE, 0));
	pc_model_copy(self->a->m, 8 * PC_PAGE, d->m, 0, 4 * PC_PAGE);
	pc_expect_same(_metadata, self->a, self->b, 8, 12, false);
	expect_broken(_metadata, self, 4);
	/* What may only be read is not read into. */
	EXPECT_EQ(-1, pread(d->fd, self->b->map, PC_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, pc_reopen(d, O_RDWR));
	check_all(_metadata, self);
}

/* Pages that wait in a pipe or socket while their file is written. */
FIXTURE(in_flight)
{
	struct pc_fs fs;
	struct pc_file *a, *b;
	int end[2];
};

/* Puts a page of the file at off into the pipe or socket. */
typedef ssize_t (*move_fn)(struct pc_file *f, size_t off, int to);

FIXTURE_VARIANT(in_flight)
{
	move_fn move;
	bool socket;
};

static ssize_t by_vmsplice(struct pc_file *f, size_t off, int to)
{
	struct iovec v = { f->map + off, PC_PAGE };

	return vmsplice(to, &v, 1, 0);
}

FIXTURE_VARIANT_ADD(in_flight, vmsplice)
{
	.move = by_vmsplice,
};

static ssize_t by_splice(struct pc_file *f, size_t off, int to)
{
	loff_t pos = off;

	return splice(f->fd, &pos, to, NULL, PC_PAGE, 0);
}

FIXTURE_VARIANT_ADD(in_flight, splice)
{
	.move = by_splice,
};

static ssize_t by_sendfile(struct pc_file *f, size_t off, int to)
{
	off_t pos = off;

	return sendfile(to, f->fd, &pos, PC_PAGE);
}

FIXTURE_VARIANT_ADD(in_flight, sendfile)
{
	.move = by_sendfile,
	.socket = true,
};

FIXTURE_SETUP(in_flight)
{
	if (!pc_setup(_metadata, &self->fs, NULL))
		return;
	pc_setup_clones(_metadata, &self->fs, SIZE, &self->a, &self->b);
	pc_warm(_metadata, PAGES, self->a, self->b);
	ASSERT_NE(NULL, pc_map(self->a, SIZE, PROT_READ, MAP_SHARED));
	ASSERT_NE(NULL, pc_map(self->b, SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED));
	/* From end[1] to end[0]. */
	ASSERT_EQ(0, variant->socket ?
		  socketpair(AF_UNIX, SOCK_STREAM, 0, self->end) :
		  pipe2(self->end, 0));
}

FIXTURE_TEARDOWN(in_flight)
{
	close(self->end[0]);
	close(self->end[1]);
	pc_teardown(_metadata, &self->fs);
}

/* The page is there as it was, or as it is, and not half of each. */
static void expect_old_or_new(struct __test_metadata *_metadata,
			      const struct pc_file *f, size_t off,
			      const unsigned char *old, int from)
{
	unsigned char buf[PC_PAGE];

	for (size_t have = 0; have < PC_PAGE;) {
		ssize_t n = read(from, buf + have, PC_PAGE - have);

		ASSERT_LT(0, n);
		have += n;
	}
	if (!memcmp(buf, old, PC_PAGE))
		return;
	EXPECT_EQ(0, pc_compare("neither old nor new", f->m->data + off, buf,
				PC_PAGE, off));
}

/* Of every page the file is written in another way, and its clone is not. */
TEST_F(in_flight, then_written)
{
	struct pc_file *b = self->b;
	unsigned char old[SIZE];

	memcpy(old, b->m->data, SIZE);
	pc_touch_pages(self->a, 0, PAGES);
	pc_touch_pages(b, 0, PAGES);
	for (size_t i = 0; i < 6; i++) {
		size_t off = i * PC_PAGE;

		ASSERT_EQ(PC_PAGE, variant->move(b, off, self->end[1]));
		switch (i) {
		case 0:
			ASSERT_EQ(0, pc_write(b, off, PC_PAGE, 2));
			break;
		case 1:
			pc_fill(b->map + off, PC_PAGE, 3, off);
			pc_model_write(b->m, off, PC_PAGE, 3);
			break;
		case 2:
			ASSERT_EQ(0, pc_write_direct(b, off, PC_PAGE, 4));
			break;
		case 3:
			ASSERT_EQ(0, pc_fallocate(b, FALLOC_FL_PUNCH_HOLE |
						  FALLOC_FL_KEEP_SIZE, off,
						  PC_PAGE));
			break;
		case 4:
			ASSERT_EQ(0, pc_clone_range(b, off, self->a,
						    9 * PC_PAGE, PC_PAGE));
			break;
		default:
			/* The one that was taken is the clone's now, alone. */
			ASSERT_EQ(0, pc_unlink(self->a));
			ASSERT_EQ(0, pc_write(b, off, PC_PAGE, 5));
			break;
		}
		pc_expect_map(_metadata, b);
		if (i < 5)
			pc_expect_map(_metadata, self->a);
		expect_old_or_new(_metadata, b, off, old + off, self->end[0]);
	}
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Pages that are reclaimed, as far as they can be, while somebody has them. */
TEST_F(in_flight, then_dropped)
{
	unsigned char old[SIZE];

	memcpy(old, self->b->m->data, SIZE);
	for (size_t i = 0; i < 4; i++)
		ASSERT_EQ(PC_PAGE, variant->move(self->b, i * PC_PAGE,
						 self->end[1]));
	pc_unmap(self->a);
	pc_unmap(self->b);
	ASSERT_EQ(0, pc_drop_caches("1"));
	ASSERT_EQ(0, pc_write(self->a, 0, SIZE, 2));
	ASSERT_EQ(0, pc_evict(self->a));
	for (size_t i = 0; i < 4; i++)
		expect_old_or_new(_metadata, self->b, i * PC_PAGE,
				  old + i * PC_PAGE, self->end[0]);
	EXPECT_EQ(0, pc_verify_cycle(&self->fs));
}

/* Pins that last. */

static int io_uring_setup(unsigned int entries)
{
	struct io_uring_params p = {};

	return syscall(__NR_io_uring_setup, entries, &p);
}

static int io_uring_register_buffer(int ring, void *addr, size_t len)
{
	struct iovec v = { addr, len };

	return syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS,
		       &v, 1);
}

/*
 * A buffer of io_uring is to be written: what is registered of a private
 * mapping is the mapping's own, and no file is to notice.
 */
TEST_F(pinned, io_uring_buffer)
{
	unsigned char *map;
	int ring;

	ring = io_uring_setup(4);
	if (ring < 0)
		SKIP(return, "io_uring_setup: %s", strerror(errno));
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		   self->a->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	pc_touch(map + 3 * PC_PAGE);
	ASSERT_EQ(0, io_uring_register_buffer(ring, map + 3 * PC_PAGE,
					      2 * PC_PAGE))
		TH_LOG("%s", strerror(errno));
	EXPECT_TRUE(pc_is_anon(map + 3 * PC_PAGE));
	EXPECT_TRUE(pc_is_anon(map + 4 * PC_PAGE));
	expect_broken(_metadata, self, 0);
	/* The file goes on without it. */
	ASSERT_EQ(0, pc_write(self->a, 3 * PC_PAGE, PC_PAGE, 2));
	EXPECT_EQ(0, pc_compare("buffer", self->b->m->data + 3 * PC_PAGE,
				map + 3 * PC_PAGE, PC_PAGE, 3 * PC_PAGE));
	pc_expect_map(_metadata, self->a);
	expect_broken(_metadata, self, 1);
	/* A file's own pages it refuses or writes to, but not the clone's. */
	ASSERT_EQ(0, syscall(__NR_io_uring_register, ring,
			     IORING_UNREGISTER_BUFFERS, NULL, 0));
	if (!io_uring_register_buffer(ring, self->a->map, 2 * PC_PAGE))
		pc_expect_same(_metadata, self->a, self->b, 0, 2, false);
	close(ring);
	munmap(map, SIZE);
	check_all(_metadata, self);
}

/*
 * A pin that is to stay has to see what is written to the file later: it is of
 * a page of the file's own, also where it only reads.
 */
TEST_F(pinned, longterm)
{
	struct pc_pin_longterm pin = {
		.addr = (uintptr_t)self->b->map,
		.size = 4 * PC_PAGE,
	};
	unsigned char buf[8 * PC_PAGE];
	uint64_t to = (uintptr_t)buf;
	int fd;

	fd = open(PC_GUP_TEST, O_RDWR);
	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	for (int i = 0; i < 2; i++) {
		pin.flags = i * PC_PIN_FAST;
		ASSERT_EQ(0, ioctl(fd, PC_PIN_START, &pin))
			TH_LOG("%s", strerror(errno));
		/* Pinned pages of the file's own, those of a are the home's. */
		pc_expect_same(_metadata, self->a, self->b, i * 4, i * 4 + 4,
			       false);
		expect_broken(_metadata, self, 4 * i + 4);
		ASSERT_EQ(0, pc_write(self->b, pin.addr -
				      (uintptr_t)self->b->map, 4 * PC_PAGE, 2));
		ASSERT_EQ(0, ioctl(fd, PC_PIN_READ, &to));
		EXPECT_EQ(0, pc_compare("pinned", self->b->m->data +
					i * 4 * PC_PAGE, buf, 4 * PC_PAGE, 0));
		ASSERT_EQ(0, ioctl(fd, PC_PIN_STOP));
		pin.addr += 4 * PC_PAGE;
	}
	close(fd);
	check_all(_metadata, self);
}

/* Futexes */

static long futex(void *word, int op, uint32_t val)
{
	return syscall(__NR_futex, word, op, val, NULL, NULL, 0);
}

/* A process that waits at a word of the file until somebody wakes it. */
static void fork_waiter(struct __test_metadata *_metadata,
			struct _test_data_pinned *self, struct pc_file *f,
			size_t off, int prot, struct pc_peer *peer)
{
	pid_t pid = pc_fork_peer(&self->fs, peer);

	ASSERT_LE(0, pid);
	if (!pid) {
		unsigned char *map;
		uint32_t val;

		map = mmap(NULL, SIZE, prot, MAP_SHARED, f->fd, 0);
		if (map == MAP_FAILED)
			_exit(1);
		memcpy(&val, map + off, sizeof(val));
		if (pc_say(peer))
			_exit(1);
		_exit(futex(map + off, FUTEX_WAIT, val) ? 1 : 0);
	}
	ASSERT_EQ(0, pc_hear(peer));
	ASSERT_EQ(0, pc_sleeps_in(pid, __NR_futex));
}

/* Somebody must be there to be woken: this many. */
static void expect_woken(struct __test_metadata *_metadata, void *word,
			 long sleepers)
{
	EXPECT_EQ(sleepers, futex(word, FUTEX_WAKE, INT_MAX));
}

/*
 * Who waits with a read-only mapping of a shared page, and who wakes with one
 * that may write, mean the same word; the same place of a clone is another.
 */
TEST_F(pinned, futex)
{
	size_t off = 3 * PC_PAGE + 64;
	struct pc_peer at_a, at_b;

	fork_waiter(_metadata, self, self->a, off, PROT_READ, &at_a);
	fork_waiter(_metadata, self, self->b, off, PROT_READ, &at_b);
	expect_woken(_metadata, self->a->map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at_a.pid));
	EXPECT_TRUE(pc_runs(at_b.pid));
	expect_woken(_metadata, self->a->map + off, 0);
	expect_woken(_metadata, self->b->map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at_b.pid));
	check_all(_metadata, self);
}

/* The other way round, and at the same offset as a word of another page. */
TEST_F(pinned, futex_woken_read_only)
{
	size_t off = 5 * PC_PAGE + 64;
	struct pc_peer at_a, at_b;
	unsigned char *map;

	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->a->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	fork_waiter(_metadata, self, self->b, off, PROT_READ, &at_b);
	fork_waiter(_metadata, self, self->a, off, PROT_READ | PROT_WRITE,
		    &at_a);
	expect_woken(_metadata, map + off + PC_PAGE, 0);
	expect_woken(_metadata, map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at_a.pid));
	expect_woken(_metadata, self->b->map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at_b.pid));
	munmap(map, SIZE);
	check_all(_metadata, self);
}

/* The page under a waiter is broken, dropped, and shared again. */
TEST_F(pinned, futex_of_a_page_that_changes)
{
	struct pc_file *a = self->a, *b = self->b;
	size_t off = 7 * PC_PAGE + 64;
	struct pc_peer at;

	/* All of them from mappings that may not write. */
	ASSERT_EQ(0, mprotect(a->map, SIZE, PROT_READ));
	fork_waiter(_metadata, self, a, off, PROT_READ, &at);
	ASSERT_EQ(0, pc_write(a, 7 * PC_PAGE, 16, 2));
	expect_woken(_metadata, a->map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at.pid));

	/* Waits on a page of its own, and is woken by an alias. */
	fork_waiter(_metadata, self, a, off, PROT_READ, &at);
	ASSERT_EQ(0, pc_clone_range(a, 0, b, 0, SIZE));
	pc_touch_pages(a, 0, PAGES);
	expect_woken(_metadata, a->map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at.pid));
	check_all(_metadata, self);
}

/* A private mapping that is only read is of the file as well. */
TEST_F(pinned, futex_private_mapping)
{
	size_t off = 3 * PC_PAGE + 64;
	struct pc_peer at;
	unsigned char *map;

	map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, self->a->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	pc_touch(map + off);
	fork_waiter(_metadata, self, self->a, off, PROT_READ, &at);
	expect_woken(_metadata, map + off, 1);
	EXPECT_EQ(0, pc_wait(&self->fs, at.pid));
	munmap(map, SIZE);
	expect_broken(_metadata, self, 0);
	check_all(_metadata, self);
}

TEST_HARNESS_MAIN
