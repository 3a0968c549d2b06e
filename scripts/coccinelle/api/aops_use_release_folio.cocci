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
identifier m, fl, gfp;
@@
 bool fn(struct address_space *m, struct folio *fl, gfp_t gfp)
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
