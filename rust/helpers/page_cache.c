// SPDX-License-Identifier: GPL-2.0

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/page_cache_entry.h>
#include <linux/pagemap.h>

__rust_helper struct folio *rust_helper_folio_alloc(gfp_t gfp,
						    unsigned int order)
{
	return folio_alloc(gfp, order);
}

__rust_helper void rust_helper_folio_get(struct folio *folio)
{
	folio_get(folio);
}

__rust_helper void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

__rust_helper bool rust_helper_folio_try_get(struct folio *folio)
{
	return folio_try_get(folio);
}

__rust_helper void rust_helper_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

__rust_helper int rust_helper_folio_lock_killable(struct folio *folio)
{
	return folio_lock_killable(folio);
}

__rust_helper bool rust_helper_folio_trylock(struct folio *folio)
{
	return folio_trylock(folio);
}

__rust_helper unsigned long rust_helper_folio_pfn(const struct folio *folio)
{
	return folio_pfn(folio);
}

__rust_helper unsigned int rust_helper_folio_order(const struct folio *folio)
{
	return folio_order(folio);
}

#ifdef CONFIG_RUST_PAGE_CACHE_KUNIT_TEST

__rust_helper enum page_cache_kind
rust_helper_page_cache_entry_kind(const void *entry)
{
	return page_cache_entry_kind(entry);
}

__rust_helper bool rust_helper_page_cache_entry_is_shadow(const void *entry)
{
	return page_cache_entry_is_shadow(entry);
}

__rust_helper bool rust_helper_page_cache_entry_is_alias(const void *entry)
{
	return page_cache_entry_is_alias(entry);
}

__rust_helper void *rust_helper_page_cache_mk_shadow(unsigned long payload)
{
	return page_cache_mk_shadow(payload);
}

__rust_helper unsigned long
rust_helper_page_cache_entry_shadow(const void *entry)
{
	return page_cache_entry_shadow(entry);
}

__rust_helper void *rust_helper_page_cache_mk_pfn(unsigned long pfn,
						  unsigned long flags)
{
	return page_cache_mk_pfn(pfn, flags);
}

__rust_helper void *rust_helper_page_cache_mk_alias(unsigned long pfn)
{
	return page_cache_mk_alias(pfn);
}

__rust_helper unsigned long rust_helper_page_cache_entry_pfn(const void *entry)
{
	return page_cache_entry_pfn(entry);
}

__rust_helper unsigned long
rust_helper_page_cache_entry_flags(const void *entry)
{
	return page_cache_entry_flags(entry);
}

__rust_helper void *rust_helper_page_cache_mk_proxy(const void *p)
{
	return page_cache_mk_proxy(p);
}

__rust_helper void *rust_helper_page_cache_mk_exclusive(const void *p)
{
	return page_cache_mk_exclusive(p);
}

__rust_helper void *rust_helper_page_cache_entry_pointer(const void *entry)
{
	return page_cache_entry_pointer(entry);
}

__rust_helper void *rust_helper_xa_mk_internal(unsigned long v)
{
	return xa_mk_internal(v);
}

#endif /* CONFIG_RUST_PAGE_CACHE_KUNIT_TEST */
