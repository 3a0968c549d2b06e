// SPDX-License-Identifier: GPL-2.0
/*
 * What homes need from the page cache that only C can give: the inode behind a
 * home, and the few steps on i_pages by which a slot of a file becomes an alias,
 * is emptied, or gets a folio of its own.
 *
 * Each of these steps is one critical section of one i_pages lock and keeps
 * nrpages, the statistics and the memcg charge right; in which order they are
 * taken, and under which locks, is the protocol, and that is in
 * rust/kernel/mm/page_cache/home.rs.
 */
#include <linux/cachemap.h>
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/init.h>
#include <linux/magic.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/page_cache_home.h>
#include <linux/percpu.h>
#include <linux/pseudo_fs.h>
#include <linux/rcupdate_wait.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <trace/events/filemap.h>
#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/page_cache_home.h>

static struct vfsmount *home_mnt __ro_after_init;

/* Sums of these are exact, unlike those of per-node counters. */
static DEFINE_PER_CPU(struct page_cache_counts, all_counts);

/**
 * page_cache_counts_alloc - Get the counters of one home.
 *
 * Context: May sleep.
 * Return: Counters that are zero, or %NULL when out of memory.
 */
struct page_cache_counts __percpu *page_cache_counts_alloc(void)
{
	return alloc_percpu(struct page_cache_counts);
}

/**
 * page_cache_counts_free - Give them up.
 * @counts: What page_cache_counts_alloc() returned.
 */
void page_cache_counts_free(struct page_cache_counts __percpu *counts)
{
	free_percpu(counts);
}

/**
 * page_cache_count - Count what a home holds, or what happened to that.
 * @home: Whose it is; %NULL if that may be gone.
 * @item: What to count.
 * @nr: By how much, may be negative.
 */
void page_cache_count(struct page_cache_home *home, enum page_cache_count item,
		      long nr)
{
	this_cpu_add(all_counts.nr[item], nr);
	if (home)
		this_cpu_add(home->counts->nr[item], nr);
}

/**
 * page_cache_count_folio - Count pages that a home gets, or no longer has.
 * @folio: A locked folio that becomes a home's, or was one's.
 * @nr: How many pages it has, or the negative of that.
 *
 * The memory cgroup that is charged for the folio, and for its use by others,
 * sees it in memory.stat.  Not so if the charge is gone, as it is of memory that
 * has failed: what is counted of that stays, as with all that memory.stat says
 * of files.
 */
void page_cache_count_folio(struct folio *folio, long nr)
{
	struct mem_cgroup *memcg;

	page_cache_count(NULL, PAGE_CACHE_NR_HOME, nr);
	rcu_read_lock();
	memcg = folio_memcg(folio);
	if (memcg)
		mod_memcg_state(memcg, MEMCG_FILE_HOME, nr);
	rcu_read_unlock();
}

/**
 * page_cache_counts_sum - Sum up what was counted.
 * @counts: The counters.
 * @sums: PAGE_CACHE_NR_COUNTS numbers to fill in.
 */
void page_cache_counts_sum(const struct page_cache_counts __percpu *counts,
			   unsigned long *sums)
{
	int cpu, i;

	for (i = 0; i < PAGE_CACHE_NR_COUNTS; i++) {
		long sum = 0;

		for_each_possible_cpu(cpu)
			sum += per_cpu_ptr(counts, cpu)->nr[i];
		/* The CPUs are not read at one moment: a drop may be seen first. */
		sums[i] = max(sum, 0L);
	}
}

/**
 * page_cache_counts - Sum up what was counted of all homes, for /proc/vmstat.
 * @sums: PAGE_CACHE_NR_COUNTS numbers to fill in.
 */
void page_cache_counts(unsigned long *sums)
{
	page_cache_counts_sum(&all_counts, sums);
}

/**
 * page_cache_reclaimed - Count slots that lost their page for others' sake.
 * @mapping: The file's mapping.
 * @index: Where the alias began.
 * @alias: What it was.
 */
void page_cache_reclaimed(struct address_space *mapping, pgoff_t index,
			  const void *alias)
{
	unsigned long nr = 1UL << page_cache_alias_order(alias);

	page_cache_count(mapping_home(mapping), PAGE_CACHE_RECLAIM, nr);
	trace_page_cache_reclaim(mapping, index, nr,
				 page_cache_entry_pfn(alias));
}

/**
 * page_cache_broken - Count slots that are written to, and name no alias any more.
 * @mapping: The file's mapping.
 * @index: The first slot.
 * @nr: How many.
 * @alias: What they were, or were a part of.
 */
void page_cache_broken(struct address_space *mapping, pgoff_t index,
		       unsigned long nr, const void *alias)
{
	unsigned long pfn = page_cache_entry_pfn(alias);

	pfn += index & ((1UL << page_cache_alias_order(alias)) - 1);
	page_cache_count(mapping_home(mapping), PAGE_CACHE_BREAK, nr);
	trace_page_cache_break(mapping, index, nr, pfn);
}

/**
 * page_cache_home_inode - Make the inode whose mapping holds a home's folios.
 *
 * The home goes into its i_private before the first folio.
 *
 * Context: May sleep.
 * Return: A new inode with one reference, or %NULL when out of memory.
 */
struct inode *page_cache_home_inode(void)
{
	/* On the list of its superblock, so that drop_caches finds it. */
	struct inode *inode = home_mnt ? new_inode(home_mnt->mnt_sb) : NULL;
	struct address_space *mapping;

	if (!inode)
		return NULL;
	/* Memory failure takes pages out of regular files only. */
	inode->i_mode = S_IFREG;
	mapping = inode->i_mapping;
	mapping->a_ops = &page_cache_home_aops;
	mapping_set_release_always(mapping);
	mapping_set_large_folios(mapping);
	/* Folios are allocated for file systems that are reading. */
	mapping_set_gfp_mask(mapping, GFP_HIGHUSER_MOVABLE & ~__GFP_FS);
	return inode;
}

/**
 * page_cache_insertion_init - Begin to put a folio into a home.
 * @insertion: To be set up.  page_cache_insertion_refill() ends it.
 * @home: The home's mapping.
 * @index: Its place there.
 * @order: The order of the folio.
 */
void page_cache_insertion_init(struct page_cache_insertion *insertion,
			       struct address_space *home, pgoff_t index,
			       unsigned int order)
{
	insertion->xas = (struct xa_state)__XA_STATE(&home->i_pages, 0, 0, 0);
	mapping_set_update(&insertion->xas, home);
	insertion->index = index;
	insertion->order = order;
	insertion->shadow = NULL;
}

