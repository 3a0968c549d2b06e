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
identifier m, fl;
@@
 int fn(struct address_space *m, struct folio *fl)
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

@@
typedef bool;
identifier fn =~ "_is_partially_uptodate$";
identifier m, fl, from, count;
@@
 bool fn(struct address_space *m, struct folio *fl, size_t from,
	 size_t count)
 {
 <...
-fl->mapping
+m
 ...>
 }
