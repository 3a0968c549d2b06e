/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PAGE_CACHE_ENTRY_H
#define _LINUX_PAGE_CACHE_ENTRY_H

#include <linux/build_bug.h>
#include <linux/kconfig.h>
#include <linux/mmdebug.h>
#include <linux/types.h>
#include <linux/xarray.h>

/**
 * DOC: Tagged page cache entries
 *
 * A slot of &address_space.i_pages holds nothing, a pointer to a folio that
 * belongs to the mapping, or a *tagged entry*: an XArray value entry that
 * says what there is to know about a page that is not a folio of this
 * mapping.  The two bits above the XArray's value bit are the kind
 * (&enum page_cache_kind), everything above them is the payload::
 *
 *   SHADOW     |------------------ payload -------------------|00|1|
 *   PFN        |----------- pfn ------------|-order-|A|E|Z|P|L|01|1|
 *   PROXY      |----------------- pointer --------------------|10|1|
 *   EXCLUSIVE  |----------------- pointer --------------------|11|1|
 *
 *   L, P, Z, E, A: &enum page_cache_pfn_flags, lowest first
 *
 * The pointers are aligned to eight bytes; the value bit and the kind take the
 * place of the zeroes at their low end.
 *
 * The kinds need 64 bits.  On a 32-bit kernel there is no kind in an entry: a
 * shadow and a DAX entry look as they always did, and which of them a value
 * entry is depends on the mapping it is in.  The kinds that exist on 64-bit
 * only, and the functions that make them, are not there.
 *
 * None of this is for shmem: its value entries are swap entries
 * (swp_to_radix_entry()), whose low bits are swap offset.  Code that handles
 * shmem mappings too has to tell those apart by the mapping before it asks for
 * the kind of an entry.
 */

/**
 * enum page_cache_kind - What a tagged entry is
 * @PAGE_CACHE_SHADOW: The page is not resident; the payload is what
 *	mm/workingset.c remembers of its eviction.
 * @PAGE_CACHE_PFN: The data is in a page frame that belongs to a DAX device or
 *	to a home mapping, but not to this mapping.
 * @PAGE_CACHE_PROXY: The data is in several folios, and the object pointed to
 *	knows which.
 * @PAGE_CACHE_EXCLUSIVE: The page is in the hands of the owner pointed to, and
 *	nobody else may look at it, map it or write it.
 */
enum page_cache_kind {
	PAGE_CACHE_SHADOW	= 0,
	PAGE_CACHE_PFN		= 1,
	PAGE_CACHE_PROXY	= 2,
	PAGE_CACHE_EXCLUSIVE	= 3,
};

/**
 * enum page_cache_pfn_flags - Flags in the payload of a %PAGE_CACHE_PFN entry
 * @PAGE_CACHE_PFN_LOCKED: The entry is locked (DAX).
 * @PAGE_CACHE_PFN_PMD: The entry has the size of a PMD; without it, of a page
 *	(DAX).
 * @PAGE_CACHE_PFN_ZERO: The frame is the zero page (DAX).
 * @PAGE_CACHE_PFN_EMPTY: There is no frame, the entry is there to be locked
 *	(DAX).
 * @PAGE_CACHE_PFN_ALIAS: The frame belongs to a folio of a home mapping, and
 *	the entry is one of its aliases.  DAX never sets this.  64-bit only.
 */
enum page_cache_pfn_flags {
	PAGE_CACHE_PFN_LOCKED	= 1 << 0,
	PAGE_CACHE_PFN_PMD	= 1 << 1,
	PAGE_CACHE_PFN_ZERO	= 1 << 2,
	PAGE_CACHE_PFN_EMPTY	= 1 << 3,
#ifdef CONFIG_64BIT
	PAGE_CACHE_PFN_ALIAS	= 1 << 4,
#endif
};

