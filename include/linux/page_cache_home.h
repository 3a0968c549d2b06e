/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Homes: one copy in the page cache for blocks that several files share.
 *
 * A home is an address_space per block device whose folios are indexed by
 * device page, not by an offset in a file.  A file that maps a block which the
 * home holds has an *alias* in its own i_pages: a tagged entry that names the
 * page frame (see <linux/page_cache_entry.h>).  This header is what C sees of
 * it: the hooks of mm/ and fs/ and the primitives they stand on.  The objects
 * and the protocol are in rust/kernel/mm/page_cache/home.rs; how and why is in
 * Documentation/mm/page_cache/.
 *
 * Lock order, outermost first:
 *
 *   mapping->invalidate_lock	(of the file)
 *     folio lock		(of a folio in the file)
 *       folio lock		(of a folio in the home)
 *         home fragments mutex
 *           mapping->i_mmap_rwsem	(of the file)
 *             page table locks
 *           i_pages lock		(of the file)
 *           i_pages lock		(of the home)
 *         i_lock, then i_pages lock	(of the home)
 *
 * The i_pages locks of a home and of a file are never held together.  Under the
 * fragments mutex nothing waits for memory: reclaim takes it.
 *
 * A home's folio is mapped read-only, and only by files that have an alias to
 * it.  A fault makes a page table entry with the folio locked, after the alias
 * was seen in the slot; the alias is removed with the folio locked, and then what
 * the file has mapped.  So a fault either sees that the alias has gone or is
 * seen by who removes it.  fork() and mremap() copy and move page table entries
 * without the folio's lock, which the walk that unmaps takes account of.
 */
#ifndef _LINUX_PAGE_CACHE_HOME_H
#define _LINUX_PAGE_CACHE_HOME_H

#include <linux/pagemap.h>
#include <linux/page_cache_entry.h>

struct block_device;
struct file;

/**
 * struct page_cache_extent - what a filesystem says about a folio it will read
 * @home_index: Device page that holds the folio's data, in pages.
 * @first: First file index (pages) of the extent that the folio lies in.
 * @last: Last file index (pages, inclusive) of that extent.
 * @valid: Is the extent still what the file maps?  Called with the file's
 *	   i_pages lock held and interrupts off: it must not sleep.
 * @data: Passed to @valid.
 *
 * Only pages that lie wholly in the extent count: @first is rounded up and
 * @last down.
 */
struct page_cache_extent {
	pgoff_t home_index;
	pgoff_t first;
	pgoff_t last;
	bool (*valid)(void *data);
	void *data;
};

/**
 * enum page_cache_populate - what became of a folio offered to a home
 * @PAGE_CACHE_PRIVATE: Nothing: it stays the file's own; read it as ever.
 * @PAGE_CACHE_DONATED: It is the home's now and the file has an alias to it.
 *			It is still locked: read it and unlock it.
 * @PAGE_CACHE_ATTACHED: The home had the data.  The file has an alias to that;
 *			 the folio offered was removed, unlocked and must not be
 *			 touched any more.
 */
enum page_cache_populate {
	PAGE_CACHE_PRIVATE,
	PAGE_CACHE_DONATED,
	PAGE_CACHE_ATTACHED,
};

/**
 * struct page_cache_insertion - A folio that is being put into a home
 * @xas: Memory for nodes of the tree.
 * @index: The place.
 * @order: The folio's order.
 * @shadow: What was there before: %NULL or a shadow.
 */
struct page_cache_insertion {
	struct xa_state xas;
	pgoff_t index;
	unsigned int order;
	void *shadow;
};

/**
 * struct page_cache_piece - Slots of a file, and what of a home they could name
 * @folio: The home's folio, with a reference.
 * @index: The first slot.
 * @order: How many there are, as a power of two.  As large as the folio, or less.
 */
struct page_cache_piece {
	struct folio *folio;
	pgoff_t index;
	unsigned int order;
};

