// SPDX-License-Identifier: GPL-2.0
/*
 * What the page_cache selftests share, see page_cache_common.h.
 *
 * Nothing has to be cleaned up after a test that failed half way or crashed:
 * the mounts, with the mount point, live in a mount namespace of the process,
 * the loop device is detached by its last close and its backing file has no
 * name any more.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/fiemap.h>
#include <linux/loop.h>

#include "page_cache_common.h"

/* The clone ioctls and FIEMAP: <linux/fs.h> and <sys/mount.h> do not mix. */
struct pc_clone_arg {
	int64_t		src_fd;
	uint64_t	src_offset;
	uint64_t	src_length;
	uint64_t	dest_offset;
};

struct pc_dedupe_arg {
	uint64_t	src_offset;
	uint64_t	src_length;
	uint16_t	dest_count;
	uint16_t	reserved1;
	uint32_t	reserved2;
	/* one element of info[] */
	int64_t		dest_fd;
	uint64_t	dest_offset;
	uint64_t	bytes_deduped;
	int32_t		status;
	uint32_t	reserved;
};

/* struct file_dedupe_range ends before its info[]. */
#define PC_DEDUPE_HEAD	24

#define PC_FICLONE	_IOW(0x94, 9, int)
#define PC_FICLONERANGE	_IOW(0x94, 13, struct pc_clone_arg)
#define PC_FIDEDUPE	_IOC(_IOC_READ | _IOC_WRITE, 0x94, 54, PC_DEDUPE_HEAD)
#define PC_FIEMAP	_IOWR('f', 11, struct fiemap)

/* fs/xfs/libxfs/xfs_fs.h, which libc headers do not have */
struct pc_exchange_arg {
	int32_t		file1_fd;
	uint32_t	pad;
	uint64_t	file1_offset;
	uint64_t	file2_offset;
	uint64_t	length;
	uint64_t	flags;
};

struct pc_eofblocks_arg {
	uint32_t	version;
	uint32_t	flags;
	uint32_t	uid;
	uint32_t	gid;
	uint32_t	prid;
	uint32_t	pad32;
	uint64_t	min_file_size;
	uint64_t	pad64[12];
};

#define PC_XFS_EOFBLOCKS _IOR('X', 58, struct pc_eofblocks_arg)
#define PC_XFS_EXCHANGE	_IOW('X', 129, struct pc_exchange_arg)

static const char * const counter_name[PC_COUNTERS] = {
	[PC_HOME]	= "nr_page_cache_home",
	[PC_ALIAS]	= "nr_page_cache_alias",
	[PC_FRAGMENT]	= "nr_page_cache_fragment",
	[PC_ATTACH]	= "page_cache_attach",
	[PC_DONATE]	= "page_cache_donate",
	[PC_BREAK]	= "page_cache_break",
	[PC_RECLAIM]	= "page_cache_reclaim",
};

static const char * const via_name[PC_VIA_MAX] = {
	[PC_READ]	= "read",
	[PC_PREAD]	= "pread",
	[PC_READV]	= "readv",
	[PC_SPLICE]	= "splice",
	[PC_SENDFILE]	= "sendfile",
	[PC_MMAP]	= "mmap",
	[PC_DIRECT]	= "direct",
};

const char *pc_via_name(enum pc_via via)
{
	return via_name[via];
}

static bool hushed;

void pc_hush(bool on)
{
	hushed = on;
}

/* err 0: there is no error to be told. */
static void __printf(1, 0) comment(const char *fmt, va_list ap, int err)
{
	char line[512];

	if (hushed && err)
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	fprintf(stderr, "# %s%s%s\n", line, err ? ": " : "",
		err ? strerror(err) : "");
}

void pc_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	comment(fmt, ap, 0);
	va_end(ap);
}

int pc_err(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	comment(fmt, ap, err);
	va_end(ap);
	return err ? -err : -EIO;
}

/* /proc, /sys */

int pc_write_str(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, val, strlen(val));
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : 0;
}