/**
 * enum page_cache_entry_layout - Where things are in a tagged entry
 * @PAGE_CACHE_KIND_SHIFT: Position of the kind in the raw entry.
 * @PAGE_CACHE_KIND_BITS: Width of the kind.
 * @PAGE_CACHE_KIND_MASK: The bits of the raw entry that are the kind.
 * @PAGE_CACHE_PAYLOAD_SHIFT: Position of the payload in the raw entry.
 * @PAGE_CACHE_PAYLOAD_BITS: Width of the payload.
 * @PAGE_CACHE_SHADOW_BITS: Width of a shadow, which is all of the payload.
 * @PAGE_CACHE_PFN_FLAG_BITS: Number of the flags, which are the lowest bits of
 *	the payload.
 * @PAGE_CACHE_PFN_FLAGS_MASK: The bits of the payload that are flags.
 * @PAGE_CACHE_PFN_ORDER_BITS: Width of the order, which is above the flags.
 * @PAGE_CACHE_PFN_ORDER_MAX: The largest order.
 * @PAGE_CACHE_PFN_SHIFT: Position of the pfn in the payload.
 * @PAGE_CACHE_PFN_BITS: Width of the pfn.
 * @PAGE_CACHE_POINTER_ALIGN: What the pointer of a proxy or an exclusive owner
 *	is aligned to.
 */
enum page_cache_entry_layout {
	PAGE_CACHE_KIND_SHIFT		= BITS_PER_LONG - BITS_PER_XA_VALUE,
	PAGE_CACHE_KIND_BITS		= IS_ENABLED(CONFIG_64BIT) ? 2 : 0,
	PAGE_CACHE_KIND_MASK		= ((1 << PAGE_CACHE_KIND_BITS) - 1) <<
					  PAGE_CACHE_KIND_SHIFT,
	PAGE_CACHE_PAYLOAD_SHIFT	= PAGE_CACHE_KIND_SHIFT +
					  PAGE_CACHE_KIND_BITS,
	PAGE_CACHE_PAYLOAD_BITS		= BITS_PER_LONG -
					  PAGE_CACHE_PAYLOAD_SHIFT,
	PAGE_CACHE_SHADOW_BITS		= PAGE_CACHE_PAYLOAD_BITS,
	PAGE_CACHE_PFN_FLAG_BITS	= IS_ENABLED(CONFIG_64BIT) ? 5 : 4,
	PAGE_CACHE_PFN_FLAGS_MASK	= (1 << PAGE_CACHE_PFN_FLAG_BITS) - 1,
	PAGE_CACHE_PFN_ORDER_BITS	= IS_ENABLED(CONFIG_64BIT) ? 4 : 0,
	PAGE_CACHE_PFN_ORDER_MAX	= (1 << PAGE_CACHE_PFN_ORDER_BITS) - 1,
	PAGE_CACHE_PFN_SHIFT		= PAGE_CACHE_PFN_FLAG_BITS +
					  PAGE_CACHE_PFN_ORDER_BITS,
	PAGE_CACHE_PFN_BITS		= PAGE_CACHE_PAYLOAD_BITS -
					  PAGE_CACHE_PFN_SHIFT,
	PAGE_CACHE_POINTER_ALIGN	= 8,
};

/* Build an entry out of a kind and a payload that is known to fit. */
static inline void *__page_cache_mk_entry(enum page_cache_kind kind,
					  unsigned long payload)
{
	unsigned long entry = payload << PAGE_CACHE_PAYLOAD_SHIFT;

	entry |= (kind << PAGE_CACHE_KIND_SHIFT) & PAGE_CACHE_KIND_MASK;
	return (void *)(entry | (unsigned long)xa_mk_value(0));
}

static inline unsigned long __page_cache_entry_payload(const void *entry)
{
	return (unsigned long)entry >> PAGE_CACHE_PAYLOAD_SHIFT;
}

/**
 * page_cache_entry_kind() - Tell what a tagged entry is
 * @entry: An XArray value entry from a file's i_pages; not of shmem.
 *
 * A 32-bit kernel keeps no kind in the entry and calls every one a shadow.
 *
 * Return: The kind of @entry.
 */
static inline enum page_cache_kind page_cache_entry_kind(const void *entry)
{
	VM_WARN_ON_ONCE(!xa_is_value(entry));
	return (enum page_cache_kind)(((unsigned long)entry &
				       PAGE_CACHE_KIND_MASK) >>
				      PAGE_CACHE_KIND_SHIFT);
}

