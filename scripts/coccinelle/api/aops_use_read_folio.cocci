// SPDX-License-Identifier: GPL-2.0
//
// ->read_folio() asks its argument for the mapping, not the folio.
//
// Files: \w*_read_\w*folio\w*|\w*_symlink_filler
// Options: --no-includes --max-width 80

virtual patch

@@
identifier fn, f, m, fo;
@@
 int fn(struct file *f, struct address_space *m, struct folio *fo)
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