int pc_read_str(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (have < len - 1) {
		n = read(fd, buf + have, len - 1 - have);
		if (n <= 0)
			break;
		have += n;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	buf[have] = '\0';
	return n < 0 ? n : (int)have;
}

/* In lines that begin with a name. */
static long long number_in(const char *p, const char *name)
{
	size_t len = strlen(name);

	while (p && *p) {
		if (!strncmp(p, name, len) && (p[len] == ' ' || p[len] == ':'))
			return strtoll(p + len + 1, NULL, 10);
		p = strchr(p, '\n');
		if (p)
			p++;
	}
	return -1;
}

long long pc_number(const char *path, const char *name)
{
	char buf[32768];

	if (pc_read_str(path, buf, sizeof(buf)) < 0)
		return -1;
	return number_in(buf, name);
}

long long pc_vmstat(const char *name)
{
	return pc_number("/proc/vmstat", name);
}

bool pc_sharing(void)
{
	return pc_vmstat(counter_name[PC_ALIAS]) >= 0;
}

void pc_stat(struct pc_stat *s)
{
	for (int i = 0; i < PC_COUNTERS; i++)
		s->v[i] = pc_vmstat(counter_name[i]);
}

struct pc_stat pc_since(const struct pc_stat *then)
{
	struct pc_stat now;

	pc_stat(&now);
	for (int i = 0; i < PC_COUNTERS; i++)
		now.v[i] -= then->v[i];
	return now;
}

const char *pc_stat_str(const struct pc_stat *s)
{
	static char buf[256];

	snprintf(buf, sizeof(buf),
		 "home %lld alias %lld fragment %lld attach %lld donate %lld break %lld reclaim %lld",
		 s->v[PC_HOME], s->v[PC_ALIAS], s->v[PC_FRAGMENT],
		 s->v[PC_ATTACH], s->v[PC_DONATE], s->v[PC_BREAK],
		 s->v[PC_RECLAIM]);
	return buf;
}

int pc_run(const char *const argv[])
{
	char text[4096], *line, *save;
	size_t have = 0;
	int p[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return pc_err("pipe");
	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid < 0)
		return pc_err("fork");
	if (!pid) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		execvp(argv[0], (char *const *)argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(p[1]);
	/* More than a page of complaints is read and forgotten. */
	for (;;) {
		if (have == sizeof(text) - 1)
			have /= 2;
		n = read(p[0], text + have, sizeof(text) - 1 - have);
		if (n <= 0)
			break;
		have += n;
	}
	text[have] = '\0';
	close(p[0]);
	if (waitpid(pid, &status, 0) < 0)
		return pc_err("waitpid");
	if (!WIFEXITED(status))
		return -EINTR;
	if (!WEXITSTATUS(status) || WEXITSTATUS(status) == 127)
		return WEXITSTATUS(status);
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		pc_log("%s: %s", argv[0], line);
	return WEXITSTATUS(status);
}

/* The file system */

/* A loop device over an image without a name. */
static int loop_device(struct pc_fs *fs, const char *tmp, unsigned int mib)
{
	struct loop_config cfg = {
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	int ctl, nr, fd, err;
	char img[96];

	snprintf(img, sizeof(img), "%.64s/page_cache.XXXXXX", tmp);
	fd = mkostemp(img, O_CLOEXEC);
	if (fd < 0)
		return pc_err("%s", img);
	unlink(img);
	if (ftruncate(fd, MIB(mib))) {
		err = pc_err("%s: ftruncate", img);
		goto out;
	}

	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (ctl < 0) {
		snprintf(fs->why, sizeof(fs->why),
			 "no loop device and PAGE_CACHE_DEV is not set");
		err = 1;
		goto out;
	}
	cfg.fd = fd;
	for (int tries = 0;; tries++) {
		nr = ioctl(ctl, LOOP_CTL_GET_FREE);
		if (nr < 0) {
			err = pc_err("LOOP_CTL_GET_FREE");
			break;
		}
		snprintf(fs->dev, sizeof(fs->dev), "/dev/loop%d", nr);
		fs->img_fd = open(fs->dev, O_RDWR | O_CLOEXEC);
		if (fs->img_fd < 0) {
			err = pc_err("%s", fs->dev);
			break;
		}
		if (!ioctl(fs->img_fd, LOOP_CONFIGURE, &cfg)) {
			/* What is open for writing may refuse to be mounted. */
			int ro = open(fs->dev, O_RDONLY | O_CLOEXEC);

			err = ro < 0 ? pc_err("%s", fs->dev) : 0;
			close(fs->img_fd);
			fs->img_fd = ro;
			break;
		}
		/* Somebody else was faster, or no direct I/O to the image. */
		if (errno == EINVAL)
			cfg.info.lo_flags &= ~LO_FLAGS_DIRECT_IO;
		err = pc_err("%s: LOOP_CONFIGURE", fs->dev);
		close(fs->img_fd);
		fs->img_fd = -1;
		if (tries > 20)
			break;
	}
	close(ctl);
out:
	close(fd);
	return err;
}

int pc_fs_device(struct pc_fs *fs, const struct pc_fs_args *args)
{
	const char *dev = args->dev ?: getenv("PAGE_CACHE_DEV");
	const char *tmp = getenv("TMPDIR") ?: "/tmp";
	int ret;

	memset(fs, 0, sizeof(*fs));
	fs->img_fd = -1;
	if (geteuid()) {
		snprintf(fs->why, sizeof(fs->why), "needs root");
		return 1;
	}
	if (sysconf(_SC_PAGESIZE) != (long)PC_PAGE) {
		snprintf(fs->why, sizeof(fs->why), "needs 4 KiB pages");
		return 1;
	}
	if (unshare(CLONE_NEWNS))
		return pc_err("unshare(CLONE_NEWNS)");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return pc_err("making / private");

	pc_stat(&fs->before);
	if (dev && *dev) {
		snprintf(fs->dev, sizeof(fs->dev), "%s", dev);
	} else {
		ret = loop_device(fs, tmp, 512);
		if (ret)
			return ret;
	}
	/* Over what is there, for this process only: the mount point. */
	if (mount("tmpfs", tmp, "tmpfs", 0, NULL))
		return pc_err("mount tmpfs on %s", tmp);
	snprintf(fs->mnt, sizeof(fs->mnt), "%.64s/mnt", tmp);
	if (mkdir(fs->mnt, 0700))
		return pc_err("%s", fs->mnt);
	return 0;
}

static int make_fs(struct pc_fs *fs, const struct pc_fs_args *args)
{
	unsigned int bsize = args->bsize ?: 4096;
	unsigned int mib = args->mib ?: 96;
	bool small_blocks = bsize <= 4096;
	char size[64], block[32];
	const char *argv[18];
	int ret, n = 0;

	if (bsize > PC_PAGE &&
	    access("/sys/kernel/mm/transparent_hugepage", F_OK)) {
		snprintf(fs->why, sizeof(fs->why),
			 "blocks of %u bytes need large folios", bsize);
		return 1;
	}
	snprintf(block, sizeof(block), "size=%u", bsize);
	snprintf(size, sizeof(size), "size=%um,agcount=1",
		 small_blocks ? mib : 256);
	argv[n++] = "mkfs.xfs";
	argv[n++] = "-f";
	argv[n++] = "-q";
	argv[n++] = "-K";
	argv[n++] = "--unsupported";
	argv[n++] = "-m";
	argv[n++] = args->rmap ? "reflink=1,rmapbt=1" : "reflink=1,rmapbt=0";
	argv[n++] = "-i";
	argv[n++] = "exchange=1";
	argv[n++] = "-b";
	argv[n++] = block;
	argv[n++] = "-d";
	argv[n++] = size;
	if (small_blocks) {
		/* As small as mkfs lets it be; bigger blocks need more. */
		argv[n++] = "-l";
		argv[n++] = "size=20m";
	}
	argv[n++] = fs->dev;
	argv[n] = NULL;
	ret = pc_run(argv);
	if (ret == 127) {
		snprintf(fs->why, sizeof(fs->why), "no mkfs.xfs");
		return 1;
	}
	if (ret) {
		pc_log("mkfs.xfs of %s failed with %d", fs->dev, ret);
		return -EINVAL;
	}
	return 0;
}

int pc_fs_mount(struct pc_fs *fs, const char *opts)
{
	if (mount(fs->dev, fs->mnt, "xfs", 0, opts))
		return -errno;
	fs->opts = opts;
	fs->mounted = true;
	return 0;
}

int pc_fs_remount(struct pc_fs *fs, const char *opts)
{
	if (mount(NULL, fs->mnt, NULL, MS_REMOUNT, opts))
		return -errno;
	return 0;
}

/* The files there are, in the order of their slots. */
static struct pc_file *next_file(struct pc_fs *fs, struct pc_file *f)
{
	for (f = f ? f + 1 : fs->file; f < fs->file + PC_MAX_FILES; f++)
		if (f->fs)
			return f;
	return NULL;
}

int pc_fs_umount(struct pc_fs *fs)
{
	for (struct pc_file *f = NULL; (f = next_file(fs, f));)
		pc_shut(f);
	if (!fs->mounted)
		return 0;
	for (int tries = 0; umount2(fs->mnt, 0); tries++) {
		if (errno != EBUSY || tries > 50)
			return pc_err("umount %s", fs->mnt);
		usleep(20000);
	}
	fs->mounted = false;
	return 0;
}

int pc_fs_start(struct pc_fs *fs, const struct pc_fs_args *args)
{
	int ret;

	ret = make_fs(fs, args);
	if (ret)
		return ret;
	ret = pc_fs_mount(fs, args->opts);
	if (!ret)
		return 0;
	if (ret == -ENODEV) {
		snprintf(fs->why, sizeof(fs->why), "no XFS in this kernel");
		return 1;
	}
	errno = -ret;
	return pc_err("mount %s with \"%s\"", fs->dev, args->opts ?: "");
}

int pc_fs_setup(struct pc_fs *fs, const struct pc_fs_args *args)
{
	static const struct pc_fs_args none;

	if (!args)
		args = &none;
	return pc_fs_device(fs, args) ?: pc_fs_start(fs, args);
}

int pc_fs_reopen(struct pc_fs *fs, int flags)
{
	for (struct pc_file *f = NULL; (f = next_file(fs, f));) {
		int ret = pc_reopen(f, flags);

		if (ret)
			return ret;
	}
	return 0;
}

int pc_fs_cycle(struct pc_fs *fs)
{
	int ret;

	ret = pc_fs_umount(fs);
	if (ret)
		return ret;
	ret = pc_fs_mount(fs, fs->opts);
	if (ret) {
		errno = -ret;
		return pc_err("mount %s again", fs->dev);
	}
	return pc_fs_reopen(fs, O_RDWR);
}

int pc_fs_settle(struct pc_fs *fs)
{
	struct pc_eofblocks_arg arg = { .version = 1, .flags = 1 };
	int fd, ret = 0;

	sync();
	fd = open(fs->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return pc_err("%s", fs->mnt);
	/* Waits for XFS's inode collector as well. */
	if (ioctl(fd, PC_XFS_EOFBLOCKS, &arg))
		ret = pc_err("XFS_IOC_FREE_EOFBLOCKS");
	close(fd);
	return ret;
}

pid_t pc_fork(struct pc_fs *fs)
{
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(fs->child); i++) {
		if (fs->child[i])
			continue;
		fflush(stdout);
		fflush(stderr);
		pid = fork();
		if (pid > 0)
			fs->child[i] = pid;
		else if (!pid)
			memset(fs->child, 0, sizeof(fs->child));
		return pid;
	}
	return -EAGAIN;
}

int pc_wait(struct pc_fs *fs, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return pc_err("waitpid");
	for (size_t i = 0; i < ARRAY_SIZE(fs->child); i++)
		if (fs->child[i] == pid)
			fs->child[i] = 0;
	return status;
}

bool pc_runs(pid_t pid)
{
	siginfo_t info = {};

	return !waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

pid_t pc_fork_peer(struct pc_fs *fs, struct pc_peer *peer)
{
	int end[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end))
		return pc_err("socketpair");
	pid = pc_fork(fs);
	/* Each closes the end of the other, or would never hear of its end. */
	close(end[!pid]);
	peer->fd = end[!!pid];
	peer->pid = pid;
	return pid;
}

int pc_say(struct pc_peer *peer)
{
	if (send(peer->fd, "", 1, MSG_NOSIGNAL) == 1)
		return 0;
	return pc_err("telling %d", peer->pid);
}

int pc_hear(struct pc_peer *peer)
{
	char c;

	if (read(peer->fd, &c, 1) == 1)
		return 0;
	errno = EPIPE;
	return pc_err("waiting for %d", peer->pid);
}

int pc_end(struct pc_fs *fs, struct pc_peer *peer)
{
	int ret = pc_say(peer);

	close(peer->fd);
	return pc_wait(fs, peer->pid) ?: ret;
}

int pc_sleeps_in(pid_t pid, long nr)
{
	char path[64], buf[256], *end;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (int tries = 0; tries < 3000 && pc_runs(pid); tries++) {
		/* A process that does not sleep is "running". */
		if (pc_read_str(path, buf, sizeof(buf)) > 0 &&
		    strtol(buf, &end, 10) == nr && end != buf)
			return 0;
		usleep(10000);
	}
	errno = ETIME;
	return pc_err("%d in system call %ld", pid, nr);
}

void pc_fs_teardown(struct pc_fs *fs)
{
	for (size_t i = 0; i < ARRAY_SIZE(fs->child); i++) {
		if (!fs->child[i])
			continue;
		kill(fs->child[i], SIGKILL);
		pc_wait(fs, fs->child[i]);
	}
	for (struct pc_file *f = NULL; (f = next_file(fs, f));)
		pc_close(f);
	pc_fs_umount(fs);
	if (fs->img_fd >= 0)
		close(fs->img_fd);
	fs->img_fd = -1;
}

const char *pc_fs_leak(struct pc_fs *fs)
{
	static char buf[256];
	struct pc_stat d;

	if (!pc_sharing() || fs->mounted)
		return NULL;
	d = pc_since(&fs->before);
	for (int i = PC_HOME; i <= PC_FRAGMENT; i++) {
		/* Less is not ours: another mount in the guest was reclaimed. */
		if (d.v[i] <= 0)
			continue;
		snprintf(buf, sizeof(buf),
			 "%s: %lld more after unmount than before mount",
			 counter_name[i], d.v[i]);
		return buf;
	}
	return NULL;
}

int pc_fs_options(struct pc_fs *fs, char *buf, size_t len)
{
	char mounts[16384], *line, *save, *f[4];

	if (pc_read_str("/proc/self/mounts", mounts, sizeof(mounts)) < 0)
		return pc_err("/proc/self/mounts");
	for (line = strtok_r(mounts, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *s2;

		f[0] = strtok_r(line, " ", &s2);
		for (int i = 1; i < 4; i++)
			f[i] = strtok_r(NULL, " ", &s2);
		if (f[3] && !strcmp(f[1], fs->mnt)) {
			snprintf(buf, len, "%s", f[3]);
			return 0;
		}
	}
	return -ENOENT;
}

bool pc_fs_has_option(struct pc_fs *fs, const char *opt)
{
	char buf[1024], *o, *save;

	if (pc_fs_options(fs, buf, sizeof(buf)))
		return false;
	for (o = strtok_r(buf, ",", &save); o; o = strtok_r(NULL, ",", &save))
		if (!strcmp(o, opt))
			return true;
	return false;
}

int pc_drop_caches(const char *how)
{
	int ret;

	sync();
	ret = pc_write_str("/proc/sys/vm/drop_caches", how);
	if (ret) {
		errno = -ret;
		return pc_err("drop_caches");
	}
	return 0;
}

/* The start of a file that the device has in sysfs. */
static bool device_file(struct pc_fs *fs, const char *name, char *buf,
			size_t len)
{
	char path[96];
	struct stat st;

	if (stat(fs->dev, &st))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s",
		 major(st.st_rdev), minor(st.st_rdev), name);
	return pc_read_str(path, buf, len) >= 0;
}

/* A partition has no queue of its own. */
bool pc_counts_reads(struct pc_fs *fs)
{
	char buf[16];

	return (device_file(fs, "queue/iostats", buf, sizeof(buf)) ||
		device_file(fs, "../queue/iostats", buf, sizeof(buf))) &&
	       atoi(buf);
}

int64_t pc_sectors_read(struct pc_fs *fs)
{
	long long sectors = -1;
	char buf[256];

	if (!device_file(fs, "stat", buf, sizeof(buf)) ||
	    sscanf(buf, "%*u %*u %lld", &sectors) != 1)
		return -1;
	return sectors;
}

void pc_drain(void)
{
	unsigned long nodes = 1;

	/* Nothing has to move, but this is what it begins with. */
	syscall(SYS_migrate_pages, 0, sizeof(nodes) * 8, &nodes, &nodes);
}

/* Patterns */

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t pc_rand(uint64_t *state)
{
	return mix((*state)++);
}

/* Bytes of the pattern of seed at file offset pos: any shift shows. */
void pc_fill(void *buf, size_t len, uint64_t seed, uint64_t pos)
{
	unsigned char *p = buf;
	uint64_t base = mix(seed);

	while (len) {
		uint64_t word = mix(base ^ (pos >> 3));
		size_t in = pos & 7, n = 8 - in;

		if (n > len)
			n = len;
		memcpy(p, (unsigned char *)&word + in, n);
		p += n;
		pos += n;
		len -= n;
	}
}

int pc_compare(const char *what, const void *want, const void *got,
	       size_t len, size_t pos)
{
	const unsigned char *w = want, *g = got;
	char ws[64] = "", gs[64] = "";
	size_t i, last, bad = 0;

	if (!memcmp(want, got, len))
		return 0;
	for (i = 0; w[i] == g[i]; i++)
		;
	last = i;
	for (size_t j = i; j < len; j++) {
		if (w[j] != g[j]) {
			bad++;
			last = j;
		}
	}
	for (size_t j = 0; j < 8 && i + j < len; j++) {
		sprintf(ws + 3 * j, "%02x ", w[i + j]);
		sprintf(gs + 3 * j, "%02x ", g[i + j]);
	}
	pc_log("%s: wrong at offset %zu (page %zu + %zu): expected %sfound %s",
	       what, pos + i, (pos + i) / PC_PAGE, (pos + i) % PC_PAGE, ws, gs);
	pc_log("%s: %zu bytes differ, the last at %zu", what, bad, pos + last);
	return -EILSEQ;
}

/* SIGBUS */

static sigjmp_buf bus;

static void on_bus(int sig)
{
	siglongjmp(bus, 1);
}

/* Of len bytes; none: one byte is read. */
static bool raises_bus(unsigned char *p, size_t len, uint64_t seed,
		       uint64_t pos)
{
	struct sigaction sa = { .sa_handler = on_bus }, old;
	static bool caught;	/* a jump may undo a register */

	caught = true;
	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(bus, 1)) {
		if (len)
			pc_fill(p, len, seed, pos);
		else
			pc_touch(p);
		caught = false;
	}
	/* Another one is not expected, and must not jump to here. */
	sigaction(SIGBUS, &old, NULL);
	return caught;
}

bool pc_touch_raises_bus(const unsigned char *p)
{
	return raises_bus((unsigned char *)p, 0, 0, 0);
}

bool pc_fill_raises_bus(unsigned char *p, size_t len, uint64_t seed,
			uint64_t pos)
{
	return raises_bus(p, len, seed, pos);
}

bool pc_copy_raises_bus(void *to, const void *from, size_t len)
{
	struct sigaction sa = { .sa_handler = on_bus }, old;
	static bool caught;	/* a jump may undo a register */

	caught = true;
	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(bus, 1)) {
		memcpy(to, from, len);
		caught = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return caught;
}

/* Models */

void *pc_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		return p;
	pc_err("%zu bytes of shared memory", len);
	return NULL;
}

static void model_grow(struct pc_model *m, size_t size)
{
	if (size > m->size)
		m->size = size;
}

void pc_model_write(struct pc_model *m, size_t off, size_t len, uint64_t seed)
{
	pc_fill(m->data + off, len, seed, off);
	model_grow(m, off + len);
}

void pc_model_truncate(struct pc_model *m, size_t size)
{
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

void pc_model_fallocate(struct pc_model *m, int mode, size_t off, size_t len)
{
	size_t end = off + len;

	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		if (off < m->size)
			memset(m->data + off, 0,
			       (end < m->size ? end : m->size) - off);
	} else if (mode & FALLOC_FL_COLLAPSE_RANGE) {
		memmove(m->data + off, m->data + end, m->size - end);
		memset(m->data + m->size - len, 0, len);
		m->size -= len;
		return;
	} else if (mode & FALLOC_FL_INSERT_RANGE) {
		memmove(m->data + end, m->data + off, m->size - off);
		memset(m->data + off, 0, len);
		m->size += len;
		return;
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		model_grow(m, end);
}

void pc_model_copy(struct pc_model *dst, size_t doff,
		   const struct pc_model *src, size_t soff, size_t len)
{
	memmove(dst->data + doff, src->data + soff, len);
	model_grow(dst, doff + len);
}

void pc_model_exchange(struct pc_model *a, size_t aoff, struct pc_model *b,
		       size_t boff, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = a->data[aoff + i];

		a->data[aoff + i] = b->data[boff + i];
		b->data[boff + i] = c;
	}
}

/* Files */

void pc_unmap(struct pc_file *f)
{
	if (f->map)
		munmap(f->map, f->map_len);
	f->map = NULL;
}

unsigned char *pc_map(struct pc_file *f, size_t len, int prot, int flags)
{
	void *p;

	pc_unmap(f);
	p = mmap(NULL, len, prot, flags, f->fd, 0);
	if (p == MAP_FAILED) {
		pc_err("mmap %s", f->path);
		return NULL;
	}
	f->map = p;
	f->map_len = len;
	return f->map;
}

void pc_shut(struct pc_file *f)
{
	pc_unmap(f);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int pc_reopen(struct pc_file *f, int flags)
{
	pc_shut(f);
	f->fd = open(f->path, flags | O_CLOEXEC, 0700);
	if (f->fd < 0)
		return pc_err("%s", f->path);
	return 0;
}

int pc_open(struct pc_file **file, struct pc_fs *fs, const char *name,
	    int flags, size_t cap)
{
	struct pc_file *f = fs->file;
	int ret;

	while (f < fs->file + PC_MAX_FILES && f->fs)
		f++;
	if (f == fs->file + PC_MAX_FILES) {
		errno = EMFILE;
		return pc_err("%s", name);
	}
	memset(f, 0, sizeof(*f));
	f->fd = -1;
	snprintf(f->path, sizeof(f->path), "%s/%s", fs->mnt, name);
	ret = pc_reopen(f, flags);
	if (ret)
		return ret;
	f->fs = fs;
	f->m = pc_shared(sizeof(*f->m) + cap);
	if (!f->m) {
		pc_close(f);
		return -ENOMEM;
	}
	f->m->cap = cap;
	*file = f;
	return 0;
}

void pc_close(struct pc_file *f)
{
	pc_shut(f);
	if (f->m)
		munmap(f->m, sizeof(*f->m) + f->m->cap);
	f->m = NULL;
	f->fs = NULL;
}

int pc_unlink(struct pc_file *f)
{
	if (unlink(f->path))
		return pc_err("unlink %s", f->path);
	pc_close(f);
	return 0;
}

int pc_evict(struct pc_file *f)
{
	int ret;

	if (fsync(f->fd))
		return pc_err("fsync %s", f->path);
	ret = posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (ret) {
		errno = ret;
		return pc_err("fadvise %s", f->path);
	}
	return 0;
}

int pc_create(struct pc_file **f, struct pc_fs *fs, const char *name,
	      size_t size, uint64_t seed)
{
	int ret;

	/* Room to grow for appends and inserts. */
	ret = pc_open(f, fs, name, O_RDWR | O_CREAT | O_TRUNC,
		      2 * size + MIB(1));
	if (!ret)
		ret = pc_write(*f, 0, size, seed);
	if (!ret)
		ret = pc_evict(*f);
	return ret;
}

int pc_clone(struct pc_file **dst, struct pc_file *src, const char *name)
{
	int ret;

	ret = pc_open(dst, src->fs, name, O_RDWR | O_CREAT | O_EXCL,
		      src->m->cap);
	if (ret)
		return ret;
	if (ioctl((*dst)->fd, PC_FICLONE, src->fd))
		return pc_err("FICLONE %s -> %s", src->path, (*dst)->path);
	pc_model_copy((*dst)->m, 0, src->m, 0, src->m->size);
	return 0;
}

int pc_clones(struct pc_fs *fs, size_t size, struct pc_file **const *files)
{
	char name[] = "a";
	int ret;

	ret = pc_create(files[0], fs, name, size, 1);
	for (int i = 1; !ret && files[i]; i++) {
		name[0]++;
		ret = pc_clone(files[i], *files[0], name);
	}
	if (!ret)
		ret = pc_drop_caches("3");
	pc_stat(&fs->cold);
	return ret;
}

static int write_all(int fd, const unsigned char *p, size_t len, size_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, off);

		if (n < 0)
			return -errno;
		p += n;
		len -= n;
		off += n;
	}
	return 0;
}