/**
 * struct page_cache_search - For which slots of a file something is looked for
 * @first: The first slot.
 * @last: The last one, inclusive.
 * @extent_first: The first slot of the extent that they are in.
 * @extent_last: The last one, inclusive.
 * @place: Where in the home a large folio has the page of the slot @first.
 * @page: Where in the home a folio of that page alone is.
 */
struct page_cache_search {
	pgoff_t first;
	pgoff_t last;
	pgoff_t extent_first;
	pgoff_t extent_last;
	pgoff_t place;
	pgoff_t page;
};

/**
 * enum page_cache_home_layout - Where in a home a folio is
 * @PAGE_CACHE_HOME_MAX_ORDER: No folio of a home is larger.
 * @PAGE_CACHE_SKEW_SHIFT: What is above that is how far apart page and index are.
 *
 * The page cache wants the index of a folio to be a multiple of its size, which
 * the device page seldom is.  So a folio of several pages is where its pages are
 * with a *skew* added, which is by how much the index in the file is larger than
 * the device page, modulo the size of the largest folio.  Then it is a multiple
 * because the index in the file is.  Files that have the same pages with another
 * skew do not share such folios: the skew is also part of the place.
 *
 * A folio of one page is where its page is.
 */
enum page_cache_home_layout {
	PAGE_CACHE_HOME_MAX_ORDER = 9,
	PAGE_CACHE_SKEW_SHIFT = 52,
};

/**
 * enum page_cache_alias_word - What page_cache_alias_count() is made of
 * @PAGE_CACHE_WHOLE_SHIFT: What is above that is how many aliases are for all of
 *	the folio; what is below, how many slots of files name a page of it.
 */
enum page_cache_alias_word {
	PAGE_CACHE_WHOLE_SHIFT = 32,
};

/**
 * enum page_cache_drop - which alias to remove, and how much to wait for it
 * @PAGE_CACHE_DROP: Any; wait for the lock of the home folio.
 * @PAGE_CACHE_DROP_NOWAIT: Any, but fail if the home folio is locked.
 * @PAGE_CACHE_DROP_UNUSED: As before, but leave it if the home folio is mapped,
 *			    by this file or by another.
 * @PAGE_CACHE_DROP_SHARED: As @PAGE_CACHE_DROP_NOWAIT, but leave the only one
 *			    that there is to a folio: it would be freed.
 * @PAGE_CACHE_DROP_FAILED: As @PAGE_CACHE_DROP_NOWAIT, but only one whose home
 *			    folio could not be read.
 * @PAGE_CACHE_DROP_WRITTEN: As @PAGE_CACHE_DROP_NOWAIT, for slots that are about
 *			     to be written to, but leave the only one that there
 *			     is to a folio: its file gets that back.
 */
enum page_cache_drop {
	PAGE_CACHE_DROP,
	PAGE_CACHE_DROP_NOWAIT,
	PAGE_CACHE_DROP_UNUSED,
	PAGE_CACHE_DROP_SHARED,
	PAGE_CACHE_DROP_FAILED,
	PAGE_CACHE_DROP_WRITTEN,
};

/**
 * enum page_cache_count - What is counted of homes
 * @PAGE_CACHE_NR_HOME: Pages in homes now.
 * @PAGE_CACHE_NR_ALIAS: Slots of files that name one now.
 * @PAGE_CACHE_NR_FRAGMENT: Ranges of files that homes know of now.
 * @PAGE_CACHE_ATTACH: Slots that were made to name what a home had.
 * @PAGE_CACHE_DONATE: Pages of files that became a home's.
 * @PAGE_CACHE_BREAK: Slots that were given a page of the file's own instead, or
 *	are about to be, as they are written to.
 * @PAGE_CACHE_RECLAIM: Slots that lost their page for the sake of others.
 * @PAGE_CACHE_NR_COUNTS: How many there are of these.
 *
 * /proc/vmstat shows them in this order.
 */
enum page_cache_count {
	PAGE_CACHE_NR_HOME,
	PAGE_CACHE_NR_ALIAS,
	PAGE_CACHE_NR_FRAGMENT,
	PAGE_CACHE_ATTACH,
	PAGE_CACHE_DONATE,
	PAGE_CACHE_BREAK,
	PAGE_CACHE_RECLAIM,
	PAGE_CACHE_NR_COUNTS,
};