/**
 * page_cache_insertion_refill - Get the memory that an insertion was short of.
 * @insertion: What page_cache_home_insert() was called with, or not yet.
 * @home: The home's mapping.
 *
 * Call it after every page_cache_home_insert(): if there is nothing to be tried
 * again it gives back the memory that was not used.  It does not try hard: a
 * folio that cannot get into the home stays the file's.
 *
 * Context: May sleep.
 * Return: %true if page_cache_home_insert() failed with -ENOMEM and may be
 * called again.
 */
bool page_cache_insertion_refill(struct page_cache_insertion *insertion,
				 struct address_space *home)
{
	return xas_nomem(&insertion->xas,
			 readahead_gfp_mask(home) & GFP_RECLAIM_MASK);
}

/* Is there nothing in the slot, or a shadow? */
static bool entry_is_free(const void *entry)
{
	return !entry || page_cache_entry_is_shadow(entry);
}

/*
 * Is there nothing in the slots of a folio or an alias but shadows?  Then @xas is
 * where it goes, and one that is larger is gone: else it would be found in what
 * is left of its place.
 *
 * Context: The i_pages lock is held.
 */
static bool make_room(struct xa_state *xas, pgoff_t index, unsigned int order,
		      void **shadow)
{
	void *old = NULL, *entry;

	/* Not xas_set(), which leaves the order as it was. */
	xas_set_order(xas, index, 0);
	entry = xas_load(xas);
	if (page_cache_entry_is_shadow(entry) && xas_get_order(xas) > order) {
		old = entry;
		xas_store(xas, NULL);
		entry = NULL;
		xas_set_order(xas, index, 0);
	}
	if (!order) {
		*shadow = old ?: entry;
		return entry_is_free(entry);
	}
	xas_set_order(xas, index, order);
	xas_for_each_conflict(xas, entry) {
		if (!page_cache_entry_is_shadow(entry))
			return false;
		old = entry;
	}
	xas_set_order(xas, index, order);
	*shadow = old;
	return true;
}

/**
 * page_cache_home_insert - Put a locked folio into a home without making it
 *	the home's.
 * @insertion: Where.
 * @home: The home's mapping.
 * @folio: A locked folio of a file, whose alias count is zero.
 *
 * Until the file's slot becomes an alias, folio->mapping stays the file's, so
 * that whoever finds the folio in the home sees that it is not there yet.
 * The home's page cache reference is the one the file had.
 *
 * Context: The folio is locked, and the home's fragments are: readers, who take
 * that lock before they use what they found, do not see the moment between.
 * Does not sleep.
 * Return: 0, -EEXIST when the home has a folio there, or -ENOMEM.
 */
int page_cache_home_insert(struct page_cache_insertion *insertion,
			   struct address_space *home, struct folio *folio)
{
	struct xa_state *xas = &insertion->xas;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_order(folio) != insertion->order, folio);

	xas_lock_irq(xas);
	if (make_room(xas, insertion->index, insertion->order,
		      &insertion->shadow))
		xas_store(xas, folio);
	else
		xas_set_err(xas, -EEXIST);
	if (!xas_error(xas))
		home->nrpages += folio_nr_pages(folio);
	xas_unlock_irq(xas);
	return xas_error(xas);
}

/**
 * page_cache_home_inserted - Note what became of a page that is read again.
 * @insertion: What page_cache_home_insert() succeeded with.
 * @folio: The folio, which is the home's now.
 *
 * Context: The folio is locked.  May sleep.
 */
void page_cache_home_inserted(struct page_cache_insertion *insertion,
			      struct folio *folio)
{
	if (insertion->shadow)
		workingset_refault_added(folio, insertion->shadow);
}

/**
 * page_cache_home_undo_insert - Take back page_cache_home_insert().
 * @insertion: Where.
 * @home: The home's mapping.
 * @folio: The folio, still locked and still the file's.
 *
 * Context: As page_cache_home_insert(), with the locks held since.
 */
void page_cache_home_undo_insert(struct page_cache_insertion *insertion,
				 struct address_space *home,
				 struct folio *folio)
{
	struct xa_state *xas = &insertion->xas;

	xas_lock_irq(xas);
	xas_set_order(xas, insertion->index, insertion->order);
	VM_WARN_ON_ONCE_FOLIO(xas_load(xas) != folio, folio);
	xas_store(xas, insertion->shadow);
	home->nrpages -= folio_nr_pages(folio);
	xas_unlock_irq(xas);
}

/**
 * page_cache_set_home - Make a file's folio that of a home.
 * @folio: A locked folio of a file, which is in the tree of the home.
 * @home: The home's mapping.
 * @index: Its place there.
 * @idle: Only if nobody else can read or write it, and it is what is on disk.
 *
 * As in __remove_mapping(), whether it is dirty is asked when nobody can get a
 * reference any more: who had one may have made it dirty without its lock, and
 * put it after that.  What could not be written back is clean, too.
 *
 * Context: The file's i_pages lock is held, or nobody has read the folio yet.
 * Return: %false if it is not idle, and then it is the file's as before.
 */
bool page_cache_set_home(struct folio *folio, struct address_space *home,
			 pgoff_t index, bool idle)
{
	const int refs = folio_nr_pages(folio) + 1;

	if (idle) {
		bool clean;

		if (!folio_ref_freeze(folio, refs))
			return false;
		clean = !folio_test_dirty(folio) && !folio_test_writeback(folio);
		/* An error is noted before writeback ends. */
		smp_rmb();
		if (!clean || READ_ONCE(folio->mapping->wb_err) ||
		    folio_contain_hwpoisoned_page(folio)) {
			folio_ref_unfreeze(folio, refs);
			return false;
		}
	}
	folio->mapping = home;
	folio->index = index;
	if (idle)
		folio_ref_unfreeze(folio, refs);
	return true;
}

/* Does nobody write to blocks of the file behind the page cache's back? */
static bool may_share(struct address_space *mapping)
{
	return !atomic_read_acquire(&mapping->host->i_dio_count) &&
	       !IS_SWAPFILE(mapping->host);
}

/**
 * page_cache_slot_to_alias - Replace a folio in a file by an alias.
 * @mapping: The file's mapping.
 * @index: The folio's first slot.
 * @folio: The locked folio that is in it, clean and not mapped.
 * @alias: The entry to store, of the same order.
 * @donate: The folio goes on living elsewhere; else it is removed from the
 *	page cache, and the reference that the cache had is dropped.
 * @may: Asked under the i_pages lock whether to go ahead.  Who looks the slot
 *	up before sees the folio, who does so after sees the alias; what @may
 *	checked is true at that moment.
 * @data: For @may.
 *
 * While direct I/O is in flight nothing becomes an alias, see
 * filemap_begin_direct_write(); nor in a swap file, whose blocks are written
 * behind the file system's back.
 *
 * Return: %true if the slot holds the alias now.
 */
