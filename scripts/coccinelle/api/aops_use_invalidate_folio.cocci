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
identifier m, fo, off, len;
@@
 t fn(struct address_space *m, struct folio *fo, size_t off, size_t len)
 {
 <...
(
-fo->mapping
+m
|
-folio_inode(fo)
+m->host
|
-folio_to_inode(fo)
+BTRFS_I(m->host)
)
 ...>
 }
