// SPDX-License-Identifier: GPL-2.0
//
// ->release_folio() and filemap_release_folio() get the mapping of the folio
// from their caller.
//
// Files: \w*_release_folio
// Options: --no-includes --max-width 80

virtual patch

// Where a callback has a variable of that name, the argument is for it.
@@
typedef bool, gfp_t;
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fl, gfp;
@@
 bool fn(struct folio *fl, gfp_t gfp)
 {
 <...
-struct address_space *mapping = fl->mapping;
 ...>
 }

@@
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fl, gfp;
@@
 bool fn(
+	struct address_space *mapping,
	struct folio *fl, gfp_t gfp)
 { ... }

@@
symbol mapping;
identifier fn =~ "_release_folio$";
identifier fl, gfp;
@@
 bool fn(
+	struct address_space *mapping,
	struct folio *fl, gfp_t gfp);

// Who has been told the mapping tells it.
@@
identifier fn, m, fl;
identifier callee =~
 "^\(_*bt.*\|filemap\|metapage\|nfs_fsc.*\|z_erofs.*\)_release_folio$";
expression gfp;
@@
 fn(..., struct address_space *m, ..., struct folio *fl, ...)
 {
 <...
-callee(fl, gfp)
+callee(m, fl, gfp)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier callee =~
 "^\(_*bt.*\|filemap\|metapage\|nfs_fsc.*\|z_erofs.*\)_release_folio$";
expression fl, gfp;
@@
-callee(fl, gfp)
+callee(fl->mapping, fl, gfp)