/* By enum page_cache_count. */
struct page_cache_counts {
	long nr[PAGE_CACHE_NR_COUNTS];
};

/**
 * struct page_cache_home - What C sees of a home
 * @counts: Of this home; except for %PAGE_CACHE_NR_HOME, which is nrpages of
 *	its mapping.
 *
 * It is the beginning of struct Home in rust/kernel/mm/page_cache/home.rs.
 */
struct page_cache_home {
	struct page_cache_counts __percpu *counts;
};

/**
 * struct page_cache_found - Pages of a file that are in memory, and alike
 * @first: The first slot.
 * @last: The last one, inclusive.
 * @id: Where in its home the first page is; 0 if it is not in one.
 * @flags: CACHEMAP_* of <uapi/linux/cachemap.h>.
 * @sharers: How many slots name a page, on average, rounded up; 0 if it is not
 *	in a home.
 */
struct page_cache_found {
	pgoff_t first;
	pgoff_t last;
	u64 id;
	u32 flags;
	u32 sharers;
};

/**
 * page_cache_alias_get_folio - Take a reference on the folio an alias names.
 * @entry: An alias loaded from i_pages.
 * @foliop: The folio.
 *
 * Aliases hold no reference, so the frame may be freed and used for something
 * else at any moment.  The caller must load the entry again afterwards, and
 * have the folio only when it is still the same: an alias is always removed
 * before its folio leaves the home, and while we hold a reference the frame
 * cannot become another folio.
 *
 * Context: RCU read lock held.
 * Return: %false if the frame is being freed or changed under us: then look the
 * entry up again.
 */
static inline bool page_cache_alias_get_folio(const void *entry,
					      struct folio **foliop)
{
	struct page *page = pfn_to_page(page_cache_entry_pfn(entry));
	struct folio *folio = page_folio(page);

	*foliop = folio;
	if (!folio_try_get(folio))
		return false;
	/*
	 * A tail may have become part of another folio meanwhile.  Not so a page
	 * whose own reference it is: tails have none.
	 */
	if (page != &folio->page && unlikely(page_folio(page) != folio)) {
		folio_put(folio);
		return false;
	}
	return true;
}

/**
 * page_cache_alias_count - How many aliases there are to a home folio.
 * @folio: A folio of a home, or one that is to become one's.
 *
 * This is folio->private, without PG_private: a home's folio has no other use
 * for it.  Zero is final while the folio is in a home.
 */
static inline unsigned long *page_cache_alias_count(struct folio *folio)
{
	return (unsigned long *)&folio->private;
}

/* How many slots of files name a page of a folio, by its alias count. */
static inline u32 page_cache_alias_slots(unsigned long word)
{
	return word;
}

/*
 * Is every alias to a folio for all of it?  Then so is any one that the caller
 * knows of and that stays, as the folio is locked.
 */
static inline bool page_cache_all_whole(struct folio *folio)
{
	unsigned long word = READ_ONCE(*page_cache_alias_count(folio));

	return page_cache_alias_slots(word) ==
	       (u32)(word >> PAGE_CACHE_WHOLE_SHIFT) << folio_order(folio);
}

/* Where readahead of a file is to go on, after it got another folio. */
static inline void page_cache_move_readahead(struct folio *from,
					     struct folio *to)
{
	if (folio_test_readahead(from))
		folio_set_readahead(to);
}

/**
 * typedef page_cache_ask_t - Ask a file system what a file maps
 * @mapping: The file's mapping, with its invalidate_lock held.
 * @index: First index, in pages.
 * @nr: How many pages.
 *
 * It calls page_cache_home_attach() for the extent that @index is in, or some of
 * it.
 *
 * Return: How many pages there are in that, at least one.
 */
typedef unsigned long (*page_cache_ask_t)(struct address_space *mapping,
					  pgoff_t index, unsigned long nr);

#ifdef CONFIG_PAGE_CACHE_SHARE

