// SPDX-License-Identifier: GPL-2.0

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/page_cache_entry.h>
#include <linux/page_ref.h>
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

__rust_helper int rust_helper_folio_ref_count(const struct folio *folio)
{
	return folio_ref_count(folio);
}

__rust_helper bool rust_helper_folio_test_uptodate(const struct folio *folio)
{
	return folio_test_uptodate(folio);
}

__rust_helper void rust_helper_folio_mark_uptodate(struct folio *folio)
{
	folio_mark_uptodate(folio);
}

__rust_helper bool rust_helper_folio_test_dirty(const struct folio *folio)
{
	return folio_test_dirty(folio);
}

__rust_helper bool rust_helper_folio_test_writeback(const struct folio *folio)
{
	return folio_test_writeback(folio);
}

__rust_helper struct address_space *
rust_helper_page_cache_folio_mapping(const struct folio *folio)
{
	return folio->mapping;
}

__rust_helper pgoff_t
rust_helper_page_cache_folio_index(const struct folio *folio)
{
	return folio->index;
}

__rust_helper void rust_helper_memcpy_from_folio(char *to, struct folio *folio,
						 size_t offset, size_t len)
{
	memcpy_from_folio(to, folio, offset, len);
}

__rust_helper void rust_helper_memcpy_to_folio(struct folio *folio,
					       size_t offset, const char *from,
					       size_t len)
{
	memcpy_to_folio(folio, offset, from, len);
}

__rust_helper void rust_helper_folio_zero_range(struct folio *folio,
						size_t start, size_t length)
{
	folio_zero_range(folio, start, length);
}

__rust_helper struct folio *
rust_helper_readahead_folio(struct readahead_control *ractl)
{
	return readahead_folio(ractl);
}

__rust_helper struct folio *
rust_helper_write_begin_get_folio(const struct kiocb *iocb,
				  struct address_space *mapping, pgoff_t index,
				  size_t len)
{
	return write_begin_get_folio(iocb, mapping, index, len);
}

__rust_helper void
rust_helper_mapping_set_release_always(struct address_space *mapping)
{
	mapping_set_release_always(mapping);
}

__rust_helper void rust_helper_mapping_set_error(struct address_space *mapping,
						 int error)
{
	mapping_set_error(mapping, error);
}

__rust_helper loff_t rust_helper_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

__rust_helper void rust_helper_i_size_write(struct inode *inode, loff_t i_size)
{
	i_size_write(inode, i_size);
}

__rust_helper void rust_helper_inode_fake_hash(struct inode *inode)
{
	inode_fake_hash(inode);
}

__rust_helper void rust_helper_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

__rust_helper void rust_helper_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

__rust_helper void
rust_helper_filemap_invalidate_lock(struct address_space *mapping)
{
	filemap_invalidate_lock(mapping);
}

__rust_helper void
rust_helper_filemap_invalidate_unlock(struct address_space *mapping)
{
	filemap_invalidate_unlock(mapping);
}

__rust_helper void rust_helper_mark_inode_dirty(struct inode *inode)
{
	mark_inode_dirty(inode);
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

__rust_helper unsigned int
rust_helper_page_cache_alias_order(const void *entry)
{
	return page_cache_alias_order(entry);
}

__rust_helper unsigned long
rust_helper_page_cache_alias_last(unsigned long index, const void *entry)
{
	return page_cache_alias_last(index, entry);
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

__rust_helper void *rust_helper_page_cache_mk_alias(unsigned long pfn,
						    unsigned int order)
{
	return page_cache_mk_alias(pfn, order);
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
