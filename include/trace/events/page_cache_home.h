/* SPDX-License-Identifier: GPL-2.0 */
/* What becomes of slots of files that share the cached data of blocks. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM page_cache_home

#if !defined(_TRACE_PAGE_CACHE_HOME_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PAGE_CACHE_HOME_H

#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

DECLARE_EVENT_CLASS(page_cache_alias,

	TP_PROTO(struct address_space *mapping, pgoff_t index, unsigned long nr,
		 unsigned long pfn),

	TP_ARGS(mapping, index, nr, pfn),

	TP_STRUCT__entry(
		__field(dev_t, s_dev)
		__field(u64, i_ino)
		__field(pgoff_t, index)
		__field(unsigned long, nr)
		__field(unsigned long, pfn)
	),

	TP_fast_assign(
		__entry->s_dev = mapping->host->i_sb->s_dev;
		__entry->i_ino = mapping->host->i_ino;
		__entry->index = index;
		__entry->nr = nr;
		__entry->pfn = pfn;
	),

	TP_printk("dev %d:%d ino %llx pfn=0x%lx index=%lu nr=%lu",
		  MAJOR(__entry->s_dev), MINOR(__entry->s_dev), __entry->i_ino,
		  __entry->pfn, __entry->index, __entry->nr)
);

#define DEFINE_PAGE_CACHE_ALIAS_EVENT(name)				\
DEFINE_EVENT(page_cache_alias, name,					\
	TP_PROTO(struct address_space *mapping, pgoff_t index,		\
		 unsigned long nr, unsigned long pfn),			\
	TP_ARGS(mapping, index, nr, pfn))

/* A folio of the file became its home's. */
DEFINE_PAGE_CACHE_ALIAS_EVENT(page_cache_donate);
/* Slots were made to name what the home had. */
DEFINE_PAGE_CACHE_ALIAS_EVENT(page_cache_attach);
/* Slots were given a page of the file's own, for the home's page @pfn. */
DEFINE_PAGE_CACHE_ALIAS_EVENT(page_cache_break);
/* Slots lost their page as the home gave it up, or moved it. */
DEFINE_PAGE_CACHE_ALIAS_EVENT(page_cache_reclaim);

#endif /* _TRACE_PAGE_CACHE_HOME_H */

#include <trace/define_trace.h>