/**
 * page_cache_entry_is_shadow() - Tell whether an entry is a shadow
 * @entry: Any entry from a file's i_pages, NULL included; not of shmem.
 *
 * On a 32-bit kernel this is xa_is_value(), and the caller has to know that
 * the mapping is not a DAX mapping, as it always had to.
 *
 * Return: True if @entry is a shadow of an evicted folio.
 */
static inline bool page_cache_entry_is_shadow(const void *entry)
{
	const unsigned long shadow =
		(unsigned long)__page_cache_mk_entry(PAGE_CACHE_SHADOW, 0);

	return ((unsigned long)entry & (shadow | PAGE_CACHE_KIND_MASK)) ==
		shadow;
}

/**
 * page_cache_mk_shadow() - Make a shadow entry
 * @payload: What is to be remembered, %PAGE_CACHE_SHADOW_BITS wide.
 *
 * Return: The entry to be stored in the slot of the evicted folio.
 */
static inline void *page_cache_mk_shadow(unsigned long payload)
{
	const unsigned int shift = PAGE_CACHE_PAYLOAD_SHIFT;

	VM_WARN_ON_ONCE(payload != (payload << shift) >> shift);
	return __page_cache_mk_entry(PAGE_CACHE_SHADOW, payload);
}

/**
 * page_cache_entry_shadow() - Get what a shadow entry remembers
 * @entry: A shadow entry.
 *
 * Return: The payload that was given to page_cache_mk_shadow().
 */
static inline unsigned long page_cache_entry_shadow(const void *entry)
{
	VM_WARN_ON_ONCE(!page_cache_entry_is_shadow(entry));
	return __page_cache_entry_payload(entry);
}

/**
 * page_cache_mk_pfn() - Make an entry that names a page frame
 * @pfn: The page frame number, %PAGE_CACHE_PFN_BITS wide.
 * @flags: Any of &enum page_cache_pfn_flags.
 *
 * Return: The entry to be stored in i_pages.
 */
static inline void *page_cache_mk_pfn(unsigned long pfn, unsigned long flags)
{
	const unsigned int shift = PAGE_CACHE_PAYLOAD_SHIFT +
				   PAGE_CACHE_PFN_SHIFT;

	VM_WARN_ON_ONCE(pfn != (pfn << shift) >> shift);
	VM_WARN_ON_ONCE(flags & ~(unsigned long)PAGE_CACHE_PFN_FLAGS_MASK);
	return __page_cache_mk_entry(PAGE_CACHE_PFN,
				     (pfn << PAGE_CACHE_PFN_SHIFT) | flags);
}

/**
 * page_cache_entry_pfn() - Get the page frame number out of an entry
 * @entry: A %PAGE_CACHE_PFN entry.
 *
 * Return: The page frame number.
 */
static inline unsigned long page_cache_entry_pfn(const void *entry)
{
	VM_WARN_ON_ONCE(PAGE_CACHE_KIND_BITS > 0 &&
			page_cache_entry_kind(entry) != PAGE_CACHE_PFN);
	return __page_cache_entry_payload(entry) >> PAGE_CACHE_PFN_SHIFT;
}

/**
 * page_cache_entry_flags() - Get the flags out of an entry
 * @entry: A %PAGE_CACHE_PFN entry, or NULL, which has no flags.
 *
 * Return: The &enum page_cache_pfn_flags of @entry.
 */
static inline unsigned long page_cache_entry_flags(const void *entry)
{
	return __page_cache_entry_payload(entry) & PAGE_CACHE_PFN_FLAGS_MASK;
}

#ifdef CONFIG_64BIT

/**
 * page_cache_entry_is_alias() - Tell whether an entry is an alias
 * @entry: Any entry from a file's i_pages, NULL included; not of shmem.
 *
 * Return: True if @entry is a value entry that names a page frame of a home
 * mapping, false for everything else.
 */
static inline bool page_cache_entry_is_alias(const void *entry)
{
	const unsigned long alias =
		(unsigned long)__page_cache_mk_entry(PAGE_CACHE_PFN,
						     PAGE_CACHE_PFN_ALIAS);

	return ((unsigned long)entry & (alias | PAGE_CACHE_KIND_MASK)) == alias;
}