static ssize_t read_chunks(int fd, unsigned char *p, size_t off, size_t len,
			   size_t chunk)
{
	size_t have = 0;

	if (lseek(fd, off, SEEK_SET) < 0)
		return -errno;
	while (have < len) {
		size_t n = len - have < chunk ? len - have : chunk;
		ssize_t r = read(fd, p + have, n);

		if (r < 0)
			return -errno;
		if (!r)
			break;
		have += r;
	}
	return have;
}

int pc_copy_in(struct pc_file **file, struct pc_fs *fs, const char *name,
	       const char *from)
{
	struct pc_file *f;
	struct stat st;
	ssize_t n;
	int fd, ret;

	fd = open(from, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return pc_err("%s", from);
	ret = pc_open(&f, fs, name, O_RDWR | O_CREAT, st.st_size);
	if (ret)
		goto out;
	*file = f;
	n = read_chunks(fd, f->m->data, 0, st.st_size, KIB(64));
	if (n != st.st_size) {
		ret = n < 0 ? n : -EIO;
		goto out;
	}
	f->m->size = n;
	ret = write_all(f->fd, f->m->data, n, 0) ?: pc_evict(f);
out:
	close(fd);
	return ret;
}

int pc_fill_up(struct pc_file **f, struct pc_fs *fs, const char *name)
{
	size_t off = 0;
	int ret;

	ret = pc_open(f, fs, name, O_RDWR | O_CREAT, PC_PAGE);
	if (ret)
		return ret;
	for (size_t n = MIB(8); n >= PC_PAGE;) {
		if (!fallocate((*f)->fd, FALLOC_FL_KEEP_SIZE, off, n))
			off += n;
		else if (errno == ENOSPC)
			n /= 2;
		else
			return pc_err("fallocate %s", (*f)->path);
	}
	return 0;
}

static int write_fd(struct pc_file *f, int fd, const char *how, size_t off,
		    size_t len, uint64_t seed)
{
	unsigned char *buf;
	int ret;

	if (posix_memalign((void **)&buf, PC_PAGE, len ?: 1))
		return -ENOMEM;
	pc_fill(buf, len, seed, off);
	ret = write_all(fd, buf, len, off);
	free(buf);
	if (ret) {
		errno = -ret;
		return pc_err("%s %s %zu+%zu", how, f->path, off, len);
	}
	pc_model_write(f->m, off, len, seed);
	return 0;
}

static int write_opened(struct pc_file *f, int flags, const char *how,
			size_t off, size_t len, uint64_t seed)
{
	int fd, ret;

	fd = open(f->path, O_WRONLY | flags | O_CLOEXEC);
	if (fd < 0)
		return pc_err("%s", f->path);
	ret = write_fd(f, fd, how, off, len, seed);
	close(fd);
	return ret;
}

int pc_write(struct pc_file *f, size_t off, size_t len, uint64_t seed)
{
	return write_fd(f, f->fd, "write", off, len, seed);
}

int pc_append(struct pc_file *f, size_t len, uint64_t seed)
{
	return write_opened(f, O_APPEND, "append", f->m->size, len, seed);
}

int pc_write_direct(struct pc_file *f, size_t off, size_t len, uint64_t seed)
{
	return write_opened(f, O_DIRECT, "direct write", off, len, seed);
}

int pc_write_mmap(struct pc_file *f, size_t off, size_t len, uint64_t seed)
{
	size_t start = off & ~(PC_PAGE - 1);
	unsigned char *p;

	p = mmap(NULL, off + len - start, PROT_READ | PROT_WRITE, MAP_SHARED,
		 f->fd, start);
	if (p == MAP_FAILED)
		return pc_err("mmap %s", f->path);
	pc_fill(p + off - start, len, seed, off);
	munmap(p, off + len - start);
	pc_model_write(f->m, off, len, seed);
	return 0;
}

int pc_truncate(struct pc_file *f, size_t size)
{
	if (ftruncate(f->fd, size))
		return pc_err("truncate %s to %zu", f->path, size);
	pc_model_truncate(f->m, size);
	return 0;
}

int pc_fallocate(struct pc_file *f, int mode, size_t off, size_t len)
{
	if (fallocate(f->fd, mode, off, len))
		return pc_err("fallocate %s mode %#x %zu+%zu", f->path, mode,
			      off, len);
	pc_model_fallocate(f->m, mode, off, len);
	return 0;
}

int pc_clone_range(struct pc_file *dst, size_t doff, struct pc_file *src,
		   size_t soff, size_t len)
{
	struct pc_clone_arg arg = {
		.src_fd = src->fd,
		.src_offset = soff,
		.src_length = len,
		.dest_offset = doff,
	};

	if (ioctl(dst->fd, PC_FICLONERANGE, &arg))
		return pc_err("FICLONERANGE %s %zu+%zu -> %s %zu", src->path,
			      soff, len, dst->path, doff);
	pc_model_copy(dst->m, doff, src->m, soff, len ?: src->m->size - soff);
	return 0;
}

int pc_dedupe(struct pc_file *dst, size_t doff, struct pc_file *src,
	      size_t soff, size_t len)
{
	struct pc_dedupe_arg arg = {
		.src_offset = soff,
		.src_length = len,
		.dest_count = 1,
		.dest_fd = dst->fd,
		.dest_offset = doff,
	};

	if (ioctl(src->fd, PC_FIDEDUPE, &arg))
		return pc_err("FIDEDUPERANGE %s %zu+%zu -> %s %zu", src->path,
			      soff, len, dst->path, doff);
	if (arg.status < 0) {
		errno = -arg.status;
		return pc_err("FIDEDUPERANGE %s %zu+%zu -> %s %zu: status",
			      src->path, soff, len, dst->path, doff);
	}
	return arg.status;
}

int pc_exchange(struct pc_file *a, size_t aoff, struct pc_file *b, size_t boff,
		size_t len)
{
	struct pc_exchange_arg arg = {
		.file1_fd = b->fd,
		.file1_offset = boff,
		.file2_offset = aoff,
		.length = len,
	};

	if (ioctl(a->fd, PC_XFS_EXCHANGE, &arg))
		return pc_err("XFS_IOC_EXCHANGE_RANGE %s %zu, %s %zu, %zu",
			      a->path, aoff, b->path, boff, len);
	pc_model_exchange(a->m, aoff, b->m, boff, len);
	return 0;
}

int pc_copy_range(struct pc_file *dst, size_t doff, struct pc_file *src,
		  size_t soff, size_t len)
{
	loff_t in = soff, out = doff;
	size_t left = len;

	while (left) {
		ssize_t n = copy_file_range(src->fd, &in, dst->fd, &out, left,
					    0);

		if (n <= 0) {
			if (!n)
				errno = ENODATA;
			return pc_err("copy_file_range %s %zu+%zu -> %s %zu",
				      src->path, soff, len, dst->path, doff);
		}
		left -= n;
	}
	pc_model_copy(dst->m, doff, src->m, soff, len);
	return 0;
}

/* Page tables */

/* An entry of a file in /proc that has 64 bits for each page. */
static uint64_t per_page(const char *path, uint64_t page)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t val;

	if (fd < 0 || pread(fd, &val, sizeof(val), page * sizeof(val)) !=
		      sizeof(val)) {
		pc_err("%s of %#llx", path, (unsigned long long)page);
		val = UINT64_MAX;
	}
	if (fd >= 0)
		close(fd);
	return val;
}

