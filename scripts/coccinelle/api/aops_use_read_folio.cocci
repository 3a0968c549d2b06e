// SPDX-License-Identifier: GPL-2.0
//
// ->read_folio() asks its argument for the mapping, not the folio.
//
// Files: \w*_read_\w*folio\w*|\w*_symlink_filler
// Options: --no-includes --max-width 80

virtual patch

@@
identifier fn, f, m, fl;
@@
 int fn(struct file *f, struct address_space *m, struct folio *fl)
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