/* rust/kernel/mm/page_cache/home.rs */
extern const struct address_space_operations page_cache_home_aops;
struct page_cache_home *page_cache_home_create(struct block_device *bdev,
					       page_cache_ask_t ask);
void page_cache_home_destroy(struct page_cache_home *home);
void page_cache_home_free(struct page_cache_home *home);
void page_cache_home_set_enabled(struct page_cache_home *home, bool enabled);
bool page_cache_home_enabled(const struct page_cache_home *home);
void page_cache_home_counts(const struct page_cache_home *home,
			    unsigned long *sums);
const struct block_device *
page_cache_home_bdev(const struct page_cache_home *home);
enum page_cache_populate
page_cache_home_populate(struct page_cache_home *home,
			 struct address_space *mapping, struct folio *folio,
			 const struct page_cache_extent *extent);
unsigned long page_cache_home_ask(struct page_cache_home *home,
				  struct address_space *mapping, pgoff_t index,
				  unsigned long nr, bool how_far);
unsigned long page_cache_home_attach(struct page_cache_home *home,
				     struct address_space *mapping,
				     pgoff_t first, pgoff_t last,
				     const struct page_cache_extent *extent);
unsigned long page_cache_home_adopt(struct page_cache_home *home,
				    struct address_space *mapping,
				    pgoff_t first, pgoff_t last,
				    const struct page_cache_extent *extent);
int page_cache_home_drop(struct address_space *mapping, pgoff_t first,
			 pgoff_t last, enum page_cache_drop how);
struct folio *page_cache_home_break(struct address_space *mapping,
				    pgoff_t index, bool nowait, gfp_t gfp);
struct folio *page_cache_home_break_folio(struct address_space *mapping,
					  pgoff_t index,
					  struct folio *home_folio, gfp_t gfp);
void page_cache_home_forget(struct page_cache_home *home,
			    struct address_space *mapping,
			    pgoff_t first, pgoff_t last);
bool page_cache_home_walk(struct folio *folio, bool nowait,
			  bool (*visit)(struct address_space *mapping,
					pgoff_t index, unsigned long nr,
					void *data),
			  void *data);

/* rust/kernel/mm/page_cache/cachemap.rs */
int page_cache_map(struct file *file, void __user *arg);

/* mm/page_cache_home.c */
struct inode *page_cache_home_inode(void);
struct folio *page_cache_alloc_folio(struct address_space *mapping, gfp_t gfp);
int page_cache_copy_page(struct folio *to, struct folio *from, pgoff_t index);
bool page_cache_range_has_alias(struct address_space *mapping, pgoff_t first,
				pgoff_t last);
void page_cache_insertion_init(struct page_cache_insertion *insertion,
			       struct address_space *home, pgoff_t index,
			       unsigned int order);
bool page_cache_insertion_refill(struct page_cache_insertion *insertion,
				 struct address_space *home);
int page_cache_home_insert(struct page_cache_insertion *insertion,
			   struct address_space *home, struct folio *folio);
void page_cache_home_inserted(struct page_cache_insertion *insertion,
			      struct folio *folio);
void page_cache_home_undo_insert(struct page_cache_insertion *insertion,
				 struct address_space *home,
				 struct folio *folio);
bool page_cache_slot_to_alias(struct address_space *mapping, pgoff_t index,
			      struct folio *folio, void *alias, bool donate,
			      bool (*may)(void *data), void *data);
bool page_cache_set_home(struct folio *folio, struct address_space *home,
			 pgoff_t index, bool idle);
bool page_cache_slot_is_free(struct address_space *mapping, pgoff_t index);
unsigned int page_cache_slots_find(struct address_space *mapping,
				   struct address_space *home,
				   const struct page_cache_search *search,
				   struct page_cache_piece *pieces,
				   unsigned int max, pgoff_t *next);
long page_cache_slots_attach(struct address_space *mapping,
			     struct page_cache_piece *pieces, unsigned int nr,
			     bool (*may)(void *data), void *may_data,
			     bool (*take)(const struct page_cache_piece *piece,
					  void *data),
			     void (*drop)(const struct page_cache_piece *piece,
					  void *data),
			     void *data);