bool page_cache_slot_to_alias(struct address_space *mapping, pgoff_t index,
			      struct folio *folio, void *alias, bool donate,
			      bool (*may)(void *data), void *data)
{
	XA_STATE_ORDER(xas, &mapping->i_pages, index, folio_order(folio));
	void (*free_folio)(struct address_space *mapping, struct folio *folio);
	struct page_cache_home *home = mapping_home(mapping);
	const long nr = folio_nr_pages(folio);
	bool ok;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(page_cache_alias_order(alias) !=
			      folio_order(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_mapped(folio), folio);
	mapping_set_update(&xas, mapping);

	xas_lock_irq(&xas);
	/*
	 * Who changes blocks increments i_dio_count or sets S_SWAPFILE, then
	 * looks at AS_HOME, which was set before we came here, and if it sees
	 * that takes this lock.  So we see the one or are seen.
	 *
	 * Who is done decrements it again after the block map changed: if we
	 * see the zero of that, @may sees the change.
	 */
	smp_mb();
	ok = !WARN_ON_ONCE(xas_load(&xas) != folio) &&
	     may_share(mapping) && may(data);
	if (ok && donate) {
		xas_store(&xas, alias);
		xas_init_marks(&xas);
		mapping->nrpages -= nr;
	} else if (ok) {
		__filemap_remove_folio(folio, alias);
	}
	xas_unlock_irq(&xas);
	if (!ok)
		return false;

	page_cache_count(home, PAGE_CACHE_NR_ALIAS, nr);
	if (donate) {
		page_cache_count_folio(folio, nr);
		page_cache_count(home, PAGE_CACHE_DONATE, nr);
		trace_page_cache_donate(mapping, index, nr, folio_pfn(folio));
		return true;
	}
	page_cache_count(home, PAGE_CACHE_ATTACH, nr);
	trace_page_cache_attach(mapping, index, nr,
				page_cache_entry_pfn(alias));
	free_folio = mapping->a_ops->free_folio;
	if (free_folio)
		free_folio(mapping, folio);
	folio_put_refs(folio, nr);
	return true;
}

/**
 * page_cache_slot_is_free - May a slot become an alias?
 * @mapping: The file's mapping.
 * @index: The slot.
 *
 * Return: %true if there is nothing in it, or a shadow.
 */
bool page_cache_slot_is_free(struct address_space *mapping, pgoff_t index)
{
	return entry_is_free(xa_load(&mapping->i_pages, index));
}

/*
 * The entry at @index.  To go on from one page to the next is cheap, unless it
 * is from a large entry.
 */
static void *step_to(struct xa_state *xas, pgoff_t index)
{
	void *entry;

	/* If it has not been anywhere yet, it does not go on. */
	if (xas->xa_index + 1 != index || xas_frozen(xas->xa_node))
		xas_set(xas, index);
	entry = xas_next(xas);
	if (xa_is_sibling(entry)) {
		xas_set(xas, index);
		entry = xas_load(xas);
	}
	return entry;
}

/* The folio of a home at @index, with a reference, or %NULL. */
static struct folio *get_home_folio(struct xa_state *xas, pgoff_t index)
{
	struct folio *folio = step_to(xas, index);

	for (;; xas_reset(xas), folio = xas_load(xas)) {
		if (xas_retry(xas, folio))
			continue;
		if (!folio || xa_is_value(folio))
			return NULL;
		if (!folio_try_get(folio))
			continue;
		if (likely(folio == xas_reload(xas)))
			return folio;
		folio_put(folio);
	}
}

/* The home's folio for one page, or for a larger one at the same place. */
static struct folio *get_folio_for(struct xa_state *large, struct xa_state *one,
				   pgoff_t offset, pgoff_t place, pgoff_t page)
{
	struct folio *folio = get_home_folio(large, place + offset);

	if (place == page)
		return folio;
	/* What is left of one that was split is of no use. */
	if (folio && !folio_test_large(folio)) {
		folio_put(folio);
		folio = NULL;
	}
	if (folio)
		return folio;
	/* A larger one is for files that have it at another place. */
	folio = get_home_folio(one, page + offset);
	if (folio && folio_test_large(folio)) {
		folio_put(folio);
		folio = NULL;
	}
	return folio;
}

/*
 * As large as an entry at @index can be, up to @order, if nothing but shadows is
 * to be in its way.
 */
static unsigned int free_order(struct address_space *mapping, pgoff_t index,
			       unsigned int order)
{
	pgoff_t last = index + (1UL << order) - 1;
	XA_STATE(xas, &mapping->i_pages, index);
	void *entry;

	if (!order)
		return 0;
	xas_for_each(&xas, entry, last) {
		if (!xas_retry(&xas, entry) && !entry_is_free(entry))
			break;
	}
	while (order && entry && index + (1UL << order) > xas.xa_index)
		order--;
	return order;
}

/*
 * What of a folio that is found for a free slot @at can be named by one entry:
 * all of it if that is possible, which may begin before @at, else as much as
 * there is from @at on.
 */
static void fit_piece(struct address_space *mapping,
		      const struct page_cache_search *search, pgoff_t at,
		      struct page_cache_piece *piece)
{
	unsigned int order = folio_order(piece->folio);
	pgoff_t first = round_down(at, 1UL << order);

	if (first >= search->extent_first &&
	    first + (1UL << order) - 1 <= search->extent_last &&
	    free_order(mapping, first, order) == order) {
		piece->index = first;
		piece->order = order;
		return;
	}
	order = min_t(unsigned int, order, ilog2(search->extent_last - at + 1));
	if (at)
		order = min_t(unsigned int, order, __ffs(at));
	piece->index = at;
	piece->order = free_order(mapping, at, order);
}

/**
 * page_cache_slots_find - Find what of a home empty slots of a file could name.
 * @mapping: The file's mapping.
 * @home: The home's mapping.
 * @search: Which slots, and where in the home their pages are.
 * @pieces: To be filled in.  Each has a reference to its folio, and there is
 *	nothing in its slots.  The first and the last may reach out of what is
 *	searched, but not out of the extent.
 * @max: How many pieces there is room for.
 * @next: The slot to go on with.
 *
 * Return: How many pieces there are.
 */
unsigned int page_cache_slots_find(struct address_space *mapping,
				   struct address_space *home,
				   const struct page_cache_search *search,
				   struct page_cache_piece *pieces,
				   unsigned int max, pgoff_t *next)
{
	XA_STATE(large, &home->i_pages, search->place);
	XA_STATE(one, &home->i_pages, search->page);
	XA_STATE(xas, &mapping->i_pages, search->first);
	pgoff_t at = search->first;
	unsigned int nr = 0;

	rcu_read_lock();
	while (at <= search->last && nr < max) {
		struct page_cache_piece *piece = &pieces[nr];
		void *entry = step_to(&xas, at);

		while (xas_retry(&xas, entry))
			entry = xas_load(&xas);
		piece->folio = NULL;
		if (entry_is_free(entry))
			piece->folio = get_folio_for(&large, &one,
						     at - search->first,
						     search->place,
						     search->page);
		if (!piece->folio) {
			at++;
			continue;
		}
		fit_piece(mapping, search, at, piece);
		at = piece->index + (1UL << piece->order);
		nr++;
	}
	rcu_read_unlock();
	*next = at;
	return nr;
}

/*
 * Get ready to store an alias for as much of a piece as there is room for; what
 * is behind that stays as it is.  Returns %false if there is none.
 */
static bool piece_has_room(struct xa_state *xas, struct page_cache_piece *piece,
			   void **shadow)
{
	for (;; piece->order--) {
		if (make_room(xas, piece->index, piece->order, shadow))
			return true;
		if (!piece->order)
			return false;
	}
}

static void *piece_alias(const struct page_cache_piece *piece)
{
	struct page *page = folio_file_page(piece->folio, piece->index);

	return page_cache_mk_alias(page_to_pfn(page), piece->order);
}

/**
 * page_cache_slots_attach - Put aliases into empty slots.
 * @mapping: The file's mapping.
 * @pieces: What is to be named, and where.
 * @nr: How many pieces.
 * @may: As for page_cache_slot_to_alias(), for all of them.
 * @may_data: For @may.
 * @take: Counts an alias, if the folio still can have it.
 * @drop: Takes it off the count again.
 * @data: For @take and @drop.
 *
 * There are no locked folios in the slots that would keep them as they are.
 * What @may asks is therefore all that stands between an extent that the caller
 * looked up and a file that was written to, written back and reclaimed since.
 *
 * Context: The file's invalidate_lock is held, and the home's fragments are.
 * Return: How many slots hold one now; -EAGAIN if it is no use to go on with
 * others, as memory is short or the file is changing.
 */
long page_cache_slots_attach(struct address_space *mapping,
			     struct page_cache_piece *pieces, unsigned int nr,
			     bool (*may)(void *data), void *may_data,
			     bool (*take)(const struct page_cache_piece *piece,
					  void *data),
			     void (*drop)(const struct page_cache_piece *piece,
					  void *data),
			     void *data)
{
	struct page_cache_home *home = mapping_home(mapping);
	XA_STATE(xas, &mapping->i_pages, 0);
	long attached = 0;
	unsigned int i;
	bool go_on;

	mapping_set_update(&xas, mapping);
	xas_lock_irq(&xas);
	smp_mb();	/* as in page_cache_slot_to_alias() */
	go_on = may_share(mapping) && may(may_data);
	for (i = 0; go_on && i < nr; i++) {
		struct page_cache_piece *piece = &pieces[i];
		void *shadow, *alias;

		if (!piece_has_room(&xas, piece, &shadow) || !take(piece, data))
			continue;
		alias = piece_alias(piece);
		xas_store(&xas, alias);
		if (xas_error(&xas)) {
			/* Out of memory: who reads does without. */
			drop(piece, data);
			go_on = false;
			break;
		}
		/* A value for a value: nobody else says so. */
		if (shadow && xas.xa_node)
			workingset_update_node(xas.xa_node);
		attached += 1L << piece->order;
		trace_page_cache_attach(mapping, piece->index,
					1UL << piece->order,
					page_cache_entry_pfn(alias));
	}
	xas_unlock_irq(&xas);

	page_cache_count(home, PAGE_CACHE_NR_ALIAS, attached);
	page_cache_count(home, PAGE_CACHE_ATTACH, attached);
	return go_on || attached ? attached : -EAGAIN;
}

/* See page_cache_mark_readahead(). */
void __page_cache_mark_readahead(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio;
	void *alias;

	folio = page_cache_get_alias(mapping, index, &alias);
	if (!folio)
		return;
	folio_set_readahead(folio);
	folio_put(folio);
}

static void ask_before_write(struct address_space *mapping, pgoff_t index)
{
	if (!page_cache_slot_is_free(mapping, index))
		return;
	filemap_invalidate_lock_shared(mapping);
	page_cache_ask_home(mapping, index, 1);
	filemap_invalidate_unlock_shared(mapping);
}

/* See page_cache_prepare_write(). */
void __page_cache_prepare_write(struct address_space *mapping, loff_t pos,
				size_t len)
{
	pgoff_t first = pos >> PAGE_SHIFT;
	pgoff_t last = (pos + len - 1) >> PAGE_SHIFT;
	/* Pages that are written as a whole, up to the one before @end. */
	pgoff_t start = DIV_ROUND_UP_ULL(pos, PAGE_SIZE);
	pgoff_t end = (pos + len) >> PAGE_SHIFT;

	if (first < start)
		ask_before_write(mapping, first);
	if (last >= start && last >= end)
		ask_before_write(mapping, last);
	if (start < end)
		filemap_drop_aliases(mapping, start, end - 1,
				     PAGE_CACHE_DROP_WRITTEN);
}

/*
 * Let others run in the midst of a walk over slots, and go on behind the entry
 * that it is at.  Not with xas_pause(): if the walk began in the middle of that, it
 * goes too far.
 */
static void walk_resched(struct xa_state *xas)
{
	unsigned long nr = 1UL << xas_get_order(xas);

	xas_set(xas, round_down(xas->xa_index, nr) + nr);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
}

/* A folio of the file's own at @index or behind it, locked, or %NULL. */
static struct folio *lock_next_folio(struct address_space *mapping,
				     pgoff_t *index, pgoff_t last)
{
	XA_STATE(xas, &mapping->i_pages, *index);
	void *entry;

	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		if (xas_retry(&xas, entry))
			continue;
		if (!xa_is_value(entry))
			break;
		/* There may be very many aliases. */
		if (need_resched())
			walk_resched(&xas);
	}
	rcu_read_unlock();
	if (!entry)
		return NULL;
	*index = max(*index, xas.xa_index);
	return filemap_lock_folio(mapping, *index);
}

