// SPDX-License-Identifier: GPL-2.0
//
// ->invalidate_folio() asks its argument for the mapping, not the folio.
//
// Files: \w*_invalidate_folio
// Options: --no-includes --max-width 80

virtual patch

@@
type t;
identifier fn =~ "_invalidate_folio$";
identifier m, fl, off, len;
@@
 t fn(struct address_space *m, struct folio *fl, size_t off, size_t len)
 {
 <...
(
-fl->mapping
+m
|
-folio_inode(fl)
+m->host
|
-folio_to_inode(fl)
+BTRFS_I(m->host)
)
 ...>
 }