void *page_cache_slots_next_alias(struct address_space *mapping, pgoff_t *index,
				  pgoff_t last, struct folio *folio,
				  unsigned long *looked);
struct folio *page_cache_next_idle(struct address_space *mapping,
				   pgoff_t *index, pgoff_t last,
				   unsigned long *looked);
bool page_cache_slot_has_alias(struct address_space *mapping, pgoff_t index,
			       const void *alias);
bool page_cache_slot_clear_alias(struct address_space *mapping, pgoff_t first,
				 pgoff_t last, void *alias, bool unmap,
				 void (*gone)(unsigned long nr, void *data),
				 void *data);
void page_cache_slot_move_alias(struct address_space *mapping, pgoff_t index,
				void *from, void *to);
bool page_cache_home_begin_move(struct address_space *home,
				struct folio *from, struct folio *to);
void page_cache_home_end_move(struct address_space *home, struct folio *from,
			      struct folio *to);
bool page_cache_home_take_back(struct address_space *home, struct folio *folio,
			       struct address_space *mapping, pgoff_t index,
			       void *alias,
			       void (*gone)(unsigned long nr, void *data),
			       void *data);
bool page_cache_slot_to_folio(struct address_space *mapping, pgoff_t index,
			      void *alias, struct folio *folio,
			      void (*gone)(unsigned long nr, void *data),
			      void *data);
struct folio *page_cache_try_get_alias(struct address_space *mapping,
				       pgoff_t index, void **aliasp);
struct folio *page_cache_get_alias(struct address_space *mapping,
				   pgoff_t index, void **aliasp);
struct page_cache_counts __percpu *page_cache_counts_alloc(void);
void page_cache_counts_free(struct page_cache_counts __percpu *counts);
void page_cache_counts_sum(const struct page_cache_counts __percpu *counts,
			   unsigned long *sums);
void page_cache_count(struct page_cache_home *home, enum page_cache_count item,
		      long nr);
void page_cache_count_folio(struct folio *folio, long nr);
void page_cache_counts(unsigned long *sums);
void page_cache_reclaimed(struct address_space *mapping, pgoff_t index,
			  const void *alias);
void page_cache_broken(struct address_space *mapping, pgoff_t index,
		       unsigned long nr, const void *alias);
bool page_cache_next_found(struct address_space *mapping, pgoff_t *index,
			   pgoff_t last, unsigned long *look,
			   struct page_cache_found *found);
int page_cache_may_tell(struct file *file);
bool __filemap_drop_aliases(struct address_space *mapping, pgoff_t first,
			    pgoff_t last, enum page_cache_drop how);

/**
 * mapping_set_home - Say which home holds the blocks that a file maps.
 * @mapping: The file's mapping; its inode's i_private must be free for us.
 * @home: The home of the file's block device.
 *
 * May be called again with the same home.  Does nothing while the home is not
 * enabled.  Once set, it stays until the inode is evicted.
 *
 * The file must want to be asked before a page that is mapped shared is written
 * to, by ->page_mkwrite(): what is in the home is mapped without being writable.
 */
static inline void mapping_set_home(struct address_space *mapping,
				    struct page_cache_home *home)
{
	if (mapping_has_home(mapping) ||
	    !page_cache_home_enabled(home))
		return;
	WRITE_ONCE(mapping->host->i_private, home);
	smp_mb__before_atomic();	/* who sees the bit sees the pointer */
	set_bit(AS_HOME, &mapping->flags);
}

/**
 * mapping_home - The home of the blocks that a file maps, or %NULL.
 * @mapping: The file's mapping.
 */
static inline struct page_cache_home *
mapping_home(const struct address_space *mapping)
{
	if (likely(!test_bit_acquire(AS_HOME, &mapping->flags)))
		return NULL;
	return READ_ONCE(mapping->host->i_private);
}

/* Do the folios of this mapping belong to files, or is it a home itself? */
static inline bool mapping_is_home(const struct address_space *mapping)
{
	return mapping && mapping->a_ops == &page_cache_home_aops;
}