/* Has nobody a reference but the page cache, page tables and the caller? */
static bool is_unused(struct folio *folio)
{
	return folio_ref_count(folio) == folio_expected_ref_count(folio) + 1;
}

/*
 * Is it clean, and nothing but data?  It is unmapped for that, if it looks as
 * if it could be used: page_cache_set_home() has the last word.  What mlock() has
 * mapped is to stay so.
 */
static bool make_idle(struct address_space *mapping, struct folio *folio)
{
	if (!folio_test_uptodate(folio) || folio_test_dirty(folio) ||
	    folio_test_writeback(folio) || folio_test_dropbehind(folio) ||
	    folio_test_mlocked(folio))
		return false;
	/* It may be on its way to the LRU. */
	if (!is_unused(folio))
		lru_add_drain();
	if (!is_unused(folio))
		return false;
	/* Unlike unmap_mapping_folio(), this leaves markers in page tables. */
	if (folio_mapped(folio)) {
		unmap_mapping_pages(mapping, folio->index,
				    folio_nr_pages(folio), false);
		/* That it was used is noted in a batch of this CPU, too. */
		lru_add_drain();
	}
	if (folio_mapped(folio) || folio_test_dirty(folio))
		return false;
	return !folio_needs_release(folio) ||
	       filemap_release_folio(mapping, folio, GFP_NOFS);
}

