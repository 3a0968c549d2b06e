// SPDX-License-Identifier: GPL-2.0
//
// ->write_end() and ->migrate_folio() ask their argument for the mapping, not
// the folio.
//
// Files: \w*_write_end|\w*_migrate_folio
// Options: --no-includes --max-width 80

virtual patch

@@
typedef loff_t;
identifier fn, iocb, m, pos, len, copied, fl, fsdata;
@@
 int fn(const struct kiocb *iocb, struct address_space *m, loff_t pos,
	unsigned len, unsigned copied, struct folio *fl, void *fsdata)
 {
 <...
(
-fl->mapping
+m
|
-folio_inode(fl)
+m->host
)
 ...>
 }

@@
identifier fn, m, dst, src, mode;
@@
 int fn(struct address_space *m, struct folio *dst, struct folio *src,
	enum migrate_mode mode)
 {
 <...
-src->mapping
+m
 ...>
 }