/*
 * Is a folio that is mapped shared by files?  The caller keeps it from leaving
 * the page cache: by its lock, or by that of a page table that maps it.
 */
static inline bool folio_is_of_home(const struct folio *folio)
{
	return !folio_test_anon(folio) &&
	       mapping_is_home(READ_ONCE(folio->mapping));
}

/* Will what is read into this file be offered to its home? */
static inline bool mapping_shares_cache(const struct address_space *mapping)
{
	struct page_cache_home *home = mapping_home(mapping);

	return home && page_cache_home_enabled(home);
}

/**
 * page_cache_ask_home - Let a file share what its home has, before it is read.
 * @mapping: The file's mapping, with its invalidate_lock held.
 * @index: First index, in pages.
 * @nr: How many pages.
 *
 * Slots in which there is nothing become aliases.  Nothing is allocated for
 * them but nodes of i_pages, and nothing is read.
 *
 * Context: May sleep, and must not re-enter the file system for memory.
 */
static inline void page_cache_ask_home(struct address_space *mapping,
				       pgoff_t index, unsigned long nr)
{
	struct page_cache_home *home = mapping_home(mapping);
	unsigned long done;

	if (!home || !page_cache_home_enabled(home))
		return;
	for (; nr; index += done, nr -= done)
		done = page_cache_home_ask(home, mapping, index, nr, false);
}

/**
 * page_cache_ask_home_once - As page_cache_ask_home(), for one extent.
 * @mapping: A mapping of which mapping_shares_cache() said %true.
 * @index: First index, in pages.
 * @nr: How many pages.
 *
 * Return: How many pages the file maps in one extent from @index on, as far as
 * was asked, or one: a folio with more cannot be shared.
 */
static inline unsigned long
page_cache_ask_home_once(struct address_space *mapping, pgoff_t index,
			 unsigned long nr)
{
	return page_cache_home_ask(mapping_home(mapping), mapping, index, nr,
				   true);
}

/* Does a file share all of a folio, which is locked and found at @index? */
static inline bool mapping_shares_all_of(struct address_space *mapping,
					 pgoff_t index, struct folio *folio)
{
	void *entry;

	if (likely(page_cache_all_whole(folio)))
		return true;
	entry = xa_load(&mapping->i_pages, index);
	return mapping_entry_is_alias(mapping, entry) &&
	       page_cache_alias_order(entry) == folio_order(folio);
}

void __page_cache_mark_readahead(struct address_space *mapping, pgoff_t index);

/**
 * page_cache_mark_readahead - Let readahead go on when a page is read.
 * @mapping: The file's mapping.
 * @index: The slot, in which there is something.
 *
 * For a slot that became an alias when the home was asked: it is in the place
 * of the folio that would have the mark, had it been allocated and read.
 */
static inline void page_cache_mark_readahead(struct address_space *mapping,
					     pgoff_t index)
{
	if (mapping_has_home(mapping))
		__page_cache_mark_readahead(mapping, index);
}

/**
 * page_cache_sequential_readahead - How much to read ahead of a sequential reader.
 * @mapping: The file's mapping.
 * @max_pages: How much it would be, in pages.
 *
 * What is read once for all files that share it, they name in pieces as large as
 * the folios that readahead makes of it.  With pages of 4 KiB, 256 KiB are what
 * one node of i_pages has slots for: then there is an entry in place of a node, in
 * each of the files.
 *
 * Return: The number of pages, @max_pages or more.
 */
static inline unsigned long
page_cache_sequential_readahead(const struct address_space *mapping,
				unsigned long max_pages)
{
	if (likely(!mapping_shares_cache(mapping)))
		return max_pages;
	return max_t(unsigned long, max_pages, SZ_256K >> PAGE_SHIFT);
}

void __page_cache_prepare_write(struct address_space *mapping, loff_t pos,
				size_t len);

/**
 * page_cache_prepare_write - Have at hand what is not going to be written, and
 *	let go of what is.
 * @mapping: The file's mapping.
 * @pos: First byte that will be written.
 * @len: How many.
 *
 * The rest of a page that is written in part is copied from the home then, and
 * not read from the device.  Pages that are written as a whole need not be copied,
 * and the file gets folios for them as large as for any other write.
 *
 * Context: The file system would read the page now.  May sleep.
 */