/**
 * page_cache_next_idle - Look for a folio of a file that can go to a home.
 * @mapping: The file's mapping.
 * @index: Where to begin, and where it was found.
 * @last: The last index to look at.
 * @looked: How many pages were looked at is added to it, those of what was found
 *	included.
 *
 * What reaches beyond the range is split.
 *
 * Context: The file's invalidate_lock is held, nobody writes to the file, and
 * nobody makes pages of it writable; it may be read and mapped.  May sleep.
 * Return: A folio that is clean, up to date, not mapped and without private data,
 * locked and with a reference; or %NULL.  Others may have references, too.
 */
struct folio *page_cache_next_idle(struct address_space *mapping,
				   pgoff_t *index, pgoff_t last,
				   unsigned long *looked)
{
	const pgoff_t first = *index;
	struct folio *folio;

	/* There may be very many aliases, and nothing else. */
	if (!mapping->nrpages || READ_ONCE(mapping->wb_err))
		return NULL;

	while (*index <= last && !fatal_signal_pending(current)) {
		cond_resched();
		folio = lock_next_folio(mapping, index, last);
		if (!folio)
			return NULL;
		/* Gone meanwhile? */
		if (IS_ERR(folio)) {
			++*index;
			continue;
		}
		*looked += folio_nr_pages(folio);
		if (!make_idle(mapping, folio)) {
			*index = folio_next_index(folio);
		} else if (folio->index >= first &&
			   folio_next_index(folio) - 1 <= last &&
			   folio_order(folio) <= PAGE_CACHE_HOME_MAX_ORDER) {
			*index = folio->index;
			return folio;
		} else if (split_folio(folio)) {
			*index = folio_next_index(folio);
		} /* else look at the same index again */
		folio_unlock(folio);
		folio_put(folio);
	}
	return NULL;
}

/*
 * Unmap from a file what an alias named that is gone from its slot.
 *
 * Context: The home folio is locked.  Who maps it has it locked, too, and has
 * seen the alias: so his page table entry is there by now.
 *
 * This is done although the folio may be seen to have no mappings: somebody
 * else may have cleared a page table entry and not yet flushed the TLB, which
 * the walk does for him.  Else who runs there would still read the old page
 * after the file was written to.  Nor can i_mmap be seen to be empty without
 * its lock: a VMA that changes its size is taken out for a moment.
 */
static void unmap_alias(struct address_space *mapping, pgoff_t first,
			pgoff_t last)
{
	unmap_mapping_pages(mapping, first, last - first + 1, false);
}

/*
 * Let an entry begin at @index.  If that is in the midst of an alias, it becomes
 * several, each as large as it can be; they name what it named.
 *
 * Context: The i_pages lock is held.
 * Return: %false if there is no memory for that; then some of it may be done.
 */
static bool split_alias_at(struct xa_state *xas, pgoff_t index)
{
	for (;;) {
		unsigned long pfn, nr;
		unsigned int order;
		void *entry, *half;
		pgoff_t base;

		xas_set_order(xas, index, 0);
		entry = xas_load(xas);
		if (!page_cache_entry_is_alias(entry))
			return true;
		order = page_cache_alias_order(entry);
		base = round_down(index, 1UL << order);
		if (base == index)
			return true;

		order--;
		nr = 1UL << order;
		pfn = page_cache_entry_pfn(entry);
		xas_set_order(xas, index, order);
		xas_try_split(xas, entry, order + 1);
		if (xas_error(xas))
			return false;
		half = page_cache_mk_alias(pfn, order);
		xas_set_order(xas, base, order);
		xas_store(xas, half);
		half = page_cache_mk_alias(pfn + nr, order);
		xas_set_order(xas, base + nr, order);
		xas_store(xas, half);
	}
}

/*
 * Let the pages from @first to @last of an alias be others' no more.  If there is
 * no memory for what is left, then nothing is: the range becomes the whole alias.
 */
static void isolate_alias(struct xa_state *xas, const void *alias,
			  pgoff_t *first, pgoff_t *last)
{
	pgoff_t end = page_cache_alias_last(*first, alias);
	pgoff_t base = round_down(*first, 1UL << page_cache_alias_order(alias));

	if (split_alias_at(xas, *first) &&
	    (*last == end || split_alias_at(xas, *last + 1)))
		return;
	*first = base;
	*last = end;
}

/* Empty slots that hold aliases, whole ones. */
static void clear_aliases(struct xa_state *xas, pgoff_t first, pgoff_t last)
{
	void *entry;

	xas_set_order(xas, first, 0);
	xas_for_each(xas, entry, last)
		xas_store(xas, NULL);
}

/**
 * page_cache_slot_has_alias - Does a slot hold a certain alias?
 * @mapping: The file's mapping.
 * @index: The slot.
 * @alias: The alias.
 *
 * For those who go through the slots that may.  None can be stored meanwhile:
 * they have the fragments mutex, under which that happens.
 */
bool page_cache_slot_has_alias(struct address_space *mapping, pgoff_t index,
			       const void *alias)
{
	return xa_load(&mapping->i_pages, index) == alias;
}

/**
 * page_cache_slots_next_alias - Look for aliases to a folio of a home.
 * @mapping: The file's mapping.
 * @index: Where to begin, and where the alias that was found begins.
 * @last: The last index to look at.
 * @folio: The folio.
 * @looked: To be added to, for each slot or larger entry that was looked at.
 *
 * For those who go through the slots that may hold one.  None can be stored
 * meanwhile: they have the fragments mutex, under which that happens.
 *
 * Return: An alias that begins in the range, or %NULL.
 */
void *page_cache_slots_next_alias(struct address_space *mapping, pgoff_t *index,
				  pgoff_t last, struct folio *folio,
				  unsigned long *looked)
{
	const unsigned long first_pfn = folio_pfn(folio);
	XA_STATE(xas, &mapping->i_pages, *index);
	void *entry;

	++*looked;
	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		pgoff_t base;

		++*looked;
		if (xas_retry(&xas, entry) ||
		    !page_cache_entry_is_alias(entry) ||
		    page_cache_entry_pfn(entry) - first_pfn >=
		    folio_nr_pages(folio))
			continue;
		base = round_down(xas.xa_index,
				  1UL << page_cache_alias_order(entry));
		/* It is found where it begins. */
		if (base < *index)
			continue;
		*index = base;
		break;
	}
	rcu_read_unlock();
	return entry;
}