uint64_t pc_pfn(const void *p)
{
	uint64_t val = per_page("/proc/self/pagemap", (uintptr_t)p / PC_PAGE);

	/* Present, and not in swap. */
	if (val == UINT64_MAX || (val >> 62) != 2)
		return 0;
	return val & ((1ULL << 55) - 1);
}

uint64_t pc_mapcount(uint64_t pfn)
{
	return per_page("/proc/kpagecount", pfn);
}

uint64_t pc_page_flags(uint64_t pfn)
{
	return per_page("/proc/kpageflags", pfn);
}

bool pc_is_anon(const void *p)
{
	uint64_t pfn = pc_pfn(p);

	return pfn && (pc_page_flags(pfn) & (1ULL << KPF_ANON));
}

long long pc_smaps(const void *p, const char *name)
{
	static char buf[MIB(1)];
	char start[32];
	char *at;

	if (pc_read_str("/proc/self/smaps", buf, sizeof(buf)) < 0)
		return pc_err("/proc/self/smaps");
	snprintf(start, sizeof(start), "\n%lx-", (unsigned long)p);
	at = strstr(buf, start);
	return at ? number_in(at + 1, name) : -1;
}

uint64_t pc_physical(struct pc_file *f, size_t off)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = {
		.map.fm_start = off,
		.map.fm_length = 1,
		.map.fm_flags = FIEMAP_FLAG_SYNC,
		.map.fm_extent_count = 1,
	};
	struct fiemap_extent *e = u.map.fm_extents;

	if (ioctl(f->fd, PC_FIEMAP, &u.map) || !u.map.fm_mapped_extents)
		return 0;
	if (e->fe_logical > off ||
	    (e->fe_flags & (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
			    FIEMAP_EXTENT_UNWRITTEN)))
		return 0;
	return e->fe_physical + (off - e->fe_logical);
}

