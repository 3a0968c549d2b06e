// SPDX-License-Identifier: GPL-2.0
//
// ->read_folio() and filler_t get the mapping of the folio from their caller,
// and so do the helpers that they are made of.
//
// Files: \w*read_folio\w*|\w*read_full_folio|\w*_symlink_filler|erofs_read_meta_folio|f2fs_read_data_folio
// Options: --no-includes --max-width 80

virtual patch

// Where a callback has a variable of that name, the argument is for it.
@@
symbol mapping;
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fl;
@@
 int reader(struct file *f, struct folio *fl)
 {
 <...
-struct address_space *mapping = fl->mapping;
 ...>
 }

@@
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fl;
@@
 int reader(struct file *f,
+	    struct address_space *mapping,
	    struct folio *fl)
 { ... }

@@
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fl;
@@
(
 int reader(struct file *f,
+	    struct address_space *mapping,
	    struct folio *fl);
|
 int reader(struct file *,
+	    struct address_space *,
	    struct folio *);
)

// Callbacks hand on what they got.
@@
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier callee =~ "_read_folio$";
identifier helper =~
 "^\(mpage_read\|block_read_full\|iomap_bio_read\)_folio$";
identifier f, m, fl;
expression how;
@@
 int reader(struct file *f, struct address_space *m, struct folio *fl)
 {
 <...
(
-callee(f, fl)
+callee(f, m, fl)
|
-helper(fl, how)
+helper(m, fl, how)
)
 ...>
 }

// This one is called by callbacks only.
@@
symbol mapping;
expression how, ctx, private;
@@
-iomap_read_folio(how, ctx, private)
+iomap_read_folio(mapping, how, ctx, private)

// Elsewhere the folio is locked, and tells.
@@
identifier helper =~
 "^\(mpage_read\|block_read_full\|iomap_bio_read\)_folio$";
expression f, fl, how;
@@
(
-btrfs_read_folio(f, fl)
+btrfs_read_folio(f, fl->mapping, fl)
|
-helper(fl, how)
+helper(fl->mapping, fl, how)
)