/**
 * page_cache_slot_clear_alias - Empty slots that hold an alias.
 * @mapping: The file's mapping.
 * @first: The first slot.
 * @last: The last one, inclusive, of the same alias.
 * @alias: What must be in them.
 * @unmap: The home folio may be mapped: unmap these pages from this file.
 * @gone: Called under the i_pages lock if it was, with the number of slots, which
 *	are more when there is no memory to let the alias be in the others still.
 *	Takes them off the count: as long as the count has them, the file must
 *	not be given other blocks.
 * @data: For @gone.
 *
 * Context: The home folio is locked.  May sleep.
 * Return: %false if something else is in the first slot.
 */
bool page_cache_slot_clear_alias(struct address_space *mapping, pgoff_t first,
				 pgoff_t last, void *alias, bool unmap,
				 void (*gone)(unsigned long nr, void *data),
				 void *data)
{
	XA_STATE(xas, &mapping->i_pages, first);
	bool ok;

	mapping_set_update(&xas, mapping);
	xas_lock_irq(&xas);
	ok = xas_load(&xas) == alias;
	if (ok) {
		isolate_alias(&xas, alias, &first, &last);
		clear_aliases(&xas, first, last);
		gone(last - first + 1, data);
	}
	xas_unlock_irq(&xas);

	if (!ok)
		return false;
	page_cache_count(mapping_home(mapping), PAGE_CACHE_NR_ALIAS,
			 -(long)(last - first + 1));
	if (unmap)
		unmap_alias(mapping, first, last);
	return true;
}

/**
 * page_cache_slot_move_alias - Let an alias name another folio.
 * @mapping: The file's mapping.
 * @index: Where it begins.
 * @from: What must be there.
 * @to: What it is then, of the same order.
 *
 * Context: Between page_cache_home_begin_move() and _end_move() of the folios.
 */
void page_cache_slot_move_alias(struct address_space *mapping, pgoff_t index,
				void *from, void *to)
{
	XA_STATE_ORDER(xas, &mapping->i_pages, index,
		       page_cache_alias_order(from));

	mapping_set_update(&xas, mapping);
	xas_lock_irq(&xas);
	if (!WARN_ON_ONCE(xas_load(&xas) != from))
		xas_store(&xas, to);
	xas_unlock_irq(&xas);
}

/*
 * Keep others from getting a reference to a folio of a home: only the home and
 * the caller have one.  Who finds it looks again and again, so the caller is not
 * preempted until home_folio_unfrozen(), unless that is what locks are for.
 */
static bool freeze_home_folio(struct folio *folio)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_disable();
	if (folio_ref_freeze(folio, folio_nr_pages(folio) + 1))
		return true;
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
	return false;
}

static void home_folio_unfrozen(void)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
}

/**
 * page_cache_home_begin_move - Begin to put a folio in the place of another.
 * @home: The home's mapping.
 * @from: A folio of the home.
 * @to: A folio with the same data that nobody knows of.
 *
 * Until page_cache_home_end_move() nobody gets a reference to @from: who finds
 * it in the home or by an alias looks again and again.  Else a reader could
 * still come to it when the memory cgroup, for one, takes it to be unused.  So
 * what is done meanwhile must be short; it is not preempted, unless that is
 * what locks are for.
 *
 * Context: Both folios are locked, and the fragments are.
 * Return: %false if somebody has a reference to @from, besides the home and the
 * caller, who has taken it from the LRU.
 */
bool page_cache_home_begin_move(struct address_space *home,
				struct folio *from, struct folio *to)
{
	if (!freeze_home_folio(from))
		return false;

	/*
	 * It is found as soon as the first alias names it.  Who does so waits
	 * for its lock, as it is not yet up to date.
	 */
	to->index = from->index;
	to->mapping = home;
	folio_ref_add(to, folio_nr_pages(to));	/* the home's */
	return true;
}

/**
 * page_cache_home_end_move - Replace a folio in the tree of its home.
 * @home: The home's mapping.
 * @from: The folio.
 * @to: What replaces it.
 *
 * The caller then moves what else there is, with folio_migrate_flags().
 *
 * Context: page_cache_home_begin_move() has succeeded, and no alias names @from
 * any more.
 */
void page_cache_home_end_move(struct address_space *home, struct folio *from,
			      struct folio *to)
{
	XA_STATE_ORDER(xas, &home->i_pages, from->index, folio_order(from));
	struct lruvec *from_lruvec, *to_lruvec;
	const int nr = folio_nr_pages(from);
	struct mem_cgroup *memcg;

	xas_lock_irq(&xas);
	xas_store(&xas, to);
	/* All that is left is the reference of the caller. */
	folio_ref_unfreeze(from, 1);
	xas_unlock_irq(&xas);
	home_folio_unfrozen();

	if (folio_zone(from) == folio_zone(to))
		return;
	rcu_read_lock();
	memcg = folio_memcg(from);
	from_lruvec = mem_cgroup_lruvec(memcg, folio_pgdat(from));
	to_lruvec = mem_cgroup_lruvec(memcg, folio_pgdat(to));
	mod_lruvec_state(from_lruvec, NR_FILE_PAGES, -nr);
	mod_lruvec_state(to_lruvec, NR_FILE_PAGES, nr);
	if (folio_test_pmd_mappable(from)) {
		mod_lruvec_state(from_lruvec, NR_FILE_THPS, -nr);
		mod_lruvec_state(to_lruvec, NR_FILE_THPS, nr);
	}
	rcu_read_unlock();
}

/**
 * page_cache_home_take_back - Give a home's folio to the file that shares it.
 * @home: The home's mapping.
 * @folio: A folio of the home.
 * @mapping: The file's mapping.
 * @index: Where the alias begins.
 * @alias: The only alias to @folio, which is for all of it.
 * @gone: As for page_cache_slot_clear_alias().
 * @data: For @gone.
 *
 * Nobody may have a reference: a reader who came by the alias of another file,
 * which has gone since, would see what this one writes.  Who has it mapped has
 * one, so the file's mappings go first; others have none.  While the folio is
 * frozen, who finds it by the alias looks again; nobody else finds it.
 *
 * Context: The folio is locked, so that the alias stays, and the fragments are,
 * so that there will be no other.
 * Return: %false if somebody has a reference to @folio, besides the home and
 * the caller, or if its memory has failed.
 */