bool pc_delalloc(struct pc_file *f, size_t off, size_t len)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) +
			  128 * sizeof(struct fiemap_extent)];
	} u = {
		.map.fm_start = off,
		.map.fm_length = len,
		.map.fm_extent_count = 128,
	};

	if (ioctl(f->fd, PC_FIEMAP, &u.map))
		return false;
	for (uint32_t i = 0; i < u.map.fm_mapped_extents; i++)
		if (u.map.fm_extents[i].fe_flags & FIEMAP_EXTENT_DELALLOC)
			return true;
	return false;
}

size_t pc_shareable(struct pc_file *f, unsigned int bsize)
{
	size_t size = (f->m->size + bsize - 1) / bsize * bsize;
	size_t pages = 0;

	for (size_t off = 0; off + PC_PAGE <= size; off += PC_PAGE) {
		uint64_t dev = pc_physical(f, off);
		size_t in = bsize;

		while (in < PC_PAGE && pc_physical(f, off + in) == dev + in)
			in += bsize;
		if (dev && dev % PC_PAGE == 0 && in >= PC_PAGE)
			pages++;
	}
	return pages;
}

/* Reading back */

static ssize_t read_backwards(int fd, unsigned char *p, size_t off, size_t len)
{
	size_t pos = (off + len - 1) & ~(PC_PAGE - 1), have = 0;

	for (;; pos -= PC_PAGE) {
		size_t from = pos > off ? pos : off;
		size_t to = pos + PC_PAGE < off + len ? pos + PC_PAGE :
							off + len;
		ssize_t r = pread(fd, p + from - off, to - from, from);

		if (r < 0)
			return -errno;
		have += r;
		if (pos <= off)
			break;
	}
	return have;
}