static inline void page_cache_prepare_write(struct address_space *mapping,
					    loff_t pos, size_t len)
{
	if (len && mapping_shares_cache(mapping))
		__page_cache_prepare_write(mapping, pos, len);
}

/**
 * filemap_drop_aliases - Remove the aliases of a range of a file.
 * @mapping: The file's mapping.
 * @first: First index, in pages.
 * @last: Last index, in pages, inclusive.
 * @how: Which, and whether to wait.
 *
 * What the file has mapped of them is unmapped.
 *
 * Context: May sleep, if only for the locks of the reverse map when it must not
 * wait for a folio's.  Folios of the file may be locked.
 * Return: %true if no alias that was there at the call was left because of a
 * lock or because it was in use.
 */
static inline bool filemap_drop_aliases(struct address_space *mapping,
					pgoff_t first, pgoff_t last,
					enum page_cache_drop how)
{
	if (!mapping_home(mapping))
		return true;
	return __filemap_drop_aliases(mapping, first, last, how);
}

bool __filemap_begin_direct_write(struct address_space *mapping,
				  pgoff_t first, pgoff_t last, bool nowait);

/**
 * filemap_begin_direct_write - Make a range of a file free of aliases for as
 *	long as direct I/O is in flight.
 * @mapping: The file's mapping; inode_dio_begin() was called on its host.
 * @pos: First byte that will be written.
 * @end: Last byte (inclusive).
 * @nowait: Fail rather than wait for a home folio's lock.
 *
 * Direct writes change data or the block map without the invalidate_lock, so
 * nothing else would keep a concurrent reader from putting an alias back.
 * Whoever adds an alias looks at i_dio_count under the i_pages lock: it either
 * sees our inode_dio_begin() or we see its alias.
 *
 * Return: %false if @nowait and an alias could not be removed.
 */
static inline bool filemap_begin_direct_write(struct address_space *mapping,
					      loff_t pos, loff_t end,
					      bool nowait)
{
	/* Pairs with the one in page_cache_slot_to_alias(). */
	smp_mb__after_atomic();
	if (!mapping_home(mapping))
		return true;
	return __filemap_begin_direct_write(mapping, pos >> PAGE_SHIFT,
					    end >> PAGE_SHIFT, nowait);
}

/**
 * filemap_begin_swap - Make a file that is a swap file now free of aliases.
 * @mapping: The file's mapping; S_SWAPFILE is set on its host.
 *
 * Swapping writes to blocks behind the page cache's back.
 *
 * Context: May sleep.
 */
static inline void filemap_begin_swap(struct address_space *mapping)
{
	smp_mb();	/* S_SWAPFILE before AS_HOME, as for direct writes */
	if (mapping_home(mapping))
		__filemap_begin_direct_write(mapping, 0, ULONG_MAX, false);
}

/**
 * filemap_forget_home - Give up the fragments of a range without aliases.
 * @mapping: The file's mapping.
 * @first: First index, in pages.
 * @last: Last index, in pages, inclusive.
 */
static inline void filemap_forget_home(struct address_space *mapping,
				       pgoff_t first, pgoff_t last)
{
	struct page_cache_home *home = mapping_home(mapping);

	if (home)
		page_cache_home_forget(home, mapping, first, last);
}

#else /* !CONFIG_PAGE_CACHE_SHARE */

static inline struct page_cache_home *
page_cache_home_create(struct block_device *bdev, page_cache_ask_t ask)
{
	return NULL;
}

static inline void page_cache_home_destroy(struct page_cache_home *home)
{
}

static inline void page_cache_home_set_enabled(struct page_cache_home *home,
					       bool enabled)
{
}

static inline void page_cache_home_counts(const struct page_cache_home *home,
					  unsigned long *sums)
{
}

static inline int page_cache_map(struct file *file, void __user *arg)
{
	return -ENOTTY;
}