bool page_cache_home_take_back(struct address_space *home, struct folio *folio,
			       struct address_space *mapping, pgoff_t index,
			       void *alias,
			       void (*gone)(unsigned long nr, void *data),
			       void *data)
{
	const unsigned int order = folio_order(folio);
	const long nr = folio_nr_pages(folio);
	XA_STATE_ORDER(home_xas, &home->i_pages, folio->index, order);
	XA_STATE_ORDER(xas, &mapping->i_pages, index, order);

	mapping_set_update(&home_xas, home);
	mapping_set_update(&xas, mapping);
	/* Who writes then copies what can be read of it, or reads the device. */
	if (folio_contain_hwpoisoned_page(folio))
		return false;
	unmap_alias(mapping, index, index + nr - 1);
	/* It may be on its way to the LRU. */
	if (folio_ref_count(folio) != nr + 1)
		lru_add_drain();

	if (!freeze_home_folio(folio))
		return false;

	xas_lock_irq(&home_xas);
	xas_store(&home_xas, NULL);
	home->nrpages -= nr;
	xas_unlock_irq(&home_xas);

	folio->mapping = mapping;
	folio->index = index;

	/* What was the home's reference is that of the file. */
	xas_lock_irq(&xas);
	WARN_ON_ONCE(xas_load(&xas) != alias);
	xas_store(&xas, folio);
	mapping->nrpages += nr;
	gone(nr, data);
	folio_ref_unfreeze(folio, nr + 1);
	xas_unlock_irq(&xas);
	home_folio_unfrozen();

	page_cache_count_folio(folio, -nr);
	page_cache_count(mapping_home(mapping), PAGE_CACHE_NR_ALIAS, -nr);
	page_cache_broken(mapping, index, nr, alias);
	trace_mm_filemap_add_to_page_cache(folio);
	return true;
}

/**
 * page_cache_slot_to_folio - Give a file a folio of its own for an alias.
 * @mapping: The file's mapping.
 * @index: The slot.
 * @alias: What must be in it.
 * @folio: A locked order-0 folio, charged, in no mapping yet.
 * @gone: As for page_cache_slot_clear_alias(); called if the alias was there,
 *	whatever comes of it.
 * @data: For @gone.
 *
 * There is no moment at which the slot is empty: who looks it up finds the home
 * folio or this one.  Where the alias is for more pages, it stays for those.
 *
 * Context: The home folio is locked.
 * Return: %false if something else is in the slot, or nothing: if there was no
 * memory, all of the alias is gone; the folio is as before.
 */
bool page_cache_slot_to_folio(struct address_space *mapping, pgoff_t index,
			      void *alias, struct folio *folio,
			      void (*gone)(unsigned long nr, void *data),
			      void *data)
{
	XA_STATE(xas, &mapping->i_pages, index);
	pgoff_t first = index, last = index;
	bool found, ok;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_test_large(folio), folio);
	mapping_set_update(&xas, mapping);

	folio_get(folio);
	folio->mapping = mapping;
	folio->index = index;

	xas_lock_irq(&xas);
	found = xas_load(&xas) == alias;
	ok = found;
	if (found) {
		isolate_alias(&xas, alias, &first, &last);
		ok = first == last;
		gone(last - first + 1, data);
		if (!ok)
			clear_aliases(&xas, first, last);
	}
	if (ok) {
		xas_set_order(&xas, index, 0);
		xas_store(&xas, folio);
		mapping->nrpages++;
		lruvec_stat_add_folio(folio, NR_FILE_PAGES);
	}
	xas_unlock_irq(&xas);

	if (found) {
		page_cache_count(mapping_home(mapping), PAGE_CACHE_NR_ALIAS,
				 -(long)(last - first + 1));
		/* Until now, who has it mapped sees the same data. */
		unmap_alias(mapping, first, last);
	}
	if (!ok) {
		folio->mapping = NULL;
		folio_put(folio);
		return false;
	}
	page_cache_broken(mapping, index, 1, alias);
	trace_mm_filemap_add_to_page_cache(folio);
	folio_add_lru(folio);
	return true;
}

/**
 * page_cache_alloc_folio - Allocate a folio for page_cache_slot_to_folio().
 * @mapping: The file's mapping.
 * @gfp: How to allocate and charge.
 *
 * Return: A locked order-0 folio charged to the caller's memcg, or %NULL.
 */
struct folio *page_cache_alloc_folio(struct address_space *mapping, gfp_t gfp)
{
	struct folio *folio = filemap_alloc_folio(gfp, 0, NULL);

	if (!folio)
		return NULL;
	if (mem_cgroup_charge(folio, NULL, gfp)) {
		folio_put(folio);
		return NULL;
	}
	__folio_set_locked(folio);
	return folio;
}

/**
 * page_cache_copy_page - Copy one page of a home's folio.
 * @to: A folio of one page.
 * @from: A folio of a home, in which the page is where it is in the file.
 * @index: The page's index in the file.
 *
 * Return: 0, or -EHWPOISON if the memory cannot be read.
 */
int page_cache_copy_page(struct folio *to, struct folio *from, pgoff_t index)
{
	struct page *page = folio_file_page(from, index);

	return copy_mc_highpage(folio_page(to, 0), page) ? -EHWPOISON : 0;
}

/**
 * page_cache_range_has_alias - Is there an alias in a range of a file?
 * @mapping: The file's mapping.
 * @first: First index, in pages.
 * @last: Last index, in pages, inclusive.
 */
bool page_cache_range_has_alias(struct address_space *mapping, pgoff_t first,
				pgoff_t last)
{
	XA_STATE(xas, &mapping->i_pages, first);
	bool found = false;
	void *entry;

	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		if (xas_retry(&xas, entry))
			continue;
		found = page_cache_entry_is_alias(entry);
		if (found)
			break;
	}
	rcu_read_unlock();
	return found;
}

/**
 * page_cache_try_get_alias - Look up the home folio that a slot names, once.
 * @mapping: The file's mapping.
 * @index: The slot.
 * @aliasp: The entry found.
 *
 * Context: Any.
 * Return: The home folio with a reference, %NULL if there is no alias, or -EAGAIN
 * if the folio is frozen, as when it moves, or the slot is just changing.
 */
struct folio *page_cache_try_get_alias(struct address_space *mapping,
				       pgoff_t index, void **aliasp)
{
	XA_STATE(xas, &mapping->i_pages, index);
	struct folio *folio = NULL;
	void *entry;

	rcu_read_lock();
	entry = xas_load(&xas);
	if (xas_retry(&xas, entry)) {
		folio = ERR_PTR(-EAGAIN);
	} else if (page_cache_entry_is_alias(entry)) {
		if (!page_cache_alias_get_folio(entry, &folio)) {
			folio = ERR_PTR(-EAGAIN);
		} else if (unlikely(entry != xas_reload(&xas))) {
			folio_put(folio);
			folio = ERR_PTR(-EAGAIN);
		}
	}
	rcu_read_unlock();

	*aliasp = entry;
	return folio;
}

/**
 * page_cache_get_alias - Look up the home folio that a slot names.
 * @mapping: The file's mapping.
 * @index: The slot.
 * @aliasp: The entry found.
 *
 * Context: Not in an interrupt: it waits, without sleeping, for who has frozen
 * the folio and may have been interrupted.
 * Return: The home folio with a reference, or %NULL if there is no alias.
 */