static ssize_t read_vec(int fd, unsigned char *p, size_t off, size_t len)
{
	size_t have = 0;

	while (have < len) {
		struct iovec v[7];
		ssize_t r;
		int n = 0;

		for (size_t at = have; n < 7 && at < len; n++) {
			v[n].iov_base = p + at;
			v[n].iov_len = len - at < 3001 ? len - at : 3001;
			at += v[n].iov_len;
		}
		r = preadv(fd, v, n, off + have);
		if (r < 0)
			return -errno;
		if (!r)
			break;
		have += r;
	}
	return have;
}

typedef ssize_t (*mover)(int to, int fd, size_t off, size_t len);

static ssize_t by_splice(int to, int fd, size_t off, size_t len)
{
	loff_t pos = off;

	return splice(fd, &pos, to, NULL, len, 0);
}

static ssize_t by_sendfile(int to, int fd, size_t off, size_t len)
{
	off_t pos = off;

	/* Not more than the socket takes while nobody reads it. */
	return sendfile(to, fd, &pos, len < KIB(32) ? len : KIB(32));
}

/* Moved into end[1], and read from end[0], which are closed then. */
static ssize_t read_through(const int *end, mover move, int fd,
			    unsigned char *p, size_t off, size_t len)
{
	ssize_t have = 0, in = 0, n = 0;

	while (have < (ssize_t)len) {
		/* What was moved is read before more is. */
		if (have == in) {
			n = move(end[1], fd, off + have, len - have);
			if (n <= 0)
				break;
			in += n;
		}
		n = read(end[0], p + have, in - have);
		if (n <= 0)
			break;
		have += n;
	}
	if (n < 0)
		have = -errno;
	close(end[0]);
	close(end[1]);
	return have;
}

