// SPDX-License-Identifier: GPL-2.0
//
// ->release_folio() and filemap_release_folio() get the mapping of the folio
// from their caller.
//
// Files: \w*_release_folio
// Options: --no-includes --max-width 80

virtual patch

// Where a callback has a variable of that name, the argument replaces it.
@@
typedef bool, gfp_t;
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fo, gfp;
@@
 bool fn(struct folio *fo, gfp_t gfp)
 {
 <...
-struct address_space *mapping = fo->mapping;
 ...>
 }

@@
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fo, gfp;
@@
 bool fn(
+	struct address_space *mapping,
	struct folio *fo, gfp_t gfp)
 { ... }

@@
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fo, gfp;
@@
 bool fn(
+	struct address_space *mapping,
	struct folio *fo, gfp_t gfp);

// Who has been told the mapping tells it.
@@
identifier fn, m, fo;
identifier callee =~
 "^\(_*bt.*\|filemap\|metapage\|nfs_fsc.*\|z_erofs.*\)_release_folio$";
expression gfp;
@@
 fn(..., struct address_space *m, ..., struct folio *fo, ...)
 {
 <...
-callee(fo, gfp)
+callee(m, fo, gfp)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier callee =~
 "^\(_*bt.*\|filemap\|metapage\|nfs_fsc.*\|z_erofs.*\)_release_folio$";
expression fo, gfp;
@@
-callee(fo, gfp)
+callee(fo->mapping, fo, gfp)
