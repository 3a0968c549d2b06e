// SPDX-License-Identifier: GPL-2.0
//
// ->release_folio() asks its argument for the mapping, not the folio.
//
// Files: \w*_release_folio
// Options: --no-includes --max-width 80

virtual patch

@@
typedef bool, gfp_t;
identifier fn =~ "_release_folio$";
identifier m, fo, gfp;
@@
 bool fn(struct address_space *m, struct folio *fo, gfp_t gfp)
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