static ssize_t read_mmap(int fd, unsigned char *p, size_t off, size_t len)
{
	size_t start = off & ~(PC_PAGE - 1);
	unsigned char *map;

	if (!len)
		return 0;
	map = mmap(NULL, off + len - start, PROT_READ, MAP_SHARED, fd, start);
	if (map == MAP_FAILED)
		return -errno;
	memcpy(p, map + off - start, len);
	munmap(map, off + len - start);
	return len;
}

static ssize_t read_direct(const char *path, unsigned char *p, size_t off,
			   size_t len)
{
	size_t room = (len + PC_PAGE - 1) & ~(PC_PAGE - 1);
	unsigned char *buf;
	ssize_t ret;
	int fd;

	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (posix_memalign((void **)&buf, PC_PAGE, room ?: PC_PAGE)) {
		close(fd);
		return -ENOMEM;
	}
	ret = pread(fd, buf, room, off);
	if (ret < 0)
		ret = -errno;
	else if ((size_t)ret > len)
		ret = len;
	if (ret > 0)
		memcpy(p, buf, ret);
	free(buf);
	close(fd);
	return ret;
}

ssize_t pc_read_via(int fd, const char *path, enum pc_via via, void *buf,
		    size_t off, size_t len)
{
	int end[2];

	if (!len)
		return 0;
	switch (via) {
	case PC_READ:
		return read_chunks(fd, buf, off, len, 10007);
	case PC_PREAD:
		return read_backwards(fd, buf, off, len);
	case PC_READV:
		return read_vec(fd, buf, off, len);
	case PC_SPLICE:
		if (pipe2(end, O_CLOEXEC))
			return -errno;
		return read_through(end, by_splice, fd, buf, off, len);
	case PC_SENDFILE:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end))
			return -errno;
		return read_through(end, by_sendfile, fd, buf, off, len);
	case PC_MMAP:
		return read_mmap(fd, buf, off, len);
	case PC_DIRECT:
		return read_direct(path, buf, off, len);
	default:
		return -EINVAL;
	}
}

int pc_verify(struct pc_file *f, enum pc_via via)
{
	size_t size = f->m->size;
	unsigned char *buf;
	struct stat st;
	char what[192];
	ssize_t n;
	int ret;

	snprintf(what, sizeof(what), "%s by %s", strrchr(f->path, '/') + 1,
		 via_name[via]);
	if (fstat(f->fd, &st))
		return pc_err("%s: stat", what);
	if ((size_t)st.st_size != size) {
		pc_log("%s: size is %zu, expected %zu", what,
		       (size_t)st.st_size, size);
		return -EILSEQ;
	}
	buf = malloc(size + PC_PAGE);
	if (!buf)
		return -ENOMEM;
	/* One byte more than there is, to see the end of the file. */
	n = pc_read_via(f->fd, f->path, via, buf, 0,
			via == PC_MMAP ? size : size + 1);
	if (n < 0) {
		errno = -n;
		ret = pc_err("%s", what);
	} else if ((size_t)n != size) {
		pc_log("%s: %zd bytes, expected %zu", what, n, size);
		ret = -EILSEQ;
	} else {
		ret = pc_compare(what, f->m->data, buf, size, 0);
	}
	free(buf);
	return ret;
}

int pc_verify_all(struct pc_fs *fs)
{
	static const enum pc_via via[] = { PC_READ, PC_DIRECT, PC_READ };
	int ret = 0;

	for (size_t v = 0; v < ARRAY_SIZE(via); v++)
		for (struct pc_file *f = NULL; (f = next_file(fs, f));)
			ret = pc_verify(f, via[v]) ?: ret;
	return ret;
}

int pc_verify_cycle(struct pc_fs *fs)
{
	int ret;

	ret = pc_verify_all(fs);
	if (ret) {
		pc_log("(before unmount)");
		return ret;
	}
	ret = pc_fs_cycle(fs);
	if (ret)
		return ret;
	ret = pc_verify_all(fs);
	if (ret)
		pc_log("(after unmount and mount)");
	return ret;
}

/* Races */

void pc_cell_begin(struct pc_cell *c, uint64_t value, bool whole)
{
	uint32_t n = c->begun + 1;

	c->log[n % PC_RACE_LOG] = value;
	c->whole[n % PC_RACE_LOG] = whole;
	__atomic_store_n(&c->begun, n, __ATOMIC_SEQ_CST);
}

void pc_cell_end(struct pc_cell *c)
{
	__atomic_store_n(&c->done, c->begun, __ATOMIC_SEQ_CST);
}

uint64_t pc_cell_value(const struct pc_cell *c)
{
	return c->log[c->done % PC_RACE_LOG];
}

void pc_cell_fill(void *buf, uint64_t value, size_t page)
{
	if (value)
		pc_fill(buf, PC_PAGE, value, page * PC_PAGE);
	else
		memset(buf, 0, PC_PAGE);
}

