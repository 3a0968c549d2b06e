// SPDX-License-Identifier: GPL-2.0
//
// ->launder_folio() and ->is_partially_uptodate() ask their argument for the
// mapping, not the folio.
//
// Files: \w*_launder_folio|\w*_is_partially_uptodate
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

@@
typedef bool;
identifier fn =~ "_is_partially_uptodate$";
identifier m, fo, from, count;
@@
 bool fn(struct address_space *m, struct folio *fo, size_t from, size_t count)
 {
 <...
-fo->mapping
+m
 ...>
 }