struct folio *page_cache_get_alias(struct address_space *mapping,
				   pgoff_t index, void **aliasp)
{
	struct folio *folio;

	do {
		folio = page_cache_try_get_alias(mapping, index, aliasp);
	} while (folio == ERR_PTR(-EAGAIN));
	return folio;
}

/*
 * What is in a slot.  A folio of the file's own is not looked at: it may be gone
 * any moment.  Returns %false if the memory is not there, or cannot be told yet.
 */
static bool tell_slot(struct address_space *mapping, struct xa_state *xas,
		      void *entry, struct page_cache_found *found)
{
	unsigned int order = xas_get_order(xas);
	unsigned long word;
	struct folio *folio;

	found->first = round_down(xas->xa_index, 1UL << order);
	found->last = found->first + (1UL << order) - 1;
	found->id = 0;
	found->flags = 0;
	found->sharers = 0;

	if (!xa_is_value(entry)) {
		if (xas_get_mark(xas, PAGECACHE_TAG_DIRTY))
			found->flags |= CACHEMAP_DIRTY;
		if (xas_get_mark(xas, PAGECACHE_TAG_WRITEBACK))
			found->flags |= CACHEMAP_WRITEBACK;
		return true;
	}
	if (dax_mapping(mapping)) {
		found->flags = CACHEMAP_DAX;
		if (xas_get_mark(xas, PAGECACHE_TAG_DIRTY))
			found->flags |= CACHEMAP_DIRTY;
		return !(page_cache_entry_flags(entry) &
			 (PAGE_CACHE_PFN_ZERO | PAGE_CACHE_PFN_EMPTY));
	}
	if (!mapping_entry_is_alias(mapping, entry))
		return false;

	if (!page_cache_alias_get_folio(entry, &folio))
		return false;
	if (entry != xas_reload(xas)) {
		folio_put(folio);
		return false;
	}
	found->flags = CACHEMAP_SHARED;
	found->id = folio->index + page_cache_entry_pfn(entry) -
		    folio_pfn(folio);
	word = READ_ONCE(*page_cache_alias_count(folio));
	found->sharers = DIV_ROUND_UP(page_cache_alias_slots(word),
				      folio_nr_pages(folio));
	folio_put(folio);
	return true;
}

/**
 * page_cache_may_tell - May the caller know what of a file is in memory?
 * @file: An open file.
 *
 * Return: 0; -ENOTTY if it is not a regular file, -EOPNOTSUPP if its pages are
 * not in the page cache of this kind, -EPERM if it must not, as with cachestat(2).
 */
int page_cache_may_tell(struct file *file)
{
	if (!S_ISREG(file_inode(file)->i_mode))
		return -ENOTTY;
	if (is_file_hugepages(file))
		return -EOPNOTSUPP;
	return can_do_cachestat(file) ? 0 : -EPERM;
}

/**
 * page_cache_next_found - Find the next pages of a file that are in memory.
 * @mapping: The file's mapping.
 * @index: The first slot to look at; then, the one to go on with.
 * @last: The last one, inclusive.
 * @look: How many entries may be looked at; is taken off.
 * @found: To be filled in.  May begin before @index and end behind @last.
 *
 * Return: %true if there was something.
 */
bool page_cache_next_found(struct address_space *mapping, pgoff_t *index,
			   pgoff_t last, unsigned long *look,
			   struct page_cache_found *found)
{
	XA_STATE(xas, &mapping->i_pages, *index);
	bool any = false;
	void *entry;

	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		if (xas_retry(&xas, entry))
			continue;
		if (!*look) {
			*index = xas.xa_index;
			break;
		}
		--*look;
		any = tell_slot(mapping, &xas, entry, found);
		if (any)
			break;
	}
	rcu_read_unlock();

	if (any)
		*index = found->last + 1;
	else if (!entry)
		*index = last + 1;
	return any;
}

/* See filemap_drop_aliases(). */
bool __filemap_drop_aliases(struct address_space *mapping, pgoff_t first,
			    pgoff_t last, enum page_cache_drop how)
{
	/* Else all of an alias goes, or nothing. */
	const bool exact = how == PAGE_CACHE_DROP ||
			   how == PAGE_CACHE_DROP_NOWAIT ||
			   how == PAGE_CACHE_DROP_WRITTEN;
	XA_STATE(xas, &mapping->i_pages, first);
	bool all = true;
	pgoff_t index;
	void *entry;
	int ret;

	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		if (xas_retry(&xas, entry))
			continue;
		if (!page_cache_entry_is_alias(entry)) {
			/* There may be very many of these, too. */
			if (need_resched())
				walk_resched(&xas);
			continue;
		}
		index = xas.xa_index;	/* xas_pause() moves on */
		xas_pause(&xas);
		rcu_read_unlock();
		ret = page_cache_home_drop(mapping, index, last, how);
		if (ret < 0)
			all = false;
		/*
		 * What was seen may have been split by somebody else before it
		 * was removed: the rest is not where xas_pause() moves on to.
		 */
		if (exact && ret >= 0)
			xas_set(&xas, ret ? index : index + 1);
		/* Then the inode cannot go anyway. */
		if (!all && how == PAGE_CACHE_DROP_SHARED)
			return false;
		cond_resched();
		rcu_read_lock();
	}
	rcu_read_unlock();
	return all;
}

/* See filemap_begin_direct_write(). */
bool __filemap_begin_direct_write(struct address_space *mapping,
				  pgoff_t first, pgoff_t last, bool nowait)
{
	/*
	 * Whoever was adding an alias without having seen our i_dio_count is
	 * done when we get this lock, and found by the walk.
	 */
	xa_lock_irq(&mapping->i_pages);
	xa_unlock_irq(&mapping->i_pages);
	return __filemap_drop_aliases(mapping, first, last,
				      nowait ? PAGE_CACHE_DROP_NOWAIT :
					       PAGE_CACHE_DROP);
}

/*
 * Whoever found the inode on its superblock's list (drop_caches) may be the one
 * who puts the last reference, so the home goes with the inode.
 */
static void home_evict_inode(struct inode *inode)
{
	struct page_cache_home *home = inode->i_private;

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	page_cache_home_free(home);
}

static const struct super_operations home_super_ops = {
	.statfs		= simple_statfs,
	.drop_inode	= inode_just_drop,
	.evict_inode	= home_evict_inode,
};

static int home_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, PAGE_CACHE_HOME_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &home_super_ops;
	return 0;
}

static struct file_system_type home_fs_type = {
	.name			= "page_cache_home",
	.init_fs_context	= home_init_fs_context,
	.kill_sb		= kill_anon_super,
};

static int __init page_cache_home_init(void)
{
	struct vfsmount *mnt = kern_mount(&home_fs_type);

	/* Then there are no homes, and who wants one is told so. */
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	home_mnt = mnt;
	return 0;
}
fs_initcall(page_cache_home_init);
