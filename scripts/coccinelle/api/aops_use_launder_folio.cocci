// SPDX-License-Identifier: GPL-2.0
//
// ->launder_folio() asks its argument for the mapping, not the folio.
//
// Files: \w*_launder_folio
// Options: --no-includes --max-width 80

virtual patch

@@
identifier fn =~ "_launder_folio$";
identifier m, fo;
@@
 int fn(struct address_space *m, struct folio *fo)
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