uint32_t pc_cell_enter(const struct pc_cell *c)
{
	return __atomic_load_n(&c->done, __ATOMIC_SEQ_CST);
}

int pc_cell_check(const char *what, const struct pc_cell *c, uint32_t entered,
		  const void *buf, size_t page, bool tear)
{
	unsigned char want[PC_PAGE], ok[PC_PAGE] = {};
	uint32_t n, last = __atomic_load_n(&c->begun, __ATOMIC_SEQ_CST);
	const unsigned char *got = buf;
	size_t i, left = PC_PAGE;

	if (last - entered >= PC_RACE_LOG / 2)
		return 1;
	for (n = entered; n != last + 1; n++) {
		pc_cell_fill(want, c->log[n % PC_RACE_LOG], page);
		if (!memcmp(want, got, PC_PAGE))
			return 0;
		if (n != entered && !c->whole[n % PC_RACE_LOG])
			tear = true;
		for (i = 0; i < PC_PAGE; i++) {
			if (!ok[i] && want[i] == got[i]) {
				ok[i] = 1;
				left--;
			}
		}
	}
	if (__atomic_load_n(&c->begun, __ATOMIC_SEQ_CST) - entered >=
	    PC_RACE_LOG / 2)
		return 1;
	if (tear && !left)
		return 0;

	pc_log("%s: page %zu is none of the values %u to %u%s", what, page,
	       entered, last, left ? "" : " but a mix of them");
	for (n = entered; n != last + 1; n++)
		pc_log("  allowed: value %#llx",
		       (unsigned long long)c->log[n % PC_RACE_LOG]);
	/* An old value is the likely one: say which. */
	for (n = entered; n && entered - n < PC_RACE_LOG / 2; n--) {
		pc_cell_fill(want, c->log[n % PC_RACE_LOG], page);
		if (!memcmp(want, got, PC_PAGE)) {
			pc_log("  found: STALE, value %u (%#llx)", n,
			       (unsigned long long)c->log[n % PC_RACE_LOG]);
			return -EILSEQ;
		}
	}
	pc_cell_fill(want, c->log[entered % PC_RACE_LOG], page);
	pc_compare(what, want, got, PC_PAGE, page * PC_PAGE);
	return -EILSEQ;
}

struct pc_race *pc_race(size_t pages, uint64_t value)
{
	struct pc_race *r;

	r = pc_shared(sizeof(*r) + pages * sizeof(r->cell[0]));
	for (size_t i = 0; r && i < pages; i++) {
		pc_cell_begin(&r->cell[i], value, true);
		pc_cell_end(&r->cell[i]);
	}
	return r;
}

bool pc_race_writes(const struct pc_race *r, int i, int writes)
{
	if (__atomic_load_n(&r->reads, __ATOMIC_RELAXED) <= PC_RACE_READS)
		writes *= 20;
	return i < writes;
}

void pc_race_stop(struct pc_race *r)
{
	__atomic_store_n(&r->stop, 1, __ATOMIC_SEQ_CST);
}

bool pc_race_stopped(const struct pc_race *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_SEQ_CST);
}

void pc_race_read(struct pc_race *r)
{
	__atomic_add_fetch(&r->reads, 1, __ATOMIC_RELAXED);
}

int pc_race_look(struct pc_race *r, const unsigned char *map, size_t page)
{
	uint32_t entered = pc_cell_enter(&r->cell[page]);
	unsigned char buf[PC_PAGE];
	int ret;

	memcpy(buf, map + page * PC_PAGE, PC_PAGE);
	ret = pc_cell_check("mapping", &r->cell[page], entered, buf, page,
			    true);
	if (!ret)
		pc_race_read(r);
	return ret < 0 ? ret : 0;
}

/* Memory cgroups */

#define CGROUP_ROOT	"/sys/fs/cgroup"

static int cgroup_write(const char *path, const char *name, const char *val)
{
	char file[128];

	snprintf(file, sizeof(file), "%.80s/%s", path, name);
	return pc_write_str(file, val);
}

int pc_memcg_enter(const char *name, size_t max, char *path, size_t len)
{
	char val[32], made[80];
	const char *step;
	int ret;

	snprintf(made, sizeof(made), CGROUP_ROOT "/%.32s.%d", name, getpid());
	snprintf(path, len, "%s", made);
	step = "mount cgroup2";
	if (access(CGROUP_ROOT "/cgroup.procs", F_OK) &&
	    mount("cgroup2", CGROUP_ROOT, "cgroup2", 0, NULL)) {
		ret = -errno;
		goto skip;
	}
	step = "enable the memory controller";
	ret = cgroup_write(CGROUP_ROOT, "cgroup.subtree_control", "+memory");
	if (ret)
		goto skip;
	step = "make a cgroup";
	if (mkdir(made, 0700)) {
		ret = -errno;
		goto skip;
	}
	if (max) {
		step = "set memory.max";
		snprintf(val, sizeof(val), "%zu", max);
		ret = cgroup_write(made, "memory.max", val);
		if (ret)
			goto remove;
	}
	step = "enter a cgroup";
	ret = cgroup_write(made, "cgroup.procs", "0");
	if (!ret)
		return 0;
remove:
	rmdir(made);
skip:
	snprintf(path, len, "cannot %s: %s", step, strerror(-ret));
	return 1;
}

long long pc_memcg_stat(const char *path, const char *name)
{
	char file[128];

	snprintf(file, sizeof(file), "%.80s/memory.stat", path);
	return pc_number(file, name);
}

long long pc_memcg_until(const char *path, const char *name, long long low,
			 long long high)
{
	long long now;

	for (int i = 0; i < 100; i++) {
		now = pc_memcg_stat(path, name);
		if (now >= low && now <= high)
			break;
		usleep(100000);
	}
	return now;
}

bool pc_tracefs(void)
{
	return !access(PC_TRACING "/trace", F_OK) ||
	       !mount("tracefs", PC_TRACING, "tracefs", 0, NULL);
}

int pc_memcg_reclaim(const char *path, size_t bytes)
{
	char val[32];

	snprintf(val, sizeof(val), "%zu", bytes);
	return cgroup_write(path, "memory.reclaim", val);
}

void pc_memcg_remove(const char *name, pid_t pid)
{
	char path[80];

	if (pid == getpid())
		cgroup_write(CGROUP_ROOT, "cgroup.procs", "0");
	snprintf(path, sizeof(path), CGROUP_ROOT "/%.32s.%d", name, pid);
	/* A process leaves some time after it can be waited for. */
	for (int tries = 0; rmdir(path); tries++) {
		if (errno == ENOENT)
			break;
		if (errno != EBUSY || tries > 50) {
			pc_err("rmdir %s", path);
			break;
		}
		usleep(20000);
	}
}