static inline const struct block_device *
page_cache_home_bdev(const struct page_cache_home *home)
{
	return NULL;
}

static inline enum page_cache_populate
page_cache_home_populate(struct page_cache_home *home,
			 struct address_space *mapping, struct folio *folio,
			 const struct page_cache_extent *extent)
{
	return PAGE_CACHE_PRIVATE;
}

static inline unsigned long
page_cache_home_attach(struct page_cache_home *home,
		       struct address_space *mapping, pgoff_t first,
		       pgoff_t last, const struct page_cache_extent *extent)
{
	return 0;
}

static inline unsigned long
page_cache_home_adopt(struct page_cache_home *home,
		      struct address_space *mapping, pgoff_t first,
		      pgoff_t last, const struct page_cache_extent *extent)
{
	return 0;
}

static inline void page_cache_ask_home(struct address_space *mapping,
				       pgoff_t index, unsigned long nr)
{
}

static inline unsigned long
page_cache_ask_home_once(struct address_space *mapping, pgoff_t index,
			 unsigned long nr)
{
	return nr;
}

static inline bool mapping_shares_all_of(struct address_space *mapping,
					 pgoff_t index, struct folio *folio)
{
	return false;
}

static inline void page_cache_mark_readahead(struct address_space *mapping,
					     pgoff_t index)
{
}

static inline unsigned long
page_cache_sequential_readahead(const struct address_space *mapping,
				unsigned long max_pages)
{
	return max_pages;
}

static inline void page_cache_prepare_write(struct address_space *mapping,
					    loff_t pos, size_t len)
{
}

static inline int page_cache_home_drop(struct address_space *mapping,
				       pgoff_t first, pgoff_t last,
				       enum page_cache_drop how)
{
	return 0;
}

static inline bool
page_cache_home_walk(struct folio *folio, bool nowait,
		     bool (*visit)(struct address_space *mapping, pgoff_t index,
				   unsigned long nr, void *data),
		     void *data)
{
	return true;
}

static inline struct folio *
page_cache_home_break(struct address_space *mapping, pgoff_t index,
		      bool nowait, gfp_t gfp)
{
	return NULL;
}

static inline struct folio *
page_cache_home_break_folio(struct address_space *mapping, pgoff_t index,
			    struct folio *home_folio, gfp_t gfp)
{
	return NULL;
}

static inline struct folio *
page_cache_try_get_alias(struct address_space *mapping, pgoff_t index,
			 void **aliasp)
{
	return NULL;
}

static inline struct folio *page_cache_get_alias(struct address_space *mapping,
						 pgoff_t index, void **aliasp)
{
	return NULL;
}

static inline void mapping_set_home(struct address_space *mapping,
				    struct page_cache_home *home)
{
}

static inline struct page_cache_home *
mapping_home(const struct address_space *mapping)
{
	return NULL;
}

static inline bool mapping_is_home(const struct address_space *mapping)
{
	return false;
}

static inline bool folio_is_of_home(const struct folio *folio)
{
	return false;
}

static inline bool mapping_shares_cache(const struct address_space *mapping)
{
	return false;
}

static inline bool filemap_drop_aliases(struct address_space *mapping,
					pgoff_t first, pgoff_t last,
					enum page_cache_drop how)
{
	return true;
}

static inline bool filemap_begin_direct_write(struct address_space *mapping,
					      loff_t pos, loff_t end,
					      bool nowait)
{
	return true;
}

static inline void filemap_begin_swap(struct address_space *mapping)
{
}

static inline void filemap_forget_home(struct address_space *mapping,
				       pgoff_t first, pgoff_t last)
{
}

#endif /* CONFIG_PAGE_CACHE_SHARE */

/*
 * Has the file the data at hand, in a folio of its own or in the home?  Not for
 * the slots of shmem and DAX files.
 */
static inline bool mapping_entry_is_present(const struct address_space *mapping,
					    const void *entry)
{
	return entry && (!xa_is_value(entry) ||
			 mapping_entry_is_alias(mapping, entry));
}

#endif /* _LINUX_PAGE_CACHE_HOME_H */
