// SPDX-License-Identifier: GPL-2.0

#include <linux/page_cache_home.h>
#include <linux/sched.h>

#ifdef CONFIG_PAGE_CACHE_SHARE

__rust_helper bool rust_helper_folio_test_dropbehind(const struct folio *folio)
{
	return folio_test_dropbehind(folio);
}

__rust_helper bool rust_helper_folio_mapped(const struct folio *folio)
{
	return folio_mapped(folio);
}

__rust_helper int rust_helper_folio_expected_ref_count(const struct folio *folio)
{
	return folio_expected_ref_count(folio);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

__rust_helper unsigned long *
rust_helper_page_cache_alias_count(struct folio *folio)
{
	return page_cache_alias_count(folio);
}

__rust_helper bool rust_helper_folio_test_locked(const struct folio *folio)
{
	return folio_test_locked(folio);
}

__rust_helper void rust_helper_page_cache_move_readahead(struct folio *from,
							 struct folio *to)
{
	page_cache_move_readahead(from, to);
}

#endif /* CONFIG_PAGE_CACHE_SHARE */
