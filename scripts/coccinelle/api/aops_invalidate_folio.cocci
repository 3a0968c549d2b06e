// SPDX-License-Identifier: GPL-2.0
//
// ->invalidate_folio() and folio_invalidate() get the mapping of the folio from
// their caller.
//
// Files: \w*_invalidate_folio|folio_invalidate
// Options: --no-includes --max-width 80

virtual patch

@@
symbol mapping;
identifier fn =~ "_invalidate_folio$";
identifier fo, offset, length;
type t;
@@
 t fn(
+	struct address_space *mapping,
	struct folio *fo, size_t offset, size_t length)
 { ... }

@@
symbol mapping;
identifier fn =~ "_invalidate_folio$\|^folio_invalidate$";
identifier fo, offset, length;
@@
 void fn(
+	struct address_space *mapping,
	struct folio *fo, size_t offset, size_t length);

// Who has been told the mapping tells it.
@@
identifier fn, m, fo;
identifier callee =~
 "^\(block\|netfs\|__ext4.*\)_invalidate_folio$\|^folio_invalidate$";
expression offset, length;
@@
 fn(..., struct address_space *m, ..., struct folio *fo, ...)
 {
 <...
-callee(fo, offset, length)
+callee(m, fo, offset, length)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier callee =~
 "^\(block\|netfs\|__ext4.*\)_invalidate_folio$\|^folio_invalidate$";
expression fo, offset, length;
@@
-callee(fo, offset, length)
+callee(fo->mapping, fo, offset, length)