/**
 * page_cache_mk_alias() - Make an alias
 * @pfn: The number of the first page frame, %PAGE_CACHE_PFN_BITS wide.
 * @order: How many there are, as a power of two; no more than
 *	%PAGE_CACHE_PFN_ORDER_MAX.
 *
 * The order is that of the entry in i_pages, too.  Who has loaded an entry
 * without a lock knows from itself how far it goes, and a second look at the
 * slot, which compares, that it still does.
 *
 * Return: The entry to be stored in i_pages.
 */
static inline void *page_cache_mk_alias(unsigned long pfn, unsigned int order)
{
	unsigned long entry =
		(unsigned long)page_cache_mk_pfn(pfn, PAGE_CACHE_PFN_ALIAS);

	VM_WARN_ON_ONCE(order > PAGE_CACHE_PFN_ORDER_MAX);
	entry |= (unsigned long)order <<
		 (PAGE_CACHE_PAYLOAD_SHIFT + PAGE_CACHE_PFN_FLAG_BITS);
	return (void *)entry;
}

/**
 * page_cache_alias_order() - Tell how many pages an alias is for
 * @entry: An alias.
 *
 * Return: The order that was given to page_cache_mk_alias().
 */
static inline unsigned int page_cache_alias_order(const void *entry)
{
	VM_WARN_ON_ONCE(!page_cache_entry_is_alias(entry));
	return (__page_cache_entry_payload(entry) >> PAGE_CACHE_PFN_FLAG_BITS) &
	       PAGE_CACHE_PFN_ORDER_MAX;
}

/**
 * page_cache_alias_last() - Tell where the pages end that an alias is for
 * @index: Any index, in pages, at which @entry was found.
 * @entry: An alias.
 *
 * Return: The last index, in pages, at which it is found.
 */
static inline unsigned long page_cache_alias_last(unsigned long index,
						  const void *entry)
{
	return index | ((1UL << page_cache_alias_order(entry)) - 1);
}

/* The value bit and the kind are what the alignment leaves free. */
static_assert(PAGE_CACHE_POINTER_ALIGN == 1 << PAGE_CACHE_PAYLOAD_SHIFT);

static inline void *__page_cache_mk_pointer(enum page_cache_kind kind,
					    const void *p)
{
	const unsigned long low = PAGE_CACHE_POINTER_ALIGN - 1;

	VM_WARN_ON_ONCE((unsigned long)p & low);
	return (void *)((unsigned long)p |
			(unsigned long)__page_cache_mk_entry(kind, 0));
}

/**
 * page_cache_mk_proxy() - Make an entry that points to a proxy
 * @p: The proxy, aligned to %PAGE_CACHE_POINTER_ALIGN.
 *
 * Return: The entry to be stored in i_pages.
 */
static inline void *page_cache_mk_proxy(const void *p)
{
	return __page_cache_mk_pointer(PAGE_CACHE_PROXY, p);
}

/**
 * page_cache_mk_exclusive() - Make an entry that points to an exclusive owner
 * @p: The owner, aligned to %PAGE_CACHE_POINTER_ALIGN.
 *
 * Return: The entry to be stored in i_pages.
 */
static inline void *page_cache_mk_exclusive(const void *p)
{
	return __page_cache_mk_pointer(PAGE_CACHE_EXCLUSIVE, p);
}

/**
 * page_cache_entry_pointer() - Get the pointer out of an entry
 * @entry: A %PAGE_CACHE_PROXY or %PAGE_CACHE_EXCLUSIVE entry.
 *
 * Return: The pointer the entry was made of.
 */
static inline void *page_cache_entry_pointer(const void *entry)
{
	VM_WARN_ON_ONCE(page_cache_entry_kind(entry) != PAGE_CACHE_PROXY &&
			page_cache_entry_kind(entry) != PAGE_CACHE_EXCLUSIVE);
	return (void *)((unsigned long)entry &
			~(PAGE_CACHE_POINTER_ALIGN - 1UL));
}

#else /* !CONFIG_64BIT */

static inline bool page_cache_entry_is_alias(const void *entry)
{
	return false;
}

static inline unsigned int page_cache_alias_order(const void *entry)
{
	return 0;
}

static inline unsigned long page_cache_alias_last(unsigned long index,
						  const void *entry)
{
	return index;
}

#endif /* !CONFIG_64BIT */

#endif /* _LINUX_PAGE_CACHE_ENTRY_H */
