// SPDX-License-Identifier: GPL-2.0
//
// ->read_folio() and filler_t get the mapping of the folio from their caller,
// and so do the helpers that they are made of.
//
// Files: \w*read_folio\w*|\w*read_full_folio|\w*_symlink_filler|erofs_read_meta_folio|f2fs_read_data_folio
// Options: --no-includes --max-width 80

virtual patch

// Where a callback has a variable of that name, the argument replaces it.
@@
symbol mapping;
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fo;
@@
 int reader(struct file *f, struct folio *fo)
 {
 <...
-struct address_space *mapping = fo->mapping;
 ...>
 }

@@
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fo;
@@
 int reader(struct file *f,
+	    struct address_space *mapping,
	    struct folio *fo)
 { ... }

@@
identifier reader =~
 "_read_\(meta_\|data_\)?folio\(_ofs\)?$\|_symlink_filler$";
identifier f, fo;
@@
(
 int reader(struct file *f,
+	    struct address_space *mapping,
	    struct folio *fo);
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
identifier f, m, fo;
expression how;
@@
 int reader(struct file *f, struct address_space *m, struct folio *fo)
 {
 <...
(
-callee(f, fo)
+callee(f, m, fo)
|
-helper(fo, how)
+helper(m, fo, how)
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
expression f, fo, how;
@@
(
-btrfs_read_folio(f, fo)
+btrfs_read_folio(f, fo->mapping, fo)
|
-helper(fo, how)
+helper(fo->mapping, fo, how)
)
